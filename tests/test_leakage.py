"""What is done about duplicates: which row goes, which stays, and that every one is on record."""

import pandas as pd
import pytest

from common.cli import InputError
from common.data import corpus, leakage


@pytest.fixture
def grouped(take_in):
    """The tables of rows of text and label, given by split."""
    return lambda threshold=0.8, **splits: take_in(threshold, **splits).tables


def ids(found: corpus.Tables) -> dict[str, list[str]]:
    return {split: list(rows["id"]) for split, rows in found.items()}


def pairs(actions: pd.DataFrame) -> list[tuple[str, str, str]]:
    return [tuple(row) for row in actions[["id", "reason", "duplicate_of"]].to_numpy()]


LONG = "you are a winner and have been specially selected to receive a holiday"
NEAR = f"{LONG} now"


def test_of_equal_texts_the_first_is_kept(grouped):
    given = grouped(train=[("a", "x"), ("b", "y"), ("a", "x"), ("A!", "x")])
    found, actions = leakage.drop_repeated(given)
    assert ids(found) == {"train": ["train/0", "train/1"]}
    assert pairs(actions) == [
        ("train/2", "exact", "train/0"),
        ("train/3", "normalised", "train/0"),
    ]


def test_near_duplicates_stay_within_a_split(grouped):
    given = grouped(train=[(LONG, "x"), (NEAR, "x")])
    assert leakage.drop_repeated(given)[1].empty
    assert leakage.drop_straddling(given)[1].empty


def test_a_text_stays_in_test_before_validation_before_train(grouped):
    given = grouped(
        train=[("a", "x"), ("b", "x"), ("c", "y"), (NEAR, "y")],
        validation=[("a", "x"), ("B", "x")],
        test=[("d", "y"), ("a", "x"), (LONG, "y")],
    )
    for step in (leakage.drop_repeated, leakage.drop_straddling):
        found, actions = step(given)
        assert found["test"]["id"].tolist() == ["test/0", "test/1", "test/2"]
        assert found["validation"]["id"].tolist() == ["validation/1"]
    assert found["train"]["id"].tolist() == ["train/2"]
    assert sorted(pairs(actions)) == [
        ("train/0", "exact", "test/1"),
        ("train/1", "normalised", "validation/1"),
        ("train/3", "near", "test/2"),
        ("validation/0", "exact", "test/1"),
    ]


def test_only_what_straddles_goes_where_nothing_else_is_asked_for(grouped):
    given = grouped(train=[("a", "x"), ("a", "x"), ("b", "x")], test=[("b", "x"), ("b", "x")])
    found, _ = leakage.drop_straddling(given)
    assert ids(found) == {"train": ["train/0", "train/1"], "test": ["test/0", "test/1"]}


def test_equal_texts_of_several_labels_are_all_dropped(grouped):
    given = grouped(train=[("a", "x"), ("b", "y"), ("a", "y"), ("a", "x")], test=[("b", "x")])
    found, actions = leakage.drop_conflicting(given)
    assert actions["other_label"].all()
    assert ids(found) == {"train": [], "test": []}
    partners = {row: partner for row, _, partner in pairs(actions)}
    labels = {
        row: label for rows in given.values() for row, label in rows[["id", "label"]].to_numpy()
    }
    assert len(partners) == 5
    assert all(labels[row] != labels[partner] for row, partner in partners.items())


def test_texts_that_are_only_normalised_to_one_do_not_contradict(grouped):
    given = grouped(train=[("3 stars", "x"), ("5 stars", "y")])
    assert leakage.drop_conflicting(given)[1].empty
    assert leakage.drop_repeated(given)[1]["other_label"].tolist() == [True]


def test_marked_rows_are_those_that_repeat_a_training_row(grouped):
    given = grouped(
        train=[("a", "x"), (LONG, "x")],
        validation=[("A", "x"), ("e", "y")],
        test=[("e", "y"), (NEAR, "x"), ("f", "y"), ("f", "y")],
    )
    found, actions = leakage.mark(given)
    assert found["train"]["clean"].all()
    assert found["validation"]["clean"].tolist() == [False, True]
    assert found["test"]["clean"].tolist() == [True, False, True, True]
    assert sorted(pairs(actions)) == [
        ("test/1", "near", "train/1"),
        ("validation/0", "normalised", "train/0"),
    ]
    assert set(actions["action"]) == {"marked"}


def test_a_row_that_repeats_validation_and_train_is_marked(grouped):
    given = grouped(train=[("A", "x")], validation=[("a", "x")], test=[("a", "x")])
    assert not leakage.mark(given)[0]["test"]["clean"].any()


def test_a_refusal_is_one_line_with_counts_and_a_pair(grouped):
    given = grouped(train=[("a", "x"), ("B", "x"), ("c", "y")], test=[("a", "x"), ("b", "x")])
    with pytest.raises(InputError) as error:
        leakage.refuse_straddling(given)
    assert str(error.value) == (
        "2 rows have a duplicate in a split that matters more (1 exact, 1 normalised; the first: "
        "train/0 in train, test/0 in test): mend the data, or set `leakage` to drop, group or warn"
    )


def test_splits_that_share_nothing_are_not_refused(grouped):
    leakage.refuse_straddling(grouped(train=[("a", "x"), ("a", "x")], test=[("b", "x")]))


def test_the_summary_counts_rows_by_kind_and_place(grouped):
    given = grouped(
        train=[("a", "x"), ("a", "x"), (LONG, "x")], test=[("a", "x"), ("A", "x"), (NEAR, "x")]
    )
    assert leakage.summary(given) == {
        "exact": {"within": {"test": 0, "train": 1}, "across": {"test in train": 1}},
        "normalised": {"within": {"test": 1, "train": 1}, "across": {"test in train": 2}},
        "near": {"within": {"test": 1, "train": 1}, "across": {"test in train": 3}},
    }


def test_rows_keep_their_index_and_their_order(grouped):
    rows = grouped(None, train=[("a", "x"), ("b", "x"), ("A", "x"), ("c", "y")])
    rows["train"].index = pd.Index([9, 2, 5, 7])
    found, _ = leakage.drop_repeated(rows)
    assert list(found["train"].index) == [9, 2, 7]


def authored(grouped):
    return grouped(
        train=[("a", "x", "ann"), ("b", "x", "bob"), ("c", "y", "cid")],
        test=[("d", "x", "bob"), ("e", "y", "dan")],
    )


def test_rows_of_a_group_do_not_straddle_splits(grouped):
    found, actions = leakage.drop_straddling(authored(grouped))
    assert ids(found) == {"train": ["train/0", "train/2"], "test": ["test/0", "test/1"]}
    assert pairs(actions) == [("train/1", "group", "test/0")]
    marked, _ = leakage.mark(authored(grouped))
    assert marked["test"]["clean"].tolist() == [False, True]
    with pytest.raises(
        InputError, match=r"\(1 group; the first: train/1 in train, test/0 in test\)"
    ):
        leakage.refuse_straddling(authored(grouped))


def test_rows_of_a_group_are_no_duplicates(grouped):
    given = grouped(train=[("a", "x", "ann"), ("b", "x", "ann")])
    assert leakage.drop_repeated(given)[1].empty


def test_the_summary_counts_groups(grouped):
    found = leakage.summary(authored(grouped))["group"]
    assert found == {"within": {"test": 0, "train": 0}, "across": {"test in train": 1}}


def blocks(given: corpus.Tables, policy: str) -> list[set[str]]:
    rows = leakage.with_blocks(given, policy)["train"]
    return [set(found["id"]) for _, found in rows.groupby("block", sort=False)]


def test_blocks_are_what_groups_and_duplicates_link(grouped):
    given = grouped(
        train=[(LONG, "x", "ann"), (NEAR, "x", "bob"), ("b", "y", "bob"), ("c", "y", "cid")]
    )
    assert blocks(given, "group") == [{"train/0", "train/1", "train/2"}, {"train/3"}]
    assert blocks(given, "drop") == [{"train/0"}, {"train/1", "train/2"}, {"train/3"}]


def test_duplicates_are_blocks_only_where_the_policy_is_to_group_them(grouped):
    given = grouped(train=[(LONG, "x"), (NEAR, "x"), ("b", "y")])
    assert blocks(given, "group") == [{"train/0", "train/1"}, {"train/2"}]
    assert "block" not in leakage.with_blocks(given, "drop")["train"]

"""Labels and splits: nothing is lost silently, nothing stands in two splits."""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence

import pandas as pd
import pytest

from common import splits
from common.cli import InputError


def table(rows: Sequence[tuple[str, object]], split: str = "train") -> pd.DataFrame:
    numbered = [(f"{split}/{number}", *row) for number, row in enumerate(rows)]
    return pd.DataFrame(numbered, columns=["id", "text", "label"])


def ids(found: splits.Tables) -> dict[str, list[str]]:
    return {split: list(rows["id"]) for split, rows in found.items()}


@pytest.fixture
def numbered(make_rows) -> Callable[..., splits.Tables]:
    """Make a train table with class numbers, one spam row in four."""

    def make(count: int = 80) -> splits.Tables:
        rows = [(text, int(number % 4 == 0)) for number, (text, _) in enumerate(make_rows(count))]
        return {"train": table(rows)}

    return make


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        (["spam", "ham"], None, ["ham", "spam"]),
        (["10", "9", "1"], None, ["1", "9", "10"]),
        (["b", "2", "nan", "inf"], None, ["2", "b", "inf", "nan"]),
        (["spam", "ham"], ["spam", "ham"], ["spam", "ham"]),
        (["0", "1"], ["neg", "pos"], ["neg", "pos"]),
        (["1", "0"], ["1", "0"], ["1", "0"]),
    ],
)
def test_class_names_and_their_order(labels, names, expected):
    given = {"train": table([(str(number), label) for number, label in enumerate(labels)])}
    assert splits.encode_labels(given, names)[1] == expected


def test_the_order_of_names_does_not_depend_on_that_of_the_rows():
    labels = ["10", "9", "nan", "inf", "1a"]  # a NaN sorts anywhere
    for order in itertools.permutations(labels):
        assert sorted(order, key=splits.as_number) == ["9", "10", "1a", "inf", "nan"]


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        (["ham", "spam"], None, [0, 1]),
        (["ham", "spam"], ["spam", "ham"], [1, 0]),
        (["1", "0"], ["neg", "pos"], [1, 0]),
        (["1", "0"], ["1", "0"], [0, 1]),
    ],
)
def test_class_numbers(labels, names, expected):
    given = {"train": table([(str(number), label) for number, label in enumerate(labels)])}
    assert list(splits.encode_labels(given, names)[0]["train"]["label"]) == expected


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        (["ham", "ham"], None, "the label column holds one class, ['ham']"),
        ([], None, "the label column holds one class, []"),
        (["ham", "eggs"], ["ham", "spam"], "labels without a name: 'eggs'; add them to `labels`"),
        (["1", "2"], ["neg", "pos"], "labels without a name: '2'; add them to `labels`"),
        (["ham", "spam"], ["ham", "spam", "ham"], "`labels` names 'ham' twice"),
    ],
)
def test_labels_that_make_no_classes_are_refused(labels, names, expected):
    given = {"train": table([(str(number), label) for number, label in enumerate(labels)])}
    with pytest.raises(InputError) as error:
        splits.encode_labels(given, names)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_not_given_is_carved_from_train(numbered):
    given = numbered(100)
    found = splits.split(given, test=0.2, validation=0.1, seed=0)
    assert {split: len(rows) for split, rows in found.items()} == {
        "train": 72,
        "validation": 8,  # a tenth of what test left
        "test": 20,
    }
    assert sorted(itertools.chain(*ids(found).values())) == sorted(given["train"]["id"])
    assert list(found) == ["train", "validation", "test"]


def test_sizes_of_1_and_more_are_counts(numbered):
    found = splits.split(numbered(100), test=12, validation=8.0, seed=0)
    assert (len(found["test"]), len(found["validation"])) == (12, 8)


def test_splits_are_stratified(numbered):
    for rows in splits.split(numbered(100), test=20, validation=16, seed=3).values():
        assert rows["label"].mean() == 0.25


def test_rows_keep_the_order_of_the_source(numbered):
    given = numbered()
    order = {row: place for place, row in enumerate(given["train"]["id"])}
    for rows in splits.split(given, test=0.2, validation=0.2, seed=0).values():
        places = [order[row] for row in rows["id"]]
        assert places == sorted(places)


def test_the_seed_draws(numbered):
    first, again, other = (ids(splits.split(numbered(), 0.2, 0.2, seed)) for seed in (0, 0, 1))
    assert first == again
    assert first["test"] != other["test"]


def test_given_splits_are_left_alone(numbered):
    given = {**numbered(), "test": table([("t", 0), ("u", 1)], "test")}
    found = splits.split(given, test=0.5, validation=0.1, seed=0)
    assert ids(found)["test"] == ["test/0", "test/1"]
    assert set(found["validation"]["id"]) < set(given["train"]["id"])
    given["validation"] = table([("v", 0), ("w", 1)], "validation")
    assert ids(splits.split(given, 0.5, 0.5, seed=0)) == ids(given)


def test_groups_are_not_divided(numbered):
    given = {"train": numbered(100)["train"].assign(topic=[number // 3 for number in range(100)])}
    found = splits.split(given, test=0.2, validation=0.1, seed=0, group="topic")
    topics = [set(rows["topic"]) for rows in found.values()]
    assert not any(one & other for one, other in itertools.combinations(topics, 2))
    assert sorted(itertools.chain(*ids(found).values())) == sorted(given["train"]["id"])
    assert abs(len(found["test"]) - 20) <= 3
    assert abs(len(found["validation"]) - 8) <= 3


def test_groups_of_one_row_are_drawn_by_the_seed_and_stratified(numbered):
    given = {"train": numbered(100)["train"].assign(topic=range(100))}
    first, again, other = (splits.split(given, 20, 8, seed, "topic") for seed in (0, 0, 1))
    assert ids(first) == ids(again)
    assert ids(first)["test"] != ids(other)["test"]
    assert first["test"]["label"].mean() == 0.25
    assert len(first["test"]) == 20


def test_a_group_too_large_for_test_stays_in_train(numbered):
    given = {"train": numbered(100)["train"].assign(topic=[min(n, 20) for n in range(100)])}
    found = splits.split(given, 10, 6, 0, "topic")
    assert (found["train"]["topic"] == 20).sum() == 80


def test_one_group_cannot_be_split(numbered):
    with pytest.raises(InputError, match="change `test` or bring more rows"):
        splits.split({"train": numbered()["train"].assign(topic=1)}, 0.2, 0.1, 0, "topic")


@pytest.mark.parametrize("size", [1, 500, 79, 0.001])
def test_a_sample_without_a_row_of_each_class_is_refused(numbered, size):
    with pytest.raises(InputError) as error:
        splits.split(numbered(80), test=size, validation=0.1, seed=0)
    message = str(error.value)
    assert "for test out of 80, 20 of the smallest of 2 classes" in message
    assert "change `test` or bring more rows" in message
    assert "\n" not in message


def test_a_class_of_one_row_cannot_be_split():
    given = {"train": table([(str(number), int(number == 0)) for number in range(50)])}
    with pytest.raises(InputError, match="1 of the smallest of 2 classes"):
        splits.split(given, test=0.2, validation=0.1, seed=0)


def test_an_empty_table_cannot_be_split():
    with pytest.raises(InputError, match="out of 0, 0 of the smallest of 0 classes"):
        splits.split({"train": table([])}, test=0.2, validation=0.1, seed=0)


def test_a_subset_is_stratified_and_drawn_by_the_seed(numbered):
    whole = numbered(80)["train"]
    first, again, other = (splits.sample(whole, 40, seed, "train") for seed in (0, 0, 1))
    assert Counter(first["label"]) == {0: 30, 1: 10}
    assert list(first["id"]) == list(again["id"])
    assert list(first["id"]) != list(other["id"])


@pytest.mark.parametrize("rows", [None, 80, 1000])
def test_a_subset_of_all_rows_is_the_table(numbered, rows):
    whole = numbered(80)["train"]
    assert splits.sample(whole, rows, 0, "train").equals(whole)


def test_too_small_a_subset_names_its_key(numbered):
    with pytest.raises(InputError, match="change `train_rows` or bring more rows"):
        splits.sample(numbered(80)["train"], 1, 0, "train")


def test_the_hash_is_of_ids_texts_labels_and_their_order():
    rows = table([("a", 0), ("b", 1)])
    changed = [
        rows.assign(id=["x", "y"]),
        rows.assign(text=["a", "c"]),
        rows.assign(label=[1, 1]),
        rows.iloc[::-1],
        rows.iloc[:1],
    ]
    hashes = {splits.content_sha256(each) for each in [rows, *changed]}
    assert len(hashes) == 1 + len(changed)
    assert splits.content_sha256(rows.assign(other=1).set_index(rows.index + 7)) in hashes
    assert splits.content_sha256(rows) == splits.content_sha256(rows.copy())

"""Labels and splits: nothing is lost silently, nothing stands in two splits."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from common import task
from common.cli import InputError
from common.data import splits


def table(rows: Sequence[tuple[str, object]], split: str = "train") -> pd.DataFrame:
    numbered = [(f"{split}/{number}", *row) for number, row in enumerate(rows)]
    return pd.DataFrame(numbered, columns=["id", "text", "label"])


def ids(found: splits.Tables) -> dict[str, list[str]]:
    return {split: list(rows["id"]) for split, rows in found.items()}


def split(
    tables: splits.Tables, test: float, validation: float, seed: int = 0, method: str = "stratified"
) -> splits.Tables:
    return splits.split(tables, {"test": test, "validation": validation}, method, seed)


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
    assert task.encode_labels(given, names)[1] == expected


def test_the_order_of_names_does_not_depend_on_that_of_the_rows():
    labels = ["10", "9", "nan", "inf", "1a"]  # a NaN sorts anywhere
    for order in itertools.permutations(labels):
        assert sorted(order, key=task.as_number) == ["9", "10", "1a", "inf", "nan"]


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
    assert list(task.encode_labels(given, names)[0]["train"]["label"]) == expected


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
        task.encode_labels(given, names)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_not_given_is_carved_from_train(numbered):
    given = numbered(100)
    found = split(given, 0.2, 0.1)
    assert {split: len(rows) for split, rows in found.items()} == {
        "train": 72,
        "validation": 8,  # a tenth of what test left
        "test": 20,
    }
    assert sorted(itertools.chain(*ids(found).values())) == sorted(given["train"]["id"])
    assert list(found) == ["train", "validation", "test"]


def test_sizes_of_1_and_more_are_counts(numbered):
    found = split(numbered(100), 12, 8.0, 0)
    assert (len(found["test"]), len(found["validation"])) == (12, 8)


def test_splits_are_stratified(numbered):
    for rows in split(numbered(100), 20, 16, 3).values():
        assert rows["label"].mean() == 0.25


def test_rows_keep_the_order_of_the_source(numbered):
    given = numbered()
    order = {row: place for place, row in enumerate(given["train"]["id"])}
    for rows in split(given, 0.2, 0.2).values():
        places = [order[row] for row in rows["id"]]
        assert places == sorted(places)


def test_the_seed_draws(numbered):
    first, again, other = (ids(split(numbered(), 0.2, 0.2, seed)) for seed in (0, 0, 1))
    assert first == again
    assert first["test"] != other["test"]


def test_given_splits_are_left_alone(numbered):
    given = {**numbered(), "test": table([("t", 0), ("u", 1)], "test")}
    found = split(given, 0.5, 0.1)
    assert ids(found)["test"] == ["test/0", "test/1"]
    assert set(found["validation"]["id"]) < set(given["train"]["id"])
    given["validation"] = table([("v", 0), ("w", 1)], "validation")
    assert ids(split(given, 0.5, 0.5)) == ids(given)


def test_groups_are_not_divided(numbered):
    given = {"train": numbered(100)["train"].assign(block=[number // 3 for number in range(100)])}
    found = split(given, 0.2, 0.1)
    blocks = [set(rows["block"]) for rows in found.values()]
    assert not any(one & other for one, other in itertools.combinations(blocks, 2))
    assert sorted(itertools.chain(*ids(found).values())) == sorted(given["train"]["id"])
    assert abs(len(found["test"]) - 20) <= 3
    assert abs(len(found["validation"]) - 8) <= 3


def test_groups_of_one_row_are_drawn_by_the_seed_and_stratified(numbered):
    given = {"train": numbered(100)["train"].assign(block=range(100))}
    first, again, other = (split(given, 20, 8, seed) for seed in (0, 0, 1))
    assert ids(first) == ids(again)
    assert ids(first)["test"] != ids(other)["test"]
    assert first["test"]["label"].mean() == 0.25
    assert len(first["test"]) == 20


def test_a_group_too_large_for_test_stays_in_train(numbered):
    given = {"train": numbered(100)["train"].assign(block=[min(n, 20) for n in range(100)])}
    found = split(given, 10, 6)
    assert (found["train"]["block"] == 20).sum() == 80


def test_one_group_cannot_be_split(numbered):
    with pytest.raises(InputError, match="change `test` or bring more rows"):
        split({"train": numbered()["train"].assign(block=1)}, 0.2, 0.1)


@pytest.mark.parametrize("size", [1, 500, 79, 0.001])
def test_a_sample_without_a_row_of_each_class_is_refused(numbered, size):
    with pytest.raises(InputError) as error:
        split(numbered(80), size, 0.1, 0)
    message = str(error.value)
    assert "for test out of 80, 20 of the smallest of 2 classes" in message
    assert "change `test` or bring more rows" in message
    assert "\n" not in message


def test_a_class_of_one_row_cannot_be_split():
    given = {"train": table([(str(number), int(number == 0)) for number in range(50)])}
    with pytest.raises(InputError, match="1 of the smallest of 2 classes"):
        split(given, 0.2, 0.1)


def test_an_empty_table_cannot_be_split():
    with pytest.raises(InputError, match="out of 0, 0 of the smallest of 0 classes"):
        split({"train": table([])}, 0.2, 0.1)


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


def random_strata(rng: np.random.Generator) -> np.ndarray:
    """Return the classes of up to 40 rows, two to five of them, some of a single row."""
    counts = rng.integers(1, 9, rng.integers(2, 6))
    return rng.permutation(np.repeat(np.arange(len(counts)), counts))


def counts_of(strata: np.ndarray, positions: np.ndarray) -> np.ndarray:
    return np.bincount(strata[positions], minlength=strata.max() + 1)


@pytest.mark.parametrize("number", range(40))
def test_samples_of_all_sizes_are_nested_and_each_is_as_near_to_the_shares_as_can_be(number):
    """Compared with every other way to share n rows among the classes, each with a row."""
    strata = random_strata(np.random.default_rng(number))
    sizes = np.bincount(strata)
    before: set[int] = set()
    for rows in range(len(sizes), len(strata) + 1):
        found = splits.first_rows(strata, rows, number, "train_rows")
        assert before < set(found)
        assert list(found) == sorted(set(found))
        before = set(found)
        quotas = rows * sizes / len(strata)
        ways = itertools.product(*(range(1, size + 1) for size in sizes[:-1]))
        others = np.array([way for way in ways if 1 <= rows - sum(way) <= sizes[-1]])
        others = np.column_stack([others, rows - others.sum(axis=1)])
        distances = ((others - quotas) ** 2 / quotas).sum(axis=1)
        distance = ((counts_of(strata, found) - quotas) ** 2 / quotas).sum()
        assert distance == pytest.approx(distances.min())
    assert before == set(range(len(strata)))


@pytest.mark.parametrize("share", [0.5, 0.3, 0.13, 0.02])
def test_a_sample_of_two_classes_is_within_a_row_of_the_shares(share):
    strata = (np.arange(5000) < 5000 * share).astype(int)
    order = splits.stratified_order(strata, 0)
    drawn = np.cumsum(strata[order])
    rows = np.arange(1, 5001)
    quotas = rows * share
    assert (np.abs(drawn - quotas)[quotas >= 1] < 1).all()


def test_every_row_of_a_class_is_drawn_as_often():
    strata = np.array([0] * 8 + [1] * 4)
    times = np.zeros(12)
    for seed in range(3000):
        times[splits.first_rows(strata, 6, seed, "train_rows")] += 1
    assert times / 3000 == pytest.approx(np.full(12, 0.5), abs=0.04)


def test_of_even_classes_the_odd_row_is_of_either():
    strata = np.array([0, 1] * 10)
    found = {splits.first_rows(strata, 5, seed, "train_rows").tobytes() for seed in range(20)}
    odd = {tuple(counts_of(strata, np.frombuffer(each, dtype=np.int64))) for each in found}
    assert odd == {(2, 3), (3, 2)}


@pytest.fixture
def keyed() -> splits.Tables:
    """1,000 rows with keys, in blocks of two."""
    rows = table([(str(number), number % 2) for number in range(1000)])
    keys = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) for text in rows["text"]]
    return {"train": rows.assign(key=np.array(keys, dtype=np.uint64))}


def by_hash(tables: splits.Tables, seed: int = 0) -> dict[str, list[str]]:
    return ids(split(tables, 0.2, 0.25, seed, "hash"))


def test_a_hash_splits_by_shares(keyed):
    found = by_hash(keyed)
    assert {name: len(rows) for name, rows in found.items()} == {
        "train": pytest.approx(600, abs=50),
        "validation": pytest.approx(200, abs=40),
        "test": pytest.approx(200, abs=40),
    }
    assert sorted(itertools.chain(*found.values())) == sorted(keyed["train"]["id"])
    assert set(by_hash(keyed, seed=1)["test"]) != set(found["test"])


def test_a_row_keeps_its_split_when_rows_are_added(keyed):
    few = {"train": keyed["train"].iloc[::3]}
    before, after = by_hash(few), by_hash(keyed)
    assert all(set(before[name]) <= set(after[name]) for name in before)


def test_a_block_has_one_hash(keyed):
    blocks = {"train": keyed["train"].assign(block=[number // 2 for number in range(1000)])}
    for rows in split(blocks, 0.2, 0.25, 0, "hash").values():
        assert (rows.groupby("block").size() == 2).all()


def test_validation_is_drawn_apart_from_test(keyed):
    """Else the rows next to those of test would be those of validation, for every share."""
    half, _ = splits.carve(keyed["train"], 0.5, 0, "test")
    assert len(splits.carve(half, 0.5, 0, "validation")[0]) == pytest.approx(250, abs=50)


def test_a_hash_decides_by_shares_only(keyed):
    with pytest.raises(InputError, match="`test` is 100 rows, and a split by hash takes a share"):
        split(keyed, 100, 0.1, 0, "hash")


def test_the_hash_is_the_same_everywhere():
    """A value computed once: another would give the rows of every user other splits."""
    assert splits.drawn(1, 0, "test") == 18337248583410342843


def test_a_subset_may_divide_blocks(numbered):
    whole = numbered(80)["train"].assign(block=0)
    assert len(splits.sample(whole, 40, 0, "train")) == 40

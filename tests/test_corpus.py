"""Rows are taken in with their figures, and saved as they were, in bounded memory."""

from collections import Counter

import datasets
import numpy as np
import pandas as pd
import pytest

from common.cli import InputError
from common.data import corpus
from common.data.examples import Example

ROWS = [("see you", "ham"), ("WIN é!", "spam"), ("win é", "spam"), ("see you", "ham")]


def test_tables_hold_everything_but_the_texts(take_in):
    taken = take_in(train=ROWS, test=[("see\nyou", "ham")])
    train, test = taken.tables["train"], taken.tables["test"]
    assert train["id"].tolist() == ["train/0", "train/1", "train/2", "train/3"]
    assert train["label"].tolist() == ["ham", "spam", "spam", "ham"]
    assert train["characters"].tolist() == [7, 6, 5, 7]
    assert train["words"].tolist() == [2, 2, 2, 2]
    assert train["exact"].tolist() == [0, 1, 2, 0]
    assert train["normalised"].tolist() == [0, 1, 1, 0]
    assert [*test["place"], *test["normalised"]] == [4, 0]
    assert taken.texts.at(np.array([4, 1])) == [("see\nyou",), ("WIN é!",)]
    assert "text" not in train


def test_the_key_is_of_the_normalised_text_or_of_the_group(take_in):
    alone = take_in(train=ROWS[1:3]).tables["train"]["key"]
    assert alone[0] == alone[1]
    assert take_in(train=ROWS).tables["train"]["key"][1] == alone[0]
    grouped = take_in(train=[(*row, who) for row, who in zip(ROWS, "abab", strict=True)])
    assert grouped.tables["train"]["group"].tolist() == [0, 1, 0, 1]
    assert grouped.tables["train"]["key"].nunique() == 2


def test_batches_change_nothing(take_in, make_rows, monkeypatch):
    rows = [*make_rows(50), *make_rows(10)]
    whole = take_in(train=rows, test=make_rows(7))
    tables, texts = whole.tables, whole.texts.at(np.arange(67))
    monkeypatch.setattr(corpus, "BATCH_ROWS", 8)
    small = take_in(train=rows, test=make_rows(7))
    for split, table in small.tables.items():
        pd.testing.assert_frame_equal(table, tables[split])
    assert small.texts.at(np.arange(67)) == texts
    places = np.array([0, 7, 8, 9, 40, 66])
    chosen = [row["text"] for chunk in small.texts.chosen(places) for row in chunk.to_pylist()]
    assert chosen == [texts[place][0] for place in places]


def test_long_rows_make_small_batches(monkeypatch):
    monkeypatch.setattr(corpus, "BATCH_CHARACTERS", 10)
    rows = [Example(number, "1234", "a") for number in range(7)]
    assert [len(batch) for batch in corpus.batched(rows)] == [3, 3, 1]


@pytest.mark.full
def test_several_processes_give_the_same(make_rows, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "BATCH_ROWS", 16)
    rows = [Example(n, *row) for n, row in enumerate([*make_rows(150), *make_rows(90)])]
    found = [corpus.ingest({"train": rows}, tmp_path, 0.8, processes) for processes in (1, 2)]
    alone, helped = (taken.tables["train"] for taken in found)
    pd.testing.assert_frame_equal(alone, helped)


def test_what_is_odd_is_counted_by_split(tmp_path):
    rows = {
        "train": [Example(0, "caf\ufffd", "a", None, ("number",)), Example(1, "b", "a")],
        "test": [Example(0, "3", "a", None, ("number",))],
    }
    taken = corpus.ingest(rows, tmp_path, None, 1)
    assert taken.oddities["train"] == Counter({"replacement character": 1, "number": 1})
    assert taken.oddities["test"] == Counter({"number": 1})


def test_a_split_without_rows_is_refused(take_in):
    with pytest.raises(InputError, match="test has no row that can be used: mend its rows"):
        take_in(train=ROWS, test=[])


def saved(taken: corpus.Corpus, parts: corpus.Tables) -> tuple[datasets.DatasetDict, dict]:
    directory = taken.texts.file.parent
    hashes = corpus.save(parts, taken.texts, ["ham", "spam"], directory)
    return datasets.load_from_disk(directory), hashes


def test_splits_are_saved_with_their_texts(take_in):
    taken = take_in(train=ROWS, test=[("see\nyou", "ham")])
    numbered = {s: t.assign(label=(t["label"] == "spam") * 1) for s, t in taken.tables.items()}
    parts = {"train": numbered["train"].iloc[[1, 3]], "test": numbered["test"]}
    found, hashes = saved(taken, parts)
    assert found["train"][:] == {
        "id": ["train/1", "train/3"],
        "text": ["WIN é!", "see you"],
        "label": [1, 0],
    }
    assert found["test"]["text"][:] == ["see\nyou"]
    assert found["train"].features["label"].names == ["ham", "spam"]
    assert len(set(hashes.values())) == 2
    assert not list(taken.texts.file.parent.glob("*.arrow"))


@pytest.mark.parametrize(
    "change", [{"id": ["a", "b"]}, {"label": [1, 1]}, {"place": [2, 3]}, {"clean": [True, False]}]
)
def test_the_hash_is_of_ids_texts_and_labels(take_in, change):
    rows = take_in(train=ROWS).tables["train"].assign(label=[0, 1, 1, 0]).iloc[:2]
    first, changed = (
        saved(take_in(train=ROWS), {"train": part})[1]["train"]
        for part in (rows, rows.assign(**change))
    )
    assert (first == changed) == ("clean" in change)

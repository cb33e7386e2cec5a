"""Rows are read from every kind of file, exactly as they are, or refused in one line."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from common import tables
from common.cli import InputError
from common.tables import Layout

TWO_ROWS = [("train/0", "hello, you", "ham"), ("train/1", 'win "cash"', "spam")]
FRAME = pd.DataFrame([row[1:] for row in TWO_ROWS], columns=["text", "label"])


def rows(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    return list(table.itertuples(index=False, name=None))


def read(path: Path, **layout: Any) -> dict[str, list[tuple[str, str, str]]]:
    """The rows (id, text, label) of each split."""
    return {
        split: rows(table) for split, table in tables.read_source(path, Layout(**layout)).items()
    }


def text_file(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode(encoding))
    return path


def refusal(path: Path, **layout: Any) -> str:
    with pytest.raises(InputError) as error:
        read(path, **layout)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    return str(error.value)


WRITERS = {
    ".csv": lambda path: FRAME.to_csv(path, index=False),
    ".tsv": lambda path: FRAME.to_csv(path, index=False, sep="\t"),
    ".jsonl": lambda path: FRAME.to_json(path, orient="records", lines=True),
    ".parquet": lambda path: FRAME.to_parquet(path),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_file_of_each_type_is_all_train(tmp_path, suffix):
    WRITERS[suffix](tmp_path / f"rows{suffix}")
    assert read(tmp_path / f"rows{suffix}") == {"train": TWO_ROWS}


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_directory_of_files_has_their_splits(tmp_path, suffix):
    for name in ("train", "test", "notes"):
        WRITERS[suffix](tmp_path / f"{name}{suffix}")
    found = read(tmp_path)
    assert set(found) == {"train", "test"}
    assert found["test"] == [(f"test/{i}", *row[1:]) for i, row in enumerate(TWO_ROWS)]


def test_every_type_is_written_here():
    assert set(WRITERS) == set(tables.SUFFIXES)


def test_columns_have_any_name(tmp_path):
    path = text_file(tmp_path / "a.csv", "v1,id,v2\nham,9,hello\n")
    assert read(path, text="v2", label="v1") == {"train": [("train/0", "hello", "ham")]}


@pytest.mark.parametrize(
    ("name", "head", "line"),
    [
        ("a.csv", "text,label\n", "{},x\n"),
        ("a.tsv", "text\tlabel\n", "{}\tx\n"),
        ("a.jsonl", "", '{{"text": "{}", "label": "x"}}\n'),
    ],
)
@pytest.mark.parametrize(
    "texts", [["007", "1.0"], ["1e3", "nan", "NA", "None", "true", " padded "]]
)
def test_texts_stay_the_strings_they_are(tmp_path, name, head, line, texts):
    path = text_file(tmp_path / name, head + "".join(line.format(text) for text in texts))
    assert [text for _, text, _ in read(path)["train"]] == texts


def test_a_text_spans_lines_inside_quotes(tmp_path):
    path = text_file(tmp_path / "a.csv", 'text,label\n"two\nlines",ham\nb,spam\n')
    assert read(path)["train"] == [("train/0", "two\nlines", "ham"), ("train/1", "b", "spam")]


def test_a_byte_order_mark_is_no_part_of_the_column(tmp_path):
    path = text_file(tmp_path / "a.csv", "text,label\na,b\n", encoding="utf-8-sig")
    assert read(path)["train"] == [("train/0", "a", "b")]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", "text,label\ncafé £5,ham\n"), ("a.jsonl", '{"text": "café £5", "label": "ham"}\n')],
)
def test_another_encoding(tmp_path, name, content):
    path = text_file(tmp_path / name, content, encoding="latin-1")
    assert read(path, encoding="latin-1")["train"] == [("train/0", "café £5", "ham")]
    message = refusal(path)
    assert "is not utf-8 (byte 0xe9): set `encoding`, for example to latin-1" in message


def test_an_unknown_encoding_is_named(tmp_path):
    path = text_file(tmp_path / "a.csv", "text,label\na,b\n")
    assert "no encoding 'latin-one'; set `encoding`" in refusal(path, encoding="latin-one")


def test_another_delimiter(tmp_path):
    path = text_file(tmp_path / "a.csv", "text;label\na, b;ham\n")
    assert read(path, delimiter=";")["train"] == [("train/0", "a, b", "ham")]


def test_ids_are_row_numbers_of_the_source_whatever_the_filter(tmp_path):
    path = text_file(tmp_path / "a.csv", "text,label,kind\na,x,1\nb,x,2\nc,y,1\nd,y,1\n")
    found = read(path, filters=["kind=1"])["train"]
    assert found == [("train/0", "a", "x"), ("train/2", "c", "y"), ("train/3", "d", "y")]
    assert read(path, filters=["kind=1", "label=y"])["train"] == found[1:]


def test_a_filter_compares_numbers_as_they_are_written(tmp_path):
    frame = pd.DataFrame({"text": ["a", "b"], "label": ["x", "y"], "kind": [1, None]})
    frame.to_parquet(tmp_path / "a.parquet")  # the column is 1.0 and NaN
    assert read(tmp_path / "a.parquet", filters=["kind=1"])["train"] == [("train/0", "a", "x")]


def test_ids_do_not_follow_an_index_stored_in_parquet(tmp_path):
    FRAME.set_index(pd.Index([7, 7])).to_parquet(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == {"train": TWO_ROWS}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1], ["0", "1"]),
        ([0.0, 1.0], ["0", "1"]),
        ([0.5, 1.0], ["0.5", "1"]),
        ([True, False], ["True", "False"]),
        ([None, "a"], ["", "a"]),
        ([None, 1.0], ["", "1"]),
        ([" a ", "b"], ["a", "b"]),
        (pd.array([1, None], dtype="Int64"), ["1", ""]),
        (pd.Series([1, 2], dtype="float32"), ["1", "2"]),
        (pd.Categorical(["a", None]), ["a", ""]),
    ],
)
def test_labels_become_plain_strings(tmp_path, values, expected):
    frame = pd.DataFrame({"text": ["a", "b"], "label": values})
    frame.to_parquet(tmp_path / "a.parquet")
    assert [label for *_, label in read(tmp_path / "a.parquet")["train"]] == expected


def test_a_key_that_a_json_line_lacks_is_empty(tmp_path):
    path = text_file(tmp_path / "a.jsonl", '{"text": "a", "label": 1}\n{"text": "b"}\n')
    assert read(path)["train"] == [("train/0", "a", "1"), ("train/1", "b", "")]


def save_arrow(path: Path, names: tuple[str, ...] = ("train", "test")) -> Path:
    """Three rows per split; the last has no label, as test sets on the hub."""
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    )
    content = {"text": ["a", "b", "c"], "label": [1, 0, -1]}
    split = datasets.Dataset.from_dict(content, features=features)
    (datasets.DatasetDict(dict.fromkeys(names, split)) if names else split).save_to_disk(path)
    return path


def test_saved_arrow_brings_class_names(tmp_path):
    found = read(save_arrow(tmp_path / "saved", ("train", "test", "unsupervised")))
    expected = {
        split: [(f"{split}/0", "a", "pos"), (f"{split}/1", "b", "neg"), (f"{split}/2", "c", "")]
        for split in ("train", "test")
    }
    assert found == expected


@pytest.mark.parametrize("arrow", [True, False])
def test_the_record_of_the_source_is_no_split(tmp_path, arrow):
    if arrow:
        save_arrow(tmp_path / "saved")
    else:
        text_file(tmp_path / "saved" / "train.csv", "text,label\na,1\n")
    before = read(tmp_path / "saved")
    (tmp_path / "saved" / "source.json").write_text('{"kind": "hub", "name": "org/mail"}')
    assert read(tmp_path / "saved") == before


def test_a_saved_dataset_without_splits_is_all_train(tmp_path):
    assert list(read(save_arrow(tmp_path / "saved", ()))) == ["train"]


def test_a_saved_dataset_can_be_filtered_by_class_name(tmp_path):
    path = save_arrow(tmp_path / "saved", ())
    assert read(path, filters=["label=pos"]) == {"train": [("train/0", "a", "pos")]}


def test_a_saved_dataset_without_train_is_refused(tmp_path):
    message = refusal(save_arrow(tmp_path / "saved", ("test", "dev")))
    assert "has no split train, only test, dev: save one under that name" in message


def test_half_a_saved_dataset_is_refused(tmp_path):
    path = save_arrow(tmp_path / "saved")
    (path / "test" / "state.json").unlink()
    assert "is no whole saved dataset" in refusal(path)


@pytest.mark.parametrize("column", ["text", "label", "kind"])
def test_a_missing_column_is_named_with_those_there(tmp_path, column):
    path = text_file(tmp_path / "a.csv", "body,class\na,b\n")
    have = {"text": "body", "label": "class"} | ({column: column} if column != "kind" else {})
    key = "filter" if column == "kind" else column
    message = refusal(path, **have, filters=["kind=1"] if column == "kind" else [])
    assert f"has no column {column!r}: set `{key}` to one of 'body', 'class'" in message


def test_a_missing_file_is_named(tmp_path):
    assert "does not exist: set `path` to the data" in refusal(tmp_path / "nowhere.csv")


def test_a_file_without_permission_is_named(tmp_path, monkeypatch):
    def forbid(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    # Root may read every file: the refusal is played.
    monkeypatch.setattr(tables, "open", forbid, raising=False)
    path = text_file(tmp_path / "a.csv", "text,label\na,b\n")
    assert "cannot be read: permission denied; allow reading it" in refusal(path)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "", "cannot be read as csv: No columns to parse from file; mend the file"),
        ("a.csv", "text,label\n", "has no rows: bring some"),
        ("a.csv", "text,label\na,b\nc,d,e\n", "cannot be read as csv: Error tokenizing data"),
        ("a.csv", "text,label\na,b,c\nd,e,f\n", "more columns than the header; quote what holds"),
        ("a.csv", 'text,label\n"a,b\n', "cannot be read as csv: Error tokenizing data"),
        ("a.jsonl", "", "has no rows: bring some"),
        ("a.jsonl", '{"text": "a"\n', "cannot be read as jsonl: "),
        ("a.parquet", "no parquet", "cannot be read as parquet: "),
        ("a.xlsx", "x", "files of type '.xlsx' are not read; use .csv, .tsv, .jsonl, .parquet"),
        ("rows", "x", "files of type '' are not read"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path, name, content, expected):
    assert expected in refusal(text_file(tmp_path / name, content))


def test_a_filter_that_matches_nothing_is_named(tmp_path):
    path = text_file(tmp_path / "a.csv", "text,label,kind\na,x,1\n")
    message = refusal(path, filters=["kind=2"])
    assert "has no row with kind=2: set `filter` to a value of column 'kind'" in message


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], "holds no train{.csv,.tsv,.jsonl,.parquet} and no saved dataset: name the files"),
        (["test.csv"], "holds no train{.csv,"),
        (["train.csv", "train.tsv"], "several files of one split (train.csv, train.tsv): keep one"),
    ],
)
def test_a_directory_must_tell_its_splits(tmp_path, names, expected):
    for name in names:
        text_file(tmp_path / "data" / name, "text,label\na,b\n")
    (tmp_path / "data").mkdir(exist_ok=True)
    assert expected in refusal(tmp_path / "data")

"""A source is a file, a directory of files named by split, or a saved dataset; or it is refused."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from common.cli import InputError
from common.data import reading, sources
from common.data.reading import BadRow, CsvOptions, Row

KEYS = {"text": ["text"], "label": ["label"]}
TWO_ROWS = [("hello, you", "ham"), ('win "cash"', "spam")]
FRAME = pd.DataFrame(TWO_ROWS, columns=["text", "label"])
WRITERS = {
    ".csv": lambda path: FRAME.to_csv(path, index=False),
    ".tsv": lambda path: FRAME.to_csv(path, index=False, sep="\t"),
    ".jsonl": lambda path: FRAME.to_json(path, orient="records", lines=True),
    ".parquet": lambda path: FRAME.to_parquet(path),
}


def read(path: Path, keys=KEYS, **layout: Any) -> dict[str, list[tuple]]:
    """Return the values of each row by split."""
    found = sources.read(path, keys, CsvOptions(**layout))
    assert [stream.split for stream in found.values()] == list(found)
    read = {split: list(stream) for split, stream in found.items()}
    assert not any(isinstance(row, BadRow) for part in read.values() for row in part)
    return {
        split: [tuple(row.fields.values()) for row in part if isinstance(row, Row)]
        for split, part in read.items()
    }


def write(path: Path, content: str = "text,label\na,b\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def refusal(path: Path, **more: Any) -> str:
    with pytest.raises(InputError) as error:
        read(path, **more)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_file_of_each_type_is_all_train(tmp_path, suffix):
    path = tmp_path / f"rows{suffix}"
    WRITERS[suffix](path)
    assert read(path) == {"train": TWO_ROWS}
    assert sources.read(path, KEYS, CsvOptions())["train"].where == str(path)


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_directory_of_files_has_their_splits(tmp_path, suffix):
    for name in ("train", "test", "notes"):
        WRITERS[suffix](tmp_path / f"{name}{suffix}")
    (tmp_path / f"train{suffix}").rename(tmp_path / f"train{suffix.upper()}")
    assert read(tmp_path) == {"test": TWO_ROWS, "train": TWO_ROWS}
    found = sources.read(tmp_path, KEYS, CsvOptions())
    assert found["test"].where == str(tmp_path / f"test{suffix}")


def test_every_type_is_written_here():
    assert set(WRITERS) == set(sources.SUFFIXES)


def save_arrow(path: Path, names: tuple[str, ...] = ("train", "test"), labels=(1, 0, -1)) -> Path:
    """Rows a, b, ... per split; a label of -1 is none, as in test sets on the hub."""
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    )
    content = {"text": [*"abc"[: len(labels)]], "label": [*labels]}
    split = datasets.Dataset.from_dict(content, features=features)
    (datasets.DatasetDict(dict.fromkeys(names, split)) if names else split).save_to_disk(path)
    return path


def test_saved_arrow_brings_class_names(tmp_path, monkeypatch):
    from common.data import reading

    monkeypatch.setattr(reading, "BATCH_ROWS", 2)
    path = save_arrow(tmp_path / "saved", ("train", "test", "unsupervised"))
    three = [("a", "pos"), ("b", "neg"), ("c", None)]
    assert read(path) == {"train": three, "test": three}
    found = sources.read(path, KEYS, CsvOptions())["test"]
    assert (found.where, found.unit) == (f"{path}/test", "row")
    assert [row.line for row in found] == [1, 2, 3]


def test_a_missing_class_number_has_no_name(tmp_path):
    assert read(save_arrow(tmp_path / "saved", (), (None, 1)))["train"] == [
        ("a", None),
        ("b", "pos"),
    ]


@pytest.mark.parametrize("arrow", [True, False])
def test_the_record_of_the_source_is_no_split(tmp_path, arrow):
    if arrow:
        save_arrow(tmp_path / "saved")
    else:
        write(tmp_path / "saved" / "train.csv")
    before = read(tmp_path / "saved")
    (tmp_path / "saved" / "source.json").write_text('{"kind": "hub", "name": "org/mail"}')
    assert read(tmp_path / "saved") == before


def test_a_saved_dataset_without_splits_is_all_train(tmp_path):
    assert list(read(save_arrow(tmp_path / "saved", ()))) == ["train"]


def test_a_saved_dataset_without_train_is_refused(tmp_path):
    message = refusal(save_arrow(tmp_path / "saved", ("test", "more")))
    assert "has no split train, only test, more: save one under that name" in message


@pytest.mark.parametrize("content", [None, "{}", "no JSON", "[]"])
def test_half_a_saved_dataset_is_refused(tmp_path, content):
    path = save_arrow(tmp_path / "saved")
    (path / "test" / "state.json").unlink()
    if content is not None:
        (path / "test" / "state.json").write_text(content)
    assert "is no whole saved dataset" in refusal(path)


def test_a_saved_dataset_whose_rows_are_cut_off_is_refused(tmp_path):
    path = save_arrow(tmp_path / "saved")
    (arrow,) = (path / "train").glob("*.arrow")
    arrow.write_bytes(arrow.read_bytes()[:-200])
    assert "is no whole saved dataset" in refusal(path)


@pytest.mark.parametrize("column", ["text", "label", "kind"])
@pytest.mark.parametrize("saved", [True, False])
def test_a_missing_column_is_named_with_those_there(tmp_path, column, saved):
    path = save_arrow(tmp_path / "a", ()) if saved else write(tmp_path / "a.csv")
    keys = KEYS | {"filter": ["kind"]} if column == "kind" else {column: ["body"]}
    key, name = ("filter", "kind") if column == "kind" else (column, "body")
    message = refusal(path, keys=keys)
    assert f"has no column {name!r}: set `{key}` to one of 'text', 'label'" in message


def test_a_missing_file_is_named(tmp_path):
    assert "does not exist: set `path` to the data" in refusal(tmp_path / "nowhere.csv")


@pytest.mark.parametrize("method", ["open", "iterdir"])
def test_a_place_without_permission_is_named(tmp_path, monkeypatch, method):
    def forbid(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    # Root may read every file: the refusal is played.
    if method == "open":
        monkeypatch.setattr(reading, "open", forbid, raising=False)
    else:
        monkeypatch.setattr(Path, "iterdir", forbid)
    path = write(tmp_path / "a.csv") if method == "open" else tmp_path
    assert "cannot be read: permission denied; allow reading it" in refusal(path)


def test_a_place_that_is_no_file_and_no_directory_is_refused():
    assert "neither a file nor a directory" in refusal(Path("/dev/null"))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], "holds no train{.csv,.tsv,.jsonl,.parquet} and no saved dataset: name the files"),
        (["test.csv"], "holds no train{.csv,"),
        (["train.txt"], "holds no train{.csv,"),
        (["train.csv", "train.tsv"], "several files of one split (train.csv, train.tsv): keep one"),
        (["train.csv/rows"], "train.csv cannot be read (Is a directory): name a file that can be"),
    ],
)
def test_a_directory_must_tell_its_splits(tmp_path, names, expected):
    (tmp_path / "data").mkdir()
    for name in names:
        write(tmp_path / "data" / name)
    assert expected in refusal(tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.xlsx", "files of type '.xlsx' are not read; use .csv, .tsv, .jsonl, .parquet"),
        ("a.txt", "files of type '.txt' are not read"),
        ("rows", "files of type '' are not read"),
    ],
)
def test_files_of_other_types_are_refused(tmp_path, name, expected):
    assert expected in refusal(write(tmp_path / name))


def test_another_encoding_and_delimiter(tmp_path):
    (tmp_path / "a.csv").write_bytes("text;label\ncafé, £5;ham\n".encode("latin-1"))
    found = read(tmp_path / "a.csv", encoding="latin-1", delimiter=";")
    assert found == {"train": [("café, £5", "ham")]}


@pytest.mark.parametrize("name", ["dev", "val", "valid", "validation_matched", "Testing"])
def test_a_split_under_another_name_is_refused(tmp_path, name):
    write(tmp_path / "files" / "train.csv")
    write(tmp_path / "files" / f"{name}.csv")
    meant = "test" if name == "Testing" else "validation"
    for path in (tmp_path / "files", save_arrow(tmp_path / "saved", ("train", name))):
        assert f"has a split {name!r}, which is none of train" in refusal(path)
        assert f"rename it to {meant}, or take it away" in refusal(path)


def test_files_that_are_no_splits_are_told_of(tmp_path, caplog):
    write(tmp_path / "train.csv")
    write(tmp_path / "glossary.csv")
    assert list(read(tmp_path)) == ["train"]
    assert "'glossary' is no split, and is not read" in caplog.text


def test_each_file_of_tabs_is_looked_at_once_for_its_quotes(tmp_path, monkeypatch):
    looked: list[str] = []
    evidence = reading.evidence

    def look(path: Path, layout: CsvOptions):
        looked.append(path.name)
        return evidence(path, layout)

    monkeypatch.setattr(reading, "evidence", look)
    for name in ("train.tsv", "test.tsv", "validation.csv"):
        sign = "," if name.endswith(".csv") else "\t"
        write(tmp_path / name, f"text{sign}label\na{sign}b\n")
    assert len(read(tmp_path)) == 3
    assert sorted(looked) == ["test.tsv", "train.tsv"]

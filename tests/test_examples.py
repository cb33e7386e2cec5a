"""Rows become examples with the text that was written, or a bad row that says why not."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from common.cli import InputError
from common.data import examples
from common.data.examples import Columns, Example
from common.data.reading import BadRow, CsvOptions


def read(path: Path, content: str | None = None, **columns: Any) -> list[Example | BadRow]:
    """Return the examples of train."""
    if content is not None:
        path.write_text(content)
    return list(examples.read(path, Columns(**columns), CsvOptions())["train"])


def pairs(found: list[Example | BadRow]) -> list[tuple[int, str, str]]:
    return [row[:3] for row in found if isinstance(row, Example)]


def problems(found: list[Example | BadRow]) -> list[tuple[int, str | None, str]]:
    return [row[:3] for row in found if isinstance(row, BadRow)]


@pytest.mark.parametrize(
    ("name", "head", "line"),
    [
        ("a.csv", "text,label\n", "{},x\n"),
        ("a.tsv", "text\tlabel\n", "{}\tx\n"),
        ("a.jsonl", "", '{{"text": "{}", "label": "x"}}\n'),
    ],
)
def test_texts_stay_the_strings_they_are(tmp_path, name, head, line):
    texts = ["007", "1.0", "1e3", "nan", "NA", "None", "true", " padded "]
    found = read(tmp_path / name, head + "".join(line.format(text) for text in texts))
    assert pairs(found) == [(number, text, "x") for number, text in enumerate(texts)]
    assert not any(row.oddities for row in found)  # type: ignore[union-attr]


def test_columns_have_any_name(tmp_path):
    found = read(tmp_path / "a.csv", "v1,id,v2\nham,9,hello\n", text=["v2"], label="v1")
    assert found == [Example(0, "hello", "ham")]


def test_a_text_spans_lines_inside_quotes(tmp_path):
    found = read(tmp_path / "a.csv", 'text,label\n"two\nlines",ham\nb,spam\n')
    assert pairs(found) == [(0, "two\nlines", "ham"), (1, "b", "spam")]


def test_numbers_count_every_row_of_the_source(tmp_path):
    content = "text,label,kind\na,x,1\nb,x,2\n,y,1\nc,y\nd,y,1\n"
    found = read(tmp_path / "a.csv", content, filters=["kind=1"])
    assert pairs(found) == [(0, "a", "x"), (4, "d", "y")]
    assert problems(found) == [(4, "text", "empty"), (5, None, "2 fields under 3 columns")]
    assert pairs(read(tmp_path / "a.csv", filters=["kind=1", "label=y"])) == [(4, "d", "y")]


def test_a_filter_compares_numbers_as_they_are_written(tmp_path):
    frame = pd.DataFrame({"text": ["a", "b"], "label": ["x", "y"], "kind": [1, None]})
    frame.to_parquet(tmp_path / "a.parquet")  # the column is 1.0 and NaN
    assert pairs(read(tmp_path / "a.parquet", filters=["kind=1"])) == [(0, "a", "x")]


def test_a_json_line_without_the_column_of_a_filter_does_not_meet_it(tmp_path):
    content = '{"version": 1}\n{"text": "a", "label": "x", "kind": 1}\n'
    assert read(tmp_path / "a.jsonl", content, filters=["kind=1"]) == [Example(1, "a", "x")]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1], ["0", "1"]),
        ([0.0, 1.0], ["0", "1"]),
        ([0.5, 1.0], ["0.5", "1"]),
        ([True, False], ["True", "False"]),
        ([None, "a"], [None, "a"]),
        ([None, 1.0], [None, "1"]),
        ([" a ", "b"], ["a", "b"]),
        (pd.array([1, None], dtype="Int64"), ["1", None]),
        (pd.Series([1, 2], dtype="float32"), ["1", "2"]),
        (pd.Categorical(["a", None]), ["a", None]),
    ],
)
def test_labels_become_plain_strings(tmp_path, values, expected):
    frame = pd.DataFrame({"text": ["a", "b"], "label": values})
    frame.to_parquet(tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet")
    assert [row.label if isinstance(row, Example) else None for row in found] == expected
    assert all(row == BadRow(row.line, "label", "empty")
               for row in found if isinstance(row, BadRow))  # fmt: skip


def test_oddities_are_told(tmp_path):
    content = '{"text": 3.0, "label": 1}\n{"text": "b", "label": " x\\t"}\n'
    assert read(tmp_path / "a.jsonl", content) == [
        Example(0, "3", "1", None, ("non-string text",)),
        Example(1, "b", "x", None, ("label with blanks around it",)),
    ]


@pytest.mark.parametrize("value", ['""', '" "', "null", "NaN"])
@pytest.mark.parametrize("column", ["text", "label", "author"])
def test_what_is_empty_is_bad(tmp_path, column, value):
    row = {"text": '"a"', "label": '"x"', "author": '"me"'} | {column: value}
    line = "{" + ", ".join(f'"{name}": {given}' for name, given in row.items()) + "}"
    found = read(tmp_path / "a.jsonl", line, group="author")
    assert found == [BadRow(1, column, "empty")]


@pytest.mark.parametrize("value", ['["a"]', '{"a": 1}', "true"])
def test_what_is_no_text_is_bad(tmp_path, value):
    found = read(tmp_path / "a.jsonl", f'{{"text": {value}, "label": "x"}}')
    assert found == [BadRow(1, "text", "neither text nor number")]


def test_bytes_are_no_text(tmp_path):
    pd.DataFrame({"text": [b"a"], "label": ["x"]}).to_parquet(tmp_path / "a.parquet")
    assert problems(read(tmp_path / "a.parquet")) == [(1, "text", "neither text nor number")]


def test_a_key_that_a_json_line_lacks_is_missing(tmp_path):
    found = read(tmp_path / "a.jsonl", '{"text": "a", "label": 1}\n{"text": "b"}\n')
    assert found[1] == BadRow(2, "label", "missing", "set `label` to one of 'text'")


def test_a_group_is_text(tmp_path):
    found = read(tmp_path / "a.jsonl", '{"text": "a", "label": "x", "n": 7.0}', group="n")
    assert found == [Example(0, "a", "x", "7")]


def test_a_saved_dataset_can_be_filtered_by_class_name(tmp_path):
    import datasets

    names = datasets.ClassLabel(names=["neg", "pos"])
    features = datasets.Features({"text": datasets.Value("string"), "label": names})
    content = {"text": ["a", "b", "c"], "label": [1, 0, -1]}
    datasets.Dataset.from_dict(content, features=features).save_to_disk(tmp_path / "saved")
    assert read(tmp_path / "saved", filters=["label=pos"]) == [Example(0, "a", "pos")]
    assert problems(read(tmp_path / "saved")) == [(3, "label", "empty")]


JSON = '{"text": "a", "label": "x"}\n'


@pytest.mark.parametrize(
    ("name", "content", "filters", "expected"),
    [
        ("a.csv", "text,label\n", [], "has no rows: bring some, or leave this file out"),
        ("a.jsonl", "", [], "has no rows: bring some"),
        ("a.csv", "text,label,kind\na,x,1\n", ["kind=2"],
         "has no row with kind=2: set `filter` to a value of column 'kind'"),
        ("a.csv", "text,label,kind\na,x,1\n", ["kind=1", "label=y"], "has no row with label=y"),
        ("a.csv", "text,label\na,x\n", ["kind=1"], "no column 'kind': set `filter` to one of"),
        ("a.jsonl", JSON, ["kind=1"], "no column 'kind': set `filter` to one of 'text', 'label'"),
        ("a.jsonl", JSON, ["label=y"], "has no row with label=y"),
    ],
)  # fmt: skip
def test_a_split_without_rows_is_refused(tmp_path, name, content, filters, expected):
    with pytest.raises(InputError) as error:
        read(tmp_path / name, content, filters=filters)
    assert str(tmp_path / name) in str(error.value)
    assert expected in str(error.value)


def test_bad_rows_alone_are_no_matter_of_the_filter(tmp_path):
    found = read(tmp_path / "a.csv", "text,label\na\nb\n", filters=["label=x"])
    assert [line for line, *_ in problems(found)] == [2, 3]

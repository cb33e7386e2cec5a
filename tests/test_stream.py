"""New text is read row by row; a bad row is told by the line that it begins on."""

import json
from pathlib import Path
from typing import Any

import pytest

from common import stream
from common.cli import InputError
from common.stream import BadRow, Layout, Row


def rows(path: Path, content: str | bytes, **layout) -> list[Row | BadRow]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(stream.read(path, Layout(**layout)))


def bad(found: list[Row | BadRow]) -> dict[int, str]:
    return {row.line: row.problem for row in found if isinstance(row, BadRow)}


def good(found: list[Row | BadRow]) -> list[tuple]:
    return [(row.line, row.id, row.text) for row in found if isinstance(row, Row)]


def test_csv(tmp_path):
    content = 'text,n\nfirst,a\n"two\nlines, ""quoted""",b\n\nlast,c\n'
    expected = [(2, "a", "first"), (3, "b", 'two\nlines, "quoted"'), (6, "c", "last")]
    assert good(rows(tmp_path / "new.csv", content, id="n")) == expected
    assert [row.id for row in rows(tmp_path / "new.csv", content)] == [2, 3, 6]  # type: ignore[union-attr]


def test_tsv_and_another_delimiter(tmp_path):
    assert good(rows(tmp_path / "a.tsv", "text\tid\na,b\t1\n")) == [(2, 2, "a,b")]
    assert good(rows(tmp_path / "a.csv", "id;text\n1;a,b\n", delimiter=";")) == [(2, 2, "a,b")]


def test_json_lines(tmp_path):
    content = '{"text": "a", "n": 7}\n\n{"n": "x", "text": 3.0}\n{"n": "y", "text": 2.5}'
    expected = [(1, 7, "a"), (3, "x", "3"), (4, "y", "2.5")]
    assert good(rows(tmp_path / "a.jsonl", content, id="n")) == expected


def test_plain_lines(tmp_path):
    expected = [(1, 1, "one, two"), (2, 2, '"three'), (3, 3, "four")]
    assert good(rows(tmp_path / "a.txt", 'one, two\r\n"three\nfour')) == expected


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.txt"])
def test_a_byte_order_mark_is_no_text(tmp_path, name):
    content = {"a.csv": "text\nå\n", "a.jsonl": '{"text": "å"}\n', "a.txt": "å\n"}[name]
    found = rows(tmp_path / name, b"\xef\xbb\xbf" + content.encode())
    assert [text for *_, text in good(found)] == ["å"]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_other_encodings(tmp_path, encoding):
    content = "text\nblåbær\n".encode(encoding)
    assert good(rows(tmp_path / "a.csv", content, encoding=encoding)) == [(2, 2, "blåbær")]


def test_bad_rows_of_csv(tmp_path):
    lines = [
        b"text,n", b"good,1", b" ,2", b"more,3,x", b"less", b"nul\0,5", b"f\xe5r,6", b'"a"b,7',
        b"noid,", b"good too,9",
    ]  # fmt: skip
    found = rows(tmp_path / "a.csv", b"\n".join(lines), id="n")
    assert [text for *_, text in good(found)] == ["good", "good too"]
    problems = bad(found)
    assert list(problems) == [3, 4, 5, 6, 7, 8, 9]
    assert problems[3] == "'text' is empty"
    assert problems[4] == "3 fields under 2 columns; quote the delimiter"
    assert problems[6] == "a NUL byte"
    assert problems[7].startswith("not utf-8 (byte 0xe5); set `encoding`")
    assert problems[8].startswith("bad quoting")
    assert problems[9] == "'n' is empty"


def test_bad_rows_of_json_lines(tmp_path):
    lines = [
        b'{"text": "good"}', b'{"text": "a"', b'["a"]', b'{"body": "a"}', b'{"text": null}',
        b'{"text": ["a"]}', b'{"text": true}', b'{"text": "\\ud83d"}', b'{"text": "\\u0000"}',
        b'{"text": "f\xe5r"}', b"[" * 100_000, b'{"text": NaN}', b'{"text": "\\ud83d\\ude00"}',
    ]  # fmt: skip
    found = rows(tmp_path / "a.jsonl", b"\n".join(lines))
    assert [text for *_, text in good(found)] == ["good", "😀"]
    problems = bad(found)
    assert list(problems) == list(range(2, 13))
    assert problems[2].startswith("no valid JSON (")
    assert problems[3] == "no JSON object"
    assert problems[4] == "no 'text', only 'body'"
    assert problems[5] == problems[12] == "'text' is empty"
    assert problems[6] == problems[7] == "'text' is neither text nor number"
    assert problems[8] == "'text' is no whole Unicode"
    assert problems[9] == "'text' is a NUL byte"


def test_bad_rows_of_plain_lines(tmp_path):
    found = rows(tmp_path / "a.txt", b"good\n\nf\xe5r\nnul\0\nlast")
    assert [text for *_, text in good(found)] == ["good", "last"]
    assert list(bad(found)) == [2, 3, 4]


def test_a_quote_that_never_closes_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "FIELD_CHARACTERS", 1000)
    lines = ["text", "good", '"open', *["x" * 99] * 100, "last"]
    found = rows(tmp_path / "a.csv", "\n".join(lines))
    assert bad(found) == {3: "bad quoting (field larger than field limit (1000)), up to line 13"}
    assert good(found)[-1] == (104, 104, "last")
    found = rows(tmp_path / "b.csv", 'text\n"open\nlast')
    assert bad(found) == {2: "bad quoting (unexpected end of data), up to line 3"}


MISTAKES = {
    "no such type": ("a.xml", "text", {}, "files of this type are not read; use .csv, .tsv"),
    "an id for plain lines": ("a.txt", "a", {"id": "n"}, "without columns: leave `id` out"),
    "no such encoding": ("a.csv", "text\na", {"encoding": "utf-9"}, "no encoding 'utf-9'; set"),
    "a delimiter of two": ("a.csv", "text\na", {"delimiter": "||"}, "is not one character"),
    "no such column": ("a.csv", "body,n\na,1", {}, "no column 'text': set `text` to one of 'body'"),
    "no such id": ("a.csv", "text,n\na,1", {"id": "m"}, "no column 'm': set `id` to one of 'text'"),
    "a column twice": ("a.csv", "text,text\na,b", {}, "several columns 'text': set `text` to one"),
    "an empty file": ("a.csv", "", {}, "the file is empty"),
    "a bad header": ("a.csv", 'te"xt,"n"m\na,b', {}, "header: bad quoting"),
    "not utf-16": ("a.txt", "odd", {"encoding": "utf-16"}, "is not utf-16 .*: set `encoding`"),
    "a header not utf-8": ("a.csv", b"text,f\xe5r\na,b", {}, "header: not utf-8"),
}


@pytest.mark.parametrize(("name", "content", "layout", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_the_file_is_one_line(tmp_path, name, content, layout, expected):
    with pytest.raises(InputError, match=expected) as error:
        rows(tmp_path / name, content, **layout)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv cannot be read \(No such file"):
        list(stream.read(tmp_path / "none.csv", Layout()))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".txt"])
def test_a_file_is_not_read_before_its_rows_are_asked_for(tmp_path, monkeypatch, suffix):
    """After the first row, no more of the file has been read than a buffer."""
    text = "x" * 1000
    line = json.dumps({"text": text}) if suffix == ".jsonl" else text
    path = tmp_path / f"long{suffix}"
    path.write_text("\n".join(["text"] * (suffix == ".csv") + [line] * 2000))
    opened = stream.opened
    files: list[Any] = []

    def remember(*words, **more):
        files.append(opened(*words, **more))
        return files[-1]

    monkeypatch.setattr(stream, "opened", remember)
    found = stream.read(path, Layout())
    assert files == []
    assert next(found).text == text  # type: ignore[union-attr]
    assert files[0].buffer.tell() < 100_000 < path.stat().st_size
    assert sum(1 for _ in found) == 1999
    assert files[0].closed

"""Rows are read one by one, exactly as they are; a bad row is told by its line and column."""

import csv
import json
import logging
import tracemalloc
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from common.cli import InputError
from common.data import reading
from common.data.reading import BadRow, BadRows, CsvOptions, Row, Stream


def read(path: Path, content: str | bytes, keys=None, **layout) -> list[Row | BadRow]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(reading.read(path, keys or {"text": ["text"]}, CsvOptions(**layout)))


def bad(found: list[Row | BadRow]) -> dict[int, tuple[str | None, str]]:
    return {row.line: (row.column, row.problem) for row in found if isinstance(row, BadRow)}


def good(found: list[Row | BadRow]) -> list[tuple]:
    return [(row.line, *row.fields.values()) for row in found if isinstance(row, Row)]


TWO = {"id": ["n"], "text": ["text"]}


def test_csv(tmp_path):
    content = 'text,n\nfirst,a\n"two\nlines, ""quoted""",b\n\nlast,c\n'
    expected = [(2, "a", "first"), (3, "b", 'two\nlines, "quoted"'), (6, "c", "last")]
    assert good(read(tmp_path / "new.csv", content, TWO)) == expected
    assert good(read(tmp_path / "NEW.CSV", content)) == [(2, "first"), (3, expected[1][2]),
                                                         (6, "last")]  # fmt: skip


def test_tsv_and_another_delimiter(tmp_path):
    assert good(read(tmp_path / "a.tsv", "text\tid\na,b\t1\n")) == [(2, "a,b")]
    assert good(read(tmp_path / "a.csv", "id;text\n1;a,b\n", delimiter=";")) == [(2, "a,b")]


def test_json_lines_keep_the_type_of_a_value(tmp_path):
    content = '{"text": "a", "n": 7}\n\n{"n": "x", "text": 3.0, "m": 1}\n{"n": null, "text": true}'
    found = read(tmp_path / "a.jsonl", content, TWO)
    assert good(found) == [(1, 7, "a"), (3, "x", 3.0), (4, None, True)]


def test_a_json_line_that_lacks_a_column_tells_what_it_has(tmp_path):
    (row,) = read(tmp_path / "a.jsonl", '{"body": "a", "n": 1}', TWO)
    assert row == Row(1, {"n": 1}, ("body", "n"))
    assert reading.first_problem(row, [("id", "n"), ("text", "text")]) == BadRow(
        1, "text", "missing", "set `text` to one of 'body', 'n'"
    )


def test_parquet_counts_rows(tmp_path, monkeypatch):
    from common.data import reading

    monkeypatch.setattr(reading, "BATCH_ROWS", 2)
    frame = pd.DataFrame({"n": range(5), "text": list("abcde"), "more": 1.5})
    frame.set_index(pd.Index([7] * 5)).to_parquet(tmp_path / "a.parquet")
    stream = reading.read(tmp_path / "a.parquet", TWO, CsvOptions())
    assert stream.unit == "row"
    assert good(list(stream)) == [(n + 1, n, "abcde"[n]) for n in range(5)]


def test_a_value_that_python_cannot_hold_is_no_text(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = pa.array([b"good", b"f\xe5r"], pa.binary()).view(pa.string())
    times = pa.array([2**62, 0], pa.int64()).cast(pa.timestamp("us"))
    pq.write_table(pa.table({"text": texts, "n": times}), tmp_path / "a.parquet")
    found = [
        row
        for row in reading.read(tmp_path / "a.parquet", TWO, CsvOptions())
        if isinstance(row, Row)
    ]
    assert [row.fields["text"] for row in found] == ["good", "\udcff"]
    assert reading.first_problem(found[0], [("id", "n")]) == BadRow(
        1, "n", "neither text nor number"
    )
    assert reading.first_problem(found[1], [("text", "text")]) == BadRow(
        2, "text", "no whole Unicode"
    )


def test_plain_lines(tmp_path):
    expected = [(1, "one, two"), (2, '"three'), (3, "four")]
    assert good(read(tmp_path / "a.txt", 'one, two\r\n"three\nfour')) == expected


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.txt"])
@pytest.mark.parametrize(
    ("encoding", "written"),
    [("utf-8", "utf-8-sig"), ("UTF8", "utf-8-sig"), ("utf-16", "utf-16"), ("utf-16-le", "utf-16"),
     ("utf-32", "utf-32")],
)  # fmt: skip
def test_a_byte_order_mark_is_no_text(tmp_path, name, encoding, written):
    content = {"a.csv": "text\nå\n", "a.jsonl": '{"text": "å"}\n', "a.txt": "å\n"}[name]
    found = read(tmp_path / name, content.encode(written), encoding=encoding)
    assert [text for *_, text in good(found)] == ["å"]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "cp1252", "shift-jis"])
def test_other_encodings(tmp_path, encoding):
    word = "リンゴ" if encoding == "shift-jis" else "blåbær"
    content = f"text\n{word}\n".encode(encoding)
    assert good(read(tmp_path / "a.csv", content, encoding=encoding)) == [(2, word)]


def test_columns_that_are_not_needed_may_repeat(tmp_path):
    """As in Kaggle's spam.csv, whose last columns have no name."""
    content = "v1,v2,,,\nham,hello,,,\nspam,win,a,b,c\n"
    found = read(tmp_path / "a.csv", content, {"text": ["v2"], "label": ["v1"]})
    assert good(found) == [(2, "hello", "ham"), (3, "win", "spam")]


def test_bad_rows_of_csv(tmp_path):
    content = [
        b"text,n", b"good,1", b" ,2", b"more,3,x", b"less", b"nul\0,5", b"f\xe5r,6", b'"a"b,7',
        b"text,f\xe5r", b"f\xe5r", b"good too,9",
    ]  # fmt: skip
    found = read(tmp_path / "a.csv", b"\n".join(content))
    assert [text for *_, text in good(found)] == ["good", " ", "good too"]
    problems = bad(found)
    assert list(problems) == [4, 5, 6, 7, 8, 9, 10]
    assert problems[4] == (None, "3 fields under 2 columns")
    assert problems[5] == (None, "1 fields under 2 columns")
    assert problems[6] == ("text", "a NUL byte")
    assert problems[7] == ("text", "not utf-8 (byte 0xe5)")
    assert problems[8][1].startswith("bad quoting")
    assert problems[9] == ("n", "not utf-8 (byte 0xe5)")
    assert problems[10] == (None, "not utf-8 (byte 0xe5)")
    remedies = {row.line: row.remedy for row in found if isinstance(row, BadRow)}
    assert remedies[4] == "quote the delimiter"
    assert remedies[7] == "set `encoding`, perhaps to latin-1"


def test_bad_lines_of_json(tmp_path):
    content = [
        b'{"text": "good"}', b'{"text": "a"', b'["a"]', b'{"text": "f\xe5r"}', b"[" * 100_000,
        b'{"text": "nul\0"}', b"1" * 5000, b'{"text": "\\ud83d\\ude00"}',
    ]  # fmt: skip
    found = read(tmp_path / "a.jsonl", b"\n".join(content))
    assert [text for *_, text in good(found)] == ["good", "😀"]
    problems = {line: problem for line, (_, problem) in bad(found).items()}
    assert list(problems) == [2, 3, 4, 5, 6, 7]
    assert all(problems[line].startswith("no valid JSON (") for line in (2, 5, 7))
    assert problems[3] == "no JSON object"
    assert problems[4] == "not utf-8 (byte 0xe5)"
    assert problems[6] == "a NUL byte"


def test_bad_plain_lines(tmp_path):
    found = read(tmp_path / "a.txt", b"good\n\nf\xe5r\nnul\0\nlast")
    assert good(found) == [(1, "good"), (2, ""), (5, "last")]
    assert list(bad(found)) == [3, 4]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", ""), (" a ", ""), (0, ""), (2.5, ""), (float("inf"), ""),
        ("", "empty"), (" \t\u3000", "empty"), (None, "empty"), (float("nan"), "empty"),
        (["a"], "neither text nor number"), ({}, "neither text nor number"),
        (b"a", "neither text nor number"), (True, "neither text nor number"),
        ("\ud83d", "no whole Unicode"), ("a\0", "a NUL byte"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_value(value, expected):
    assert reading.unusable(value) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("007", "007"),
        ("1e3", "1e3"),
        ("NA", "NA"),
        (3.0, "3"),
        (2.5, "2.5"),
        (10**30, "1" + "0" * 30),
    ],
)
def test_values_as_text(value, text):
    assert reading.as_text(value) == text


def limit(monkeypatch, characters: int) -> None:
    for module in (reading, reading, reading):
        monkeypatch.setattr(module, "FIELD_CHARACTERS", characters)


def test_a_quote_that_never_closes_ends_at_the_limit(tmp_path, monkeypatch):
    limit(monkeypatch, 1000)
    content = ["text", "good", '"open', *["x" * 99] * 100, "last"]
    found = read(tmp_path / "a.csv", "\n".join(content))
    problem = "bad quoting (a quote that is not closed within 1,000 characters)"
    assert bad(found) == {3: (None, problem)}
    assert [line for line, _ in good(found)] == [2, *range(4, 105)]


OPEN = "bad quoting (a quote that is not closed)"
MANY = [f"row {number},x" for number in range(12)]
UNBALANCED: dict[str, tuple[list[str], dict[int, str], list[int]]] = {
    "never closed": (['"open,x', *MANY], {2: OPEN}, [*range(3, 15)]),
    "closed by the next quoted field": (
        ['"open,x', *MANY, '"a, b",x', "last,x"], {2: OPEN}, [*range(3, 17)]
    ),
    "before a field over several lines": (
        ['"open,x', *MANY, '"a', 'b",x', "last,x"], {2: OPEN}, [*range(3, 16), 17]
    ),
    "closed by the next unbalanced quote": (
        ['"open,x', *MANY, 'end",x', "last,x"],
        {2: "bad quoting (a quote closed on line 15, and the lines between are rows)"},
        [*range(3, 17)],
    ),
    "several": (
        ['"open,x', "a,x", '"open,x', "a,x", '"b"c,x', "a,x"],
        {2: OPEN, 4: OPEN, 6: "bad quoting (',' expected after '\"')"},
        [3, 5, 7],
    ),
    "a blank line after it": (['"open,x', "", "a,x"], {2: OPEN}, [4]),
    "a text of many lines": (['"a text', *["line"] * 19, 'end",x', "last,x"], {}, [2, 23]),
}  # fmt: skip


@pytest.mark.parametrize(("content", "problems", "lines"), UNBALANCED.values(), ids=UNBALANCED)
def test_an_unbalanced_quote_costs_its_own_row_alone(tmp_path, content, problems, lines):
    found = read(tmp_path / "a.csv", "\n".join(["text,label", *content]) + "\n")
    assert {line: problem for line, (_, problem) in bad(found).items()} == problems
    assert [line for line, _ in good(found)] == lines


def test_a_line_beyond_the_limit_ends_the_quote_before_it(tmp_path, monkeypatch):
    limit(monkeypatch, 100)
    found = read(tmp_path / "a.csv", "\n".join(["text,n", '"open,1', "a,1", "x" * 1000, "last,1"]))
    assert bad(found) == {2: (None, OPEN), 4: (None, "a line of more than 100 characters")}
    assert good(found) == [(3, "a"), (5, "last")]


def test_quotes_that_never_pair_are_read_in_linear_time(tmp_path):
    """Each line leaves the quote of the line before open, and none can be closed."""
    found = read(tmp_path / "a.csv", "text,label\n" + '"a","b\n' * 20_000)
    assert len(found) == len(bad(found)) == 20_000


def test_standard_quoting_is_taken_at_its_word(tmp_path):
    content = "\n".join(["text,label", '"open,x', *MANY, 'end",x', "last,x"])
    found = read(tmp_path / "a.csv", content, quoting="standard")
    assert [line for line, _ in good(found)] == [2, 16]


def test_without_quoting_a_quote_is_a_letter(tmp_path):
    content = 'text,n\n"open,1\n"a""b",2\n"x, y",3\n'
    found = read(tmp_path / "a.csv", content, quoting="none")
    assert good(found) == [(2, '"open'), (3, '"a""b"')]
    assert bad(found) == {4: (None, "3 fields under 2 columns")}


QNLI = ["index\tquestion\tsentence\tlabel"] + [
    f"{number}\tWho said {word}?\t{text}\tentailment"
    for number, (word, text) in enumerate([
        ('"no', "He did."), ("it", '"No," he said.'), ("so", '"All" of them'),
        ("why", 'It was 5\'2"'),
        ('"a"', '"'), ("a", "Plain."), ("b", '"Open to the end'), ("c", "Closed again \""),
    ])
]  # fmt: skip
PAIR = {"text": ["question", "sentence"], "label": ["label"]}
SINGLE = {"text": ["text"], "label": ["label"]}
SENTENCES = ['" it begins\tx', *["text\tx"] * 30, 'and ends "\tx', '"whole"\tx']


def test_quotes_of_a_tsv_that_do_not_balance_are_letters(tmp_path, caplog):
    found = read(tmp_path / "qnli.tsv", "\n".join(QNLI) + "\n", PAIR)
    expected = [tuple(line.split("\t")[1:]) for line in QNLI[1:]]
    assert [fields for _, *fields in good(found)] == [list(fields) for fields in expected]
    assert caplog.messages == [
        "quotes are read as letters (`quoting: none`): with quotes around fields 4 records cannot "
        "be read, the first in qnli.tsv, line 3; with quotes as letters 0"
    ]


def test_a_quote_that_another_row_closes_is_a_letter_too(tmp_path):
    """Both quotes pair, over 30 rows between them: nothing but the rows tells."""
    found = read(tmp_path / "a.tsv", "\n".join(["text\tlabel", *SENTENCES]), SINGLE)
    assert good(found) == [(n, *line.split("\t")) for n, line in enumerate(SENTENCES, 2)]


@pytest.mark.parametrize(
    "content",
    [
        ['"two\nlines"\ta', '"a tab\tinside"\tb', '"three\n\nlines, ""so"""\tc'],
        ['"two\nlines"\ta', '"open\tb', '"two\nlines"\tc', '"three\nmore\nlines"\td'],
    ],
)
def test_a_tsv_that_quotes_its_fields_is_read_so(tmp_path, content, caplog):
    """As pandas writes it; one mistake among the quotes does not make letters of all of them."""
    found = read(tmp_path / "a.tsv", "\n".join(["text\tlabel", *content]), SINGLE)
    assert next(fields for _, *fields in good(found)) == ["two\nlines", "a"]
    assert len(good(found)) == 3
    assert caplog.messages == []


def test_quotes_of_a_single_column_may_be_ambiguous(tmp_path):
    content = 'text\n"one\ntwo"\nthree'
    with pytest.raises(
        InputError, match=r"a\.tsv, line 2: .* Set `quoting` to standard or to none"
    ):
        read(tmp_path / "a.tsv", content)
    assert len(good(read(tmp_path / "a.tsv", content, quoting="standard"))) == 2
    assert len(good(read(tmp_path / "a.tsv", content, quoting="none"))) == 3
    assert len(good(read(tmp_path / "b.tsv", f'{content}\n"a"b'))) == 4
    assert len(good(read(tmp_path / "a.csv", content))) == 2


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".txt"])
def test_a_line_beyond_the_limit_is_passed_over(tmp_path, monkeypatch, suffix, end):
    limit(monkeypatch, 100)
    monkeypatch.setattr(reading, "DRAINED_CHARACTERS", 7)
    line = '{"text": "%s"}' if suffix == ".jsonl" else "%s"
    texts = [line % text for text in ("first", "x" * 1000, '"' * (suffix == ".txt") + "last")]
    head = ["text"] if suffix == ".csv" else []
    found = read(tmp_path / f"a{suffix}", end.join([*head, *texts]))
    start = len(head)
    assert bad(found) == {start + 2: (None, "a line of more than 100 characters")}
    assert [row[0] for row in good(found)] == [start + 1, start + 3]


def test_a_header_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    limit(monkeypatch, 100)
    with pytest.raises(InputError, match="header: a line of more than 100 characters"):
        read(tmp_path / "a.csv", "x" * 1000)


HUGE_BYTES = 100 << 20


def write_huge(path: Path, kind: str) -> None:
    """A file of 100 MiB in one cell."""
    starts = {"line": "", "cell": '"', "never closed": '"', "json": '{"text": "', "array": "[["}
    ends = {"line": "\n", "cell": 'x"\n', "never closed": "", "json": '"}\n', "array": "\n"}
    many = "x" * 8191 + "\n" if kind in ("cell", "never closed") else "x" * 8192
    chunk = "[" * 8192 if kind == "array" else many
    with open(path, "w") as file:
        file.write("" if path.suffix == ".jsonl" else "text\n")
        file.write(starts[kind])
        for _ in range(HUGE_BYTES // len(chunk)):
            file.write(chunk)
        file.write(ends[kind])
        file.write('{"text": "last"}\n' if path.suffix == ".jsonl" else "last\n")


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("suffix", "kind"),
    [(".csv", "line"), (".csv", "cell"), (".csv", "never closed"), (".jsonl", "json"),
     (".jsonl", "array"), (".txt", "line")],
)  # fmt: skip
def test_a_hundred_megabytes_in_one_cell_do_not_fill_the_memory(tmp_path, suffix, kind):
    path = tmp_path / f"huge{suffix}"
    write_huge(path, kind)
    tracemalloc.start()
    first, last = None, None
    for row in reading.read(path, {"text": ["text"]}, CsvOptions()):
        if isinstance(row, BadRow):
            first = first or row
        last = row
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert first is not None
    assert "16,777,216 characters" in first.problem
    if kind != "never closed":
        assert isinstance(last, Row) and last.fields == {"text": "last"}
    assert peak_bytes < 96 << 20 < path.stat().st_size


MISTAKES: dict[str, tuple[str, Any, dict, str]] = {
    "no such type": ("a.xml", "text", {}, r"files of this type are not read; use \.csv, \.tsv"),
    "no such encoding": ("a.csv", "text\na", {"encoding": "utf-9"}, "no encoding 'utf-9' of text"),
    "no encoding": ("a.csv", "text\na", {"encoding": ""}, "no encoding '' of text; set"),
    "a NUL in its name": ("a.csv", "text\na", {"encoding": "a\0"}, "no encoding .* of text; set"),
    "hex": ("a.csv", "text\na", {"encoding": "hex"}, "no encoding 'hex' of text; set `encoding`"),
    "rot13": ("a.csv", "text\na", {"encoding": "rot13"}, "no encoding 'rot13' of text"),
    "base64": ("a.jsonl", "{}", {"encoding": "base64"}, "no encoding 'base64' of text"),
    "undefined": ("a.csv", "text\na", {"encoding": "undefined"}, "is not undefined .*: set `enc"),
    "idna": ("a.csv", "text\na", {"encoding": "idna"}, "is not idna .*: set `encoding`"),
    "a delimiter of two": ("a.csv", "text\na", {"delimiter": "||"}, "cannot be a delimiter"),
    "no delimiter": ("a.csv", "text\na", {"delimiter": ""}, "'' cannot be a delimiter; mend"),
    "a quote as delimiter": ("a.csv", "text\na", {"delimiter": '"'}, "cannot be a delimiter"),
    "no such column": ("a.csv", "body,n\na,1", {}, "no column 'text': set `text` to one of 'body'"),
    "a column twice": ("a.csv", "text,text\na,b", {}, "several columns 'text': rename all but one"),
    "an empty file": ("a.csv", "", {}, "has no header, the file is empty: bring rows"),
    "blank lines": ("a.csv", "\n\n", {}, "has no header, the file is empty"),
    "a bad header": ("a.csv", 'te"xt,"n"m\na,b', {}, "header: bad quoting"),
    "a header not utf-8": ("a.csv", b"text,f\xe5r\na,b", {}, "header: not utf-8 .*; set `encoding"),
    "not utf-16": ("a.txt", "odd", {"encoding": "utf-16"}, "is not utf-16 .*: set `encoding`"),
    "utf-16": ("a.csv", "text\na".encode("utf-16"), {}, "mark of utf-16, .* to utf-16$"),
    "utf-16 without mark": ("a.csv", "text\na".encode("utf-16-le"), {}, "header: a NUL .* utf-16"),
    "utf-8, not latin-1": ("a.csv", b"\xef\xbb\xbftext\na", {"encoding": "latin-1"}, "to utf-8$"),
    "semicolons": ("a.csv", "n;text\n1;a", {}, 'with \',\': set `delimiter` to ";"$'),
    "quoted semicolons": ("a.csv", '"n";"text"\n1;a', {}, 'set `delimiter` to ";"$'),
    "tabs": ("a.csv", "n\ttext\n1\ta", {}, r'set `delimiter` to "\\t"$'),
    "pipes": ("a.tsv", "n|text\n1|a", {}, r'set `delimiter` to "\|"$'),
    "commas": ("a.tsv", "n,text\n1,a", {}, 'set `delimiter` to ","$'),
    "no parquet": ("a.parquet", "text", {}, "cannot be read as parquet: .*; mend the file"),
    "empty parquet": ("a.parquet", "", {}, "cannot be read as parquet: .*; mend the file"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "layout", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_the_file_is_one_line(tmp_path, name, content, layout, expected):
    with pytest.raises(InputError, match=expected) as error:
        read(tmp_path / name, content, **layout)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(tmp_path / name))


def test_plain_lines_have_no_other_columns(tmp_path):
    keys = {"text": ["text"], "id": ["n"]}
    with pytest.raises(InputError, match="without columns: leave `id` out"):
        read(tmp_path / "a.txt", "a", keys)


def test_the_error_names_the_key_of_a_column(tmp_path):
    with pytest.raises(InputError, match="no column 'm': set `id` to one of 'text', 'n'"):
        read(tmp_path / "a.csv", "text,n\na,1", {"text": ["text"], "id": ["m"]})


def test_a_parquet_file_without_the_column(tmp_path):
    pd.DataFrame({"body": ["a"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="no column 'text': set `text` to one of 'body'"):
        list(reading.read(tmp_path / "a.parquet", {"text": ["text"]}, CsvOptions()))


def test_many_columns_are_not_all_named(tmp_path):
    header = ",".join(["x" * 1000, *(f"c{number}" for number in range(1000))])
    with pytest.raises(InputError, match=r"981 more$") as error:
        read(tmp_path / "a.csv", header)
    assert len(str(error.value)) < 500 + len(str(tmp_path))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_that_is_not_there(tmp_path, suffix):
    with pytest.raises(InputError, match=r"cannot be read \(No such file.*\): name a file"):
        list(reading.read(tmp_path / f"none{suffix}", {"text": ["text"]}, CsvOptions()))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".txt"])
def test_a_file_is_not_read_before_its_rows_are_asked_for(tmp_path, monkeypatch, suffix):
    """After the first row, no more of the file has been read than a buffer."""
    text = "x" * 1000
    line = json.dumps({"text": text}) if suffix == ".jsonl" else text
    path = tmp_path / f"long{suffix}"
    path.write_text("\n".join(["text"] * (suffix == ".csv") + [line] * 2000))
    files: list[Any] = []

    def remember(*words):
        files.append(open(*words))  # noqa: SIM115
        return files[-1]

    monkeypatch.setattr(reading, "open", remember, raising=False)
    found = reading.read(path, {"text": ["text"]}, CsvOptions())
    assert files == []
    assert next(found).fields["text"] == text  # type: ignore[union-attr]
    assert files[0].tell() < 100_000 < path.stat().st_size
    assert sum(1 for _ in found) == 1999
    assert files[0].closed


def test_the_memory_of_parquet_does_not_grow_with_its_rows(tmp_path):
    """One row group of 64 MiB; what is held is a batch."""
    import pyarrow as pa

    path = tmp_path / "a.parquet"
    texts = [f"{number:08d}" * 1024 for number in range(8192)]
    pd.DataFrame({"text": texts}).to_parquet(path, compression=None, row_group_size=len(texts))
    del texts
    before = pa.total_allocated_bytes()
    most = 0
    for _ in reading.read(path, {"text": ["text"]}, CsvOptions()):
        most = max(most, pa.total_allocated_bytes() - before)
    assert 0 < most < 40 << 20 < path.stat().st_size


def collected(policy: str, found: list, **more: Any) -> tuple[list, BadRows]:
    bad = BadRows(policy, **more)
    return list(bad.left_out(Stream(found, "data/rows.csv", split="train"))), bad


ONE, TEXT = Row(2, {"text": "a"}), BadRow(3, "text", "empty")
ENCODING = BadRow(4, None, "not utf-8 (byte 0xe9)", "set `encoding`, perhaps to latin-1")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([ONE, TEXT], "data/rows.csv, line 3, column 'text': empty (the only bad row): mend it"),
        ([TEXT] * 5, "data/rows.csv, line 3, column 'text': empty (the first of 5 bad rows): mend "
         "them"),
        ([ENCODING, ONE], "data/rows.csv, line 4: not utf-8 (byte 0xe9) (the only bad row): set "
         "`encoding`, perhaps to latin-1"),
    ],
)  # fmt: skip
def test_bad_rows_are_refused_after_the_last(found, expected):
    kept, bad = collected("error", found)
    assert kept == [row for row in found if row == ONE]
    with pytest.raises(InputError) as error:
        bad.refuse()
    assert str(error.value) == f"{expected}, or set `on_bad_rows` to skip"


def test_bad_rows_are_refused_at_once_where_rows_are_used_at_once():
    with pytest.raises(InputError) as error:
        collected("error", [TEXT, TEXT], at_once=True)
    assert str(error.value) == (
        "data/rows.csv, line 3, column 'text': empty; mend the row, or set `on_bad_rows` to skip"
    )


def test_bad_rows_that_are_left_out_are_listed_and_logged(caplog, monkeypatch):
    monkeypatch.setattr(reading, "LISTED", 20)
    kept, bad = collected("skip", [ONE, ENCODING, *[TEXT] * 30])
    bad.refuse()
    assert kept == [ONE]
    assert bad.count == 31
    assert len(bad.listed) == 20
    place = {"split": "train", "file": "rows.csv"}
    assert bad.listed[:2] == [
        {**place, "line": 4, "column": None, "problem": "not utf-8 (byte 0xe9)"},
        {**place, "line": 3, "column": "text", "problem": "empty"},
    ]
    told = [line for line in caplog.messages if line.startswith("left out")]
    assert len(told) == reading.LOGGED
    assert told[0] == f"left out: data/rows.csv, line 4: {ENCODING.problem}; {ENCODING.remedy}"
    assert caplog.records[-1].levelno == logging.WARNING


def test_a_place_without_a_good_row_is_refused_even_so():
    with pytest.raises(InputError, match=r"has no good row, 2 are bad .*line 4: not.*: set `enc"):
        collected("skip", [ENCODING, TEXT])
    assert collected("skip", [])[0] == []
    assert collected("skip", [TEXT], at_once=True)[1].count == 1
    bad = BadRows("skip")
    list(bad.left_out(Stream([ONE, TEXT], "train.csv")))
    with pytest.raises(
        InputError, match=r"^test.csv has no good row, 1 are bad \(test.csv, line 4"
    ):
        list(bad.left_out(Stream([ENCODING], "test.csv")))


def test_the_limit_of_a_field_holds_for_every_file(tmp_path):
    csv.field_size_limit(10)  # as another library may leave it
    assert good(read(tmp_path / "a.csv", "text\n" + "x" * 1000)) == [(2, "x" * 1000)]

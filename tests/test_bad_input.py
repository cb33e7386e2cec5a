"""Bad input as users bring it: refused in one line that says what to do, or left out and listed."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import predict
import prepare_data
from common.cli import InputError
from common.data import examples, passport, reading
from common.data.reading import REMEDY

WORDS = [chr(97 + n) * 3 for n in range(26)] + ["one", "two", "three", "four"]
GOOD = [(f"see you {w}", "ham") if n % 2 else (f"win {w}", "spam") for n, w in enumerate(WORDS)]
LINES = [f"{text},{label}" for text, label in GOOD]
CSV = "\n".join(["text,label", *LINES]) + "\n"
JSONL = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in GOOD)
SKIP = ", or set `on_bad_rows` to skip"


def run(source: Path, *words: str) -> dict:
    """Prepare what is at a path; returns what is on record of it."""
    out = source.parent / "out"
    places = ["--source", source, "--output", out / "data", "--csv", out / "leakage.csv"]
    quick = ["--no-near-duplicates", "--test", "6", "--validation", "6"]
    prepare_data.main([*map(str, places), *quick, *words])
    return json.loads((out / "data" / "preparation.json").read_text())


def left_behind(source: Path) -> list[str]:
    """Return what there is beside the source."""
    out = source.parent / "out"
    return [path.name for path in out.rglob("*")] if out.exists() else []


def refusal(source: Path, *words: str) -> str:
    """Return the one line of a refusal, which leaves nothing behind."""
    with pytest.raises(InputError) as error:
        run(source, *words)
    assert left_behind(source) == []
    assert "\n" not in str(error.value)
    return str(error.value)


def after_third(*more: str) -> str:
    """Return the good rows, with others in the place of lines 4 and on."""
    return "\n".join(["text,label", *LINES[:2], *more, *LINES[2:]]) + "\n"


def in_json(*more: str) -> str:
    """Good objects, with other lines from line 3."""
    lines = JSONL.splitlines()
    return "\n".join([*lines[:2], *more, *lines[2:]]) + "\n"


def parquet(**columns: list) -> Callable[[Path], None]:
    return lambda path: pd.DataFrame(columns).to_parquet(path)


@dataclass(frozen=True)
class Bad:
    """Bad rows in a file that has 30 good ones.

    Attributes:
        name: of the file.
        content: of it.
        told: the error, after the name of the file.
        listed: line, column and the start of the problem of each.
        predicted: whether predict, which knows no label, finds the same.
    """

    name: str
    content: str | bytes
    told: str
    listed: list[tuple[int, str | None, str]]
    predicted: bool = True


EMPTY = ", line 4, column 'text': empty (the only bad row): mend it"
BAD_ROWS = {
    "too many fields": Bad("a.csv", after_third("one, two,ham", "a,b,c,ham"), ", line 4: 3 fields "
        "under 2 columns (the first of 2 bad rows): quote the delimiter",
        [(4, None, "3 fields"), (5, None, "4 fields")]),
    "too few fields": Bad("a.csv", after_third("alone"), ", line 4: 1 fields under 2 columns (the "
        "only bad row): mend it", [(4, None, "1 fields")]),
    "latin-1 read as utf-8": Bad("a.csv", after_third("caf\xe9,ham", "\xa35,ham").encode("latin-1"),
        ", line 4, column 'text': not utf-8 (byte 0xe9) (the first of 2 bad rows): set `encoding`, "
        "perhaps to latin-1", [(4, "text", "not utf-8"), (5, "text", "not utf-8")]),
    "a NUL byte": Bad("a.tsv", after_third("nul\0,ham").replace(",", "\t"), ", line 4, column "
        "'text': a NUL byte (the only bad row): take it out, or set `encoding`, perhaps to utf-16",
        [(4, "text", "a NUL byte")]),
    "a quote never closed": Bad("a.csv", after_third('"open,ham'), ", line 4: bad quoting (a quote "
        f"that is not closed) (the only bad row): {REMEDY}", [(4, None, "bad quoting")]),
    "a quote inside": Bad("a.csv", after_third('"say "hi" now",ham'), ", line 4: bad quoting (',' "
        f"expected after '\"') (the only bad row): {REMEDY}", [(4, None, "bad quoting")]),
    "no text": Bad("a.csv", after_third(",ham"), EMPTY, [(4, "text", "empty")]),
    "a blank text": Bad("a.csv", after_third(' \t\u3000,ham'), EMPTY, [(4, "text", "empty")]),
    "no label": Bad("a.csv", after_third("a,", 'b," "'), ", line 4, column 'label': empty (the "
        "first of 2 bad rows): mend them", [(4, "label", "empty"), (5, "label", "empty")], False),
    "null and NaN": Bad("a.jsonl", in_json('{"text": null, "label": "x"}', '{"text": NaN}'),
        ", line 3, column 'text': empty (the first of 2 bad rows): mend them",
        [(3, "text", "empty"), (4, "text", "empty")]),
    "a column missing": Bad("a.jsonl", in_json('{"body": "a", "label": "ham"}'), ", line 3, column "
        "'text': missing (the only bad row): set `text` to one of 'body', 'label'",
        [(3, "text", "missing")]),
    "JSON cut off": Bad("a.jsonl", JSONL + '{"text": "a", "la', ", line 31: no valid JSON "
        "(Unterminated string starting at: line 1 column 15 (char 14)) (the only bad row): mend it",
        [(31, None, "no valid JSON")]),
    "JSON of another type": Bad("a.jsonl", in_json('["a", "ham"]', "3"), ", line 3: no JSON object "
        "(the first of 2 bad rows): put one object on each line",
        [(3, None, "no JSON object"), (4, None, "no JSON object")]),
    "a list as text": Bad("a.jsonl", in_json('{"text": ["a"], "label": "ham"}'), ", line 3, column "
        "'text': neither text nor number (the only bad row): mend it",
        [(3, "text", "neither text nor number")]),
    "huge nesting": Bad("a.jsonl", in_json('{"text": ' + "[" * 100_000), ", line 3: no valid JSON "
        "(maximum recursion depth exceeded while decoding a JSON array from a unicode string) (the "
        "only bad row): mend it", [(3, None, "no valid JSON")]),
    "half a character": Bad("a.jsonl", in_json('{"text": "\\ud83d", "label": "ham"}'), ", line 3, "
        "column 'text': no whole Unicode (the only bad row): mend it",
        [(3, "text", "no whole Unicode")]),
}  # fmt: skip


@pytest.fixture(params=BAD_ROWS)
def case(request, tmp_path) -> tuple[Bad, Path]:
    bad = BAD_ROWS[request.param]
    content = bad.content.encode() if isinstance(bad.content, str) else bad.content
    (tmp_path / bad.name).write_bytes(content)
    return bad, tmp_path / bad.name


def test_a_bad_row_ends_in_one_line(case):
    bad, path = case
    assert refusal(path) == f"{path}{bad.told}{SKIP}"


def test_bad_rows_are_left_out_and_listed(case):
    bad, path = case
    made = run(path, "--on-bad-rows", "skip")
    assert sum(part["rows"] for part in made["splits"].values()) == 30
    assert made["bad_rows"]["count"] == made["rows_dropped"]["bad"] == len(bad.listed)
    for row, (line, column, problem) in zip(made["bad_rows"]["listed"], bad.listed, strict=True):
        assert (row["split"], row["file"], row["line"]) == ("train", path.name, line)
        assert row["column"] == column
        assert row["problem"].startswith(problem)
    *_, shown = passport.bad_rows(made["bad_rows"])
    assert f"| train | {path.name} | {bad.listed[0][0]} |" in shown


PREDICTED = [name for name, bad in BAD_ROWS.items() if bad.predicted]


@pytest.mark.parametrize("case", PREDICTED, indirect=True)
def test_predict_finds_the_same_bad_rows(case):
    bad, path = case
    options = predict.parse(f"--input {path} --model m --adapter a --output o".split())
    found = reading.BadRows("skip", at_once=True)
    assert [row.text for row in predict.read(options, found)] == [text for text, _ in GOOD]
    assert [(row["line"], row["column"]) for row in found.listed] == [
        (line, column) for line, column, _ in bad.listed
    ]
    with pytest.raises(InputError) as error:
        list(predict.read(options, reading.BadRows("error", at_once=True)))
    assert str(error.value).startswith(f"{path}{bad.told.partition(' (the ')[0]}; ")


def test_predict_reads_the_quotes_of_a_tsv_as_letters(tmp_path):
    texts = ['" it begins', *(text for text, _ in GOOD), 'it ends "']
    path = tmp_path / "new.tsv"
    path.write_text("\n".join(["text\tid", *(f"{text}\t{n}" for n, text in enumerate(texts))]))
    line = f"--input {path} --model m --adapter a --output o"
    for more, expected in (("", texts), ("--quoting none", texts), ("--quoting standard", None)):
        options = predict.parse(f"{line} {more}".split())
        found = [row.text for row in predict.read(options, reading.BadRows("error", at_once=True))]
        assert (found == expected) if expected else len(found) == 1


REFUSED: dict[str, tuple[str, str | bytes | Callable[[Path], object], str, str]] = {
    "another delimiter": ("a.csv", CSV.replace(",", ";"), "",
        "{path} has its columns between ';', and is read with ',': set `delimiter` to \";\""),
    "tabs in a .csv": ("a.csv", CSV.replace(",", "\t"), "",
        "{path} has its columns between '\\t', and is read with ',': set `delimiter` to \"\\t\""),
    "a needed column twice": ("a.csv", "text,text,label\na,b,c\n", "",
        "{path} has several columns 'text': rename all but one, or set `text` to one of 'label'"),
    "a column that is not there": ("a.csv", CSV, "--label class",
        "{path} has no column 'class': set `label` to one of 'text', 'label'"),
    "utf-16": ("a.csv", CSV.encode("utf-16"), "", "{path} begins with the byte-order mark of "
        "utf-16, and is read as utf-8: set `encoding` to utf-16"),
    "utf-16, JSON lines": ("a.jsonl", JSONL.encode("utf-16"), "", "{path} begins with the "
        "byte-order mark of utf-16, and is read as utf-8: set `encoding` to utf-16"),
    "utf-16 cut off": ("a.csv", CSV.encode("utf-16")[:-1], "--encoding utf-16", "{path} is not "
        "utf-16 ('utf-16-le' codec can't decode byte 0x0a in position"),
    "an unknown encoding": ("a.csv", CSV, "--encoding latin-one", "{path}: Python knows no "
        "encoding 'latin-one' of text; set `encoding` to one it knows, such as utf-8 or latin-1"),
    "no encoding of text": ("a.csv", CSV, "--encoding rot13", "{path}: Python knows no encoding "
        "'rot13' of text; set `encoding` to one it knows, such as utf-8 or latin-1"),
    "an empty file": ("a.csv", "", "", "{path} has no header, the file is empty: bring rows under "
        "a line of column names"),
    "an empty file of JSON lines": ("a.jsonl", "", "", "{path} has no rows: bring some, or leave "
        "this file out"),
    "a header alone": ("a.csv", "text,label\n", "", "{path} has no rows: bring some, or leave this "
        "file out"),
    "no good row": ("a.csv", "text,label\na\n", "--on-bad-rows skip", "{path} has no good row, 1 "
        "are bad ({path}, line 2: 1 fields under 2 columns is the first): mend them"),
    "no Parquet": ("a.parquet", CSV, "", "{path} cannot be read as parquet: Parquet magic bytes"),
    "an empty Parquet": ("a.parquet", "", "", "{path} cannot be read as parquet: Parquet file size "
        "is 0 bytes; mend the file"),
    "Parquet cut off": ("a.parquet", lambda path: cut_off(path), "", "{path} cannot be read as "
        "parquet: "),
    "Parquet without the column": ("a.parquet", parquet(body=["a"], label=["b"]), "", "{path} has "
        "no column 'text': set `text` to one of 'body', 'label'"),
    "an unknown suffix": ("a.xls", CSV, "", "{path}: files of type '.xls' are not read; use .csv, "
        ".tsv, .jsonl, .parquet"),
    "plain lines": ("a.txt", CSV, "", "{path}: files of type '.txt' are not read; use .csv, .tsv, "
        ".jsonl, .parquet"),
    "a directory named as a file": ("a.csv", lambda path: path.mkdir(), "", "{path} holds no "
        "train{{.csv,.tsv,.jsonl,.parquet}} and no saved dataset: name the files by split, or set"),
    "a split that is a directory": ("data", lambda path: (path / "train.csv").mkdir(parents=True),
        "", "{path}/train.csv cannot be read (Is a directory): name a file that can be"),
}  # fmt: skip


def cut_off(path: Path) -> None:
    parquet(text=["a"], label=["b"])(path)
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(("name", "content", "words", "expected"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("policy", ["error", "skip"])
def test_a_file_that_cannot_be_read_ends_in_one_line(
    tmp_path, name, content, words, expected, policy
):
    path = tmp_path / name
    if callable(content):
        content(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    message = refusal(path, "--on-bad-rows", policy, *words.split())
    assert message.startswith(expected.format(path=path))


@pytest.mark.skipif(os.getuid() == 0, reason="root may read every file")
def test_a_file_without_permission_ends_in_one_line(tmp_path):
    (tmp_path / "a.csv").write_text(CSV)
    (tmp_path / "a.csv").chmod(0)
    assert refusal(tmp_path / "a.csv").endswith("permission denied; allow reading it")


NUMBERS = "text,label\n" + "".join(f"{n:03d},{label}\n" for n, (_, label) in enumerate(GOOD))
FINE = {
    "a byte-order mark": ("a.csv", CSV.encode("utf-8-sig"), {}),
    "a byte-order mark, JSON lines": ("a.jsonl", JSONL.encode("utf-8-sig"), {}),
    "lines that end as on Windows": ("a.csv", CSV.replace("\n", "\r\n").encode(), {}),
    "unnamed columns": ("a.csv", "".join(f"{li},,\n" for li in CSV.splitlines()).encode(), {}),
    "labels with blanks": ("a.csv", CSV.replace("ham\n", "ham \n").encode(),
                           {"label with blanks around it": 15}),
    "numeric texts": ("a.csv", NUMBERS.encode(), {}),
    "numbers as texts": ("a.jsonl", JSONL.replace('"see you bbb"', "3.0").encode(),
                         {"non-string text": 1}),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "oddities"), FINE.values(), ids=FINE)
def test_what_does_no_harm_is_read_and_counted(tmp_path, name, content, oddities):
    (tmp_path / name).write_bytes(content)
    made = run(tmp_path / name, "--leakage", "warn")
    assert sum(part["rows"] for part in made["splits"].values()) == 30
    assert made["labels"] == ["ham", "spam"]
    assert made["bad_rows"] == {"count": 0, "listed": []}
    found = made["found"]["train"]["oddities"]
    assert {name: count for name, count in found.items() if count} == oddities


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_hundred_megabytes_in_one_cell_are_one_bad_row(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    with open(path, "w") as file:
        file.write(CSV if suffix == ".csv" else JSONL)
        file.write('"' if suffix == ".csv" else '{"label": "ham", "text": "')
        for _ in range(100):
            file.write("x" * (1 << 20))
        file.write('",ham\nthe last,ham\n' if suffix == ".csv" else '"}\n' + in_json()[:80])
    line = 32 if suffix == ".csv" else 31
    problem = "a line of more than 16,777,216 characters"
    assert refusal(path).startswith(f"{path}, line {line}: {problem} (the ")
    listed = run(path, "--on-bad-rows", "skip")["bad_rows"]["listed"]
    assert (listed[0]["line"], listed[0]["problem"]) == (line, problem)


LIMITS = settings(max_examples=150, deadline=None, derandomize=True, database=None)
ENCODINGS = [
    "utf-8", "utf-8-sig", "utf-16", "utf-7", "utf-32", "idna", "punycode", "unicode_escape",
    "shift-jis", "iso2022_jp", "hz", "cp1252", "undefined", "gb18030", "ascii",
]  # fmt: skip


def survives(directory: Path, name: str, content: bytes, *words: str) -> None:
    """Preparing a file succeeds, or is refused in one line and leaves nothing behind."""
    shutil.rmtree(directory / "out", ignore_errors=True)
    (directory / name).write_bytes(content)
    try:
        run(directory / name, *words)
    except InputError as error:
        assert len(str(error).splitlines()) == 1
        assert left_behind(directory / name) == []
    else:
        assert sorted(file.name for file in (directory / "out").iterdir()) == [
            "data", "data.sha256", "leakage.csv"
        ]  # fmt: skip


@pytest.mark.quick(1)
@pytest.mark.parametrize("suffix", sorted({".csv", ".tsv", ".jsonl", ".parquet"}))
def test_random_bytes_are_refused(tmp_path_factory, suffix):
    directory = tmp_path_factory.mktemp("random")

    @LIMITS
    @given(st.binary(max_size=200), st.sampled_from(ENCODINGS), st.sampled_from(["error", "skip"]))
    def check(content, encoding, policy):
        words = ("--encoding", encoding, "--on-bad-rows", policy)
        head = {".csv": b"text,label\n", ".tsv": b"text\tlabel\n"}.get(suffix, b"")
        survives(directory, f"a{suffix}", content, *words)
        survives(directory, f"a{suffix}", head + content, *words)

    check()


def good_bytes(suffix: str, directory: Path) -> bytes:
    """Return a good file."""
    if suffix != ".parquet":
        return {".csv": CSV, ".tsv": CSV.replace(",", "\t"), ".jsonl": JSONL}[suffix].encode()
    texts, labels = zip(*GOOD, strict=True)
    parquet(text=list(texts), label=list(labels))(directory / "good.parquet")
    return (directory / "good.parquet").read_bytes()


SIGNS = [b'"', b"\n", b"\r", b"\0", b",", b"\xff\xfe", b"{", b"["]
ADDED = st.one_of(st.binary(max_size=4), st.sampled_from(SIGNS))
EDIT = st.tuples(st.integers(0, 5000), st.integers(0, 8), ADDED)


def damaged(whole: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """A file after some edits: each a place, how much is taken out there, and what is put in."""
    for place, removed, added in edits:
        start = place % (len(whole) + 1)
        whole = whole[:start] + added + whole[start + removed :]
    return whole


@pytest.mark.quick(1)
@pytest.mark.parametrize("suffix", sorted({".csv", ".tsv", ".jsonl", ".parquet"}))
def test_a_damaged_file_is_prepared_or_refused(tmp_path_factory, suffix):
    directory = tmp_path_factory.mktemp("damaged")
    whole = good_bytes(suffix, directory)

    @settings(LIMITS, max_examples=25)  # of which most go all the way
    @given(st.lists(EDIT, min_size=1, max_size=3), st.sampled_from(["error", "skip"]))
    def check(edits, policy):
        survives(directory, f"a{suffix}", damaged(whole, edits), "--on-bad-rows", policy)

    check()


@pytest.mark.quick(1)
@pytest.mark.parametrize("suffix", sorted({".csv", ".tsv", ".jsonl", ".parquet"}))
def test_a_damaged_file_is_read_or_refused(tmp_path_factory, suffix):
    path = tmp_path_factory.mktemp("damaged") / f"a{suffix}"
    whole = good_bytes(suffix, path.parent)
    columns, layout = examples.Columns(), reading.CsvOptions()

    @LIMITS
    @given(st.lists(EDIT, min_size=1, max_size=3))
    def check(edits):
        path.write_bytes(damaged(whole, edits))
        bad = reading.BadRows("skip")
        try:
            good = list(bad.left_out(examples.read(path, columns, layout)["train"]))
        except InputError as error:
            assert len(str(error).splitlines()) == 1
        else:
            numbers = [row.number for row in good]
            assert numbers == sorted(set(numbers))
            assert len(good) <= numbers[-1] + 1 <= len(good) + bad.count

    check()

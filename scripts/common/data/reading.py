"""Rows of files of any size, read one by one; a bad row is reported by its line and its column.

First come lines of text in any encoding; then records of delimited text (CSV, TSV), with what a
quote means; rows of Arrow (Parquet, saved datasets), a batch at a time; and last ``read``, which
chooses among them. An unbalanced quote would swallow every line up to the next one: it costs the
record that it opens and no other, since reading resumes at the line after it.

Nothing heavy is imported before a file needs it, so that ``--help`` answers at once.
"""

import codecs
import csv
import io
import json
import logging
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Generic, NamedTuple, TypeVar

from common import cli
from common.cli import InputError

log = logging.getLogger("reading")


# A field or a line of more ends there: where a quote never closes, all to the end is one field.
FIELD_CHARACTERS = 1 << 24

DRAINED_CHARACTERS = 1 << 20

MARKS = {  # byte-order marks; that of UTF-16 begins the one of UTF-32
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8",
}


@contextmanager
def opened(path: Path, encoding: str, newline: str | None) -> Iterator[IO[str]]:
    """Yield the file as text, in which undecodable bytes are surrogates, so that reading goes on.

    Raises:
        InputError: Python has no such encoding of text, or the file has the mark of another.
    """
    with open(path, "rb") as stream:
        try:
            codec = codecs.lookup(encoding).name
            for mark, family in MARKS.items():
                if stream.peek(len(mark)).startswith(mark):
                    codec = without_mark(path, codec, family)
                    break
            text = io.TextIOWrapper(stream, codec, errors="surrogateescape", newline=newline)
        except (LookupError, ValueError) as error:
            raise InputError(
                f"{path}: Python knows no encoding {encoding!r} of text; set `encoding` to one it "
                "knows, such as utf-8 or latin-1"
            ) from error
        yield text


def without_mark(path: Path, codec: str, family: str) -> str:
    """Return the codec that takes a byte-order mark away.

    Raises:
        InputError: the mark is that of another encoding.
    """
    if not codec.startswith(family):
        raise InputError(
            f"{path} begins with the byte-order mark of {family}, and is read as {codec}: set "
            f"`encoding` to {family}"
        )
    return "utf-8-sig" if family == "utf-8" else family


class LongLineError(Exception):
    """A line of more characters than are held."""


class Lines:
    """The lines of a text, counted; one that is too long is passed over, and never held as a whole.

    Attributes:
        number: of the last line given, from 1.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.readline, self.limit, self.number = stream.readline, FIELD_CHARACTERS, 0

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        """Return the next line, with its end.

        Raises:
            LongLineError: it is too long; the one after it is the next.
        """
        line = self.readline(self.limit)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) == self.limit and line[-1] not in "\r\n":
            while (rest := self.readline(DRAINED_CHARACTERS)) and rest[-1] not in "\r\n":
                pass
            raise LongLineError(f"a line of more than {self.limit:,} characters")
        return line


AUTO, STANDARD, NONE = QUOTING = ("auto", "standard", "none")

TAB, QUOTE = "\t", '"'
# A quoted field over so many lines, each of which has the fields of a row, is no text but rows
# between two unbalanced quotes. A tab is rare in a text, a comma is not: about every third line of
# prose has exactly one.
SWALLOWED_LINES, SWALLOWED_LINES_OF_TAB = 10, 2

REMEDY = "close each quote, and double those inside, or set `quoting` to none if they are letters"


class Problem(NamedTuple):
    """Why a record cannot be used.

    Attributes:
        text: what is wrong.
        remedy: what to do; "" to mend the record.
        swallowed: whether a quoted field can be read, but must have swallowed rows.
    """

    text: str
    remedy: str = ""
    swallowed: bool = False


Record = tuple[int, list[str] | Problem]  # the line that it begins on, and its fields


class Held:
    """Lines, of which those of the current record are kept: if it is none, they are read again.

    Attributes:
        number: of the last line given, from 1.
        record: the lines given since the last ``begin``.
    """

    def __init__(self, lines: Lines) -> None:
        self.lines, self.number = lines, 0
        self.record: list[str] = []
        self.again: deque[str] = deque()

    def __iter__(self) -> "Held":
        return self

    def __next__(self) -> str:
        self.number += 1
        try:
            line = self.again.popleft() if self.again else next(self.lines)
        except StopIteration:
            self.number -= 1
            raise
        self.record.append(line)
        return line

    def begin(self) -> int:
        """Begin a record; returns the number of its first line."""
        self.record = []
        return self.number + 1

    def put_back(self) -> None:
        """Give the last line once more."""
        self.again.appendleft(self.record.pop())
        self.number -= 1


def reader_of(lines: Any, delimiter: str, quoting: str) -> Any:
    """Return the reader of the standard library, which splits lines into fields."""
    csv.field_size_limit(FIELD_CHARACTERS)
    if quoting == NONE:
        return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, quotechar=None)
    return csv.reader(lines, delimiter=delimiter, strict=True)


def delimited_records(lines: Lines, delimiter: str, quoting: str) -> Iterator[Record]:
    """Yield every record but blank lines, the header among them.

    Args:
        lines: of the file.
        delimiter: one character.
        quoting: NONE: a quote is a letter and a line is a record. STANDARD: a quoted field may hold
            the delimiter and line ends. AUTO: the same, but a field that can only have swallowed
            rows is a problem of the line that it begins on.
    """
    held = Held(lines)
    reader = reader_of(held, delimiter, quoting)
    width = 0
    while True:
        start = held.begin()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except LongLineError as error:
            if held.record:
                yield start, Problem("bad quoting (a quote that is not closed)", REMEDY)
                yield from singly(held.record[1:], start + 1, delimiter)
            yield held.number, Problem(str(error))
        except csv.Error as error:
            yield start, Problem(f"bad quoting ({cause(error, held.record)})", REMEDY)
            yield from resumed(held, start, delimiter)
        else:
            width = width or len(fields)
            if quoting == AUTO and swallowed(held.record, delimiter, width):
                closed = f"a quote closed on line {held.number}, and the lines between are rows"
                yield start, Problem(f"bad quoting ({closed})", REMEDY, swallowed=True)
                yield from resumed(held, start, delimiter)
            elif fields:
                yield start, fields


def cause(error: csv.Error, record: list[str]) -> str:
    """Return what is wrong with the quotes of a record."""
    if "field larger" in str(error):
        return f"a quote that is not closed within {csv.field_size_limit():,} characters"
    if len(record) > 1 or "end of data" in str(error):
        return "a quote that is not closed"
    return str(error)


def resumed(held: Held, start: int, delimiter: str) -> Iterator[Record]:
    """Yield the records between the first and the last line of one that is none.

    The last line, where the quote was closed or the file ended, is put back: it may begin a record
    of several lines. A line between that leaves a quote open does not: from there, the quote would
    meet the end that the first one met. So no line is read more than twice.
    """
    if len(held.record) > 1:
        held.put_back()
        yield from singly(held.record[1:], start + 1, delimiter)


def singly(lines: list[str], number: int, delimiter: str) -> Iterator[Record]:
    """Yield the record on each line, numbered from ``number``."""
    for place, line in enumerate(lines, number):
        try:
            fields = next(reader_of([line], delimiter, STANDARD))
        except csv.Error as error:
            yield place, Problem(f"bad quoting ({cause(error, [line])})", REMEDY)
        else:
            if fields:
                yield place, fields


def swallowed(record: list[str], delimiter: str, width: int) -> bool:
    """Return whether the lines of a record are rows by themselves, as their delimiters count."""
    enough = SWALLOWED_LINES_OF_TAB if delimiter == TAB else SWALLOWED_LINES
    if len(record) < enough or (width == 1 and delimiter != TAB):
        return False
    return all(line.count(delimiter) == width - 1 for line in record)


@dataclass
class Evidence:
    """How well both meanings of a quote fit delimited text.

    Attributes:
        standard: records that cannot be read with quotes around fields.
        none: lines that cannot be read with quotes as letters.
        first: the line that the first record of ``standard`` begins on.
        ambiguous: the same, where the text has a single column and nothing is wrong but that fields
            go over several lines: each line may as well be a row.
    """

    standard: int = 0
    none: int = 0
    first: int = 0
    ambiguous: int = 0


class Counted(Lines):
    """Lines, of which those are counted that have other delimiters than the first.

    Attributes:
        header: the first line that is not blank.
        wrong: how many lines have more or fewer delimiters than the first.
    """

    def __init__(self, stream: IO[str], delimiter: str) -> None:
        super().__init__(stream)
        self.delimiter, self.header, self.expected, self.wrong = delimiter, "", 0, 0

    def __next__(self) -> str:
        line = super().__next__()
        if not line.isspace():
            found = line.count(self.delimiter)
            if not self.header:
                self.header, self.expected = line, found
            self.wrong += found != self.expected
        return line


def quote_evidence(lines: Counted) -> Evidence:
    """Return how well both meanings of a quote fit a text, which is read to its end.

    Nothing speaks against quotes around fields where the header has some.
    """
    found, width, swallowed = Evidence(), 0, 0
    for line, fields in delimited_records(lines, lines.delimiter, AUTO):
        if QUOTE in lines.header:
            return Evidence()
        width = width or len(fields)
        if isinstance(fields, Problem) or len(fields) != width:
            found.standard += 1
            found.first = found.first or line
            swallowed += isinstance(fields, Problem) and fields.swallowed
    found.none = lines.wrong
    if width == 1 and found.standard == swallowed:
        found.ambiguous = found.first
    return found


DELIMITERS = {".csv": ",", ".tsv": "\t"}

SUFFIXES = (*DELIMITERS, ".jsonl", ".parquet", ".txt")

OTHER_DELIMITERS = ",;\t|"
# What `surrogateescape` makes of a byte that cannot be decoded; no text in UTF-8 holds it.
UNDECODABLE = re.compile("[\ud800-\udfff]")

NAMES_SHOWN = 20

NAME_CHARACTERS = 60

LISTED = 10_000

LOGGED = 10

# Config key -> the columns that it names, such as {"text": ["v2"], "label": ["v1"]}.
Columns = Mapping[str, Sequence[str]]

T = TypeVar("T")

U = TypeVar("U")


@dataclass(frozen=True)
class CsvOptions:
    """How a file is read.

    Attributes:
        encoding: of text files; a byte-order mark at the start is no text.
        delimiter: of CSV, one character; None for that of the file's type.
        quoting: of CSV, one of QUOTING. What AUTO means for tabs as delimiters is
            seen from the files, see ``settled``.
        reason: why ``quoting`` is what it is, where it was seen from the files; else "".
        decided: whether the files were looked at for it.
    """

    encoding: str = "utf-8"
    delimiter: str | None = None
    quoting: str = AUTO
    reason: str = ""
    decided: bool = False

    def delimiter_of(self, path: Path) -> str | None:
        """Return the delimiter of a file; None of a type that has none."""
        own = DELIMITERS.get(path.suffix.lower())
        return own if own is None or self.delimiter is None else self.delimiter


class Row(NamedTuple):
    """The needed columns of a row.

    Attributes:
        line: that the row begins on, from 1; of Parquet, the number of the row, from 1.
        fields: the values as they are written, by column. A JSON object may lack some.
        names: all that the object has, where it lacks some; else empty.
    """

    line: int
    fields: dict[str, Any]
    names: tuple[str, ...] = ()


class BadRow(NamedTuple):
    """A row that cannot be used.

    Attributes:
        line: as of a row.
        column: where the problem is; None if that is not known, or the row as a whole.
        problem: what is wrong, without any text of the row, which may be private.
        remedy: what to do; "" to mend the row.
    """

    line: int
    column: str | None
    problem: str
    remedy: str = ""


class Stream(Generic[T]):
    """Rows as they are read, and how errors call their place.

    Attributes:
        where: the file, or the split of a saved dataset.
        unit: what the number of a row counts, "line" or "row".
        split: of a dataset; None for other rows.
        layout: of a CSV or TSV that belongs to a source, how it is read; else None.
        filtered_out: rows that were read and do not meet the filters.
    """

    def __init__(
        self, rows: Iterable[T], where: str, unit: str = "line", split: str | None = None
    ) -> None:
        self.rows, self.where, self.unit, self.split = iter(rows), where, unit, split
        self.layout: CsvOptions | None = None
        self.filtered_out = 0

    def __iter__(self) -> Iterator[T]:
        return self.rows  # and not self, which would cost a call for each row

    def __next__(self) -> T:
        return next(self.rows)

    def of(self, rows: Iterable[U]) -> "Stream[U]":
        """Return other rows of the same place."""
        other: Stream[U] = Stream(rows, self.where, self.unit, self.split)
        other.layout = self.layout
        return other


def read(path: Path, columns: Columns, layout: CsvOptions) -> Stream[Row | BadRow]:
    """Every row of a CSV, TSV, JSON lines, Parquet or plain text file, read when it is asked for.

    Blank lines of CSV, TSV and JSON lines are no rows. A line of plain text is the one column.

    Args:
        path: its suffix, in any case, tells the type.
        columns: config key -> the columns that it names. Each must be there once; others may
            repeat, as in exports of spreadsheets.
        layout: encoding, delimiter and quoting.

    Raises:
        InputError: as the rows are asked for: the file as a whole cannot be read so; one line says
            why and what to do.
    """
    unit = "row" if path.suffix.lower() == ".parquet" else "line"
    return Stream(records(path, columns, layout), str(path), unit)


def records(path: Path, columns: Columns, layout: CsvOptions) -> Iterator[Row | BadRow]:
    """Yield the rows of ``read``."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: files of this type are not read; use {', '.join(SUFFIXES)}")
    readers = {".jsonl": read_json_lines, ".txt": read_lines}
    try:
        if suffix == ".parquet":
            found = parquet_batches(path, columns)
            yield from batch_rows(found, needed(columns))
            return
        layout = settled([path], layout)
        with opened(path, layout.encoding, newline="" if suffix in DELIMITERS else None) as stream:
            yield from readers.get(suffix, read_csv)(Lines(stream), path, columns, layout)
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: permission denied; allow reading it") from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}): name a file that can be"
        ) from error
    except UnicodeError as error:  # of the encodings whose characters are no single bytes
        raise InputError(
            f"{path} is not {layout.encoding} ({cli.one_line(error)}): set `encoding`"
        ) from error


def bounded(lines: Lines) -> Iterator[str | BadRow]:
    """Yield each line, or what is wrong with it."""
    while True:
        try:
            yield next(lines)
        except StopIteration:
            return
        except LongLineError as error:
            yield BadRow(lines.number, None, str(error))


def read_lines(
    lines: Lines, path: Path, columns: Columns, layout: CsvOptions
) -> Iterator[Row | BadRow]:
    """Yield a row for each line of plain text."""
    key, *more = columns
    if more:
        raise InputError(f"{path} is plain lines, without columns: leave `{more[0]}` out")
    column, *pair = columns[key]
    if pair:
        raise InputError(f"{path} is plain lines, which hold no pairs: bring CSV or JSON lines")
    for line in bounded(lines):
        if isinstance(line, BadRow):
            yield line
        elif problem := unreadable(line, layout):
            yield BadRow(lines.number, None, *problem)
        else:
            yield Row(lines.number, {column: line.rstrip("\n")})


def read_json_lines(
    lines: Lines, _: Path, columns: Columns, layout: CsvOptions
) -> Iterator[Row | BadRow]:
    """Yield a row for each JSON object."""
    names = needed(columns)
    for line in bounded(lines):
        if isinstance(line, BadRow):
            yield line
        elif not line.isspace():
            yield json_row(lines.number, line, names, layout)


def json_row(number: int, line: str, names: list[str], layout: CsvOptions) -> Row | BadRow:
    """Return the object on a line of JSON."""
    if problem := unreadable(line, layout):
        return BadRow(number, None, *problem)
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return BadRow(number, None, f"no valid JSON ({cli.one_line(error)})")
    if not isinstance(record, dict):
        return BadRow(number, None, "no JSON object", "put one object on each line")
    fields = {name: record[name] for name in names if name in record}
    return Row(number, fields, tuple(record) if len(fields) < len(names) else ())


def read_csv(
    lines: Lines, path: Path, columns: Columns, layout: CsvOptions
) -> Iterator[Row | BadRow]:
    """Yield a row for each record under the header; quoted fields may go over several lines."""
    delimiter = require_delimiter(path, layout)
    found = delimited_records(lines, delimiter, layout.quoting)
    header = csv_header(next(found, None), path, columns, layout, delimiter)
    wanted = [(name, header.index(name)) for name in needed(columns)]
    width = len(header)
    for line, fields in found:
        if isinstance(fields, Problem):
            yield BadRow(line, None, fields.text, fields.remedy)
        elif problem := unreadable("".join(fields), layout):
            yield BadRow(line, column_of(fields, header, layout), *problem)
        elif len(fields) != width:
            remedy = "quote the delimiter" if len(fields) > width else ""
            yield BadRow(line, None, f"{len(fields)} fields under {width} columns", remedy)
        else:
            yield Row(line, {name: fields[place] for name, place in wanted})


def require_delimiter(path: Path, layout: CsvOptions) -> str:
    """Return the delimiter of a file, refused where it cannot be one."""
    delimiter = layout.delimiter_of(path) or ""
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise InputError(f"{path}: {delimiter!r} cannot be a delimiter; mend `delimiter`")
    return delimiter


def settled(paths: Iterable[Path], layout: CsvOptions) -> CsvOptions:
    """Return the layout, with what a quote means in files whose delimiter is a tab.

    Such files come with and without quotes around fields: pandas writes them, and in those of GLUE
    a quote is a letter. All files of a source are read alike: with quotes as letters where that
    leaves fewer lines that cannot be read, which is logged.

    Raises:
        InputError: the files can be read both ways, and have other rows then.
    """
    if layout.quoting != AUTO or layout.decided:
        return layout
    standard = none = 0
    where = ""
    for path in paths:
        if layout.delimiter_of(path) == TAB:
            found = evidence(path, layout)
            if found.ambiguous:
                raise InputError(
                    f"{path}, line {found.ambiguous}: a quote that is closed on a later line: one "
                    "text of several lines, or a letter? Set `quoting` to standard or to none"
                )
            standard, none = standard + found.standard, none + found.none
            where = where or (f"{path.name}, line {found.first}" if found.standard else "")
    if none >= standard:
        return replace(layout, decided=True)
    reason = (
        f"with quotes around fields {standard} records cannot be read, the first in {where}; with "
        f"quotes as letters {none}"
    )
    log.warning("quotes are read as letters (`quoting: none`): %s", reason)
    return replace(layout, quoting=NONE, reason=reason, decided=True)


def evidence(path: Path, layout: CsvOptions) -> Evidence:
    """Return what the lines of a file say about its quotes; of one that cannot be read, nothing."""
    try:
        with opened(path, layout.encoding, newline="") as stream:
            return quote_evidence(Counted(stream, TAB))
    except (OSError, UnicodeError, InputError):  # of which `records` tells
        return Evidence()


def column_of(fields: list[str], header: list[str], layout: CsvOptions) -> str | None:
    """Return the column that cannot be read.

    None where the row has not the columns of the header.
    """
    places = [place for place, field in enumerate(fields) if unreadable(field, layout)]
    return header[places[0]] if len(fields) == len(header) else None


def csv_header(
    record: Record | None,
    path: Path,
    columns: Columns,
    layout: CsvOptions,
    delimiter: str,
) -> list[str]:
    """Return the names in the first record.

    Raises:
        InputError: it cannot be read, or lacks a column, or has it twice.
    """
    if record is None:
        raise InputError(
            f"{path} has no header, the file is empty: bring rows under a line of column names"
        )
    header = record[1]
    if isinstance(header, Problem) or (len(header) == 1 and header != needed(columns)):
        refuse_delimiter(path, columns, layout, delimiter)
    if isinstance(header, Problem):
        raise InputError(f"{path}, header: {header.text}; close each quote, or set `delimiter`")
    if problem := unreadable("".join(header), layout):
        raise InputError(f"{path}, header: {'; '.join(filter(None, problem))}")
    require_columns(header, str(path), columns)
    return header


def refuse_delimiter(path: Path, columns: Columns, layout: CsvOptions, delimiter: str) -> None:
    """Refuse a file whose header has the columns with another delimiter, naming that."""
    with opened(path, layout.encoding, newline="") as stream:
        line = next(line for line in bounded(Lines(stream)) if not str(line).isspace())
    if isinstance(line, BadRow):
        return
    for other in OTHER_DELIMITERS.replace(delimiter, ""):
        try:
            header = next(csv.reader([line], delimiter=other, strict=True), [])
        except csv.Error:
            continue
        if set(needed(columns)) <= set(header):
            raise InputError(
                f"{path} has its columns between {other!r}, and is read with {delimiter!r}: set "
                f"`delimiter` to {json.dumps(other)}"
            )


def needed(columns: Columns) -> list[str]:
    """Return the names of the columns, each once."""
    return list(dict.fromkeys(name for names in columns.values() for name in names))


def require_columns(names: Sequence[str], where: str, columns: Columns) -> None:
    """Refuse names that lack a needed column, or have it twice."""
    for key, wanted in columns.items():
        for column in wanted:
            if names.count(column) != 1:
                many = "several columns" if column in names else "no column"
                once = [name for name in names if names.count(name) == 1]
                remedy = f"set `{key}` to one of {listed(once)}" if once else "bring some"
                remedy = f"rename all but one, or {remedy}" if column in names else remedy
                raise InputError(f"{where} has {many} {column!r}: {remedy}")


def require_text_columns(names: Sequence[str]) -> None:
    """Refuse columns that are neither a text nor a pair of texts."""
    if len(names) > 2 or len(set(names)) < len(names):
        raise InputError(
            f"--text names {len(names)} columns, {', '.join(names)}: name one, or of pairs two "
            "different ones"
        )


def listed(names: Sequence[str]) -> str:
    """Return the first names, for an error."""
    shown = [repr(name)[:NAME_CHARACTERS] for name in names[:NAMES_SHOWN]]
    more = [f"{len(names) - NAMES_SHOWN} more"] * (len(names) > NAMES_SHOWN)
    return ", ".join([*shown, *more])


def unreadable(text: str, layout: CsvOptions) -> tuple[str, str] | None:
    """Return what keeps the bytes of a text from being read, and the remedy.

    None if nothing does.
    """
    if "\0" in text:
        return "a NUL byte", "take it out, or set `encoding`, perhaps to utf-16"
    if text.isascii() or not (found := UNDECODABLE.search(text)):
        return None
    byte = ord(found[0]) - 0xDC00
    if not 0x80 <= byte <= 0xFF:  # an encoding that can spell half a character
        return "no whole Unicode", ""
    perhaps = "latin-1" if layout.encoding.lower().startswith("utf") else "utf-8"
    return f"not {layout.encoding} (byte 0x{byte:02x})", f"set `encoding`, perhaps to {perhaps}"


def unusable(value: Any) -> str:
    """Return what is wrong with a value that should be a text or a number; "" if nothing is."""
    if isinstance(value, str):
        if not value or value.isspace():
            return "empty"
        if len(value) > FIELD_CHARACTERS:
            return f"more than {FIELD_CHARACTERS:,} characters"
        if "\0" in value:  # JSON and Parquet can spell it, and half a character, too
            return "a NUL byte"
        return "" if value.isascii() or not UNDECODABLE.search(value) else "no whole Unicode"
    if value is None:
        return "empty"
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return "neither text nor number"
    return "" if value == value else "empty"  # NaN is not


def first_problem(row: Row, keys: Iterable[tuple[str, str]]) -> BadRow | None:
    """Return the first column without a text or a number; None if all have one.

    Args:
        row: to look at.
        keys: each column with the config key that names it.
    """
    for key, column in keys:
        if column not in row.fields:  # of a JSON object
            remedy = f"set `{key}` to one of {listed(row.names)}" if row.names else ""
            return BadRow(row.line, column, "missing", remedy)
        if problem := unusable(row.fields[column]):
            return BadRow(row.line, column, problem)
    return None


def as_text(value: Any) -> str:
    """Return a value as text: 3 rather than 3.0 for a whole number."""
    if isinstance(value, str):
        return value
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def format_location(rows: Stream[Any], row: BadRow) -> str:
    """Return the place and the problem of a bad row, for people."""
    column = "" if row.column is None else f", column {row.column!r}"
    return f"{rows.where}, {rows.unit} {row.line}{column}: {row.problem}"


class BadRows:
    """What becomes of bad rows: they end the run, or they are left out; both ways they are counted.

    Attributes:
        count: of all bad rows so far.
        by_split: the same by split.
        listed: the first ``LISTED`` of them for JSON: split, file, line, column and problem. The
            line is that which the row begins on, from 1; where rows have no lines, their number.
    """

    def __init__(self, on_bad_rows: str, at_once: bool = False) -> None:
        """Nothing is bad so far.

        Args:
            on_bad_rows: "error" or "skip".
            at_once: for rows that are used as they are read: with "error", the first bad row ends
                the run, and not ``refuse``.
        """
        self.skip, self.at_once = on_bad_rows == "skip", at_once
        self.count = 0
        self.by_split: Counter[str | None] = Counter()
        self.listed: list[dict[str, Any]] = []
        self.first = self.remedy = ""

    def left_out(self, rows: Stream[T | BadRow]) -> Iterator[T]:
        """Yield the other rows.

        Raises:
            InputError: the first bad row ends the run; or all rows are bad, and would be left out
                of a split.
        """
        before, some = self.count, False
        first: BadRow | None = None
        for row in rows:
            if isinstance(row, BadRow):
                first = first or row
                self.add(rows, row)
            else:
                some = True
                yield row
        if first and self.skip and not self.at_once and not some:
            raise InputError(
                f"{rows.where} has no good row, {self.count - before} are bad "
                f"({format_location(rows, first)} is the first): {first.remedy or 'mend them'}"
            )

    def add(self, rows: Stream[Any], row: BadRow) -> None:
        """Count a bad row, and tell of it; of the first ones only, in a log that people read.

        Raises:
            InputError: it ends the run.
        """
        said = format_location(rows, row)
        if self.at_once and not self.skip:
            raise InputError(
                f"{said}; {row.remedy or 'mend the row'}, or set `on_bad_rows` to skip"
            )
        self.count += 1
        self.by_split[rows.split] += 1
        if self.count == 1:
            self.first, self.remedy = said, row.remedy
        if self.count <= LISTED:
            place = {"split": rows.split, "file": Path(rows.where).name, "line": row.line}
            self.listed.append({**place, "column": row.column, "problem": row.problem})
        if self.skip and self.count <= LOGGED:
            log.warning("left out: %s", f"{said}; {row.remedy}" if row.remedy else said)
            if self.count == LOGGED:
                log.warning("more bad rows are counted, not shown here")

    def refuse(self) -> None:
        """End the run if there are bad rows that are not to be left out.

        Raises:
            InputError: it names the place of the first, how many there are, and the remedy.
        """
        if self.count and not self.skip:
            many = "the only bad row" if self.count == 1 else f"the first of {self.count} bad rows"
            remedy = self.remedy or ("mend it" if self.count == 1 else "mend them")
            raise InputError(f"{self.first} ({many}): {remedy}, or set `on_bad_rows` to skip")


BATCH_ROWS = 1024

BUFFER_BYTES = 1 << 20


def parquet_batches(path: Path, columns: Columns) -> Iterator[Any]:
    """Yield the record batches of a Parquet file, with the needed columns alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open(path, "rb") as stream:
        try:
            # Without a buffer, all of a row group is read at once.
            file = pq.ParquetFile(stream, buffer_size=BUFFER_BYTES)
            require_columns(file.schema_arrow.names, str(path), columns)
            yield from file.iter_batches(BATCH_ROWS, columns=needed(columns), use_threads=False)
        except (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError) as error:
            raise InputError(
                f"{path} cannot be read as parquet: {cli.one_line(error)}; mend the file"
            ) from error


def batch_rows(batches: Iterable[Any], names: list[str]) -> Iterator[Row]:
    """Yield a row for each of record batches or tables of Arrow, numbered from 1."""
    number = 0
    for batch in batches:
        columns = [values(batch.column(name)) for name in names]
        for fields in zip(*columns, strict=True):
            number += 1
            yield Row(number, dict(zip(names, fields, strict=True)))


def values(column: Any) -> list[Any]:
    """Return a column of Arrow as Python values.

    One that Python does not have is an object without text.

    Such are times out of Python's range, and texts that are no UTF-8.
    """
    try:
        return column.to_pylist()
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return [value(scalar) for scalar in column]


def value(scalar: Any) -> Any:
    """Return one value of Arrow."""
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return "\udcff"  # what an undecodable byte is in a text file
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return object()

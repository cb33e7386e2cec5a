"""Rows of files of any size, read one by one; a bad row is told by its line and its column.

Nothing heavy is imported before a file needs it, so that ``--help`` answers at once.
"""

import csv
import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from common import cli
from common.cli import InputError
from common.data import delimited
from common.data.delimited import Problem
from common.data.lines import FIELD_CHARACTERS, Lines, LongLineError, opened

log = logging.getLogger("rows")

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
class Layout:
    """How a file is read.

    Attributes:
        encoding: of text files; a byte-order mark at the start is no text.
        delimiter: of CSV, one character; None for that of the file's type.
        quoting: of CSV, one of ``delimited.QUOTING``. What AUTO means for tabs as delimiters is
            seen from the files, see ``settled``.
        reason: why ``quoting`` is what it is, where it was seen from the files; else "".
        decided: whether the files were looked at for it.
    """

    encoding: str = "utf-8"
    delimiter: str | None = None
    quoting: str = delimited.AUTO
    reason: str = ""
    decided: bool = False

    def delimiter_of(self, path: Path) -> str | None:
        """The delimiter of a file; None of a type that has none."""
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
        self.layout: Layout | None = None
        self.filtered_out = 0

    def __iter__(self) -> Iterator[T]:
        return self.rows  # and not self, which would cost a call for each row

    def __next__(self) -> T:
        return next(self.rows)

    def of(self, rows: Iterable[U]) -> "Stream[U]":
        """Other rows of the same place."""
        other: Stream[U] = Stream(rows, self.where, self.unit, self.split)
        other.layout = self.layout
        return other


def read(path: Path, columns: Columns, layout: Layout) -> Stream[Row | BadRow]:
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


def records(path: Path, columns: Columns, layout: Layout) -> Iterator[Row | BadRow]:
    """The rows of ``read``."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: files of this type are not read; use {', '.join(SUFFIXES)}")
    readers = {".jsonl": read_json_lines, ".txt": read_lines}
    try:
        if suffix == ".parquet":
            from common.data import batches

            found = batches.parquet_batches(path, columns)
            yield from batches.batch_rows(found, needed(columns))
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
    """Each line, or what is wrong with it."""
    while True:
        try:
            yield next(lines)
        except StopIteration:
            return
        except LongLineError as error:
            yield BadRow(lines.number, None, str(error))


def read_lines(
    lines: Lines, path: Path, columns: Columns, layout: Layout
) -> Iterator[Row | BadRow]:
    """A row for each line of plain text."""
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
    lines: Lines, _: Path, columns: Columns, layout: Layout
) -> Iterator[Row | BadRow]:
    """A row for each JSON object."""
    names = needed(columns)
    for line in bounded(lines):
        if isinstance(line, BadRow):
            yield line
        elif not line.isspace():
            yield json_row(lines.number, line, names, layout)


def json_row(number: int, line: str, names: list[str], layout: Layout) -> Row | BadRow:
    """The object on a line of JSON."""
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


def read_csv(lines: Lines, path: Path, columns: Columns, layout: Layout) -> Iterator[Row | BadRow]:
    """A row for each record under the header; quoted fields may go over several lines."""
    delimiter = require_delimiter(path, layout)
    found = delimited.records(lines, delimiter, layout.quoting)
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


def require_delimiter(path: Path, layout: Layout) -> str:
    """The delimiter of a file, refused where it cannot be one."""
    delimiter = layout.delimiter_of(path) or ""
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise InputError(f"{path}: {delimiter!r} cannot be a delimiter; mend `delimiter`")
    return delimiter


def settled(paths: Iterable[Path], layout: Layout) -> Layout:
    """The layout, with what a quote means in files whose delimiter is a tab.

    Such files come with and without quotes around fields: pandas writes them, and in those of GLUE
    a quote is a letter. All files of a source are read alike: with quotes as letters where that
    leaves fewer lines that cannot be read, which is told.

    Raises:
        InputError: the files can be read both ways, and have other rows then.
    """
    if layout.quoting != delimited.AUTO or layout.decided:
        return layout
    standard = none = 0
    where = ""
    for path in paths:
        if layout.delimiter_of(path) == delimited.TAB:
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
    return replace(layout, quoting=delimited.NONE, reason=reason, decided=True)


def evidence(path: Path, layout: Layout) -> delimited.Evidence:
    """What the lines of a file say about its quotes; of one that cannot be read, nothing."""
    try:
        with opened(path, layout.encoding, newline="") as stream:
            return delimited.evidence(delimited.Counted(stream, delimited.TAB))
    except (OSError, UnicodeError, InputError):  # of which `records` tells
        return delimited.Evidence()


def column_of(fields: list[str], header: list[str], layout: Layout) -> str | None:
    """The column that cannot be read; None where the row has not the columns of the header."""
    places = [place for place, field in enumerate(fields) if unreadable(field, layout)]
    return header[places[0]] if len(fields) == len(header) else None


def csv_header(
    record: delimited.Record | None,
    path: Path,
    columns: Columns,
    layout: Layout,
    delimiter: str,
) -> list[str]:
    """The names in the first record.

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


def refuse_delimiter(path: Path, columns: Columns, layout: Layout, delimiter: str) -> None:
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
    """The names of the columns, each once."""
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
    """The first names, for an error."""
    shown = [repr(name)[:NAME_CHARACTERS] for name in names[:NAMES_SHOWN]]
    more = [f"{len(names) - NAMES_SHOWN} more"] * (len(names) > NAMES_SHOWN)
    return ", ".join([*shown, *more])


def unreadable(text: str, layout: Layout) -> tuple[str, str] | None:
    """What keeps the bytes of a text from being read, and the remedy; None if nothing does."""
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
    """What is wrong with a value that should be a text or a number; "" if nothing is."""
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
    """The first column without a text or a number; None if all have one.

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
    """A value as text: 3 rather than 3.0 for a whole number."""
    if isinstance(value, str):
        return value
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def told(rows: Stream[Any], row: BadRow) -> str:
    """The place and the problem of a bad row, for people."""
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
        """The other rows.

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
                f"({told(rows, first)} is the first): {first.remedy or 'mend them'}"
            )

    def add(self, rows: Stream[Any], row: BadRow) -> None:
        """Count a bad row, and tell of it; of the first ones only, in a log that people read.

        Raises:
            InputError: it ends the run.
        """
        said = told(rows, row)
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

"""Rows of new text, read one by one from files of any size; a bad row is told by its line."""

import codecs
import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from common import cli
from common.cli import InputError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*DELIMITERS, ".jsonl", ".txt")
# Where a quote never closes, everything to the end is one field: it ends here, before the memory.
FIELD_CHARACTERS = 1 << 24
# What `surrogateescape` makes of a byte that cannot be decoded; no text in UTF-8 holds it.
UNDECODABLE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Layout:
    """How a file is read.

    Attributes:
        text: column of the text; plain lines have none.
        id: column of the id; None for the number of the line.
        encoding: of the file; a byte-order mark at its start is no text.
        delimiter: one character; None for that of the file's type.
    """

    text: str = "text"
    id: str | None = None
    encoding: str = "utf-8"
    delimiter: str | None = None


@dataclass(frozen=True)
class Row:
    """A text to classify, and the line that it begins on, from 1."""

    line: int
    id: Any
    text: str


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be classified: the line that it begins on, from 1, and why."""

    line: int
    problem: str


def read(path: Path, layout: Layout) -> Iterator[Row | BadRow]:
    """Every row of a CSV, TSV, JSON lines or plain text file, read when it is asked for.

    Blank lines of CSV, TSV and JSON lines are no rows; a blank line of plain text is a bad one.

    Raises:
        InputError: the file as a whole cannot be read so; one line says why and what to do.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: files of this type are not read; use {', '.join(SUFFIXES)}")
    if suffix == ".txt" and layout.id is not None:
        raise InputError(f"{path} is plain lines, without columns: leave `id` out")
    readers = {".jsonl": read_json_lines, ".txt": read_lines}
    try:
        with opened(path, layout.encoding, newline="" if suffix in DELIMITERS else None) as stream:
            yield from readers.get(suffix, read_csv)(stream, path, layout)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): set `input` anew") from error
    except UnicodeError as error:  # of the encodings whose characters are no single bytes
        raise InputError(
            f"{path} is not {layout.encoding} ({cli.one_line(error)}): set `encoding`"
        ) from error


def opened(path: Path, encoding: str, newline: str | None) -> IO[str]:
    """The file as text, in which undecodable bytes are surrogates, so that reading goes on."""
    try:
        name = codecs.lookup(encoding).name
    except LookupError as error:
        raise InputError(
            f"{path}: Python knows no encoding {encoding!r}; set `encoding` to one it knows, such "
            "as utf-8 or latin-1"
        ) from error
    name = "utf-8-sig" if name == "utf-8" else name
    return open(path, encoding=name, errors="surrogateescape", newline=newline)


def read_lines(stream: IO[str], _: Path, layout: Layout) -> Iterator[Row | BadRow]:
    """A row for each line of plain text."""
    for line, text in enumerate(stream, start=1):
        if problem := unreadable([text], layout):
            yield BadRow(line, problem)
        else:
            yield row(line, {layout.text: text.rstrip("\n")}, layout)


def read_json_lines(stream: IO[str], _: Path, layout: Layout) -> Iterator[Row | BadRow]:
    """A row for each JSON object; numbers count as texts."""
    for line, written in enumerate(stream, start=1):
        if written.strip():
            problem, record = parse_json(written, layout)
            yield BadRow(line, problem) if problem else row(line, record, layout)


def parse_json(line: str, layout: Layout) -> tuple[str, dict[str, Any]]:
    """What is wrong with a line of JSON, "" if nothing; and the object on it."""
    if problem := unreadable([line], layout):
        return problem, {}
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"no valid JSON ({cli.one_line(error)})", {}
    return ("", record) if isinstance(record, dict) else ("no JSON object", {})


def read_csv(stream: IO[str], path: Path, layout: Layout) -> Iterator[Row | BadRow]:
    """A row for each record under the header; quoted fields may go over several lines."""
    records = csv_records(stream, layout.delimiter or DELIMITERS[path.suffix.lower()], path)
    _, header = next(records, (0, []))
    require_columns(header, path, layout)
    for line, fields in records:
        if isinstance(fields, str):
            yield BadRow(line, fields)
        elif problem := unreadable(fields, layout):
            yield BadRow(line, problem)
        elif len(fields) != len(header):
            yield BadRow(
                line, f"{len(fields)} fields under {len(header)} columns; quote the delimiter"
            )
        else:
            yield row(line, dict(zip(header, fields, strict=True)), layout)


def csv_records(
    stream: IO[str], delimiter: str, path: Path
) -> Iterator[tuple[int, list[str] | str]]:
    """The line that each record begins on, and its fields or, as a string, what is wrong."""
    if len(delimiter) != 1:
        raise InputError(f"{path}: {delimiter!r} is not one character; mend `delimiter`")
    csv.field_size_limit(FIELD_CHARACTERS)
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            to = "" if reader.line_num == line else f", up to line {reader.line_num}"
            yield line, f"bad quoting ({error}){to}"
        else:
            if fields:
                yield line, fields


def require_columns(header: list[str] | str, path: Path, layout: Layout) -> None:
    """Refuse a file whose header lacks a column, or has it twice."""
    if isinstance(header, str):
        raise InputError(f"{path}, header: {header}; mend it")
    if problem := unreadable(header, layout):
        raise InputError(f"{path}, header: {problem}")
    for key, column in (("text", layout.text), ("id", layout.id)):
        if column is not None and header.count(column) != 1:
            many = "several columns" if column in header else "no column"
            found = ", ".join(map(repr, header)) or "those of a header; the file is empty"
            raise InputError(f"{path} has {many} {column!r}: set `{key}` to one of {found}")


def row(line: int, record: dict[str, Any], layout: Layout) -> Row | BadRow:
    """A record as a row."""
    for column in (layout.text, *([layout.id] if layout.id else [])):
        if column not in record:
            return BadRow(line, f"no {column!r}, only {', '.join(map(repr, record)) or 'nothing'}")
        if problem := unusable(record[column]):
            return BadRow(line, f"{column!r} is {problem}")
    return Row(line, record[layout.id] if layout.id else line, as_text(record[layout.text]))


def unreadable(texts: list[str], layout: Layout) -> str:
    """What keeps the bytes of a row from being read; "" if nothing does."""
    for text in texts:
        if found := UNDECODABLE.search(text):
            byte = ord(found[0]) - 0xDC00
            return f"not {layout.encoding} (byte 0x{byte:02x}); set `encoding`, perhaps to latin-1"
        if "\0" in text:
            return "a NUL byte"
    return ""


def unusable(value: Any) -> str:
    """What is wrong with a text or an id; "" if nothing is."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return "empty" if value is None else "neither text nor number"
    if not (text := as_text(value)).strip() or value != value:  # NaN, which JSON may hold
        return "empty"
    # JSON can spell both, and no tokenizer takes the first.
    return "no whole Unicode" if UNDECODABLE.search(text) else "a NUL byte" if "\0" in text else ""


def as_text(value: Any) -> str:
    """A value as text: 3 rather than 3.0 for a whole number, as in the training rows."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

"""Records of delimited text (CSV, TSV): the lines that a record is made of, and what a quote means.

An unbalanced quote would swallow every line up to the next one. It costs the record that it opens
and no other: reading resumes at the line after it.
"""

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

from common.data.lines import FIELD_CHARACTERS, Lines, LongLineError

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


def records(lines: Lines, delimiter: str, quoting: str) -> Iterator[Record]:
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


def evidence(lines: Counted) -> Evidence:
    """Return how well both meanings of a quote fit a text, which is read to its end.

    Nothing speaks against quotes around fields where the header has some.
    """
    found, width, swallowed = Evidence(), 0, 0
    for line, fields in records(lines, lines.delimiter, AUTO):
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

"""Examples to learn from: text and label of each row of a source, or why a row is none."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from common.cli import InputError
from common.data import reading, sources
from common.data.reading import BadRow, CsvOptions, Row, Stream

NON_STRING = "non-string text"
BLANKS = "label with blanks around it"
ODDITIES = (NON_STRING, BLANKS)


@dataclass(frozen=True)
class Columns:
    """What a row's columns are for.

    Attributes:
        text: column of the text; or of the two texts of a pair.
        label: column of the label.
        group: column of a group whose rows belong together, such as an author; None without.
        filters: conditions COLUMN=VALUE that a row must meet.
    """

    text: Sequence[str] = ("text",)
    label: str = "label"
    group: str | None = None
    filters: Sequence[str] = ()

    def by_key(self) -> dict[str, list[str]]:
        """Return the columns by the config key that names them."""
        keys = {"text": list(self.text), "label": [self.label]}
        keys |= {} if self.group is None else {"group": [self.group]}
        return keys | {"filter": [column for column, _ in self.conditions()]}

    def conditions(self) -> list[tuple[str, str]]:
        """Return the filters as column and value."""
        parts = [condition.partition("=") for condition in self.filters]
        return [(column, value) for column, _, value in parts]


class Example(NamedTuple):
    """A text and its label.

    Attributes:
        number: the place of the row in its split, from 0; bad rows and those that a filter leaves
            out count.
        text: as it is written; a number as text.
        label: without blanks around it.
        group: the group as text; None without a column of groups.
        oddities: of ``ODDITIES``: what is harmless, and worth counting.
        pair: the second text of a pair; None where texts are no pairs.
    """

    number: int
    text: str
    label: str
    group: str | None = None
    oddities: tuple[str, ...] = ()
    pair: str | None = None


def read(path: Path, columns: Columns, layout: CsvOptions) -> dict[str, Stream[Example | BadRow]]:
    """Return the examples of a source by split, read when they are asked for.

    Args:
        path: of the source, see ``sources.read``.
        columns: what the columns are for.
        layout: encoding, delimiter and quoting.

    Raises:
        InputError: as of ``sources.read``; and as the rows are asked for: a split has no rows, or
            none that meets the filters.
    """
    found = sources.read(path, columns.by_key(), layout)
    made: dict[str, Stream[Example | BadRow]] = {
        split: stream.of(()) for split, stream in found.items()
    }
    for split, stream in found.items():
        made[split].rows = examples(stream, columns, made[split])
    return made


def examples(
    stream: Stream[Row | BadRow], columns: Columns, made: Stream[Example | BadRow]
) -> Iterator[Example | BadRow]:
    """Yield the rows that meet the filters, as examples; ``made`` counts those that do not."""
    conditions = columns.conditions()
    passed = FilterCounter(columns)
    make = maker(columns)
    number, good = -1, False
    for number, row in enumerate(stream):
        if isinstance(row, BadRow):
            yield row
        elif not conditions or passed.by(row):
            good = True
            yield make(number, row)
        else:
            made.filtered_out += 1
    if number < 0:
        raise InputError(f"{stream.where} has no rows: bring some, or leave this file out")
    if not good:
        passed.refuse_none(stream.where)


class FilterCounter:
    """Which filters any row has passed, so that an error can name the one that none meets."""

    def __init__(self, columns: Columns) -> None:
        self.filters, self.conditions = columns.filters, columns.conditions()
        self.most, self.rows = 0, 0
        self.seen: set[str] = set()
        self.names: tuple[str, ...] = ()

    def by(self, row: Row) -> bool:
        """Return whether a row meets every filter; a column that it lacks has no value."""
        self.rows += 1
        for place, (column, value) in enumerate(self.conditions):
            if column in row.fields:
                self.seen.add(column)
            else:
                self.names = row.names
            given = row.fields.get(column)
            if ("" if given is None or given != given else reading.as_text(given)) != value:
                self.most = max(self.most, place)
                return False
        return True

    def refuse_none(self, where: str) -> None:
        """Refuse a split of which no row has met the filters; bad rows have not been tried."""
        if not self.rows:
            return
        column, _ = self.conditions[self.most]
        if column not in self.seen:
            reading.require_columns(self.names, where, {"filter": [column]})
        raise InputError(
            f"{where} has no row with {self.filters[self.most]}: set `filter` to a value of column "
            f"{column!r}"
        )


def maker(columns: Columns) -> Callable[[int, Row], Example | BadRow]:
    """Return the function that makes an example, or a bad row, of a number and a row."""
    label_column, group_column = columns.label, columns.group
    keys = [("text", column) for column in columns.text] + [("label", label_column)]
    keys += [] if group_column is None else [("group", group_column)]

    def make(number: int, row: Row) -> Example | BadRow:
        fields = row.fields
        if isinstance(fields.get(label_column), bool):
            fields[label_column] = str(fields[label_column])
        if bad := reading.first_problem(row, keys):
            return bad
        text, *pair = [fields[column] for column in columns.text]
        written = reading.as_text(fields[label_column])
        label = written.strip()
        strings = isinstance(text, str) and all(isinstance(other, str) for other in pair)
        oddities: tuple[str, ...] = () if strings else (NON_STRING,)
        if len(label) != len(written):
            oddities += (BLANKS,)
        group = None if group_column is None else reading.as_text(fields[group_column])
        second = reading.as_text(pair[0]) if pair else None
        return Example(number, reading.as_text(text), label, group, oddities, second)

    return make

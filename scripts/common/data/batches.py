"""Rows out of Arrow: those of Parquet files and of saved datasets, a batch at a time."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from common import cli
from common.cli import InputError
from common.data import rows
from common.data.rows import Columns, Row

BATCH_ROWS = 1024
BUFFER_BYTES = 1 << 20


def parquet_batches(path: Path, columns: Columns) -> Iterator[Any]:
    """The record batches of a Parquet file, with the needed columns alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open(path, "rb") as stream:
        try:
            # Without a buffer, all of a row group is read at once.
            file = pq.ParquetFile(stream, buffer_size=BUFFER_BYTES)
            rows.require_columns(file.schema_arrow.names, str(path), columns)
            yield from file.iter_batches(
                BATCH_ROWS, columns=rows.needed(columns), use_threads=False
            )
        except (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError) as error:
            raise InputError(
                f"{path} cannot be read as parquet: {cli.one_line(error)}; mend the file"
            ) from error


def batch_rows(batches: Iterable[Any], names: list[str]) -> Iterator[Row]:
    """A row for each of record batches or tables of Arrow, numbered from 1."""
    number = 0
    for batch in batches:
        columns = [values(batch.column(name)) for name in names]
        for fields in zip(*columns, strict=True):
            number += 1
            yield Row(number, dict(zip(names, fields, strict=True)))


def values(column: Any) -> list[Any]:
    """A column of Arrow as Python values; one that Python does not have is an object without text.

    Such are times out of Python's range, and texts that are no UTF-8.
    """
    try:
        return column.to_pylist()
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return [value(scalar) for scalar in column]


def value(scalar: Any) -> Any:
    """One value of Arrow."""
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return "\udcff"  # what an undecodable byte is in a text file
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return object()

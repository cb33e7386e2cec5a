"""What a source of a dataset is: a file, a directory of files named by split, a saved dataset."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from common import cli
from common.cli import InputError
from common.data import datadict, reading
from common.data.datadict import SPLITS, refuse_near_names
from common.data.reading import BadRow, Columns, CsvOptions, Row, Stream

SUFFIXES = tuple(suffix for suffix in reading.SUFFIXES if suffix != ".txt")  # which have no label
SAVED = ("dataset_dict.json", "state.json")  # by which a saved dataset is known
# What `datasets` raises for one that is not whole; Arrow's own errors are among them.
NOT_WHOLE = (OSError, ValueError, LookupError, TypeError, AttributeError)


def read(path: Path, columns: Columns, layout: CsvOptions) -> dict[str, Stream[Row | BadRow]]:
    """Return the rows of a source by split, read when they are asked for.

    Without splits, all is train.

    Args:
        path: a CSV, TSV, JSON lines or Parquet file; a directory of such files named by split
            (``train.csv``, ``test.csv``); or a saved ``Dataset`` or ``DatasetDict``, whose class
            numbers become class names.
        columns: config key -> the columns that it names.
        layout: encoding, delimiter and quoting.

    Raises:
        InputError: what is there cannot be read so; one line names the place and the remedy. What
            is wrong inside a file is found as its rows are asked for.
    """
    try:
        return streams(path, columns, layout)
    except PermissionError as error:
        place = error.filename or path
        raise InputError(f"{place} cannot be read: permission denied; allow reading it") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): set `path` anew") from error


def streams(path: Path, columns: Columns, layout: CsvOptions) -> dict[str, Stream[Row | BadRow]]:
    """Return the rows of ``read``."""
    if not path.exists():
        raise InputError(f"{path} does not exist: set `path` to the data, relative to the workflow")
    if path.is_file():
        return {"train": of_file(path, "train", columns, reading.settled([path], layout))}
    if not path.is_dir():
        raise InputError(f"{path} is neither a file nor a directory: set `path` to the data")
    if any((path / name).exists() for name in SAVED):
        return of_saved(path, columns)
    named = named_files(path)
    layout = reading.settled(named.values(), layout)
    return {split: of_file(file, split, columns, layout) for split, file in named.items()}


def named_files(path: Path) -> dict[str, Path]:
    """Return the files of a directory by the split that they are named for.

    Raises:
        InputError: there is none for train, or a split has several.
    """
    inside = sorted(path.iterdir())
    found = [f for f in inside if f.suffix.lower() in SUFFIXES and f.stem in SPLITS]
    refuse_near_names(path, [f.stem for f in inside if f.suffix.lower() in SUFFIXES])
    named = {file.stem: file for file in found}
    if len(named) < len(found):
        names = ", ".join(file.name for file in found)
        raise InputError(f"{path} holds several files of one split ({names}): keep one of each")
    if "train" not in named:
        raise InputError(
            f"{path} holds no train{{{','.join(SUFFIXES)}}} and no saved dataset: name the files "
            "by split, or set `path` to one file"
        )
    return named


def of_file(path: Path, split: str, columns: Columns, layout: CsvOptions) -> Stream[Row | BadRow]:
    """Return the rows of one file."""
    if path.suffix.lower() not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise InputError(f"{path}: files of type {path.suffix!r} are not read; use {known}")
    stream = reading.read(path, columns, layout)
    stream.split = split
    stream.layout = layout if layout.delimiter_of(path) else None
    return stream


def of_saved(path: Path, columns: Columns) -> dict[str, Stream[Row | BadRow]]:
    """Return the splits of a directory that ``datasets`` saved, mapped into memory."""
    datasets = datadict.library()
    try:
        loaded = datasets.load_from_disk(path)
    except PermissionError:
        raise
    except NOT_WHOLE as error:
        raise not_whole(path, error) from error
    splits = loaded if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
    refuse_near_names(path, splits)
    if "train" not in splits:
        found = ", ".join(splits)
        raise InputError(f"{path} has no split train, only {found}: save one under that name")
    return {
        split: Stream(
            saved_rows(table, columns, f"{path}/{split}"), f"{path}/{split}", "row", split
        )
        for split, table in splits.items()
        if split in SPLITS
    }


def not_whole(path: Path | str, error: Exception) -> InputError:
    """Return the refusal of a saved dataset that cannot be read."""
    return InputError(f"{path} is no whole saved dataset: {cli.one_line(error)}; save it again")


def saved_rows(table: Any, columns: Columns, where: str) -> Iterator[Row]:
    """Yield the rows of a ``datasets.Dataset``, with the names of its classes for their numbers."""
    import datasets

    reading.require_columns(table.column_names, where, columns)
    needed = reading.needed(columns)
    classes = {
        name: table.features[name].names
        for name in needed
        if isinstance(table.features[name], datasets.ClassLabel)
    }
    for row in reading.batch_rows(saved_batches(table, needed, where), needed):
        for name, names in classes.items():
            number = row.fields[name]
            # -1 is the hub's "no label".
            known = number is not None and 0 <= number < len(names)
            row.fields[name] = names[number] if known else None
        yield row


def saved_batches(table: Any, needed: list[str], where: str) -> Iterable[Any]:
    """Yield Arrow tables of the needed columns, a batch at a time."""
    try:
        yield from table.select_columns(needed).with_format("arrow").iter(reading.BATCH_ROWS)
    except NOT_WHOLE as error:
        raise not_whole(where, error) from error

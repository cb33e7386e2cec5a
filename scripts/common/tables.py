"""Rows of text and label, read from the files that people have.

A *table* here is a pandas DataFrame with the string columns ``id``, ``text`` and ``label``, one row
per example. ``id`` is ``{split}/{row}``: the split of the source and the number of the row in it,
from 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pandas as pd

from common import cli
from common.cli import InputError

SPLITS = ("train", "validation", "test")
SEPARATORS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*SEPARATORS, ".jsonl", ".parquet")
MISSING_SHOWN = 5


@dataclass(frozen=True)
class Layout:
    """How a source's files are read: which columns, which rows, which encoding."""

    text: str = "text"
    label: str = "label"
    filters: Sequence[str] = ()
    encoding: str = "utf-8"
    delimiter: str | None = None


def read_source(path: Path, layout: Layout) -> dict[str, pd.DataFrame]:
    """The tables of a source, by split; a source without splits is all ``train``.

    Args:
        path: a CSV, TSV, JSON lines or Parquet file; a directory of such files named by split
            (``train.csv``, ``test.csv``); or a saved ``Dataset`` or ``DatasetDict``.
        layout: columns, filters and encoding.

    Raises:
        InputError: what is there cannot be read so; one line names file, column and remedy.
    """
    try:
        frames = read_frames(path, layout)
    except PermissionError as error:
        place = error.filename or path
        raise InputError(f"{place} cannot be read: permission denied; allow reading it") from error
    tables = {}
    for split, (frame, where) in frames.items():
        # Numbered before rows are filtered out, and by position: Parquet may bring its own index.
        rows = select(frame.reset_index(drop=True), layout, where)
        rows.insert(0, "id", [f"{split}/{row}" for row in rows.index])
        tables[split] = rows.reset_index(drop=True)
    return tables


def read_frames(path: Path, layout: Layout) -> dict[str, tuple[pd.DataFrame, str]]:
    """Every split of a source with all its columns, and the name to use in errors."""
    if not path.exists():
        raise InputError(f"{path} does not exist: set `path` to the data, relative to the workflow")
    if path.is_file():
        return {"train": (read_file(path, layout), str(path))}
    if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
        return read_arrow(path)
    found = [f for f in sorted(path.iterdir()) if f.suffix in SUFFIXES and f.stem in SPLITS]
    named = {file.stem: file for file in found}
    if len(named) < len(found):
        names = ", ".join(file.name for file in found)
        raise InputError(f"{path} holds several files of one split ({names}): keep one of each")
    if "train" not in named:
        raise InputError(
            f"{path} holds no train{{{','.join(SUFFIXES)}}} and no saved dataset: name the files "
            "by split, or set `path` to one file"
        )
    return {split: (read_file(file, layout), str(file)) for split, file in named.items()}


def read_file(path: Path, layout: Layout) -> pd.DataFrame:
    """One file as a frame of all its columns."""
    with open(path, "rb") as stream:
        return parse(stream, path.suffix, layout, str(path))


def parse(stream: IO[bytes], suffix: str, layout: Layout, where: str) -> pd.DataFrame:
    """A stream of CSV, TSV, JSON lines or Parquet as a frame; texts stay the strings they are."""
    try:
        if suffix in SEPARATORS:
            return parse_csv(stream, layout.delimiter or SEPARATORS[suffix], layout.encoding)
        if suffix == ".jsonl":
            return pd.read_json(stream, lines=True, dtype=False, encoding=layout.encoding)
        if suffix == ".parquet":
            return pd.read_parquet(stream)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where} is not {layout.encoding} (byte 0x{error.object[error.start]:02x}): set "
            "`encoding`, for example to latin-1"
        ) from error
    except LookupError as error:
        raise InputError(
            f"{where}: Python knows no encoding {layout.encoding!r}; set `encoding` to one it "
            "knows, such as utf-8 or latin-1"
        ) from error
    except (ValueError, OSError) as error:  # pandas' and Arrow's parse errors are ValueErrors
        raise InputError(
            f"{where} cannot be read as {suffix[1:]}: {cli.one_line(error)}; mend the file"
        ) from error
    raise InputError(f"{where}: files of type {suffix!r} are not read; use {', '.join(SUFFIXES)}")


def parse_csv(stream: IO[bytes], separator: str, encoding: str) -> pd.DataFrame:
    """A CSV as a frame of strings.

    Raises:
        ValueError: the rows do not have the header's columns, or other things that pandas refuses.
    """
    frame = pd.read_csv(stream, sep=separator, dtype=str, keep_default_na=False, encoding=encoding)
    if not isinstance(frame.index, pd.RangeIndex):
        # pandas then takes the first column for row names, and every name moves to the next column.
        raise ValueError("rows have more columns than the header; quote what holds the delimiter")
    return frame


def read_arrow(path: Path) -> dict[str, tuple[pd.DataFrame, str]]:
    """The splits of a directory that ``datasets`` saved; class numbers become class names."""
    import datasets

    try:
        loaded = datasets.load_from_disk(path)
    except (ValueError, FileNotFoundError) as error:
        raise InputError(
            f"{path} is no whole saved dataset: {cli.one_line(error)}; save it again"
        ) from error
    splits = loaded if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
    if "train" not in splits:
        found = ", ".join(splits)
        raise InputError(f"{path} has no split train, only {found}: save one under that name")
    named = {split: rows for split, rows in splits.items() if split in SPLITS}
    return {split: (named_classes(rows), f"{path}/{split}") for split, rows in named.items()}


def named_classes(rows) -> pd.DataFrame:
    """A ``datasets.Dataset`` as a frame, with the names of its ClassLabel columns for numbers."""
    import datasets

    frame = rows.to_pandas()
    for column, feature in rows.features.items():
        if isinstance(feature, datasets.ClassLabel):
            names = pd.Series(feature.names)
            frame[column] = frame[column].map(names)  # -1, the hub's "no label", becomes missing
    return frame


def select(frame: pd.DataFrame, layout: Layout, where: str) -> pd.DataFrame:
    """The text and label of the rows that pass the filters, as strings; "" where missing."""
    for condition in layout.filters:
        column, _, value = condition.partition("=")
        require(frame, column, "filter", where)
        frame = frame[as_texts(frame[column]) == value]
        if frame.empty:
            raise InputError(
                f"{where} has no row with {condition}: set `filter` to a value of column {column!r}"
            )
    if frame.empty:
        raise InputError(f"{where} has no rows: bring some, or leave this file out")
    for column, key in ((layout.text, "text"), (layout.label, "label")):
        require(frame, column, key, where)
    texts, labels = as_texts(frame[layout.text]), as_texts(frame[layout.label])
    return pd.DataFrame({"text": texts, "label": labels.str.strip()}, dtype=str)


def require(frame: pd.DataFrame, column: str, key: str, where: str) -> None:
    """Refuse a column that is not there, naming those that are."""
    if column not in frame.columns:
        found = ", ".join(map(repr, frame.columns))
        raise InputError(f"{where} has no column {column!r}: set `{key}` to one of {found}")


def as_texts(column: pd.Series) -> pd.Series:
    """A column as texts."""
    return column.astype(object).map(as_text)


def as_text(value) -> str:
    """A cell as text: "" for a missing one, and 3 rather than 3.0 for a whole number."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    if pd.api.types.is_float(value) and float(value).is_integer():
        return str(int(value))
    return str(value)

"""Rows of text and label, read from the files that people have.

A *table* here is a pandas DataFrame with the string columns ``id``, ``text`` and ``label``, one row
per example. ``id`` is ``{split}/{row}``: the split of the source and the row's number in it, from 0.
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
    frames = {
        split: select(frame, layout, where)
        for split, (frame, where) in read_frames(path, layout).items()
    }
    for split, frame in frames.items():
        frame.insert(0, "id", [f"{split}/{row}" for row in frame.index])
    return {split: frame.reset_index(drop=True) for split, frame in frames.items()}


def read_frames(path: Path, layout: Layout) -> dict[str, tuple[pd.DataFrame, str]]:
    """Every split of a source with all its columns, and the name to use in errors."""
    if not path.exists():
        raise InputError(f"{path} does not exist: set `path` to the data, relative to the workflow")
    if path.is_file():
        return {"train": (read_file(path, layout), str(path))}
    if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
        return {split: (frame, f"{path}/{split}") for split, frame in read_arrow(path).items()}
    named = {f.stem: f for f in sorted(path.iterdir()) if f.suffix in SUFFIXES and f.stem in SPLITS}
    if "train" not in named:
        raise InputError(
            f"{path} holds no train{{{','.join(SUFFIXES)}}} and no saved dataset: name the files "
            "by split, or set `path` to one file"
        )
    return {split: (read_file(file, layout), str(file)) for split, file in named.items()}


def read_file(path: Path, layout: Layout) -> pd.DataFrame:
    """One file as a frame of all its columns."""
    try:
        with open(path, "rb") as stream:
            return parse(stream, path.suffix, layout, str(path))
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: permission denied; allow reading it") from error


def parse(stream: IO[bytes], suffix: str, layout: Layout, where: str) -> pd.DataFrame:
    """A stream of CSV, TSV, JSON lines or Parquet as a frame; texts stay the strings they are."""
    try:
        if suffix in SEPARATORS:
            separator = layout.delimiter or SEPARATORS[suffix]
            return pd.read_csv(
                stream, sep=separator, dtype=str, keep_default_na=False, encoding=layout.encoding
            )
        if suffix == ".jsonl":
            return pd.read_json(stream, lines=True, dtype=False, encoding=layout.encoding)
        if suffix == ".parquet":
            return pd.read_parquet(stream)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where} is not {layout.encoding} (byte {error.start}): set `encoding`, for example "
            "to latin-1"
        ) from error
    except (ValueError, OSError) as error:  # pandas' and Arrow's parse errors are ValueErrors
        raise InputError(
            f"{where} cannot be read as {suffix[1:]}: {cli.one_line(error)}; mend the file"
        ) from error
    raise InputError(f"{where}: files of type {suffix!r} are not read; use {', '.join(SUFFIXES)}")


def read_arrow(path: Path) -> dict[str, pd.DataFrame]:
    """The splits of a directory that ``datasets`` saved; class numbers become class names."""
    import datasets

    loaded = datasets.load_from_disk(path)
    splits = loaded if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
    return {split: named_classes(rows) for split, rows in splits.items() if split in SPLITS}


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
        frame = frame[frame[column].astype(str) == value]
    if frame.empty:
        raise InputError(f"{where} has no rows{' after `filter`' if layout.filters else ''}")
    for column, key in ((layout.text, "text"), (layout.label, "label")):
        require(frame, column, key, where)
    texts, labels = (frame[column].map(as_text) for column in (layout.text, layout.label))
    return pd.DataFrame({"text": texts, "label": labels.str.strip()}, dtype=str)


def require(frame: pd.DataFrame, column: str, key: str, where: str) -> None:
    """Refuse a column that is not there, naming those that are."""
    if column not in frame.columns:
        found = ", ".join(map(repr, frame.columns))
        raise InputError(f"{where} has no column {column!r}: set `{key}` to one of {found}")


def as_text(value) -> str:
    """A cell as text: "" for a missing one, and 3 rather than 3.0 for a whole number."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)

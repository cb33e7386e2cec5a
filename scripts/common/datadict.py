"""Saved splits: a ``datasets.DatasetDict`` in Arrow, read and written without progress bars."""

from pathlib import Path
from typing import Any

from common import cli, files
from common.cli import InputError

SOURCE = "source.json"  # beside the splits: where their rows came from


def library():
    """The ``datasets`` library, whose progress bars show only where a person watches."""
    import datasets

    if not cli.watched():
        datasets.disable_progress_bars()
    return datasets


def load(directory: Path):
    """The ``DatasetDict`` in a directory, mapped into memory rather than read.

    Raises:
        InputError: the directory holds none.
    """
    try:
        return library().load_from_disk(directory)
    except (OSError, ValueError) as error:
        raise InputError(f"{directory} is no saved dataset: delete it and run again") from error


def save(splits, directory: Path) -> None:
    """Save a ``DatasetDict``."""
    library()
    splits.save_to_disk(directory)


def read_source(directory: Path) -> dict[str, Any]:
    """Where the rows in a directory came from, as ``prepare_data`` recorded it."""
    return files.read_json(directory / SOURCE)


def class_names(splits) -> list[str]:
    """The class names of a dataset, in the order of its class numbers."""
    return splits["train"].features["label"].names

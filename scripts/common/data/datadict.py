"""Splits and their names: a ``datasets.DatasetDict`` in Arrow, read and written without bars."""

import logging
import re
from collections.abc import Iterable
from pathlib import Path

from common import checksums, cli, files
from common.cli import InputError

log = logging.getLogger("datadict")

SPLITS = ("train", "validation", "test")
MEANT = dict.fromkeys(("validation", "dev", "val", "valid", "eval"), "validation")
MEANT |= {"train": "train", "training": "train", "test": "test", "testing": "test"}


def library():
    """Return the ``datasets`` library, whose progress bars show only where a person watches."""
    import datasets

    if not cli.is_interactive():
        datasets.disable_progress_bars()
    return datasets


def load(directory: Path):
    """Return the ``DatasetDict`` in a directory, mapped into memory rather than read.

    Raises:
        InputError: the directory holds none, or is damaged.
    """
    checksums.verify(directory)
    try:
        return library().load_from_disk(directory)
    except (OSError, ValueError) as error:
        raise InputError(f"{directory} is no saved dataset: {files.remedy(directory)}") from error


def save(splits, directory: Path) -> None:
    """Save a ``DatasetDict``."""
    library()
    splits.save_to_disk(directory)


def texts(rows) -> list[str]:
    """Return the texts of a split; of a pair both as one, each on its own line."""
    if "text_pair" not in rows.column_names:
        return list(rows["text"])
    return [f"{text}\n{pair}" for text, pair in zip(rows["text"], rows["text_pair"], strict=True)]


def class_names(splits) -> list[str]:
    """Return the class names of a dataset, in the order of its class numbers."""
    return splits["train"].features["label"].names


def refuse_near_names(path: Path | str, names: Iterable[str]) -> None:
    """Refuse splits under names that would be passed over; tell of other names that are.

    Raises:
        InputError: a name such as dev stands for validation, which would be drawn from train.
    """
    for name in names:
        if meant := MEANT.get(re.split(r"[^a-z]", name.lower())[0]):
            if name != meant:
                raise InputError(
                    f"{path} has a split {name!r}, which is none of {', '.join(SPLITS)}: rename it "
                    f"to {meant}, or take it away"
                )
        else:
            log.warning("%s: %r is no split, and is not read", path, name)

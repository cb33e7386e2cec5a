"""Splits and their names: a ``datasets.DatasetDict`` in Arrow, read and written without bars."""

import logging
import re
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from common import checksums, cli, files
from common.cli import InputError
from common.task import SINGLE_LABEL

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


class Draw(NamedTuple):
    """Which of the training rows one seed is trained on.

    Attributes:
        rows: how many; None for all.
        seed: draws them; None where all are taken.
    """

    rows: int | None = None
    seed: int | None = None


ALL = Draw()


def add_draw_option(parser: ArgumentParser) -> None:
    """Add the option of the stages that fit something to the training rows that a seed draws."""
    parser.add_argument(
        "--train-rows", type=cli.int_at_least(2), help="drawn anew with each seed; else all"
    )


def load(directory: Path, draw: Draw = ALL):
    """Return the ``DatasetDict`` in a directory, mapped into memory rather than read.

    Raises:
        InputError: the directory holds none, or is damaged; or as for ``drawn``.
    """
    checksums.verify(directory)
    try:
        splits = library().load_from_disk(directory)
    except (OSError, ValueError) as error:
        raise InputError(f"{directory} is no saved dataset: {files.remedy(directory)}") from error
    return drawn(splits, draw)


def drawn(splits, draw: Draw):
    """Return the splits with the training rows that a seed draws, in their order; or all.

    The draw depends on the labels, their order and the seed alone: it is the same for all variants
    and baselines, and for the texts and their tokens. It is stratified, and draws of one seed are
    nested: see ``splits.stratified_order``.

    Raises:
        InputError: there is no seed, a class would have no row, or every draw would be the same.
    """
    if draw.rows is None:
        return splits
    from common.data.splits import first_rows

    train = splits["train"]
    if draw.seed is None:
        raise InputError("--train-rows draws with a seed: set --seed")
    if draw.rows >= len(train):
        raise InputError(
            f"`draw_train_rows: per_seed` cannot draw {draw.rows} of {len(train)} training rows "
            "anew for each seed: set fewer `train_rows`, or `draw_train_rows: once`"
        )
    strata = SINGLE_LABEL.strata(train.with_format("pandas")["label"])
    chosen = first_rows(strata.to_numpy(), draw.rows, draw.seed, "train_rows")
    return type(splits)({**splits, "train": train.select(chosen)})


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

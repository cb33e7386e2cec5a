"""Training rows that each seed draws anew, where a dataset is drawn `per_seed`.

Splits and tokens hold all training rows then; whatever is fitted to some of them draws them here.
"""

from argparse import ArgumentParser
from typing import NamedTuple

from common import cli
from common.cli import InputError
from common.task import SINGLE_LABEL


class Draw(NamedTuple):
    """Which of the training rows one seed is trained on.

    Attributes:
        rows: how many; None for all.
        seed: draws them; None where all are taken.
    """

    rows: int | None = None
    seed: int | None = None


ALL = Draw()


def add_option(parser: ArgumentParser) -> None:
    """Add the option of the stages that fit something to the training rows that a seed draws."""
    parser.add_argument(
        "--train-rows", type=cli.int_at_least(2), help="drawn anew with each seed; else all"
    )


def check(rows: int, pool: int) -> None:
    """Raise InputError if each seed would draw the same rows out of so many, or there are fewer."""
    if rows >= pool:
        raise InputError(
            f"`draw_train_rows: per_seed` cannot draw {rows} of {pool} training rows anew for each "
            "seed: set fewer `train_rows`, or `draw_train_rows: once`"
        )


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
    from common.data import splits as orders  # it brings pandas

    train = splits["train"]
    if draw.seed is None:
        raise InputError("--train-rows draws with a seed: set --seed")
    check(draw.rows, len(train))
    strata = SINGLE_LABEL.strata(train.with_format("pandas")["label"])
    chosen = orders.first_rows(strata.to_numpy(), draw.rows, draw.seed, "train_rows")
    return type(splits)({**splits, "train": train.select(chosen)})

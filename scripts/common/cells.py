"""Cells and baselines: what names them, and where in a results directory they are."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from common.cli import InputError

METRICS, PREDICTIONS = "metrics.json", "predictions.parquet"
WORD = re.compile(r"[^/]+/[^/]+/[^/]+/\d+(,\d+)*")


class Cell(NamedTuple):
    """A cell, or a baseline, which has no model ("") and no seed (None)."""

    dataset: str
    model: str
    variant: str
    seed: int | None

    @property
    def path(self) -> Path:
        """Its directory, seen from that of all results."""
        if self.seed is None:
            return Path(self.dataset, "baselines", self.variant)
        return Path(self.dataset, self.model, self.variant, f"seed{self.seed}")


def named(words: list[str], baselines: list[str]) -> Iterator[Cell]:
    """The cells that a command line names, and for every dataset that has some, the baselines.

    Args:
        words: each ``dataset/model/variant,variant/seed,seed``.
        baselines: names; they come first in each dataset.

    Raises:
        InputError: a word is not written so.
    """
    for word in words:
        if not WORD.fullmatch(word):
            raise InputError(f"--cells {word!r} is not DATASET/MODEL/VARIANT,VARIANT/SEED,SEED")
    grid = [word.split("/") for word in words]
    for dataset in dict.fromkeys(dataset for dataset, *_ in grid):
        for baseline in baselines:
            yield Cell(dataset, "", baseline, None)
        for _, model, variants, seeds in (word for word in grid if word[0] == dataset):
            for variant in variants.split(","):
                for seed in map(int, seeds.split(",")):
                    yield Cell(dataset, model, variant, seed)


def identities(words: list[str], baselines: list[str]) -> Iterator[dict[str, Any]]:
    """The same as rows of a table: dataset, model, variant and seed by name."""
    for cell in named(words, baselines):
        yield cell._asdict()


def directory(results: Path, row: dict[str, Any]) -> Path:
    """Where the metrics of a cell or baseline are that a row of a table names."""
    return results / Cell(**row).path


def full_name(model: str, variant: str) -> str:
    """What a variant is called among those of a dataset: ``minilm/lora-r4``, or ``tfidf``."""
    return f"{model}/{variant}" if model else variant


def compared(results: Path) -> list[Cell]:
    """The cells and baselines that a results directory compares.

    They are those of comparison.csv, since a variant that left the config stays on the disk; where
    there is no such file, all that have metrics.

    Raises:
        InputError: there are none, or the table is not one of ours.
    """
    table = results / "comparison.csv"
    found = listed(table) if table.exists() else on_disk(results)
    if not found:
        raise InputError(f"{results} holds no cell with {METRICS}: name a directory of results")
    return found


def listed(table: Path) -> list[Cell]:
    """The cells and baselines that were measured for a comparison.csv, each once, in its order."""
    with open(table, encoding="utf-8", newline="") as stream:
        try:
            rows = [row for row in csv.DictReader(stream) if row.get("published") != "true"]
            cells = [
                Cell(row["dataset"], row["model"], row["variant"], int(row["seed"] or -1))
                for row in rows
            ]
        except (KeyError, ValueError) as error:
            raise InputError(f"{table} is no comparison ({error}): run `report`") from error
    return [cell._replace(seed=None) if cell.seed == -1 else cell for cell in dict.fromkeys(cells)]


def on_disk(results: Path) -> list[Cell]:
    """All cells and baselines below a directory that have metrics, in the order of their paths."""
    baselines = results.glob(f"*/baselines/*/{METRICS}")
    cells = results.glob(f"*/*/*/seed*/{METRICS}")
    found = [path.relative_to(results).parts[:-1] for path in (*baselines, *cells)]
    made = [
        Cell(parts[0], "", parts[2], None)
        if len(parts) == 3
        else Cell(parts[0], parts[1], parts[2], int(parts[3].removeprefix("seed")))
        for parts in found
    ]
    return sorted(made, key=lambda cell: (*cell[:3], cell.seed or 0))

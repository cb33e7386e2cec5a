"""Cells and baselines: what names them, and where in a results directory they are."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from common import cli, seals
from common.cli import InputError

if TYPE_CHECKING:
    import numpy as np

METRICS, PREDICTIONS = "metrics.json", "predictions.parquet"
SUM_TOLERANCE = 1e-4  # of the sum of a row of probabilities
SEED = re.compile(r"seed(0|[1-9][0-9]*)")  # the directory of a seed; no copy of one, as seed0.bak
LONGEST_FIELD = 2**31 - 1  # a confusion matrix of some hundred classes is one field
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
    """Yield the same as rows of a table: dataset, model, variant and seed by name."""
    for cell in named(words, baselines):
        yield cell._asdict()


def directory(results: Path, row: dict[str, Any]) -> Path:
    """Return where the metrics of a cell or baseline are that a row of a table names."""
    return results / Cell(**row).path


def full_name(model: str, variant: str) -> str:
    """What a variant is called among those of a dataset: ``minilm/lora-r4``, or ``tfidf``."""
    return f"{model}/{variant}" if model else variant


def compared(results: Path) -> list[Cell]:
    """Return the cells and baselines that a results directory compares.

    They are those of comparison.csv, since a variant that left the config stays on the disk; where
    there is no such file, all that have metrics.

    Raises:
        InputError: there are none, or the table is not one of ours.
    """
    table = results / "comparison.csv"
    if table.with_suffix(seals.SIDECAR).exists():  # not of a revision that kept the table alone
        seals.check_file(table)
    found = listed(table) if table.exists() else on_disk(results)
    if not found:
        raise InputError(f"{results} holds no cell with {METRICS}: name a directory of results")
    return found


def listed(table: Path) -> list[Cell]:
    """The cells and baselines that were measured for a comparison.csv, each once, in its order.

    Raises:
        InputError: it cannot be read, or is not one of ours.
    """
    csv.field_size_limit(LONGEST_FIELD)
    try:
        with open(table, encoding="utf-8", newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if row.get("published") != "true"]
        return list(dict.fromkeys(map(of_line, rows)))
    except OSError as error:
        raise InputError(f"{table} cannot be read ({error.strerror}): run `report`") from error
    except (KeyError, ValueError, csv.Error) as error:
        problem = cli.one_line(error)
        raise InputError(f"{table} is no comparison ({problem}): run `report`") from error


def of_line(row: dict[str, str | None]) -> Cell:
    """Return the cell or baseline of a line of comparison.csv.

    Raises:
        KeyError: the table lacks a column.
        ValueError: the line is cut off, or its seed is no number.
    """
    dataset, model, variant, seed = (row[column] for column in Cell._fields)
    if not dataset or model is None or not variant or seed is None:
        raise ValueError("a line is cut off")
    return Cell(dataset, model, variant, int(seed) if seed else None)


def on_disk(results: Path) -> list[Cell]:
    """All cells and baselines below a directory that have metrics, in the order of their paths."""
    paths = (*results.glob(f"*/baselines/*/{METRICS}"), *results.glob(f"*/*/*/*/{METRICS}"))
    found = [of_path(path.relative_to(results).parts[:-1]) for path in paths]
    made = [cell for cell in found if cell is not None]
    return sorted(made, key=lambda cell: (*cell[:3], cell.seed or 0))


def of_path(parts: tuple[str, ...]) -> Cell | None:
    """Return the cell or baseline whose directory it is; None where it is none's."""
    dataset, model, variant, *seed = parts
    if not seed:
        return Cell(dataset, "", variant, None)
    if model == "baselines" or not (found := SEED.fullmatch(seed[0])):
        return None
    return Cell(dataset, model, variant, int(found[1]))


def class_number(name: str | None, names: list[str]) -> int:
    """Return the number of the positive class: the one named, or the last.

    Raises:
        InputError: there is no class of that name.
    """
    if name is None:
        return len(names) - 1
    if name not in names:
        raise InputError(f"no class {name!r}: set `positive_label` to one of {', '.join(names)}")
    return names.index(name)


def improper(probabilities: "np.ndarray") -> str:
    """Return what is wrong with probabilities of shape (rows, classes), such as "are not finite".

    "" where each row is a distribution. A row may miss a sum of 1 by the rounding of float32.
    """
    import numpy as np

    if not np.isfinite(probabilities).all():
        return "are not finite"
    if (probabilities < 0).any() or (probabilities > 1 + SUM_TOLERANCE).any():
        return "lie outside of 0 to 1"
    if (np.abs(probabilities.sum(axis=1) - 1) > SUM_TOLERANCE).any():
        return "do not sum to 1"
    return ""

"""What is compared, by name: the cells and baselines of a comparison, and where each one lies."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.cli import InputError

CELLS = re.compile(r"[^/]+/[^/]+/[^/]+/\d+(,\d+)*")


def identities(cells: list[str], baselines: list[str]) -> Iterator[dict[str, Any]]:
    """What names each row: dataset, model, variant and seed; a baseline has no model and no seed.

    Args:
        cells: each ``dataset/model/variant,variant/seed,seed``.
        baselines: names, for every dataset that has cells.

    Raises:
        InputError: a cell is not written so.
    """
    for cell in cells:
        if not CELLS.fullmatch(cell):
            raise InputError(f"--cells {cell!r} is not DATASET/MODEL/VARIANT,VARIANT/SEED,SEED")
    grid = [cell.split("/") for cell in cells]
    for dataset in dict.fromkeys(dataset for dataset, *_ in grid):
        for baseline in baselines:
            yield {"dataset": dataset, "model": "", "variant": baseline, "seed": None}
        for _, model, variants, seeds in (cell for cell in grid if cell[0] == dataset):
            for variant in variants.split(","):
                for seed in map(int, seeds.split(",")):
                    yield {"dataset": dataset, "model": model, "variant": variant, "seed": seed}


def directory(results: Path, row: dict[str, Any]) -> Path:
    """Where the metrics of a cell or baseline are."""
    if row["seed"] is None:
        return results / row["dataset"] / "baselines" / row["variant"]
    return results / row["dataset"] / row["model"] / row["variant"] / f"seed{row['seed']}"


def full_name(model: str, variant: str) -> str:
    """What a variant is called among those of a dataset: ``minilm/lora-r4``, or ``tfidf``."""
    return f"{model}/{variant}" if model else variant

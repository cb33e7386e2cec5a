"""Where the cells of a comparison stand, read from the files of a run that is going on or over.

Only read, and without Snakemake: a run that is going on is not disturbed, and none is needed. A job
writes its log from its start, and its results at its end.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common import cells, cli, files
from common.cells import METRICS, PREDICTIONS, Cell
from common.cli import InputError
from common.markdown import flat

TAIL_BYTES = 1 << 16  # of a log, which may be long
ERROR = re.compile(r"(?:\S+: )?error: (.*)")  # as cli.run and argparse write it
NOT_STARTED, RUNNING, FAILED = "not started", "running or interrupted", "failed"
DAMAGED = "damaged"
OWN = ("train_", "eval_")  # stages of one cell; others are shared by many
RECORD = "training.json"
SHOWN = ("rows", "collapsed")  # of the test rows, beside the metrics


@dataclass(frozen=True)
class Stage:
    """A job that a cell waits for.

    Attributes:
        name: of the stage.
        output: what it leaves.
        log: what it says.
    """

    name: str
    output: Path
    log: Path


@dataclass(frozen=True)
class Standing:
    """A cell or baseline, and how far it is.

    Attributes:
        cell: which one.
        record: the content of its metrics.json; None where it is missing.
        state: why it is missing: NOT_STARTED, RUNNING, FAILED or DAMAGED; "" where it is not.
        reason: what is known of it, in words.
    """

    cell: Cell
    record: dict[str, Any] | None
    state: str = ""
    reason: str = ""


def standing(
    cell: Cell,
    results: Path,
    resources: Path,
    metrics: Iterable[str] = (),
    origin: str | None = None,
) -> Standing:
    """Return how far a cell or baseline is.

    Figures that tell of an earlier training than the one on the disk do not count, nor do those in
    a file that is damaged.

    Args:
        cell: which one.
        results: the directory of all results.
        resources: that of what was fetched.
        metrics: that it must have.
        origin: the dataset that was fetched, where the cell's is one size of it.
    """
    before = stages(cell, results, resources, origin or cell.dataset)
    waiting = [stage for stage in before if not stage.output.exists()]
    if waiting:
        return Standing(cell, None, *why(waiting))
    directory = results / cell.path
    try:
        record = cells.read_metrics(directory / METRICS, (*SHOWN, *metrics))
        if (directory / PREDICTIONS).exists():
            cells.check_predictions(directory, record)
        trained_anew = cells.is_trained(cell) and (
            train_time(directory / RECORD) != train_time(directory / METRICS)
        )
    except InputError as error:
        return Standing(cell, None, DAMAGED, str(error))
    if trained_anew:
        return Standing(cell, None, NOT_STARTED, "trained anew, and not evaluated since")
    return Standing(cell, record)


def train_time(path: Path) -> float:
    """Return the seconds of a training, as training.json and metrics.json hold them.

    Raises:
        InputError: the file is damaged.
    """
    record = files.read_json(path)
    try:
        return cells.number(record["train_info"]["train_time"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} has no time of a training ({cli.one_line(error)}): {files.remedy(path)}"
        ) from error


def stages(cell: Cell, results: Path, resources: Path, origin: str) -> list[Stage]:
    """Return the stages of a cell, one after the other.

    Before its first result, also those it waits for.

    A dataset that is read from a local path is never fetched: there is no log of it either.
    """
    dataset, directory = results / cell.dataset, results / cell.path
    trained = cells.is_trained(cell)
    if cells.is_baseline(cell):
        last = "eval_embedding" if cell.model else "eval_baseline"
    else:
        last = "eval_lora" if trained else "eval_base"
    own = [Stage(last, directory / METRICS, directory / f"{last}.log")]
    if trained:
        own.insert(0, Stage("train_lora", directory / RECORD, directory / "train_lora.log"))
    if any(stage.output.exists() for stage in own):
        return own
    shared = []
    if not (dataset / "data").exists():
        shared = [
            fetching("dataset", resources, origin),
            Stage("prepare_data", dataset / "data", dataset / "prepare_data.log"),
        ]
    if cell.model:
        model = dataset / cell.model
        shared += [
            fetching("model", resources, cell.model),
            Stage("tokenize", model / "tokens", model / "tokenize.log"),
        ]
    return shared + own


def fetching(what: str, resources: Path, name: str) -> Stage:
    """Return the stage that fetches a dataset or a model."""
    directory = resources / f"{what}s"
    return Stage(f"fetch_{what}", directory / name, directory / f"{name}.log")


def why(waiting: list[Stage]) -> tuple[str, str]:
    """Return the state of a cell that waits for some stages, and the reason.

    A stage that failed says most; else it is the last one that has begun. A cell has begun when a
    stage of its own has.
    """
    begun = [stage for stage in waiting if stage.log.exists()]
    for stage in begun:
        if found := failure(stage.log):
            state = FAILED if stage.name.startswith(OWN) else NOT_STARTED
            return state, f"{stage.name} failed: {found} ({stage.log})"
    if not begun:
        return NOT_STARTED, ""
    stage = begun[-1]
    written = datetime.fromtimestamp(stage.log.stat().st_mtime, UTC)
    return RUNNING if stage.name.startswith(OWN) else NOT_STARTED, (
        f"{stage.name} is running or was interrupted; it last wrote to {stage.log} "
        f"at {written:%Y-%m-%d %H:%M} UTC"
    )


def failure(log: Path) -> str | None:
    """Return what a log ends with, if that is an error of the script or of Python; else None."""
    with open(log, "rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - TAIL_BYTES))
        lines = stream.read().decode(errors="replace").splitlines()
    last = next((line for line in reversed(lines) if line.strip()), "")
    if said := ERROR.fullmatch(last.strip()):
        return flat(said[1])
    return flat(last) if any(line.startswith("Traceback (most recent") for line in lines) else None

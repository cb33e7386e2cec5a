"""Cells and baselines: what names them, where they are, and the records that they leave.

A cell leaves training.json, metrics.json and predictions.parquet, a baseline the last two. They are
built and read here alone: a file that was cut off, edited or written by another version is refused
in one line before anything takes it for figures.

``run_info``, ``train_info`` and ``meta_info`` of a record carry the key names of PEFT's
method-comparison suite where the meaning is the same (huggingface/peft,
method_comparison/processing.py), so that its readers can read ours: a result is one JSON file, and
its outcome the last entry of ``train_info.metrics``, under names with blanks in them. Those are
written beside our own. tests/test_formats.py lists what is looked for. Times are seconds.
"""

import argparse
import csv
import importlib.metadata
import json
import platform
import re
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from common import checksums, cli, files
from common.cli import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Record = dict[str, Any]

OF_DATASET = "baselines"  # the directory, beside those of models, of baselines without a model
METRICS, PREDICTIONS = "metrics.json", "predictions.parquet"
SUM_TOLERANCE = 1e-4  # of the sum of a row of probabilities
SEED = re.compile(r"seed(0|[1-9][0-9]*)")  # the directory of a seed; no copy of one, as seed0.bak
LONGEST_FIELD = 2**31 - 1  # a confusion matrix of some hundred classes is one field
WORD = re.compile(r"[^/]+/[^/]+/[^/]+/\d+(,\d+)*")


class Cell(NamedTuple):
    """A cell, or a baseline, which most often has no model ("").

    The seed is None of a baseline, unless each seed draws the training rows anew.
    """

    dataset: str
    model: str
    variant: str
    seed: int | None

    @property
    def path(self) -> Path:
        """Return its directory, seen from that of all results."""
        directory = Path(self.dataset, self.model or OF_DATASET, self.variant)
        return directory if self.seed is None else directory / f"seed{self.seed}"


# No methods of a cell, and no import above: trainings use cells, and would run anew with every edit
# of a baseline.


def is_baseline(cell: Cell) -> bool:
    """Return whether it is a baseline: of no model, or of a name kept for those of models."""
    from common.baselines import OF_MODELS

    return not cell.model or cell.variant in OF_MODELS


def is_trained(cell: Cell) -> bool:
    """Return whether a training comes before the evaluation."""
    return not is_baseline(cell) and cell.variant != "base"


def named(words: list[str], baselines: list[str]) -> Iterator[Cell]:
    """The cells that a command line names, and for every dataset that has some, the baselines.

    Args:
        words: each ``dataset/model/variant,variant/seed,seed``. Where baselines have seeds, they
            are named in the same way, those without a model as ``dataset/baselines/tfidf/0,1``.
        baselines: names, of every dataset of which no word names one; they come first in each
            dataset, those of a model before its cells.

    Raises:
        InputError: a word is not written so.
    """
    from common.baselines import OF_MODELS

    for word in words:
        if not WORD.fullmatch(word):
            raise InputError(f"--cells {word!r} is not DATASET/MODEL/VARIANT,VARIANT/SEED,SEED")
    grid = [word.split("/") for word in words]
    for dataset in dict.fromkeys(dataset for dataset, *_ in grid):
        own: dict[str, list[Cell]] = {}  # by model
        for _, place, variants, seeds in (word for word in grid if word[0] == dataset):
            model = "" if place == OF_DATASET else place
            own.setdefault(model, []).extend(
                Cell(dataset, model, variant, int(seed))
                for variant in variants.split(",") for seed in seeds.split(",")
            )  # fmt: skip
        seeded = any(is_baseline(cell) for found in own.values() for cell in found)
        unseeded = [] if seeded else baselines
        for baseline in (name for name in unseeded if name not in OF_MODELS):
            yield Cell(dataset, "", baseline, None)
        for model, found in own.items():
            for baseline in (name for name in unseeded if name in OF_MODELS):
                yield Cell(dataset, model, baseline, None)
            yield from found


def identities(words: list[str], baselines: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the same as rows of a table: dataset, model, variant and seed by name."""
    for cell in named(words, baselines):
        yield cell._asdict()


def add_sizes_option(parser: argparse.ArgumentParser) -> None:
    """Add --sizes: datasets that differ in their training rows alone, by the name in common."""
    parser.add_argument(
        "--sizes", nargs="*", type=sizes, default=[], metavar="NAME=DATASET,DATASET",
        help="datasets that differ in their training rows alone",
    )  # fmt: skip


def sizes(text: str) -> tuple[str, list[str]]:
    """Return a value of --sizes: the name that some datasets have in common, and their own."""
    name, equals, datasets = text.partition("=")
    if not (name and equals and datasets):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=DATASET,DATASET")
    return name, datasets.split(",")


def directory(results: Path, row: dict[str, Any]) -> Path:
    """Return where the metrics of a cell or baseline are that a row of a table names."""
    return results / Cell(**row).path


def full_name(model: str, variant: str) -> str:
    """Return what a variant is called among those of a dataset.

    ``minilm/lora-r4``, or ``tfidf``.
    """
    return f"{model}/{variant}" if model else variant


def compared(results: Path) -> list[Cell]:
    """Return the cells and baselines that a results directory compares.

    They are those of comparison.csv, since a variant that left the config stays on the disk; where
    there is no such file, all that have metrics.

    Raises:
        InputError: there are none, or the table is not one of ours.
    """
    table = results / "comparison.csv"
    if table.with_suffix(checksums.SIDECAR).exists():  # not of a revision that kept the table alone
        checksums.verify_file(table)
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
    paths = (*results.glob(f"*/*/*/{METRICS}"), *results.glob(f"*/*/*/*/{METRICS}"))
    found = [of_path(path.relative_to(results).parts[:-1]) for path in paths]
    made = [cell for cell in found if cell is not None]
    return sorted(made, key=lambda cell: (*cell[:3], cell.seed or 0))


def of_path(parts: tuple[str, ...]) -> Cell | None:
    """Return the cell or baseline whose directory it is; None where it is none's."""
    dataset, model, variant, *seed = parts
    model = "" if model == OF_DATASET else model
    if not seed:
        return Cell(dataset, model, variant, None)
    found = SEED.fullmatch(seed[0])
    return Cell(dataset, model, variant, int(found[1])) if found else None


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


# The records of a cell.


def whole_run(training: dict[str, Any], evaluation: dict[str, Any]) -> dict[str, Any]:
    """Return the ``run_info`` of a cell, which is made by two jobs.

    Args:
        training: ``run_info`` of the job that trained.
        evaluation: that of the job that evaluated; it wins, but for the time.

    Returns:
        both, with ``total_time`` in seconds of the two jobs together.
    """
    seconds = training["total_time"] + evaluation["total_time"]
    return training | evaluation | {"total_time": round(seconds, 3)}


def with_outcome(train_info: dict[str, Any], metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the ``train_info`` of a cell with the outcome as one more, last, entry of its log.

    Args:
        train_info: what training took; left as it is.
        metrics: by split, as ``evaluation.evaluate`` returns them.
    """
    outcome = {
        "step": train_info["steps"],
        "valid accuracy": metrics["validation"]["accuracy"],
        "test accuracy": metrics["test"]["accuracy"],
        "train loss": last_loss(train_info["metrics"]),
        "train samples": train_info["train_samples"],
        "train total tokens": train_info["train_tokens"],
    }
    return {**train_info, "metrics": [*train_info["metrics"], outcome]}


def last_loss(log: list[dict[str, float]]) -> float:
    """Return the last loss on training rows that a log holds, in nats: a mean over some steps.

    Of a training too short for one such entry, the mean over all its steps.
    """
    losses = [entry["loss"] for entry in log if "loss" in entry]
    means = [entry["train_loss"] for entry in log if "train_loss" in entry]
    return [*means, *losses][-1]


PACKAGES = (
    "transformers",
    "peft",
    "datasets",
    "torch",
    "evaluate",
    "accelerate",
    "scikit-learn",
    "bitsandbytes",
)

KIB = 1024
# The suite reads what training gave where its status is "success", and skips other results.
SUCCESS, NOT_TRAINED = "success", "not trained"


class Clock:
    """Started when a job starts; tells when that was and how long ago it is."""

    def __init__(self) -> None:
        self.created_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._started = time.perf_counter()

    def run_info(self, cell: Path, options: dict[str, Any], seeded: bool = True) -> dict[str, Any]:
        """Return which cell was made when, how long the whole job took, and with which options.

        Args:
            cell: the directory of the cell; its last parts are the name of the experiment.
            options: the command line's.
            seeded: whether the last of them is a seed, after dataset, model or "baselines", and
                variant.
        """
        return {
            "created_at": self.created_at,
            "total_time": round(time.perf_counter() - self._started, 3),
            "experiment_name": "/".join(cell.parts[-4 if seeded else -3 :]),
            "peft_branch": installed_branch("peft"),
            "options": {k: str(v) if isinstance(v, Path) else v for k, v in options.items()},
            "error_msg": "",
        }


def meta_info(
    labels: list[str],
    model: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None,
    train_rows: int | None = None,
) -> dict[str, Any]:
    """Return what a result was made of, and where.

    Args:
        labels: class names in order.
        model: where the pretrained model came from; None for a baseline.
        dataset: where the rows came from.
        train_rows: how many of them were trained on; None where nothing was fitted to them.
    """
    versions = {f"{name}-version": installed_version(name) for name in PACKAGES}
    return {
        "model_info": model,
        "dataset_info": {"labels": labels, "source": dataset, "train_rows": train_rows},
        "package_info": {"python-version": platform.python_version(), **versions},
        "system_info": {
            "system": platform.system(),
            "release": platform.release(),
            "version": platform.version(),
            "machine": platform.machine(),
            "processor": processor(),
            "accelerator": accelerator(),
        },
        "pytorch_info": pytorch_info(),
    }


def installed_version(package: str) -> str | None:
    """Return the version of an installed package; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def installed_branch(package: str) -> str | None:
    """Return the branch, tag or commit that a package was installed from by version control.

    Else None.

    pip leaves it in direct_url.json: PEP 610, "Recording the direct URL origin of installed
    distributions". A release from a package index has no such file.
    """
    try:
        origin = importlib.metadata.distribution(package).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return None
    vcs = json.loads(origin or "{}").get("vcs_info", {})
    return vcs.get("requested_revision") or vcs.get("commit_id")


def pytorch_info() -> str | None:
    """Return how torch was built; None where this stage does without it."""
    torch = sys.modules.get("torch")
    return torch.__config__.show() if torch else None


def processor() -> str:
    """Return the processor's name, as Linux gives it; elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def accelerator() -> str | None:
    """Return the GPU's name; None on a CPU or where this stage does without torch."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None


def peak_memory_bytes() -> int:
    """Return the most memory that this process held.

    On the GPU if there is one, else resident on the CPU.

    Each cell is a process of its own, so the figure is the cell's.
    """
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        return torch.cuda.max_memory_reserved()
    return peak_resident_bytes()


def peak_resident_bytes() -> int:
    """Return the high-water mark of this process's resident memory.

    On Linux read from /proc: what getrusage says there begins with the memory of the process that
    started this one.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    if found:
        return int(found[1]) * KIB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * KIB  # macOS counts in bytes, Linux in KiB


# Reading them.


BLOCKS = ("run_info", "train_info", "meta_info", "metrics")
OF_TRAINING = ("run_info", "train_info", "meta_info", "round_trip")
RENAMED = {"gate": "round_trip"}  # blocks of releases before 0.2
NEEDED = ("accuracy", "macro_f1", "confusion_matrix")  # of the test rows
OF_TWO_CLASSES = ("f1", "precision", "recall")  # null where there are more
COSTS = ("num_trainable_params", "train_time", "peak_memory_bytes", "file_size")
MATRIX, COLLAPSED = "confusion_matrix", "collapsed"


def write_results(
    record: Record, predictions: "pd.DataFrame", metrics_path: Path, predictions_path: Path
) -> None:
    """Write predictions.parquet, then metrics.json: where metrics are, predictions are.

    The metrics hold the digest of the predictions, so that those who read both see damage.
    """
    with files.atomic_write(predictions_path) as aside:
        predictions.to_parquet(aside, index=False)
        digest = checksums.digest(aside)
    files.write_json(record | {checksums.OF_PREDICTIONS: digest}, metrics_path)


def read_training(path: Path) -> Record:
    """Return the content of a training.json.

    Raises:
        InputError: it is missing, cut off, or lacks a block or the number of training rows.
    """
    record = files.read_json(path, OF_TRAINING, RENAMED)
    try:
        number(record["meta_info"]["dataset_info"]["train_rows"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} has no number of training rows ({cli.one_line(error)}): {files.remedy(path)}"
        ) from error
    return record


def read_metrics(path: Path, figures: Iterable[str] = ()) -> Record:
    """Return one metrics.json.

    Args:
        path: of the file.
        figures: names of what it must hold of the test rows, beside NEEDED.

    Raises:
        InputError: it is missing, cut off, or does not hold what is read of it.
    """
    record = files.read_json(path, renamed=RENAMED)
    try:
        check_metrics(record, figures)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path} lacks figures ({cli.one_line(error)}): {files.remedy(path)}"
        ) from error
    return record


def check_predictions(directory: Path, record: Record) -> None:
    """Raise if the predictions beside a metrics.json are not those that it was computed from.

    Args:
        directory: of the cell or baseline.
        record: its metrics.json.

    Raises:
        InputError: predictions.parquet is missing, or not as it was written.
    """
    path, written = directory / PREDICTIONS, record.get(checksums.OF_PREDICTIONS)
    try:
        found = checksums.digest(path)
    except OSError as error:
        metrics = directory / METRICS
        raise InputError(
            f"{path} cannot be read ({error.strerror}): {files.remedy(metrics)}"
        ) from error
    if written not in (None, found):
        raise checksums.damaged(path, "it is not what was written")


def check_metrics(record: Any, figures: Iterable[str]) -> None:
    """Refuse a record of another shape.

    Raises:
        KeyError: something is not there.
        ValueError: something is not of its type.
    """
    run, train, meta, metrics = (block(mapping(record, "it"), name) for name in BLOCKS)
    dataset = block(meta, "dataset_info")
    classes = class_names(dataset["labels"])
    check_run(run, classes)
    check_made_with(meta, dataset)
    check_training(train)
    for split in metrics:
        check_figures(block(metrics, split), split, len(classes))
    test = block(metrics, "test")
    for name in (*NEEDED, *figures):
        _ = test[name]


def mapping(value: Any, name: str) -> Record:
    """Return a mapping as it is."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no mapping")
    return value


def block(found: Record, name: str) -> Record:
    """Return the mapping of that name."""
    return mapping(found[name], name)


def class_names(labels: Any) -> list[str]:
    """Return the names of the classes: texts, no two of them the same."""
    if not isinstance(labels, list) or not all(isinstance(name, str) for name in labels):
        raise ValueError("labels are no list of texts")
    if not labels or len(set(labels)) < len(labels):
        raise ValueError("labels are none, or one of them is there twice")
    return labels


def check_run(run: Record, classes: list[str]) -> None:
    """Refuse options and configs that are none, and a positive class that there is not."""
    for name in ("train_config", "peft_config"):
        mapping(run.get(name) or {}, name)
    positive = mapping(run.get("options", {}), "options").get("positive_label")
    if positive is not None and positive not in classes:
        raise ValueError(f"positive_label is {positive!r}, no class")


def check_made_with(meta: Record, dataset: Record) -> None:
    """Refuse versions, hardware and sources of another shape."""
    mapping(meta.get("model_info") or {}, "model_info")
    mapping(dataset.get("source") or {}, "source")
    if dataset.get("train_rows") is not None:
        number(dataset["train_rows"], "train_rows")
    for name in ("package_info", "system_info"):
        for key, value in mapping(meta.get(name, {}), name).items():
            if not isinstance(value, str | None):
                raise ValueError(f"{key} of {name} is no text")


def check_training(train: Record) -> None:
    """Refuse costs and losses that are no numbers."""
    for name in COSTS:
        if train.get(name) is not None:
            number(train[name], name)
    history = train.get("metrics") or []
    if not isinstance(history, list):
        raise ValueError("metrics of train_info are no list")
    for line in history:
        for name in ("loss", "eval_loss"):
            if name in mapping(line, "a line of train_info.metrics"):
                number(line[name], name)
                number(line["step"], "step")


def check_figures(found: Record, where: str, classes: int) -> None:
    """Refuse figures of a split that are none; those of its clean rows are among them."""
    for name, value in found.items():
        called = f"{name} of {where}"
        if name == "clean":
            check_figures(block(found, name), called, classes)
        elif name == "classes":  # how many of the clean rows each has
            for count in block(found, name).values():
                number(count, called)
        elif name == MATRIX:
            check_matrix(value, called, classes)
        elif name == COLLAPSED and not isinstance(value, bool):
            raise ValueError(f"{called} is {value!r}, neither true nor false")
        elif name != COLLAPSED and (value is not None or name not in OF_TWO_CLASSES):
            number(value, called)


def check_matrix(value: Any, name: str, classes: int) -> None:
    """Refuse a confusion matrix that does not count rows by class."""
    lines = value if isinstance(value, list) else []
    square = all(isinstance(line, list) and len(line) == classes for line in lines)
    if len(lines) != classes or not square:
        raise ValueError(f"{name} has not {classes} lines of {classes} counts")
    for count in (count for line in lines for count in line):
        if not isinstance(count, int) or number(count, name) < 0:
            raise ValueError(f"{name} holds {count!r}, no count")


def number(value: Any, name: str = "") -> float:
    """Return a finite number of JSON.

    Args:
        value: any.
        name: what it is, for the complaint.

    Raises:
        ValueError: it is none.
    """
    # What is not a number compares as neither; a whole number may be larger than any float.
    known = isinstance(value, int | float) and abs(value) <= sys.float_info.max
    if isinstance(value, bool) or not known:
        raise ValueError(f"{name} {value!r} is no number".strip())
    return float(value)


def probability_columns(classes: list[str]) -> list[str]:
    """Return the columns of the probabilities in predictions.parquet."""
    return [f"probability_{name}" for name in classes]


def read_predictions(path: Path, classes: list[str]) -> "pd.DataFrame":
    """Return one predictions.parquet, by the ids of its rows.

    Raises:
        InputError: it is missing, damaged, of other classes, lacks a value, names a row twice, its
            ids or labels are no texts, or its probabilities are none.
    """
    import pandas as pd

    try:
        frame = pd.read_parquet(path, columns=["id", "label", *probability_columns(classes)])
        frame = frame.astype(dict.fromkeys(probability_columns(classes), float))
    except FileNotFoundError as error:
        raise InputError(f"{path} is not there: {files.remedy(path)}") from error
    except (OSError, ValueError, TypeError) as error:  # pyarrow's errors are ValueErrors
        raise InputError(
            f"{path} has no predictions of these classes ({cli.one_line(error)}): "
            f"{files.remedy(path)}"
        ) from error
    if frame.isna().any(axis=None):
        raise InputError(f"{path} has empty places: {files.remedy(path)}")
    for name in ("id", "label"):
        if pd.api.types.infer_dtype(frame[name]) != "string":
            raise InputError(f"{path} holds no texts as {name!r}: {files.remedy(path)}")
    if frame["id"].duplicated().any():
        twice = frame.loc[frame["id"].duplicated(), "id"].iloc[0]
        raise InputError(f"{path} has the row {twice!r} twice: {files.remedy(path)}")
    if problem := improper(frame[probability_columns(classes)].to_numpy()):
        raise InputError(f"{path} has probabilities that {problem}: {files.remedy(path)}")
    return frame.set_index("id")

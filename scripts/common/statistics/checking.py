"""What a metrics.json must hold so that others can read it: blocks, classes, figures and losses.

A file that was cut off, edited or written by another version is refused here, in one line, before
anything takes it for figures. Nothing heavy is imported: a report of a run starts at once.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from common import cells, cli, files, seals
from common.cli import InputError

Record = dict[str, Any]

BLOCKS = ("run_info", "train_info", "meta_info", "metrics")
NEEDED = ("accuracy", "macro_f1", "confusion_matrix")  # of the test rows
OF_TWO_CLASSES = ("f1", "precision", "recall")  # null where there are more
COSTS = ("num_trainable_params", "train_time", "peak_memory_bytes", "file_size")
MATRIX, COLLAPSED = "confusion_matrix", "collapsed"


def read_record(path: Path, figures: Iterable[str] = ()) -> Record:
    """One metrics.json.

    Args:
        path: of the file.
        figures: names of what it must hold of the test rows, beside NEEDED.

    Raises:
        InputError: it is missing, cut off, or does not hold what is read of it.
    """
    record = files.read_json(path)
    try:
        check(record, figures)
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
    path, written = directory / cells.PREDICTIONS, record.get(seals.OF_PREDICTIONS)
    try:
        found = seals.digest(path)
    except OSError as error:
        metrics = directory / cells.METRICS
        raise InputError(
            f"{path} cannot be read ({error.strerror}): {files.remedy(metrics)}"
        ) from error
    if written not in (None, found):
        raise seals.damaged(path, "it is not what was written")


def check(record: Any, figures: Iterable[str]) -> None:
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

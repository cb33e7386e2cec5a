"""One evaluation: metrics per split and the predictions of the test rows, written as files.

Heavy libraries are imported in the functions: scripts read their options from here.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import cli, files, seals, startup
from common.cli import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SPLITS = ("validation", "test")  # nothing is ever fitted to these rows
SUM_TOLERANCE = 1e-4  # of the sum of a row of probabilities

Predict = Callable[[Any], dict[str, Any]]


def add_options(parser: ArgumentParser) -> None:
    """The options of the stages that evaluate a model on tokenised rows."""
    parser.add_argument("--model", required=True, type=Path, help="model directory")
    parser.add_argument("--tokens", required=True, type=Path, help="Arrow directory of the splits")
    parser.add_argument("--positive-label", help="class of F1, precision, recall; else the last")
    parser.add_argument(
        "--batch-tokens", type=cli.whole(0), default=0, help="per pass; 0: what the device takes"
    )
    parser.add_argument("--threads", type=cli.whole(1), default=1, help="of the CPU")
    parser.add_argument("--metrics", required=True, type=Path, help="JSON file to write")
    parser.add_argument("--predictions", required=True, type=Path, help="Parquet file to write")


def class_number(name: str | None, names: list[str]) -> int:
    """The number of the positive class: the one named, or the last.

    Raises:
        InputError: there is no class of that name.
    """
    if name is None:
        return len(names) - 1
    if name not in names:
        raise InputError(f"no class {name!r}: set `positive_label` to one of {', '.join(names)}")
    return names.index(name)


def evaluate(
    predict: Predict, splits, names: list[str], positive: int
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Metrics of validation and test, and the predictions of the test rows.

    Args:
        predict: takes the rows of a split; returns ``probabilities``, shape (rows, classes), and
            ``seconds``.
        splits: a ``DatasetDict`` whose splits have id and label; and perhaps clean, false for rows
            that repeat one that was trained on.
        names: class names in order.
        positive: number of the positive class.

    Returns:
        metrics by split, with the block of ``of_clean_rows`` where rows are marked; and a frame
        with id, label, prediction (class names) and one column ``probability_{class}`` per class,
        in row order.

    Raises:
        InputError: a probability is none, as of logits that are not finite.
    """
    with startup.importing():
        from common.model.metrics import classification_metrics

    outcomes = {split: predict(splits[split]) for split in SPLITS}
    for split, outcome in outcomes.items():
        if problem := improper(outcome["probabilities"]):
            raise InputError(
                f"probabilities of the {split} rows {problem}: no metric is computed from them; "
                "look for the cause in the log above"
            )
    results = {}
    for split, outcome in outcomes.items():
        rows, labels = splits[split], splits[split]["label"]
        results[split] = {
            **classification_metrics(outcome["probabilities"], labels, positive),
            **of_clean_rows(outcome["probabilities"], rows, names, positive),
            "rows": len(labels),
            "eval_seconds": round(outcome["seconds"], 3),
            "eval_samples_per_second": round(len(labels) / outcome["seconds"], 2),
        }
    return results, tabulate(splits["test"], outcomes["test"]["probabilities"], names)


def improper(probabilities: np.ndarray) -> str:
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


def of_clean_rows(
    probabilities: np.ndarray, rows, names: list[str], positive: int
) -> dict[str, Any]:
    """The metrics of the clean rows and ``rows``, their number, under ``clean``.

    Where they lack a class, a perfect classifier would score 0 on it, and its macro-averages would
    fall: there are ``rows`` and ``classes`` (rows by class name) then, and no metrics.

    Args:
        probabilities: shape (rows, classes).
        rows: of one split; {} is returned where they are not marked.
        names: class names in order.
        positive: number of the positive class.
    """
    import numpy as np

    from common.model.metrics import classification_metrics

    if "clean" not in rows.column_names:
        return {}
    clean = np.array(rows["clean"], dtype=bool)
    labels = np.array(rows["label"])[clean].tolist()
    classes = {name: labels.count(number) for number, name in enumerate(names)}
    if not all(classes.values()):
        return {"clean": {"rows": len(labels), "classes": classes}}
    found = classification_metrics(probabilities[clean], labels, positive)
    return {"clean": {**found, "rows": len(labels)}}


def tabulate(rows, probabilities: np.ndarray, names: list[str]) -> pd.DataFrame:
    """Predictions as a frame, for people: classes by name."""
    import numpy as np
    import pandas as pd

    classes = np.asarray(names, dtype=object)
    return pd.DataFrame(
        {
            "id": list(rows["id"]),
            "label": classes[list(rows["label"])],
            "prediction": classes[probabilities.argmax(axis=1)],
            **{f"probability_{name}": probabilities[:, i] for i, name in enumerate(names)},
        }
    )


def write(
    record: dict[str, Any], predictions: pd.DataFrame, metrics_path: Path, predictions_path: Path
) -> None:
    """Write predictions.parquet, then metrics.json: where metrics are, predictions are.

    The metrics hold the digest of the predictions, so that those who read both see damage.
    """
    with files.written_aside(predictions_path) as aside:
        predictions.to_parquet(aside, index=False)
        digest = seals.digest(aside)
    files.write_json(record | {seals.OF_PREDICTIONS: digest}, metrics_path)

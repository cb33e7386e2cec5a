"""What each cell answered on the test rows of a dataset, put together by the ids of the rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common import cells, files
from common.cells import class_number, probability_columns, read_predictions
from common.cli import InputError
from common.task import SINGLE_LABEL

Record = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One cell or baseline.

    Attributes:
        identity: its dataset, model, variant and seed.
        record: its metrics.json.
        probabilities: float, shape (rows, classes).
    """

    identity: dict[str, Any]
    record: Record
    probabilities: np.ndarray

    @property
    def predictions(self) -> np.ndarray:
        """Return the class numbers of the largest probabilities, shape (rows,)."""
        return SINGLE_LABEL.decode(self.probabilities)


@dataclass(frozen=True)
class Predictions:
    """All of a dataset.

    Attributes:
        classes: their names in order.
        positive: number of the positive class of two; None of more.
        ids: of the rows, in their order.
        labels: the true class numbers, shape (rows,).
        cells: in the order of the config.
    """

    classes: list[str]
    positive: int | None
    ids: list[str]
    labels: np.ndarray
    cells: list[Cell]


def read(results: Path, identities: list[dict[str, Any]]) -> Predictions:
    """Return the answers of all cells of a dataset, their rows in the order of the first cell's.

    Raises:
        InputError: a file is missing or damaged, or two cells were not measured on the same rows.
    """
    paths = [cells.directory(results, identity) for identity in identities]
    records = [cells.read_metrics(path / "metrics.json") for path in paths]
    classes = records[0]["meta_info"]["dataset_info"]["labels"]
    first = read_predictions(paths[0] / "predictions.parquet", classes)
    labels = numbered(first, classes, paths[0])
    found = []
    for identity, path, record in zip(identities, paths, records, strict=True):
        frame = aligned(path / "predictions.parquet", first, paths[0], classes)
        probabilities = frame[probability_columns(classes)].to_numpy(dtype=float)
        check_figures(path, record, labels, probabilities)
        found.append(Cell(identity, record, probabilities))
    wanted = records[0]["run_info"].get("options", {}).get("positive_label")
    positive = class_number(wanted, classes) if len(classes) == 2 else None
    return Predictions(classes, positive, list(map(str, first.index)), labels, found)


def aligned(path: Path, first: pd.DataFrame, of: Path, classes: list[str]) -> pd.DataFrame:
    """Return the predictions of a cell in the order of the first cell's rows.

    Raises:
        InputError: the two have other rows, or a row another label.
    """
    frame = read_predictions(path, classes)
    if len(other := frame.index.symmetric_difference(first.index)):
        raise InputError(
            f"{path} and {of / path.name} have not the same test rows (id {other[0]!r} is in one "
            "alone): delete the older one and run again"
        )
    frame = frame.loc[first.index]
    if len(other := frame.index[frame["label"] != first["label"]]):
        raise InputError(
            f"{path} and {of / path.name} give the row {other[0]!r} different labels: delete the "
            "older one and run again"
        )
    return frame


def numbered(frame: pd.DataFrame, classes: list[str], path: Path) -> np.ndarray:
    """Return the labels as class numbers.

    Raises:
        InputError: a label is none of the classes.
    """
    numbers = pd.Index(classes).get_indexer(pd.Index(frame["label"]))
    if (numbers < 0).any():
        label, file = frame["label"].iloc[numbers.argmin()], path / "predictions.parquet"
        raise InputError(
            f"{file} has the label {label!r}, no class of metrics.json: "
            f"{files.remedy(path / 'metrics.json', file)}"
        )
    return numbers


def check_figures(
    path: Path, record: Record, labels: np.ndarray, probabilities: np.ndarray
) -> None:
    """Refuse predictions that are not those that the metrics were made of.

    Raises:
        InputError: the file is not as it was written, or gives another confusion matrix.
    """
    cells.check_predictions(path, record)
    classes = probabilities.shape[1]
    pairs = labels * classes + SINGLE_LABEL.decode(probabilities)
    matrix = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    if record["metrics"]["test"]["confusion_matrix"] != matrix.tolist():
        raise InputError(
            f"{path}: metrics.json is not of the rows in predictions.parquet: "
            f"{files.remedy(path / 'metrics.json', path / 'predictions.parquet')}"
        )

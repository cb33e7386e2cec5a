"""Figures of the same cells in two results directories, and which of their differences are real.

A is before, B after; a difference is B less A. Tests compare answers to the same test rows. Where
the rows are not the same, a difference has no test: it may be the rows'.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.cells import PREDICTIONS, Cell, class_number
from common.metrics import LOWER_IS_BETTER
from common.statistics import predictions, ranking
from common.statistics.intervals import Interval, bootstrap_intervals
from common.statistics.resampling import Variant, measure
from common.statistics.significance import Comparison, compare, holm, mcnemar
from common.task import SINGLE_LABEL

ALPHA = 0.05
LEVEL = 0.95  # of the intervals
TIMES = ("eval_seconds", "eval_samples_per_second")

Pair = tuple[Any, Any]


@dataclass(frozen=True)
class Difference:
    """A figure in A and in B.

    Attributes:
        cells: of one variant, all seeds that A and B both have; or a single cell.
        metric: its name.
        before: in A, the mean over seeds; None where there is no such figure.
        after: in B.
        interval: of after - before, at 95 %; None without a test.
        p: of the test that there is no difference; None without a test.
        p_holm: the same, corrected for all tests of its table.
        note: why there is no test, or what else there is to say.
    """

    cells: tuple[Cell, ...]
    metric: str
    before: float | None
    after: float | None
    interval: Interval | None = None
    p: float | None = None
    p_holm: float | None = None
    note: str = ""

    @property
    def shift(self) -> float | None:
        """Return what it grew by, after - before; None where one of them is missing."""
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def verdict(self) -> str:
        """Return the outcome of the corrected test in words."""
        if self.p_holm is None or self.shift is None:
            return "not tested"
        if self.p_holm > ALPHA:
            return "no difference shown"
        return "better" if (self.shift > 0) != (self.metric in LOWER_IS_BETTER) else "worse"


@dataclass(frozen=True)
class Answers:
    """What one cell answered in A and in B, row by row.

    Attributes:
        ids: of the test rows.
        labels: their class numbers.
        probabilities: of A and of B, each of shape (rows, classes), of the same rows in order.
        differs: why A and B cannot be compared row by row; "" where they can be.
    """

    ids: np.ndarray
    labels: np.ndarray
    probabilities: tuple[np.ndarray, np.ndarray]
    differs: str = ""


def figures(record: dict[str, Any]) -> dict[str, Any]:
    """Return all figures of a result, by split; what takes time is none."""
    return {
        split: {key: value for key, value in found.items() if key not in TIMES}
        for split, found in record["metrics"].items()
    }


def read_answers(
    cell: Cell, roots: tuple[Path, Path], records: Pair, digests: tuple[str | None, str | None]
) -> Answers:
    """Return the answers of a cell to the test rows in A and B.

    Args:
        cell: that both have.
        roots: the results directories.
        records: its metrics.json in A and in B.
        digests: of the test rows of A and of B, texts included; None where they are not on record.

    Raises:
        InputError: predictions are damaged, or not those that the metrics were made of.
    """
    none = np.empty(0), np.empty(0), (np.empty((0, 0)), np.empty((0, 0)))
    directories = [root / cell.path for root in roots]
    for side, directory in zip("AB", directories, strict=True):
        if not (directory / PREDICTIONS).exists():
            return Answers(*none, f"{side} has no {PREDICTIONS}")
    classes, others = (record["meta_info"]["dataset_info"]["labels"] for record in records)
    if classes != others:
        return Answers(*none, "the classes differ")
    frames = [
        predictions.read_predictions(directory / PREDICTIONS, classes).sort_index()
        for directory in directories
    ]
    labels = predictions.numbered(frames[0], classes, directories[0])
    if differs := difference_of_rows(frames[0], frames[1]):
        return Answers(*none, differs)
    if None not in digests and digests[0] != digests[1]:
        return Answers(*none, "the texts of the test rows differ")
    before, after = (
        frame[predictions.probability_columns(classes)].to_numpy(dtype=float) for frame in frames
    )
    for directory, record, own in zip(directories, records, (before, after), strict=True):
        predictions.check_figures(directory, record, labels, own)
    return Answers(frames[0].index.to_numpy(), labels, (before, after))


def difference_of_rows(before: pd.DataFrame, after: pd.DataFrame) -> str:
    """Return how the test rows differ by id and label, in words; "" where they do not."""
    keys = [set(frame["label"].items()) for frame in (before, after)]
    if keys[0] == keys[1]:
        return ""
    common = len(keys[0] & keys[1])
    return f"the test rows differ: {common} are common, of {len(before)} in A and {len(after)} in B"


def of_variant(
    cells: Sequence[Cell], metric: str, records: list[Pair], answered: list[Answers]
) -> Difference:
    """Return one metric of one variant in A and B, on average over the seeds that both have.

    Student's test that minds rows and seeds: ``significance.compare``. Equal seeds in A and B are
    taken for different ones, which errs on the side of no difference.

    Args:
        cells: of the variant, one per seed.
        metric: its name.
        records: of each cell, the metrics.json of A and of B.
        answered: of each cell, its answers.
    """
    sides = [[record["metrics"]["test"].get(metric) for record in side]
             for side in zip(*records, strict=True)]  # fmt: skip
    before, after = (None if None in side else float(np.mean(side)) for side in sides)
    plain = Difference(tuple(cells), metric, before, after)
    if differs := next((each.differs for each in answered if each.differs), ""):
        return replace(plain, note=differs)
    if not all(np.array_equal(each.ids, answered[0].ids) for each in answered):
        return replace(plain, note="the seeds were tested on different rows")
    if before is None or after is None:
        return replace(plain, note="no such figure")
    found, around = compare_both(cells, metric, records[0][1], answered)
    note = "" if found.seeds_known else "one seed: of these trained models alone"
    return replace(plain, interval=around, p=found.p, note=note)


def compare_both(
    cells: Sequence[Cell], metric: str, record: dict[str, Any], answered: list[Answers]
) -> tuple[Comparison, Interval]:
    """The test of B against A on the same resamples of the test rows, and the interval of B - A.

    The interval is the one of the verdicts, which has a width also where no resample moves the
    difference: ``ranking.difference_interval``.
    """
    names = record["meta_info"]["dataset_info"]["labels"]
    wanted = record["run_info"].get("options", {}).get("positive_label")
    trained = cells[0].seed is not None
    # Not paired by seed: the same seed of another version of the code is another draw.
    variants = [
        Variant(side, np.stack([each.probabilities[number] for each in answered]), trained)
        for number, side in enumerate("AB")
    ]
    labels, positive = answered[0].labels, class_number(wanted, names)
    measured = measure(labels, variants, metric, positive)
    ranges = bootstrap_intervals(labels, variants, [metric], positive, level=LEVEL)[metric]
    contrasts = [
        {"name": side, "metrics": {metric: {"value": measured[side].mean, **asdict(around)}}}
        for side in "AB"
        for around, _ in [ranking.interval_of(measured[side], ranges[side], LEVEL)]
    ]
    given = {each.name: SINGLE_LABEL.decode(each.probabilities) for each in reversed(variants)}
    limits = ranking.exact_limits(given, labels, metric)
    found = compare(measured["B"], measured["A"], least_p=limits.get(("B", "A"), 0.0))
    return found, ranking.difference_interval(found, contrasts, LEVEL)


def of_cell(cell: Cell, records: Pair, answered: Answers) -> tuple[Difference, int, int]:
    """The accuracy of one cell in A and B, with McNemar's test of its two trained models.

    Returns:
        the difference; and the rows that A alone gets right, and that B alone does.
    """
    before, after = (record["metrics"]["test"]["accuracy"] for record in records)
    plain = Difference((cell,), "accuracy", before, after, note=answered.differs)
    if answered.differs:
        return plain, 0, 0
    right = [SINGLE_LABEL.decode(each) == answered.labels for each in answered.probabilities]
    alone = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    return replace(plain, p=mcnemar(right[1], right[0])), *alone


def corrected(differences: Sequence[Difference]) -> list[Difference]:
    """Return the differences with p corrected by Holm for all that were tested."""
    adjusted = iter(holm([each.p for each in differences if each.p is not None]))
    return [
        each if each.p is None else replace(each, p_holm=next(adjusted)) for each in differences
    ]

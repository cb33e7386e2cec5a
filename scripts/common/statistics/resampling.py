"""Metrics of many resamples of the test rows at once, for everything that uses a bootstrap.

Every metric of predicted classes follows from three counts per class: the rows that are of it,
those that are given it, and those of both. A resample is a weight per row, so that the counts of
all resamples are one matrix product; scikit-learn, called once per resample, would take hours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from common.metrics import METRICS
from common.task import SINGLE_LABEL

ELEMENTS = 20_000_000  # of the largest matrix of weights: 160 MB


@dataclass(frozen=True)
class Variant:
    """What one variant answers on the test rows.

    Attributes:
        name: its name.
        probabilities: float, shape (seeds, rows, classes).
        trained: whether another seed would give other answers. A baseline that is deterministic
            has one seed and ``trained=False``: its variance over seeds is known to be none.
        seeds: their numbers. Variants of the same seeds are paired by seed: a seed draws the same
            head, order of rows and sample of rows for all of them. Of none, they are not paired.
    """

    name: str
    probabilities: np.ndarray
    trained: bool = True
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Measured:
    """One metric of one variant: on the test rows, and on each resample of them.

    Attributes:
        name: of the variant.
        metric: one of METRICS.
        rows: number of test rows.
        values: float, shape (seeds,).
        replicates: float, shape (seeds, resamples). Those of all variants that were measured
            together are of the same resamples in the same order, hence paired.
        trained: as in ``Variant``.
        seeds: as in ``Variant``.
    """

    name: str
    metric: str
    rows: int
    values: np.ndarray
    replicates: np.ndarray
    trained: bool
    seeds: tuple[int, ...] = ()

    @property
    def mean(self) -> float:
        """Return the mean over seeds."""
        return float(self.values.mean())

    def of_seeds(self, seeds: Sequence[int]) -> "Measured":
        """Return the same of some of its seeds."""
        places = [self.seeds.index(seed) for seed in seeds]
        return replace(self, values=self.values[places], replicates=self.replicates[places],
                       seeds=tuple(seeds))  # fmt: skip


def bounds(metric: str) -> tuple[float, float]:
    """Return the least and the largest value that a metric can have."""
    return METRICS[metric].least, METRICS[metric].most


def measure(
    labels: np.ndarray,
    variants: list[Variant],
    metric: str,
    positive: int | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Measured]:
    """Return one metric of all variants, on the same resamples of the test rows.

    Args:
        labels: the true class numbers, shape (rows,).
        variants: each measured on these rows in this order; names differ.
        metric: one of METRICS.
        positive: number of the positive class; the last by default.
        resamples: how many; 2,000 leave an error of about 1.6 % in a standard error.
        seed: of the resamples. They depend on it and on the labels alone, so that a variant more
            changes no figure of the others.

    Returns:
        by name of the variant, in the given order.

    Raises:
        ValueError: no such metric, or a shape that does not fit the labels.
    """
    return measure_all(labels, variants, [metric], positive, resamples, seed)[metric]


def measure_all(
    labels: np.ndarray,
    variants: list[Variant],
    metrics: Sequence[str],
    positive: int | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, dict[str, Measured]]:
    """Return several metrics at once, for little more than the price of one.

    Their counts are the same.

    Args:
        labels: as for ``measure``; so are the arguments that follow.
        variants: each measured on these rows in this order.
        metrics: of METRICS.
        positive: number of the positive class.
        resamples: how many.
        seed: of the resamples.

    Returns:
        by metric, then as ``measure`` returns it.

    Raises:
        ValueError: as for ``measure``.
    """
    labels = np.asarray(labels)
    check(labels, variants)
    cells = np.concatenate([variant.probabilities for variant in variants])
    values = scores(labels, cells, metrics, positive)
    drawn = [
        scores(labels, cells, metrics, positive, block)
        for block in bootstrap_weights(labels, resamples, seed)
    ]
    ends = np.cumsum([len(variant.probabilities) for variant in variants])[:-1]
    found = {}
    for metric in metrics:
        own = np.split(values[metric][:, 0], ends)
        resampled = np.split(np.hstack([block[metric] for block in drawn]), ends)
        found[metric] = {
            variant.name: Measured(
                variant.name,
                metric,
                len(labels),
                own[i],
                resampled[i],
                variant.trained,
                variant.seeds,
            )
            for i, variant in enumerate(variants)
        }
    return found


def check(labels: np.ndarray, variants: list[Variant]) -> None:
    """Refuse what cannot be measured together.

    Raises:
        ValueError: a shape that is not (seeds, rows, classes) or differs in rows or classes; a
            deterministic variant with several seeds; two variants of one name.
    """
    if len({variant.name for variant in variants}) < len(variants):
        raise ValueError("two variants have the same name")
    for variant in variants:
        shape, classes = np.shape(variant.probabilities), variants[0].probabilities.shape[-1]
        if len(shape) != 3 or 0 in shape or shape[1:] != (len(labels), classes):
            raise ValueError(
                f"{variant.name}: probabilities of shape {shape}, "
                f"not (seeds, {len(labels)}, {classes})"
            )
        if not variant.trained and shape[0] > 1:
            raise ValueError(f"{variant.name} is deterministic, but has {shape[0]} seeds")


def bootstrap_weights(labels: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each row is in each resample, in blocks of resamples; stratified by label.

    The rows of a class are drawn from that class: the test rows were split off with fixed shares,
    so chance did not choose those either. Of a class with n rows n - 1 are drawn, each weighing
    n / (n - 1), which makes the variance over resamples unbiased where a class is small (Rao and
    Wu 1988, "Resampling inference with complex survey data", JASA 83, 231-241, section 2).

    Args:
        labels: shape (rows,).
        resamples: number of resamples.
        seed: of the generator.

    Yields:
        float, shape (resamples of this block, rows); each row of it sums to the number of rows.
    """
    generator = np.random.default_rng(seed)
    strata = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    block = max(1, ELEMENTS // len(labels))
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        weights = np.empty((count, len(labels)))
        for stratum in strata:
            rows, draws = len(stratum), max(1, len(stratum) - 1)
            drawn = generator.integers(rows, size=(count, draws)) + np.arange(count)[:, None] * rows
            times = np.bincount(drawn.ravel(), minlength=count * rows).reshape(count, rows)
            weights[:, stratum] = times * (rows / draws)
        yield weights


def scores(
    labels: np.ndarray,
    probabilities: np.ndarray,
    metrics: Sequence[str],
    positive: int | None = None,
    weights: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return some metrics of several cells, under several weightings of the rows.

    Args:
        labels: shape (rows,).
        probabilities: shape (cells, rows, classes).
        metrics: of METRICS.
        positive: number of the positive class; the last by default.
        weights: of the rows, shape (weightings, rows); by default one weighting, of ones.

    Returns:
        by metric, float, shape (cells, weightings); a value that would divide by zero is 0, as in
        scikit-learn with ``zero_division=0``.

    Raises:
        ValueError: no such metric.
    """
    if unknown := [metric for metric in metrics if metric not in METRICS]:
        raise ValueError(f"no metric {unknown[0]!r}: {', '.join(METRICS)}")
    rows, classes = probabilities.shape[1:]
    weights = np.ones((1, rows)) if weights is None else weights
    positive = classes - 1 if positive is None else positive
    found: dict[str, np.ndarray] = {}
    for metric in metrics:
        if compute := METRICS[metric].of_probabilities:
            found[metric] = compute(labels, probabilities, positive, weights)
    counted = {each: of_counts for each in metrics if (of_counts := METRICS[each].of_counts)}
    if counted:
        chunks = np.array_split(probabilities, 1 + probabilities.size // ELEMENTS)
        parts = [tuple(counts(labels, chunk, weights)) for chunk in chunks]
        for metric, of_counts in counted.items():
            found[metric] = np.concatenate(
                [of_counts(hits, given, true, positive) for hits, given, true in parts]
            )
    return found


def counts(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
) -> Iterator[np.ndarray]:
    """Rows of a class that are given it, rows given it, and rows of it, by cell and weighting."""
    numbers = np.arange(probabilities.shape[2])[:, None]
    given = SINGLE_LABEL.decode(probabilities)[:, None, :] == numbers
    true = (labels == numbers)[None]
    for which in (given & true, given, true):
        flat = which.reshape(-1, len(labels)).astype(float) @ weights.T
        yield flat.reshape(len(which), len(numbers), len(weights))

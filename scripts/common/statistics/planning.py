"""What a test set can show, and what it would take to show more."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from common.statistics.significance import Comparison
from common.statistics.variance import freedom

MOST_ROWS = 10**9
MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Needed:
    """What would separate two variants, were the difference seen the true one.

    Attributes:
        rows: test rows in all, with the seeds as they are; None where no number would do.
        seeds: of each trained variant, with the rows as they are; None where no number would do.
        why: one sentence.
    """

    rows: int | None
    seeds: int | None
    why: str


def detectable_difference(
    comparison: Comparison, power: float = 0.8, alpha: float = 0.05, most: float = math.inf
) -> float | None:
    """Return the smallest true difference that this comparison finds with the given power.

    (t_{1-alpha/2} + t_power) times the standard error: Bloom 1995, "Minimum detectable effects",
    Eval. Rev. 19, 547-556.

    Args:
        comparison: whose rows, seeds and disagreements are taken as typical.
        power: chance to find it.
        alpha: level of the test, two-sided; of one among m, 0.05 / m is what Holm's correction
            asks of the clearest difference.
        most: the largest that there can be.

    Returns:
        in units of the metric; None where the two never disagree, so that nothing tells how much
        they might, and where no difference that there can be would be found.
    """
    found = comparison.contrast
    if found.standard_error < 1e-12:
        return None
    size = float(multiple(np.array(found.df), power, alpha) * found.standard_error)
    return size if size <= most else None


def multiple(df: np.ndarray, power: float, alpha: float) -> np.ndarray:
    """Return how many standard errors a difference must be."""
    return stats.t.ppf(1 - alpha / 2, df) + stats.t.ppf(power, df)


def needed(comparison: Comparison, power: float = 0.8, alpha: float = 0.05) -> Needed:
    """Return how many rows, or how many seeds, would separate two variants.

    With n rows and k seeds the variance of the difference is (rows + interactions / k) / n +
    seeds / k, of which each part is estimated (``variance.contrast``): more rows leave the
    seeds' part, more seeds that of the rows. The difference that was seen is taken for the true
    one; a small one is a matter of chance, and so are then these numbers.

    Args:
        comparison: of the two.
        power: chance to find the difference.
        alpha: level of the test, two-sided.
    """
    found = comparison.contrast
    if abs(found.value) < 1e-12 or found.standard_error < 1e-12:
        return Needed(None, None, "the two do not differ, so nothing would separate them")
    rows = first(
        steps(MOST_ROWS),
        lambda number: separates(comparison, number, None, power, alpha),
    )
    trained = any(side.trained for side in found.sides)
    if not found.seeds_known:
        why = "one seed does not tell how much seeds differ: the rows hold for these models alone"
        return Needed(rows, None, why)
    if not trained:
        return Needed(rows, None, "neither has seeds, so rows alone count")
    seeds = first(
        steps(MOST_SEEDS),
        lambda number: separates(comparison, np.array(found.rows), number, power, alpha),
    )
    return Needed(rows, seeds, reason(rows, seeds))


def reason(rows: int | None, seeds: int | None) -> str:
    """Return the sentence that goes with the two numbers."""
    if rows is None and seeds is None:
        return "neither more rows nor more seeds alone would do: it takes both"
    if rows is None:
        return "more rows alone would never do, since the seeds differ too much"
    if seeds is None:
        return "more seeds alone would never do, since the test rows are too few"
    return "more rows or more seeds would do"


def steps(most: int) -> np.ndarray:
    """Return whole numbers from 2, at most 1 % apart where they are above 100.

    No estimate is better.
    """
    return np.unique(np.geomspace(2, most, math.ceil(math.log(most / 2) / 0.00995)).round())


def first(numbers: np.ndarray, enough) -> int | None:
    """Return the first of the ascending numbers that is enough, or None."""
    found = np.flatnonzero(enough(numbers))
    return int(numbers[found[0]]) if len(found) else None


def separates(
    comparison: Comparison, rows: np.ndarray, seeds: np.ndarray | None, power: float, alpha: float
) -> np.ndarray:
    """Return whether the difference seen would be found with so many rows and seeds.

    Args:
        comparison: where the variances come from.
        rows: numbers of rows, any shape.
        seeds: of each trained variant, shape as rows or broadcast to it; None: as they are.
        power: chance to find it.
        alpha: level of the test.
    """
    found = comparison.contrast
    fewer = found.rows / rows
    apart = sum(side.interaction / side.seeds for side in found.sides)
    variance = max(0.0, found.rows_variance - apart) * fewer
    parts = []
    for side in found.sides:
        several = np.asarray(seeds if seeds is not None and side.trained else side.seeds)
        seen = (side.interaction * fewer + side.seeds_variance) / several
        variance = variance + seen
        if (several > 1).all() and np.any(seen):
            parts.append((seen, several - 1))
    df = freedom(variance, parts)
    return abs(found.value) >= multiple(df, power, alpha) * np.sqrt(variance)

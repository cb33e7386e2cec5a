"""What a test set can show, and what it would take to show a difference that matters.

Plans are for a stated margin. To plan for the difference that was seen would be circular: a small
one is a matter of chance, and so is then the plan (Hoenig and Heisey 2001, "The abuse of power",
Am. Stat. 55, 19-24).
"""

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

from common.statistics.significance import Comparison
from common.statistics.variance import freedom

MOST_ROWS = 10**9
MOST_SEEDS = 10_000
POWER = 0.8


@dataclass(frozen=True)
class Needed:
    """What would find a difference as large as the margin in 80 of 100 such comparisons.

    Attributes:
        rows: test rows in all, with the seeds as they are; None where no number would do.
        seeds: of each trained variant, with the rows as they are; None where no number would do.
        why: one sentence.
    """

    rows: int | None
    seeds: int | None
    why: str


def power(difference, error, df, alpha: float):
    """Return the chance that Student's test, two-sided, finds a difference on its own side.

    Args:
        difference: the true one, at least 0; this and the next two are numbers or arrays.
        error: standard error of its estimate, above 0.
        df: degrees of freedom; inf for a normal test.
        alpha: level of the test.
    """
    shift = np.asarray(difference / error, dtype=float)
    limit = stats.t.ppf(1 - alpha / 2, df)
    finite = np.where(np.isinf(df), 1.0, df)
    # Of scipy.special, since stats.nct takes several times as long. Where next to nothing is below,
    # at 36 standard errors and more, it may underflow to no number.
    below = np.nan_to_num(special.nctdtr(finite, shift, limit), nan=0.0)
    return np.where(np.isinf(df), stats.norm.sf(limit - shift), 1 - below)


def detectable_difference(
    comparison: Comparison, alpha: float = 0.05, most: float = math.inf
) -> float | None:
    """Return the smallest true difference that this comparison finds with a power of 80 %.

    From the noncentral t distribution; the usual sum of two t quantiles is 12 to 18 % too small
    where the degrees of freedom are two or three.

    Args:
        comparison: whose rows, seeds and disagreements are taken as typical.
        alpha: level of the test, two-sided; of one among m, 0.05 / m is what Holm's correction
            asks of the clearest difference.
        most: the largest that there can be.

    Returns:
        in units of the metric; None where the two never disagree, so that nothing tells how much
        they might, and where no difference that there can be would be found.
    """
    found = comparison.contrast
    error = found.standard_error
    if error < 1e-12:
        return None
    largest = most if math.isfinite(most) else 1e6 * error
    if power(largest, error, found.df, alpha) < POWER:
        return None
    return float(optimize.brentq(
        lambda size: float(power(size, error, found.df, alpha)) - POWER, 0, largest
    ))  # fmt: skip


def needed(comparison: Comparison, margin: float, alpha: float = 0.05) -> Needed:
    """Return how many rows, or how many seeds, would find a difference as large as the margin.

    With n rows and k seeds the variance of the difference is (rows + interactions / k) / n +
    seeds / k, of which each part is estimated (``variance.contrast``): more rows leave the
    seeds' part, more seeds that of the rows.

    Args:
        comparison: of the two; its own difference does not count.
        margin: in units of the metric.
        alpha: level of the test, two-sided.
    """
    found = comparison.contrast
    if found.standard_error < 1e-12:
        return Needed(None, None, "the two never disagree, so nothing tells how much they might")
    rows = first(steps(MOST_ROWS), lambda number: finds(comparison, margin, number, None, alpha))
    if not found.seeds_known:
        why = "one seed does not tell how much seeds differ: the rows hold for these models alone"
        return Needed(rows, None, why)
    if not found.blocks:
        return Needed(rows, None, "neither has seeds, so rows alone count")
    seeds = first(
        steps(MOST_SEEDS),
        lambda number: finds(comparison, margin, np.array(found.rows), number, alpha),
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
    """Return the first of the ascending numbers that is enough, or None; more is never less."""
    place = bisect_left(numbers, True, key=lambda number: bool(enough(number)))
    return int(numbers[place]) if place < len(numbers) else None


def finds(
    comparison: Comparison, margin: float, rows: np.ndarray, seeds: np.ndarray | None, alpha: float
) -> np.ndarray:
    """Return whether a difference of the margin would be found with so many rows and seeds.

    Args:
        comparison: where the variances come from.
        margin: in units of the metric.
        rows: numbers of rows, any shape.
        seeds: of each trained variant, shape as rows or broadcast to it; None: as they are.
        alpha: level of the test.
    """
    found = comparison.contrast
    fewer = found.rows / rows
    apart = sum(block.interaction / block.seeds for block in found.blocks)
    variance = max(0.0, found.rows_variance - apart) * fewer
    parts = []
    for block in found.blocks:
        several = np.asarray(block.seeds if seeds is None else seeds)
        seen = (block.interaction * fewer + block.between) / several
        variance = variance + seen
        if (several > 1).all() and np.any(seen):
            parts.append((seen, several - 1))
    error = np.sqrt(np.maximum(variance, 1e-30))
    return power(margin, error, freedom(variance, parts), alpha) >= POWER

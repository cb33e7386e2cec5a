"""How uncertain the mean of a variant is, and any weighted sum of means: rows, and seeds.

The figure of a variant, its mean over seeds, would be another with other test rows and with other
seeds. Rows are crossed with seeds, since all seeds answer the same rows; and seeds are crossed with
variants, since seed 3 draws the same head and the same order of rows for each. That is the design
of studies in which several readers judge the same cases with several tests, and their analysis is
taken over: Obuchowski and Rockette 1995, Commun. Stat. Simul. Comput. 24, 285-308; Hillis 2014, "A
marginal-mean ANOVA approach for analyzing multireader multicase radiological imaging data", Stat.
Med. 33, 330-360.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from common.metrics import METRICS
from common.statistics.intervals import Interval, within
from common.statistics.resampling import Measured


@dataclass(frozen=True)
class SeedSpread:
    """The variance of a variant's mean over seeds, by its source.

    Attributes:
        seeds: how many.
        sd: standard deviation over seeds as seen, on these rows; None of one seed.
        sd_seeds: the part of it that would be left with endless test rows; None of one seed of a
            trained variant, 0 of a deterministic one.
        variance_seeds: what the seeds add to the variance of the mean: sd_seeds**2 / seeds.
        variance_rows: what the rows add to it, these seeds being given.
        interaction: variance of one seed because the seeds err on other rows; None of one seed.
        share: the part of the variance of the mean that is due to seeds, 0 to 1; None where it is
            not known, or where nothing varies.
    """

    seeds: int
    sd: float | None
    sd_seeds: float | None
    variance_seeds: float | None
    variance_rows: float
    interaction: float | None
    share: float | None


@dataclass(frozen=True)
class Block:
    """The part of a contrast that has seeds of its own: one variant, or several that share them.

    Attributes:
        seeds: how many.
        between: variance over seeds beyond what the rows explain, of one seed; 0 of a single one.
        interaction: variance of one seed because the seeds err on other rows; 0 of a single one.
    """

    seeds: int
    between: float
    interaction: float

    @property
    def observed(self) -> float:
        """Return the variance of the block's mean over seeds, at least what the rows make of it.

        Two seeds that happen to agree would else pass for knowledge.
        """
        return (self.between + self.interaction) / self.seeds


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of variants' means, and how uncertain it is.

    Attributes:
        value: the sum.
        rows_variance: of the test rows, these seeds being given.
        seeds_variance: of the seeds, beyond what the rows explain.
        df: degrees of freedom of their sum; inf where the seeds add nothing.
        seeds_known: False where a trained variant has one seed: the variance over seeds is then
            missing, and all that follows holds for these trained models, not for their variants.
        rows: number of test rows.
        blocks: the parts that have seeds.
    """

    value: float
    rows_variance: float
    seeds_variance: float
    df: float
    seeds_known: bool
    rows: int
    blocks: tuple[Block, ...]

    @property
    def standard_error(self) -> float:
        """Return the standard error of the value, from rows and seeds."""
        return math.sqrt(self.rows_variance + self.seeds_variance)

    def interval(self, level: float = 0.95) -> Interval:
        """Return Student's interval of the value."""
        half = stats.t.ppf((1 + level) / 2, self.df) * self.standard_error
        return Interval(float(self.value - half), float(self.value + half))


def spread_over_seeds(measured: Measured) -> SeedSpread:
    """Return how much of the variance of a variant's mean is due to seeds, how much to the rows.

    Args:
        measured: of one variant.
    """
    seeds, rows = len(measured.values), float(measured.replicates.mean(axis=0).var(ddof=1))
    if seeds == 1:
        known = None if measured.trained else 0.0
        share = None if measured.trained or not rows else 0.0
        return SeedSpread(1, None, known, known, rows, None, share)
    block = block_of(measured.values, measured.replicates)
    total = block.between / seeds + rows
    return SeedSpread(
        seeds,
        float(measured.values.std(ddof=1)),
        math.sqrt(block.between),
        block.between / seeds,
        rows,
        block.interaction,
        block.between / seeds / total if total else None,
    )


def block_of(values: np.ndarray, replicates: np.ndarray) -> Block:
    """Return the variance over seeds of a figure, split by its source.

    On the same rows the variance over seeds, s^2, has two sources: seeds give better or worse
    models, and equally good ones err on other rows. The bootstrap tells the second: Var - Cov, the
    variance of a seed's figure over resamples less its covariance with another seed's
    (Obuchowski and Rockette 1995). What is left of s^2, at least 0, is due to the seeds.

    Args:
        values: float, shape (seeds,).
        replicates: float, shape (seeds, resamples).
    """
    seeds = len(values)
    if seeds == 1:
        return Block(1, 0.0, 0.0)
    apart = replicates - replicates.mean(axis=0)
    interaction = float(apart.var(axis=1, ddof=1).sum() / (seeds - 1))
    return Block(seeds, max(0.0, float(values.var(ddof=1)) - interaction), interaction)


def contrast(parts: Iterable[tuple[Measured, float]]) -> Contrast:
    """Return a weighted sum of the means of different variants, with its standard error.

    Variants of the same seeds are paired by seed: their weighted sum is taken for each seed, and
    what seeds do to all of them alike cancels. Variance: that over the resamples, which are the
    same for all variants and so hold their covariances; and for each block of seeds what the seeds
    add to it (``block_of``). Degrees of freedom: ``freedom`` of the blocks' observed variances,
    with seeds - 1 each; rows are many.

    Args:
        parts: each a variant and its weight, measured together; no variant twice.
    """
    parts = list(parts)
    value = sum(weight * measured.mean for measured, weight in parts)
    replicates = sum(weight * measured.replicates.mean(axis=0) for measured, weight in parts)
    rows_variance = float(np.var(replicates, ddof=1))
    blocks = tuple(
        block_of(
            np.sum([weight * measured.values for measured, weight in group], axis=0),
            np.sum([weight * measured.replicates for measured, weight in group], axis=0),
        )
        for group in by_seeds(parts)
    )
    seeds_variance = sum(block.between / block.seeds for block in blocks)
    # Seeds that answer alike, as collapsed ones do, tell nothing of their variance.
    observed = [(block.observed, block.seeds - 1) for block in blocks if block.observed]
    return Contrast(
        value,
        rows_variance,
        seeds_variance,
        float(freedom(rows_variance + seeds_variance, observed)),
        all(block.seeds > 1 for block in blocks),
        parts[0][0].rows,
        blocks,
    )


def by_seeds(parts: Sequence[tuple[Measured, float]]) -> list[list[tuple[Measured, float]]]:
    """Return the trained parts of a contrast in groups that share their seeds."""
    groups: dict[object, list[tuple[Measured, float]]] = {}
    for place, (measured, weight) in enumerate(parts):
        if measured.trained:
            groups.setdefault(measured.seeds or place, []).append((measured, weight))
    return list(groups.values())


def freedom(variance, parts: Sequence[tuple]) -> np.ndarray:
    """Return degrees of freedom of a variance of which some parts have few.

    Of these parts together they are Satterthwaite's (1946, Biometrics Bulletin 2, 110-114), who
    divides by the square of their share in the whole. The share, too, is a guess from few seeds:
    where it comes out too low, his formula finds freedom that is not there, and a test at 5 %
    beside a baseline rejects in up to 12 of 100 with two seeds, 8 with three and 7 with five. So
    with k seeds, fewer than eight, the share is raised to k / 4 in place of 2. That is a
    convention, with which the simulations of docs/statistics.md find the level kept.

    Args:
        variance: the whole, of any shape.
        parts: each a part of it and its degrees of freedom, of shapes that broadcast; what is in no
            part has endless ones.

    Returns:
        of the shape of the whole; inf where no part is.
    """
    seen = np.asarray(sum(part for part, _ in parts), dtype=float)
    if not parts or not seen.any():
        return np.full(np.shape(variance), math.inf)
    own = seen**2 / sum(part**2 / df for part, df in parts)
    fewest = np.asarray(parts[0][1]) + 1
    for _, df in parts:
        fewest = np.minimum(fewest, np.asarray(df) + 1)
    power = np.minimum(fewest / 4, 2.0)
    # A part may exceed the whole, where s^2 is below what the rows make of it.
    return own / np.minimum(1.0, seen / variance) ** power


def mean_interval(measured: Measured, level: float = 0.95) -> tuple[Interval, bool]:
    """Return the interval of a mean for other rows and other seeds, and whether seeds count.

    Student's, on the logit scale of the range of the metric, so that it stays within the range:
    ``intervals.within``.

    Args:
        measured: of one variant.
        level: of confidence.

    Returns:
        the interval; and ``seeds_known``, False where one seed leaves their variance out of it.
    """
    found, metric = contrast([(measured, 1.0)]), METRICS[measured.metric]
    half = float(stats.t.ppf((1 + level) / 2, found.df)) * found.standard_error
    return within(found.value, half, metric.least, metric.most), found.seeds_known

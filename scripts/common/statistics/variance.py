"""How uncertain the mean of a variant is, and any weighted sum of means: rows, and seeds.

The figure of a variant, its mean over seeds, would be another with other test rows and with other
seeds. Rows are crossed with seeds: all seeds answer the same rows. That is the design of studies
in which several readers judge the same cases, here with the readers nested in the tests, and their
analysis is taken over: Obuchowski and Rockette 1995, Commun. Stat. Simul. Comput. 24, 285-308;
Hillis 2014, "A marginal-mean ANOVA approach for analyzing multireader multicase radiological
imaging data", Stat. Med. 33, 330-360.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from common.statistics.intervals import Interval
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
class Side:
    """What one variant adds to a contrast, for planning: see ``contrast``."""

    name: str
    weight: float
    seeds: int
    trained: bool
    seeds_variance: float
    interaction: float


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
        sides: one per variant.
    """

    value: float
    rows_variance: float
    seeds_variance: float
    df: float
    seeds_known: bool
    rows: int
    sides: tuple[Side, ...]

    @property
    def standard_error(self) -> float:
        """Return the standard error of the value, from rows and seeds."""
        return math.sqrt(self.rows_variance + self.seeds_variance)

    def interval(self, level: float = 0.95) -> Interval:
        """Return Student's interval of the value."""
        half = stats.t.ppf((1 + level) / 2, self.df) * self.standard_error
        return Interval(float(self.value - half), float(self.value + half))


def spread_over_seeds(measured: Measured) -> SeedSpread:
    """How much of the variance of a variant's mean is due to seeds, how much to the test rows.

    On the same rows the variance over seeds, s^2, has two sources: seeds give better or worse
    models, and equally good ones err on other rows. The bootstrap tells the second: Var - Cov, the
    variance of a seed's figure over resamples less its covariance with another seed's
    (Obuchowski and Rockette 1995). What is left of s^2, at least 0, is due to the seeds.

    Args:
        measured: of one variant.
    """
    seeds, rows = len(measured.values), float(measured.replicates.mean(axis=0).var(ddof=1))
    if seeds == 1:
        known = None if measured.trained else 0.0
        share = None if measured.trained or not rows else 0.0
        return SeedSpread(1, None, known, known, rows, None, share)
    observed = float(measured.values.var(ddof=1))
    apart = measured.replicates - measured.replicates.mean(axis=0)
    interaction = float(apart.var(axis=1, ddof=1).sum() / (seeds - 1))
    between = max(0.0, observed - interaction)
    total = between / seeds + rows
    return SeedSpread(
        seeds,
        math.sqrt(observed),
        math.sqrt(between),
        between / seeds,
        rows,
        interaction,
        between / seeds / total if total else None,
    )


def contrast(parts: Iterable[tuple[Measured, float]]) -> Contrast:
    """Return a weighted sum of the means of different variants, with its standard error.

    Variance: that over the resamples, which are the same for all variants and so hold their
    covariances; and for each variant its weight**2 times what seeds add (``spread_over_seeds``).
    This equals Hillis's E[s^2]/k + Cov2, summed, less the covariances between variants.

    Degrees of freedom: ``freedom`` of the parts s^2/k, with k - 1 each; rows are many. Where s^2 is
    below what the rows alone make of it, that value stands in: two seeds that happen to agree would
    else pass for knowledge.

    Args:
        parts: each a variant and its weight, measured together; no variant twice.
    """
    sides, value, replicates, observed = [], 0.0, np.zeros(1), []
    for measured, weight in parts:
        spread = spread_over_seeds(measured)
        value += weight * measured.mean
        replicates = replicates + weight * measured.replicates.mean(axis=0)
        between = weight**2 * (spread.sd_seeds or 0.0) ** 2
        interaction = weight**2 * (spread.interaction or 0.0)
        sides.append(
            Side(measured.name, weight, spread.seeds, measured.trained, between, interaction)
        )
        seen = max(weight**2 * (spread.sd or 0.0) ** 2, interaction) / spread.seeds
        if seen:  # seeds that answer alike, as collapsed ones do, tell nothing of their variance
            observed.append((seen, spread.seeds - 1))
        rows = measured.rows
    rows_variance = float(replicates.var(ddof=1))
    seeds_variance = sum(side.seeds_variance / side.seeds for side in sides)
    return Contrast(
        value,
        rows_variance,
        seeds_variance,
        float(freedom(rows_variance + seeds_variance, observed)),
        all(side.seeds > 1 or not side.trained for side in sides),
        rows,
        tuple(sides),
    )


def freedom(variance, parts: Sequence[tuple]) -> np.ndarray:
    """Return degrees of freedom of a variance of which some parts have few.

    Of these parts together they are Satterthwaite's (1946, Biometrics Bulletin 2, 110-114). He
    divides those by the square of their share in the whole; here they are divided by the share, or
    where a single part is all there is, as beside a baseline, by its root. For the share, too, is a
    guess from few seeds: where it comes out too low, his formula finds freedom that is not there,
    and a test at 5 % between two seeds and a baseline rejects in up to 12 of 100. And what varies
    on one side alone is seldom even: figures near their best leave more room below than above.

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
    # A part may exceed the whole, where s^2 is below what the rows make of it.
    share = np.minimum(1.0, seen / variance)
    return own / (np.sqrt(share) if len(parts) == 1 else share)


def mean_interval(measured: Measured, level: float = 0.95) -> tuple[Interval, bool]:
    """The interval of a variant's mean for other rows and other seeds, and whether seeds count.

    Args:
        measured: of one variant.
        level: of confidence.

    Returns:
        the interval; and ``seeds_known``, False where one seed leaves their variance out of it.
    """
    found = contrast([(measured, 1.0)])
    return found.interval(level), found.seeds_known

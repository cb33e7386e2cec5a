"""Which differences between variants are real: rows, seeds, and a test that minds both.

The figure of a variant, its mean over seeds, would be another with other test rows and with other
seeds. Rows are crossed with seeds: all seeds answer the same rows. That is the design of studies
in which several readers judge the same cases, here with the readers nested in the tests, and their
analysis is taken over: Obuchowski and Rockette 1995, Commun. Stat. Simul. Comput. 24, 285-308;
Hillis 2014, "A marginal-mean ANOVA approach for analyzing multireader multicase radiological
imaging data", Stat. Med. 33, 330-360.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy import stats

from common.intervals import Interval, percentile_interval
from common.resampling import Measured


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
        seeds_df: those of the seeds' part alone; inf where no side has several seeds. Close to 1,
            with a seeds' variance above that of the rows, the level is not kept: see ``compare``.
        seeds_known: False where a trained variant has one seed: the variance over seeds is then
            missing, and all that follows holds for these trained models, not for their variants.
        rows: number of test rows.
        sides: one per variant.
    """

    value: float
    rows_variance: float
    seeds_variance: float
    df: float
    seeds_df: float
    seeds_known: bool
    rows: int
    sides: tuple[Side, ...]

    @property
    def standard_error(self) -> float:
        """Of the value, from rows and seeds."""
        return math.sqrt(self.rows_variance + self.seeds_variance)

    def interval(self, level: float = 0.95) -> Interval:
        """Student's interval of the value."""
        half = stats.t.ppf((1 + level) / 2, self.df) * self.standard_error
        return Interval(float(self.value - half), float(self.value + half))


@dataclass(frozen=True)
class Comparison:
    """Two variants by one metric.

    Attributes:
        a: name of the one.
        b: name of the other.
        metric: one of ``resampling.METRICS``.
        contrast: mean of a less mean of b, with its uncertainty.
        p: of the test that there is no difference.
        p_holm: the same, corrected for all comparisons of the dataset; p itself of a single one.
    """

    a: str
    b: str
    metric: str
    contrast: Contrast
    p: float
    p_holm: float

    @property
    def seeds_known(self) -> bool:
        """Whether the test minds the seeds; if not, it tells of these trained models alone."""
        return self.contrast.seeds_known

    def significant(self, alpha: float = 0.05) -> bool:
        """Whether the difference is real, as far as the corrected test can tell."""
        return self.p_holm <= alpha


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
    """A weighted sum of the means of different variants, with its standard error.

    Variance: that over the resamples, which are the same for all variants and so hold their
    covariances; and for each variant its weight**2 times what seeds add (``spread_over_seeds``).
    This equals Hillis's E[s^2]/k + Cov2, summed, less the covariances between variants.

    Degrees of freedom: Satterthwaite 1946, Biometrics Bulletin 2, 110-114, of the parts s^2/k with
    k - 1 each; rows are many. Where s^2 is below what the rows alone make of it, that value stands
    in: two seeds that happen to agree would else pass for knowledge.

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
        if spread.sd is not None:
            seen = max(weight**2 * spread.sd**2, interaction) / spread.seeds
            observed.append((seen, spread.seeds - 1))
        rows = measured.rows
    rows_variance = float(replicates.var(ddof=1))
    seeds_variance = sum(side.seeds_variance / side.seeds for side in sides)
    return Contrast(
        value,
        rows_variance,
        seeds_variance,
        satterthwaite(rows_variance + seeds_variance, observed),
        satterthwaite(sum(seen for seen, _ in observed), observed),
        all(side.seeds > 1 or not side.trained for side in sides),
        rows,
        tuple(sides),
    )


def satterthwaite(variance: float, parts: Sequence[tuple[float, int]]) -> float:
    """Degrees of freedom of a variance of which some parts have few.

    Args:
        variance: the whole.
        parts: each a part of it and its degrees of freedom; what is in no part has endless ones.
    """
    below = sum(part**2 / df for part, df in parts)
    # An s^2 below what the rows make of it may exceed the whole, whose freedom is still its own.
    least = min((df for _, df in parts), default=math.inf)
    return max(variance**2 / below, least) if below else math.inf


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


def compare(a: Measured, b: Measured) -> Comparison:
    """The test between two variants, of several seeds each, that minds rows and seeds.

    Student's t of the difference of means, ``contrast``. In simulations of two variants that are
    equally good and whose seeds differ as much (300 and 1,000 rows, classes even and 87 to 13,
    accuracy and macro-F1, 2 to 5 seeds), a test at 5 % rejects in 1 to 5 of 100: less where the
    seeds do not differ at all, of which two cannot convince. A bootstrap of the rows alone
    rejects in 5 to 65. To add s^2/k to its variance counts the seeds' errors on other rows twice,
    which costs power with three seeds and more; and with two it rejects at 0.1 %, where Holm's
    correction looks, ten times too often. Here that is one to five times.

    The limit: where one side alone varies over seeds, and more than the rows do, two seeds cannot
    tell by how much. It then rejects in up to 12 of 100 at 5 %, with three seeds in up to 8, with
    five in 6; ``contrast.seeds_df`` near 1 shows it. Of two trained models, without regard to
    seeds, ``mcnemar_exact`` is exact.

    Args:
        a: measured together with b: ``resampling.measure``.
        b: the other variant.

    Raises:
        ValueError: not measured together.
    """
    if (a.metric, a.rows, a.replicates.shape[1]) != (b.metric, b.rows, b.replicates.shape[1]):
        raise ValueError(f"{a.name} and {b.name} were not measured together")
    found = contrast([(a, 1.0), (b, -1.0)])
    error = found.standard_error
    if abs(found.value) < 1e-12:
        p = 1.0
    elif error < 1e-12:
        p = 0.0
    else:
        p = float(2 * stats.t.sf(abs(found.value) / error, found.df))
    # Of n rows no paired test gives less: 0.5**n is the chance that all speak for the same side.
    p = min(1.0, max(p, 2.0 ** (1 - a.rows)))
    return Comparison(a.name, b.name, a.metric, found, p, p)


def compare_all(measured: dict[str, Measured]) -> list[Comparison]:
    """All pairs of the variants of a dataset, with p corrected for their number.

    Args:
        measured: as ``resampling.measure`` returns it.

    Returns:
        in the order of the variants: (1, 2), (1, 3), ..., (2, 3), ...
    """
    pairs = [compare(a, b) for a, b in combinations(measured.values(), 2)]
    corrected = holm([pair.p for pair in pairs])
    return [replace(pair, p_holm=p) for pair, p in zip(pairs, corrected, strict=True)]


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values: rejecting those at most alpha errs at all in alpha of families at most.

    Holm 1979, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 6, 65-70:
    the i-th smallest of m is multiplied by m - i + 1, and is at least its predecessor.

    Args:
        p: the p-values of one family, in any order.

    Returns:
        in the same order.
    """
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    stepped = np.minimum(1.0, np.maximum.accumulate(np.asarray(p, dtype=float)[order] * factors))
    adjusted = np.empty(len(p))
    adjusted[order] = stepped
    return [float(value) for value in adjusted]


def mcnemar_exact(correct_a: np.ndarray, correct_b: np.ndarray) -> float:
    """The p-value of two trained models that are right on as many rows of the population.

    Exact and conditional, two-sided: of the rows that one alone gets right, each is as likely to
    be a's. McNemar 1947, Psychometrika 12, 153-157; Fagerland, Lydersen and Laake 2013, "The
    McNemar test for binary matched-pairs data", BMC Med. Res. Methodol. 13, 91.

    Args:
        correct_a: bool, shape (rows,).
        correct_b: of the same rows.

    Returns:
        1.0 where they never differ.

    Raises:
        ValueError: the shapes differ.
    """
    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"not the same rows: shapes {a.shape} and {b.shape}")
    only_a, either = int((a & ~b).sum()), int((a ^ b).sum())
    return float(stats.binomtest(only_a, either).pvalue) if either else 1.0


def paired_bootstrap(a: Measured, b: Measured, level: float = 0.95) -> tuple[Interval, float]:
    """The difference of two trained models, or of the means of these seeds, over the rows alone.

    Args:
        a: measured together with b.
        b: the other.
        level: of confidence.

    Returns:
        the percentile interval of mean a - mean b; and the p-value that agrees with it: twice the
        smaller share of resamples on one side of 0, with one more resample on either side, as in
        Davison and Hinkley 1997, "Bootstrap methods and their application", section 4.4.
    """
    apart = a.replicates.mean(axis=0) - b.replicates.mean(axis=0)
    fewest = min((apart <= 1e-12).sum(), (apart >= -1e-12).sum())
    return percentile_interval(apart, level), float(min(1, 2 * (1 + fewest) / (1 + len(apart))))

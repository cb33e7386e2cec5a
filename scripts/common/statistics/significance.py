"""Which differences between variants are real: tests, a margin, and the correction for many.

That two variants are not told apart does not make them equal. So beside the test that there is no
difference stand two of a difference as large as a margin: what both reject is shown to be smaller.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy import stats

from common.metrics import LOWER_IS_BETTER
from common.statistics.intervals import Interval, percentile_interval
from common.statistics.resampling import Measured
from common.statistics.variance import Contrast, contrast

BETTER, WORSE, EQUIVALENT = "better", "worse", "equivalent"
AT_LEAST, AT_MOST, OPEN = "at least as good", "at most as good", "open"
OUTCOMES = {  # each with what it is seen from the other side; "at most" is the fourth, so seen
    BETTER: WORSE, WORSE: BETTER, EQUIVALENT: EQUIVALENT, AT_LEAST: AT_MOST, AT_MOST: AT_LEAST,
    OPEN: OPEN,
}  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """Two variants by one metric.

    Attributes:
        a: name of the one.
        b: name of the other.
        metric: one of METRICS.
        contrast: mean of a less mean of b, with its uncertainty.
        p: of the test that there is no difference.
        p_holm: the same, corrected for all that answer the same question; p itself of a single one.
        not_worse_p: of the one-sided test that a is worse than b by the margin or more.
        not_better_p: of the one-sided test that a is better than b by the margin or more.
        question: that this and other comparisons answer; None of one that stands for itself.
        family: how many answer it, this one included.
    """

    a: str
    b: str
    metric: str
    contrast: Contrast
    p: float
    p_holm: float
    not_worse_p: float = 1.0
    not_better_p: float = 1.0
    question: str | None = None
    family: int = 1

    @property
    def seeds_known(self) -> bool:
        """Return whether the test covers the seeds.

        If not, it tells of these trained models alone.
        """
        return self.contrast.seeds_known

    def significant(self, alpha: float = 0.05) -> bool:
        """Return whether the difference is real, as far as the corrected test can tell."""
        return self.p_holm <= alpha

    def outcome(self, alpha: float = 0.05) -> str:
        """Return what is shown of a beside b: one of OUTCOMES.

        Three hypotheses, that a is worse by the margin, that there is no difference, and that a is
        better by the margin, are tested each at alpha, since at most one of the outer ones is true:
        Goeman, Solari and Stijnen 2010, "Three-sided hypothesis testing", Stat. Med. 29, 2117-2125.
        """
        if self.significant(alpha):
            lower = self.metric in LOWER_IS_BETTER
            return BETTER if (self.contrast.value < 0) == lower else WORSE
        not_worse, not_better = self.not_worse_p <= alpha, self.not_better_p <= alpha
        if not_worse and not_better:
            return EQUIVALENT
        return AT_LEAST if not_worse else AT_MOST if not_better else OPEN


def compare(a: Measured, b: Measured, *, least_p: float = 0.0, margin: float = 0.02) -> Comparison:
    """Return the tests between two variants that account for rows and seeds.

    Student's t of the difference of means, see ``variance.contrast``; how often it is wrong:
    docs/statistics.md. Of two trained models, without regard to seeds, ``mcnemar`` is exact. Where
    the two lack different seeds, as after failed trainings, they are compared on those that both
    have, so that they are paired.

    Args:
        a: measured together with b: ``resampling.measure``.
        b: the other variant.
        least_p: that an exact test of the same answers allows: see ``least_p``.
        margin: a difference that does not matter, in units of the metric.

    Raises:
        ValueError: not measured together.
    """
    if (a.metric, a.rows, a.replicates.shape[1]) != (b.metric, b.rows, b.replicates.shape[1]):
        raise ValueError(f"{a.name} and {b.name} were not measured together")
    common = [seed for seed in a.seeds if seed in b.seeds]
    if len(common) > 1:
        a, b = a.of_seeds(common), b.of_seeds(common)
    found = contrast([(a, 1.0), (b, -1.0)])
    error = found.standard_error
    if abs(found.value) < 1e-12:
        p = 1.0
    elif error < 1e-12:
        p = 0.0
    else:
        p = float(2 * stats.t.sf(abs(found.value) / error, found.df))
    # Of n rows no paired test gives less: 0.5**n is the chance that all speak for the same side.
    p = min(1.0, max(p, least_p, 2.0 ** (1 - a.rows)))
    gain = -found.value if a.metric in LOWER_IS_BETTER else found.value
    not_worse, not_better = (beyond_margin(side * gain, found, margin) for side in (1, -1))
    return Comparison(a.name, b.name, a.metric, found, p, p, not_worse, not_better)


def beyond_margin(gain: float, found: Contrast, margin: float) -> float:
    """Return the p-value of the one-sided test that a loss is as large as the margin.

    Where no row speaks for a loss, a share of rows as large as the margin may have been missed: of
    n rows with chance (1 - margin)**n, below which no p-value goes.

    Args:
        gain: of the one over the other, in units of the metric; of a loss, below 0.
        found: how uncertain it is.
        margin: above 0.
    """
    missed = max(0.0, 1 - margin) ** found.rows
    if found.standard_error < 1e-12:
        return missed if gain > -margin else 1.0
    return max(missed, float(stats.t.sf((gain + margin) / found.standard_error, found.df)))


def compare_all(
    measured: dict[str, Measured],
    question: Callable[[str, str], str | None] = lambda *_: "all",
    least_p: Mapping[tuple[str, str], float] | None = None,
    margin: float = 0.02,
) -> list[Comparison]:
    """Return all pairs of the variants of a dataset, p corrected within each question.

    Args:
        measured: as ``resampling.measure`` returns it.
        question: that a pair of variants answers: those that answer the same are one family, since
            whoever asks it picks among its answers. None is for pairs that nobody picks among, as
            with a variant that all others should be better than: each at its own level.
        least_p: of some pairs, what an exact test allows.
        margin: a difference that does not matter.

    Returns:
        in the order of the variants: (1, 2), (1, 3), ..., (2, 3), ...
    """
    least = least_p or {}
    pairs = [
        replace(
            compare(a, b, least_p=least.get((a.name, b.name), 0.0), margin=margin),
            question=question(a.name, b.name),
        )
        for a, b in combinations(measured.values(), 2)
    ]
    for asked in dict.fromkeys(pair.question for pair in pairs if pair.question is not None):
        places = [i for i, pair in enumerate(pairs) if pair.question == asked]
        for place, p in zip(places, holm([pairs[each].p for each in places]), strict=True):
            pairs[place] = replace(pairs[place], p_holm=p, family=len(places))
    return pairs


def holm(p: Sequence[float]) -> list[float]:
    """Return adjusted p-values.

    Rejecting those at most alpha errs at all in alpha of families at most.

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


def mcnemar(correct_a: np.ndarray, correct_b: np.ndarray) -> float:
    """Return the mid-p value of two trained models that are right on as many rows.

    Conditional, two-sided: of the rows that one alone gets right, each is as likely to be a's; of
    the outcome that was seen, half its chance counts. McNemar 1947, Psychometrika 12, 153-157;
    Fagerland, Lydersen and Laake 2013, "The McNemar test for binary matched-pairs data", BMC Med.
    Res. Methodol. 13, 91, who recommend it over the exact test, which is needlessly conservative.

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
    fewer = min(only_a, either - only_a)
    exact, seen = stats.binom.cdf(fewer, either, 0.5), stats.binom.pmf(fewer, either, 0.5)
    return min(1.0, float(2 * exact - seen))


def least_p(answers_a: np.ndarray, answers_b: np.ndarray) -> float:
    """Return the smallest p-value that few disagreements allow, whatever a bootstrap of them says.

    Where a and b give the same answer to all rows but d, each of those may speak for either side;
    that all speak for one has a mid-p value of 0.5**d (the sign test).

    Args:
        answers_a: class numbers, shape (seeds, rows).
        answers_b: of the same rows.

    Returns:
        1.0 where they never differ.
    """
    differ = (answers_a[:, None] != answers_b[None]).any(axis=(0, 1))
    return 0.5 ** int(differ.sum())


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


def by_merit(measured: dict[str, Measured]) -> list[str]:
    """Return the names of the variants, best mean first; ties of means in the given order."""
    sign = {True: 1, False: -1}
    return sorted(
        measured,
        key=lambda name: sign[measured[name].metric in LOWER_IS_BETTER] * measured[name].mean,
    )

"""Which differences between variants are real: tests, their correction, and groups of ties.

That two variants are not distinguished does not make them equal: a may be tied with b, and b with
c, where a beats c. So a group of ties is never made by chaining, but relative to the best, or by
letters.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from string import ascii_lowercase

import numpy as np
from scipy import stats

from common.metrics import LOWER_IS_BETTER
from common.statistics.intervals import Interval, percentile_interval
from common.statistics.resampling import Measured
from common.statistics.variance import Contrast, contrast


@dataclass(frozen=True)
class Comparison:
    """Two variants by one metric.

    Attributes:
        a: name of the one.
        b: name of the other.
        metric: one of METRICS.
        contrast: mean of a less mean of b, with its uncertainty.
        p: of the test that there is no difference.
        p_holm: the same, corrected for all that are made beside it; p itself of a single one.
        family: how many those are, this one included.
    """

    a: str
    b: str
    metric: str
    contrast: Contrast
    p: float
    p_holm: float
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


def compare(a: Measured, b: Measured, *, least_p: float = 0.0) -> Comparison:
    """Return the test between two variants, of several seeds each, that minds rows and seeds.

    Student's t of the difference of means, see ``variance.contrast``. In simulations of variants
    that are equally good (300 and 1,000 rows, classes even and 87 to 13, accuracy and macro-F1; 2,
    3 and 5 seeds on both sides, or on one beside a baseline) a test at 5 % rejects in 0 to 4 of
    100, least with two seeds, which can hardly convince; beside a baseline in up to 7 where seeds
    differ by seven points. A bootstrap of the rows alone rejects in 4 to 75 (docs/statistics.md).
    To add s^2/k to its variance counts the seeds' errors on other rows twice, which costs power
    with three seeds and more.

    Of two trained models, without regard to seeds, ``mcnemar_exact`` is exact.

    Args:
        a: measured together with b: ``resampling.measure``.
        b: the other variant.
        least_p: that an exact test of the same answers allows: see ``least_p``.

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
    p = min(1.0, max(p, least_p, 2.0 ** (1 - a.rows)))
    return Comparison(a.name, b.name, a.metric, found, p, p)


def compare_all(
    measured: dict[str, Measured],
    apart: Collection[str] = (),
    least_p: Mapping[tuple[str, str], float] | None = None,
) -> list[Comparison]:
    """Return all pairs of the variants of a dataset, with p corrected for their number.

    Args:
        measured: as ``resampling.measure`` returns it.
        apart: variants that nobody would choose, but that all others should be better than. A
            comparison with them picks no winner among many, which is what a correction guards
            against: it is a question of its own, at its own level.
        least_p: of some pairs, what an exact test allows.

    Returns:
        in the order of the variants: (1, 2), (1, 3), ..., (2, 3), ...
    """
    least = least_p or {}
    pairs = [
        compare(a, b, least_p=least.get((a.name, b.name), 0.0))
        for a, b in combinations(measured.values(), 2)
    ]
    places = [i for i, pair in enumerate(pairs) if pair.a not in apart and pair.b not in apart]
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


def mcnemar_exact(correct_a: np.ndarray, correct_b: np.ndarray) -> float:
    """Return the p-value of two trained models that are right on as many rows of the population.

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


def least_p(answers_a: np.ndarray, answers_b: np.ndarray) -> float:
    """Return the smallest p-value that few disagreements allow, whatever a bootstrap of them says.

    Where a and b give the same answer to all rows but d, each of those may speak for either side;
    that all speak for one has a chance of 2 * 0.5**d (the sign test).

    Args:
        answers_a: class numbers, shape (seeds, rows).
        answers_b: of the same rows.

    Returns:
        1.0 where they never differ.
    """
    differ = (answers_a[:, None] != answers_b[None]).any(axis=(0, 1))
    return min(1.0, 2.0 ** (1 - int(differ.sum())))


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


def tied_for_first(
    measured: dict[str, Measured], comparisons: Sequence[Comparison], alpha: float = 0.05
) -> list[str]:
    """Return the variant with the best mean, and all that are not significantly worse than it.

    Members may well differ from each other; what they share is that the data do not rule out
    that each is as good as the best. The correction is over all pairs, hence over whichever of
    them happened to come out best.

    Args:
        measured: the variants.
        comparisons: of all pairs of them: ``significance.compare_all``.
        alpha: level of the corrected tests.

    Returns:
        names, best mean first.
    """
    order = by_merit(measured)
    apart = separated(comparisons, alpha)
    return [name for name in order if frozenset((order[0], name)) not in apart]


def letters(
    measured: dict[str, Measured], comparisons: Sequence[Comparison], alpha: float = 0.05
) -> dict[str, str]:
    """Return the compact letter display: two variants share a letter if and only if they are tied.

    By insertion and absorption: Piepho 2004, "An algorithm for a letter-based representation of
    all-pairwise comparisons", J. Comput. Graph. Stat. 13, 456-466.

    Args:
        measured: the variants.
        comparisons: of all pairs of them.
        alpha: level of the corrected tests.

    Returns:
        letters by name, best mean first: {"full": "a", "lora-r16": "ab", "lora-r4": "b"}.
    """
    order = by_merit(measured)
    groups = [frozenset(order)]
    for pair in sorted(separated(comparisons, alpha), key=sorted):
        split = [part for group in groups for part in without(group, pair)]
        groups = [one for one in dict.fromkeys(split) if not any(one < other for other in split)]
    groups.sort(key=lambda group: sorted(map(order.index, group)))
    return {
        name: "".join(letter(i) for i, group in enumerate(groups) if name in group)
        for name in order
    }


def separated(comparisons: Sequence[Comparison], alpha: float) -> set[frozenset[str]]:
    """Return the pairs that differ significantly."""
    return {frozenset((each.a, each.b)) for each in comparisons if each.significant(alpha)}


def without(group: frozenset[str], pair: frozenset[str]) -> list[frozenset[str]]:
    """The group, or where it holds both of the pair, the two groups that lack one of them."""
    return [group - {name} for name in sorted(pair)] if pair <= group else [group]


def letter(number: int) -> str:
    """Return a, b, ..., z, then (26), (27), ..."""
    return ascii_lowercase[number] if number < len(ascii_lowercase) else f"({number})"

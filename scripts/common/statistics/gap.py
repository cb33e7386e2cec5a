"""Which share of the gap between training the head and training everything an adapter closes."""

import math
from dataclasses import dataclass

from scipy import stats

from common.statistics.catalogue import LOWER_IS_BETTER
from common.statistics.resampling import Measured
from common.statistics.variance import contrast


@dataclass(frozen=True)
class GapShare:
    """The share of a gap that is closed: 0 is the head, 1 is full fine-tuning.

    Attributes:
        share: may lie outside 0 to 1; None where there is no gap to speak of.
        low: of its interval; None with it.
        high: of its interval; None with it.
        reason: why there is none; None where there is one.
        seeds_known: False where one of the three is trained with one seed: then the share is that
            of these trained models.
    """

    share: float | None
    low: float | None
    high: float | None
    reason: str | None
    seeds_known: bool


def share_of_gap(
    adapter: Measured, head: Measured, full: Measured, level: float = 0.95
) -> GapShare:
    """(adapter - head) / (full - head), with Fieller's interval.

    Args:
        adapter: the variant that may close the gap; all three measured together.
        head: where the gap begins.
        full: where it ends.
        level: of confidence.
    """
    closed = contrast([(adapter, 1.0), (head, -1.0)])
    gap = contrast([(full, 1.0), (head, -1.0)])
    both = contrast([(adapter, 1.0), (full, 1.0), (head, -2.0)])
    variance = [found.standard_error**2 for found in (closed, gap, both)]
    covariance = (variance[2] - variance[0] - variance[1]) / 2
    # The two share the head's seeds; the one that knows less of them decides.
    t = float(stats.t.ppf((1 + level) / 2, min(closed.df, gap.df)))
    ends = fieller(closed.value, gap.value, variance[0], variance[1], covariance, t)
    if ends is None:
        return GapShare(None, None, None, "the gap is not significant", both.seeds_known)
    worse = (gap.value < 0) != (full.metric in LOWER_IS_BETTER)
    if worse:
        why = f"{full.name} is worse than {head.name}"
        return GapShare(None, None, None, why, both.seeds_known)
    return GapShare(closed.value / gap.value, *ends, None, both.seeds_known)


def fieller(
    above: float, below: float, var_above: float, var_below: float, covariance: float, t: float
) -> tuple[float, float] | None:
    """The interval of a quotient of two means that are normal.

    All r with (above - r below)^2 <= t^2 (var_above - 2 r covariance + r^2 var_below): Fieller
    1954, "Some problems in interval estimation", J. R. Stat. Soc. B 16, 175-185.

    Args:
        above: estimate of the numerator.
        below: estimate of the denominator.
        var_above: its variance.
        var_below: that of the denominator.
        covariance: of the two.
        t: quantile, such as 1.96.

    Returns:
        (low, high); None where the denominator does not differ from 0 at this level, so that the
        interval would be without bounds.
    """
    square = below**2 - t**2 * var_below
    if square <= 0:
        return None
    half = above * below - t**2 * covariance
    rest = above**2 - t**2 * var_above
    root = math.sqrt(max(0.0, half**2 - square * rest))
    return (half - root) / square, (half + root) / square

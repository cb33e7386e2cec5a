"""One comparison of two variants, as verdicts.json holds it."""

import math
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np

from common.statistics import planning, significance
from common.statistics.catalogue import METRICS
from common.statistics.intervals import Interval, holding
from common.statistics.resampling import Measured, bounds
from common.statistics.significance import Comparison

ONE_SEED = "one seed: this tells of these trained models alone; run three seeds or more"

Found = dict[str, Any]


def exact_limits(
    answered: dict[str, np.ndarray], labels: np.ndarray, metric: str
) -> dict[tuple[str, str], float]:
    """By pair, the p-value that an exact test of the answers allows at least.

    Args:
        answered: by variant, class numbers, shape (seeds, rows).
        labels: shape (rows,).
        metric: of accuracy, and one model on either side, it is McNemar's test; of a metric of
            probabilities no exact test of predicted classes tells anything.
    """
    if METRICS[metric].of_probabilities:
        return {}
    found = {}
    for a, b in combinations(answered, 2):
        one, other = answered[a], answered[b]
        found[a, b] = significance.least_p(one, other)
        if metric == "accuracy" and len(one) == len(other) == 1:
            found[a, b] = significance.mcnemar_exact(one[0] == labels, other[0] == labels)
    return found


def difference_interval(pair: Comparison, variants: list[Found], level: float) -> Interval:
    """The interval of a difference, of this comparison alone, within what there can be.

    Student's, or where no resample moves the difference, one from both sides: two variants that are
    right on all rows and wrong on all, or never disagree, do so on these rows alone. Then the
    distances from value to end of each variant are added in quadrature: Newcombe 1998, "Interval
    estimation for the difference between independent proportions", Stat. Med. 17, 873-890, method
    10; too wide, since it takes the two for independent. Where an exact test does not tell the two
    apart, the interval holds 0: it never says more than its test.
    """
    found = pair.contrast.interval(level)
    if pair.contrast.standard_error < 1e-12:
        told = {variant["name"]: variant["metrics"][pair.metric] for variant in variants}
        a, b = told[pair.a], told[pair.b]
        below = math.hypot(a["value"] - a["low"], b["high"] - b["value"])
        above = math.hypot(a["high"] - a["value"], b["value"] - b["low"])
        found = Interval(pair.contrast.value - below, pair.contrast.value + above)
    if pair.p > 1 - level:
        found = holding(0.0, found)
    most = largest_difference(pair.metric)
    return Interval(max(found.low, -most), min(found.high, most))


def largest_difference(metric: str) -> float:
    """The largest difference that two variants can have."""
    least, most = bounds(metric)
    return most - least


def described(
    pair: Comparison,
    variants: list[Found],
    sides: tuple[Measured, Measured],
    right: dict[str, np.ndarray],
    level: float,
) -> Found:
    """One comparison, as verdicts.json holds it.

    Args:
        pair: of two variants.
        variants: all of the dataset, with their figures.
        sides: the two, measured.
        right: by variant, whether each seed is right on each row, shape (seeds, rows).
        level: of confidence.
    """
    around, most = difference_interval(pair, variants, level), largest_difference(pair.metric)
    a, b = right[pair.a], right[pair.b]
    # Of the rows alone, as if no other seed than these could be drawn.
    rows_alone, rows_p = significance.paired_bootstrap(*sides, level)
    # What Holm's correction asks of the clearest difference of a family.
    alpha = (1 - level) / pair.family
    return {
        "a": pair.a,
        "b": pair.b,
        "metric": pair.metric,
        "difference": pair.contrast.value,
        "low": around.low,
        "high": around.high,
        "standard_error": pair.contrast.standard_error,
        "p": pair.p,
        "p_holm": pair.p_holm,
        "family": pair.family,
        "significant": pair.significant(1 - level),
        "each_seed": each_seed(*sides),
        "seeds_known": pair.seeds_known,
        "bootstrap": {**asdict(rows_alone), "p": rows_p},
        "mcnemar_p": significance.mcnemar_exact(a[0], b[0]) if len(a) == len(b) == 1 else None,
        "caution": None if pair.seeds_known else ONE_SEED,
        "detectable": planning.detectable_difference(pair, alpha=alpha, most=most),
        "needed": asdict(planning.needed(pair, alpha=alpha)),
    }


def each_seed(a: Measured, b: Measured) -> bool:
    """Whether of several seeds each of the one is better than each of the other."""
    if len(a.values) == len(b.values) == 1:
        return False
    return bool(a.values.min() > b.values.max() or b.values.min() > a.values.max())

"""What the predictions on a dataset's test rows say of its variants: metrics, tests, ties, ranks.

``gap`` is the share of the difference between training the head and training everything that an
adapter closes.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np
from scipy import stats

from common.baselines import TRIVIAL
from common.cells import full_name
from common.metrics import LOWER_IS_BETTER, METRICS
from common.statistics import calibration, intervals, planning, significance, verdict
from common.statistics.intervals import Interval, Intervals, holding
from common.statistics.predictions import Cell, Predictions
from common.statistics.resampling import Measured, Variant, bounds, measure_all
from common.statistics.significance import Comparison
from common.statistics.variance import contrast, mean_interval, spread_over_seeds
from common.task import SINGLE_LABEL


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
    """Return (adapter - head) / (full - head), with Fieller's interval.

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
    """Return the interval of a quotient of two means that are normal.

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


ONE_SEED = "one seed: this tells of these trained models alone; run three seeds or more"

Found = dict[str, Any]
Record = dict[str, Any]  # of metrics.json


def exact_limits(
    answered: dict[str, np.ndarray], labels: np.ndarray, metric: str
) -> dict[tuple[str, str], float]:
    """Return the least p-value that an exact test allows, by pair.

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
    """Return the interval of a difference, of this comparison alone, within what there can be.

    Student's, or where no resample moves the difference, one from both sides: two variants that are
    right on all rows and wrong on all, or never disagree, do so on these rows alone. Then the
    distances from value to end of each variant are added in quadrature: Newcombe 1998, "Interval
    estimation for the difference between independent proportions", Stat. Med. 17, 873-890, method
    10; too wide, since it takes the two for independent. Where an exact test does not tell the two
    apart, the interval holds 0: it never says more than its test.
    """
    found = pair.contrast.interval(level)
    if pair.contrast.standard_error < 1e-12:
        figures_of = {variant["name"]: variant["metrics"][pair.metric] for variant in variants}
        a, b = figures_of[pair.a], figures_of[pair.b]
        below = math.hypot(a["value"] - a["low"], b["high"] - b["value"])
        above = math.hypot(a["high"] - a["value"], b["value"] - b["low"])
        found = Interval(pair.contrast.value - below, pair.contrast.value + above)
    if pair.p > 1 - level:
        found = holding(0.0, found)
    most = largest_difference(pair.metric)
    return Interval(max(found.low, -most), min(found.high, most))


def largest_difference(metric: str) -> float:
    """Return the largest difference that two variants can have."""
    least, most = bounds(metric)
    return most - least


def described(
    pair: Comparison,
    variants: list[Found],
    sides: tuple[Measured, Measured],
    right: dict[str, np.ndarray],
    level: float,
) -> Found:
    """Return one comparison, as verdicts.json holds it.

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
    """Return whether of several seeds each of the one is better than each of the other."""
    if len(a.values) == len(b.values) == 1:
        return False
    return bool(a.values.min() > b.values.max() or b.values.min() > a.values.max())


STAND_IN = "macro_f1"  # where the metric of the verdicts is one of two classes alone

DIGITS = 10

WIDEST = 1.0  # interval of a share of a gap that is reported

COSTS = {  # by what it is called: key of a metrics.json's train_info
    "trainable_parameters": "num_trainable_params",
    "train_seconds": "train_time",
    "peak_memory_bytes": "peak_memory_bytes",
    "file_bytes": "file_size",
}


def compare_variants(answers: Predictions, metric: str, level: float, resamples: int) -> Found:
    """Return all that is said of one dataset, as verdicts.json holds it, but for the sentences.

    Args:
        answers: of all its cells.
        metric: that variants are compared by; ``macro_f1`` where this dataset does not have it.
        level: of confidence; tests are at 1 less it.
        resamples: of the test rows.
    """
    groups = grouped(answers.cells)
    variants = [as_variant(name, group) for name, group in groups.items()]
    block = answers.cells[0].record["metrics"]["test"]
    metrics = [name for name in METRICS if block.get(name) is not None]
    metric = metric if metric in metrics else STAND_IN
    known = (answers.labels, variants, metrics, answers.positive)
    measured = measure_all(*known, resamples=resamples)
    ranges = intervals.bootstrap_intervals(*known, level=level, resamples=resamples)
    answered = {v.name: SINGLE_LABEL.decode(v.probabilities) for v in variants}
    exact = exact_limits(answered, answers.labels, metric)
    comparisons = significance.compare_all(measured[metric], reference_variants(groups), exact)
    shown = [
        {
            **identity_of(name, group),
            "metrics": {
                each: figures(measured[each][name], ranges[each][name], group, level)
                for each in metrics
            },
            "calibration": calibrated(answers.labels, group),
            "costs": costs(group),
            "collapsed": seeds_of(group, collapsed),
            "learned_nothing": seeds_of(group, learned_nothing),
        }
        for name, group in groups.items()
    ]
    assign_positions(shown, measured[metric], comparisons, 1 - level)
    close_gaps(shown, measured[metric], comparisons, level)
    right = {name: given == answers.labels for name, given in answered.items()}
    found = {
        "metric": metric,
        "rows": len(answers.labels),
        "classes": answers.classes,
        "positive_label": None if answers.positive is None else answers.classes[answers.positive],
        "variants": shown,
        "comparisons": [
            described(pair, shown, sides(measured[metric], pair), right, level)
            for pair in comparisons
        ],
    }
    drop_references_from_top(found)
    return rounded_floats(found)


def drop_references_from_top(found: Found) -> None:
    """Take the first place from yardsticks that only the lack of seeds ties with the best."""
    for variant in verdict.leaders(found)[1:]:
        if verdict.is_trivial(variant) and verdict.clearly_below(found, variant):
            variant["tied_for_first"] = False


def sides(measured: dict[str, Measured], pair: Comparison) -> tuple[Measured, Measured]:
    """Return both variants of a comparison."""
    return measured[pair.a], measured[pair.b]


def reference_variants(groups: dict[str, list[Cell]]) -> set[str]:
    """Return variants that nobody would choose.

    They are trivial baselines, and heads that were never trained.
    """
    return {name for name, group in groups.items() if name in TRIVIAL or untrained(group)}


def grouped(cells: list[Cell]) -> dict[str, list[Cell]]:
    """Return the cells of each variant, by its full name."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        name = full_name(cell.identity["model"], cell.identity["variant"])
        groups.setdefault(name, []).append(cell)
    return groups


def as_variant(name: str, group: list[Cell]) -> Variant:
    """Return a variant as it is measured.

    One whose seeds are one and the same model has one of them.
    """
    probabilities = np.stack([cell.probabilities for cell in group])
    fixed = group[0].identity["seed"] is None
    # A head that came with the model: seeds have nothing to draw.
    fixed |= kind(group) == "base" and own_head(group)
    if fixed and (probabilities == probabilities[:1]).all():
        return Variant(name, probabilities[:1], trained=False)
    return Variant(name, probabilities)


def kind(group: list[Cell]) -> str:
    """Return baseline, base, adapter, head or full."""
    if group[0].identity["seed"] is None:
        return "baseline"
    return group[0].record["run_info"].get("kind", "base")


def own_head(group: list[Cell]) -> bool:
    """Return whether the head came with the model."""
    return bool(group[0].record["train_info"].get("pretrained_head"))


def untrained(group: list[Cell]) -> bool:
    """Return whether it is a base whose head was drawn at random and never trained."""
    return kind(group) == "base" and not own_head(group)


def identity_of(name: str, group: list[Cell]) -> Found:
    """Return what names a variant."""
    identity = group[0].identity
    return {
        "name": name,
        "model": identity["model"] or None,
        "variant": identity["variant"],
        "kind": kind(group),
        "untrained_head": untrained(group),
        "seeds": seeds_of(group),
    }


def seeds_of(group: list[Cell], holds: Callable[[Record], object] | None = None) -> list[int]:
    """Return the seeds of a variant of whose record something holds; none of a baseline."""
    seeds = ((cell.identity["seed"], cell.record) for cell in group)
    return [seed for seed, record in seeds if seed is not None and (holds is None or holds(record))]


def figures(measured: Measured, ranges: Intervals, group: list[Cell], level: float) -> Found:
    """Return one metric of one variant: its mean with an interval, each seed, and their spread."""
    if measured.metric == "accuracy":
        ranges = of_shares(measured, level)
    around, known = interval_of(measured, ranges, level)
    single = len(measured.values) == 1  # also of seeds that are one and the same model
    each = [0 if single else number for number in range(len(group))]
    return {
        "value": measured.mean,
        "low": around.low,
        "high": around.high,
        "seeds_known": known,
        "shown": intervals.rounded(measured.mean, around),
        "cells": [
            {
                "seed": cell.identity["seed"],
                "value": float(measured.values[number]),
                **asdict(intervals.holding(float(measured.values[number]), ranges.cells[number])),
            }
            for cell, number in zip(group, each, strict=True)
        ],
        "spread": asdict(spread_over_seeds(measured)),
    }


def of_shares(measured: Measured, level: float) -> Intervals:
    """Return those of accuracy, a share of rows: Wilson's, of each model and of their mean."""
    values = [*measured.values, measured.mean]
    hits = [round(float(value) * measured.rows) for value in values]
    *each, mean = [intervals.wilson(number, measured.rows, level) for number in hits]
    return Intervals(each, mean)


def interval_of(measured: Measured, ranges: Intervals, level: float) -> tuple[Interval, bool]:
    """Return the interval of a mean over seeds, and whether it covers the seeds.

    The wider, at each end, of Student's interval from rows and seeds, and of the bootstrap of the
    rows alone, which still has a width where every row is right; within what the metric can be.
    """
    student, known = mean_interval(measured, level)
    low, high = ranges.mean.low, ranges.mean.high
    if known and len(measured.values) > 1:
        low, high = min(low, student.low), max(high, student.high)
    least, most = bounds(measured.metric)
    return intervals.holding(measured.mean, Interval(max(low, least), min(high, most))), known


def calibrated(labels: np.ndarray, group: list[Cell]) -> Found:
    """Return means over seeds.

    The points of the diagram are those of all seeds' answers together.
    """
    each = [cell.probabilities for cell in group]
    points = calibration.reliability(np.tile(labels, len(each)), np.concatenate(each))
    numbers = {key: value.tolist() for key, value in vars(points).items()}
    keys = ("low", "high", "confidence", "accuracy", "rows")
    return {
        "ece": fmean(calibration.expected_calibration_error(labels, one) for one in each),
        "brier": fmean(calibration.brier_score(labels, one) for one in each),
        "reliability": [
            dict(zip(keys, point, strict=True))
            for point in zip(*(numbers[key] for key in keys), strict=True)
        ],
    }


def costs(group: list[Cell]) -> Found:
    """Return what training took, as means over seeds; None where it took none."""
    found: Found = {}
    for name, key in COSTS.items():
        values = [cell.record["train_info"].get(key) for cell in group]
        numbers = [value for value in values if value is not None]
        mean = fmean(numbers) if numbers else None
        found[name] = round(mean) if mean is not None and name != "train_seconds" else mean
    return found


def collapsed(record: Record) -> object:
    """Return whether nearly every test row was given one class."""
    return record["metrics"]["test"].get("collapsed")


def learned_nothing(record: Record) -> object:
    """Return whether the training loss ended where guessing would."""
    return record["train_info"].get("learned_nothing")


def assign_positions(
    variants: list[Found],
    measured: dict[str, Measured],
    comparisons: list[Comparison],
    alpha: float,
) -> None:
    """Give each variant its position, equal means the same, its letters, and whether it leads."""
    order = significance.by_merit(measured)
    letters = significance.letters(measured, comparisons, alpha)
    first = significance.tied_for_first(measured, comparisons, alpha)
    means = [round(measured[name].mean, DIGITS) for name in order]
    for variant in variants:
        name = variant["name"]
        variant["letters"] = letters[name]
        variant["tied_for_first"] = name in first
        variant["position"] = 1 + means.index(means[order.index(name)])


def close_gaps(
    variants: list[Found],
    measured: dict[str, Measured],
    comparisons: list[Comparison],
    level: float,
) -> None:
    """Give each adapter its share of the gap from head to full; None where a model lacks one.

    Where a model has several of a kind, the first is taken.
    """
    real = {(each.a, each.b): each.significant(1 - level) for each in comparisons}
    ends: dict[tuple[str | None, str], str] = {}
    for variant in variants:
        ends.setdefault((variant["model"], variant["kind"]), variant["name"])
    for variant in variants:
        variant["share_of_gap"] = None
        head, full = (ends.get((variant["model"], end)) for end in ("head", "full"))
        if variant["kind"] == "adapter" and head and full:
            known = real[head, full] if (head, full) in real else real[full, head]
            adapter = measured[variant["name"]]
            found = share_of_gap(adapter, measured[head], measured[full], level)
            share = asdict(is_supported(found, known))
            variant["share_of_gap"] = {"head": head, "full": full, **share}


def is_supported(found: GapShare, significant: bool) -> GapShare:
    """Return the share of a gap, or none: of one that is not significant, or if it may be anything.

    Args:
        found: as ``share_of_gap`` has it, which knows of no other comparison.
        significant: whether the gap is, among all comparisons.
    """
    reason = None if significant else "the gap is not significant"
    if significant and found.low is not None and found.high is not None:
        wide = found.high - found.low > WIDEST
        reason = "its interval is wider than the gap itself" if wide else None
    return GapShare(None, None, None, reason, found.seeds_known) if reason else found


def rounded_floats(value: Any) -> Any:
    """Return the same with floats of ten significant digits.

    The last bits are an accident of order.
    """
    if isinstance(value, dict):
        return {key: rounded_floats(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded_floats(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") + 0.0
    return value

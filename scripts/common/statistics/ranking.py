"""What the predictions on a dataset's test rows say of its variants: metrics, tests, failures.

Variants are compared as they are when they trained: seeds whose training failed are counted, and
left out of tests and intervals. ``gap`` is the share of the difference between training the head
and training everything that an adapter closes.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np
from scipy import stats

from common import cells
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
            found[a, b] = significance.mcnemar(one[0] == labels, other[0] == labels)
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
    margin: float,
) -> Found:
    """Return one comparison, as verdicts.json holds it.

    Args:
        pair: of two variants.
        variants: all of the dataset, with their figures.
        sides: the two, measured.
        right: by variant, whether each seed is right on each row, shape (seeds, rows).
        level: of confidence.
        margin: a difference that does not matter.
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
        "df": None if math.isinf(pair.contrast.df) else pair.contrast.df,
        "p": pair.p,
        "p_holm": pair.p_holm,
        "question": pair.question,
        "family": pair.family,
        "not_worse_p": pair.not_worse_p,
        "not_better_p": pair.not_better_p,
        "outcome": pair.outcome(1 - level),
        "significant": pair.significant(1 - level),
        "seeds_known": pair.seeds_known,
        "bootstrap": {**asdict(rows_alone), "p": rows_p},
        "mcnemar_p": significance.mcnemar(a[0], b[0]) if len(a) == len(b) == 1 else None,
        "caution": None if pair.seeds_known else ONE_SEED,
        "detectable": planning.detectable_difference(pair, alpha=alpha, most=most),
        "needed": asdict(planning.needed(pair, margin, alpha=alpha)),
    }


STAND_IN = "macro_f1"  # where the metric of the verdicts is one of two classes alone

FEWEST_DATASETS = 6  # of which a mean is told

DIGITS = 10

WIDEST = 1.0  # interval of a share of a gap that is reported

COSTS = {  # by what it is called: key of a metrics.json's train_info
    "trainable_parameters": "num_trainable_params",
    "train_seconds": "train_time",
    "peak_memory_bytes": "peak_memory_bytes",
    "file_bytes": "file_size",
}


def compare_variants(
    answers: Predictions, metric: str, level: float, resamples: int, margin: float = 0.02
) -> Found:
    """Return all that is said of one dataset, as verdicts.json holds it, but for the sentences.

    Args:
        answers: of all its cells.
        metric: that variants are compared by; ``macro_f1`` where this dataset does not have it.
        level: of confidence; tests are at 1 less it.
        resamples: of the test rows.
        margin: a difference that does not matter, in units of the metric.
    """
    groups = grouped(answers.cells)
    identities = {name: identity_of(name, group) for name, group in groups.items()}
    block = answers.cells[0].record["metrics"]["test"]
    metrics = [name for name in METRICS if block.get(name) is not None]
    metric = metric if metric in metrics else STAND_IN
    variants = [as_variant(name, group) for name, group in groups.items()]
    kept = [as_variant(name, succeeded(group)) for name, group in groups.items()]
    measured = measure_all(answers.labels, variants, metrics, answers.positive, resamples=resamples)
    without = {
        each: {v.name: own[v.name].of_seeds(v.seeds) if v.trained else own[v.name] for v in kept}
        for each, own in measured.items()
    }
    ranges = ranges_of(answers, variants, kept, metrics, level, resamples)
    answered = {v.name: SINGLE_LABEL.decode(v.probabilities) for v in kept}
    exact = exact_limits(answered, answers.labels, metric)
    comparisons = significance.compare_all(
        without[metric], question_of(identities), exact, margin=margin
    )
    shown = [
        {
            **identities[name],
            "metrics": {
                each: figures(measured[each][name], without[each][name], ranges[each][name],
                              group, level)
                for each in metrics
            },
            "validation": validation_losses(succeeded(group)),
            "calibration": calibrated(answers.labels, succeeded(group)),
            "costs": costs(group),
            "collapsed": seeds_of(group, collapsed),
            "failed": [] if is_control(group) else seeds_of(group, failed),
        }
        for name, group in groups.items()
    ]  # fmt: skip
    assign_positions(shown, without[metric])
    close_gaps(shown, without[metric], comparisons, level)
    right = {name: given == answers.labels for name, given in answered.items()}
    found = {
        "metric": metric,
        "margin": margin,
        "rows": len(answers.labels),
        "classes": answers.classes,
        "positive_label": None if answers.positive is None else answers.classes[answers.positive],
        "variants": shown,
        "trainings": failure_rates(
            [groups[v["name"]] for v in shown if verdict.is_candidate(v)], level
        ),
        "comparisons": [
            described(pair, shown, sides(without[metric], pair), right, level, margin)
            for pair in comparisons
        ],
    }
    found["beats_all_free"] = beats_all_free(found, 1 - level)
    verdict.recommend(found)
    return rounded_floats(found)


def over_datasets(datasets: dict[str, Found], level: float) -> list[Found]:
    """Return the mean over datasets of how far trained variants are above baselines and full.

    The datasets are taken for a sample of others like them: the interval is Student's, of one
    difference per dataset. Fewer than ``FEWEST_DATASETS`` say too little.

    Args:
        datasets: by name, as ``compare_variants`` returns each.
        level: of confidence.
    """
    apart: dict[tuple[str, str, str], list[float]] = {}
    for found in datasets.values():
        for variant in verdict.candidates(found):
            full = verdict.of_kind(found, variant["model"], "full")
            others = [v for v in found["variants"] if verdict.is_useful_baseline(v) or v is full]
            for other in (v for v in others if v is not variant):
                key = variant["name"], other["name"], found["metric"]
                pair = verdict.pair(found, variant["name"], other["name"])
                apart.setdefault(key, []).append(pair["difference"])
    said = []
    for (a, b, metric), each in apart.items():
        if len(each) >= FEWEST_DATASETS:
            error = float(np.std(each, ddof=1)) / math.sqrt(len(each))
            half = float(stats.t.ppf((1 + level) / 2, len(each) - 1)) * error
            mean = fmean(each)
            said.append({"a": a, "b": b, "metric": metric, "datasets": len(each),
                         "difference": mean, "low": mean - half, "high": mean + half})  # fmt: skip
    return rounded_floats(said)


def ranges_of(
    answers: Predictions,
    variants: list[Variant],
    kept: list[Variant],
    metrics: list[str],
    level: float,
    resamples: int,
) -> dict[str, dict[str, Intervals]]:
    """Return the intervals of the rows alone: of every seed, and of the mean over those kept.

    Args:
        answers: on the test rows.
        variants: with all seeds.
        kept: the same, each with the seeds whose training did not fail.
        metrics: of METRICS.
        level: of confidence.
        resamples: of the test rows; they are the same whatever is measured.
    """

    def found(those: list[Variant]) -> dict[str, dict[str, Intervals]]:
        return intervals.bootstrap_intervals(
            answers.labels, those, metrics, answers.positive, level=level, resamples=resamples
        )

    ranges = found(variants)
    fewer = [one for one, every in zip(kept, variants, strict=True) if one.seeds != every.seeds]
    for metric, own in found(fewer).items() if fewer else ():
        for name, each in own.items():
            ranges[metric][name] = Intervals(ranges[metric][name].cells, each.mean)
    return ranges


def sides(measured: dict[str, Measured], pair: Comparison) -> tuple[Measured, Measured]:
    """Return both variants of a comparison."""
    return measured[pair.a], measured[pair.b]


FREE, FULL, RANKS = "free baselines", "full fine-tuning and the head", "ranks and models"


def question_of(identities: dict[str, Found]) -> Callable[[str, str], str | None]:
    """Return what tells the question that a pair of variants answers.

    Whether training pays is asked beside each baseline that trains no model, so that each is a
    family; whether an adapter does as well as full fine-tuning or the head alone, of all models
    together; and so which rank or model is best. A pair with what nobody would choose stands for
    itself.

    Args:
        identities: of ``identity_of``, by name.
    """

    def question(a: str, b: str) -> str | None:
        both = identities[a], identities[b]
        if any(map(verdict.is_trivial, both)):
            return None
        if free := [v["name"] for v in both if verdict.is_useful_baseline(v)]:
            return FREE if len(free) == 2 else f"{FREE}: {free[0]}"
        same = both[0]["model"] == both[1]["model"]
        return FULL if same and {v["kind"] for v in both} & {"full", "head"} else RANKS

    return question


def is_control(group: list[Cell]) -> bool:
    """Return whether it was trained on permuted labels, to be no better than the majority class."""
    config = group[0].record["run_info"].get("train_config") or {}
    return bool(config.get("permute_labels"))


def beats_all_free(found: Found, alpha: float) -> dict[str, Found]:
    """Return for each trained variant whether it is better than every free baseline.

    The largest of its p-values: all of those hypotheses must be rejected, which needs no correction
    (Berger 1982, "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24,
    295-300); where one is the wrong way, 1. Over the trained variants Holm's correction.
    """
    free = [v["name"] for v in verdict.free_baselines(found)]
    trained = [v["name"] for v in verdict.candidates(found)]
    if not free:
        return {}
    largest = [
        max(pair["p"] if verdict.gain(pair) > 0 else 1.0
            for pair in (verdict.pair(found, name, other) for other in free))
        for name in trained
    ]  # fmt: skip
    corrected = significance.holm(largest)
    return {name: {"p_holm": p, "significant": p <= alpha}
            for name, p in zip(trained, corrected, strict=True)}  # fmt: skip


def grouped(every: list[Cell]) -> dict[str, list[Cell]]:
    """Return the cells of each variant, by its full name."""
    groups: dict[str, list[Cell]] = {}
    for cell in every:
        name = full_name(cell.identity["model"], cell.identity["variant"])
        groups.setdefault(name, []).append(cell)
    return groups


def as_variant(name: str, group: list[Cell]) -> Variant:
    """Return a variant as it is measured.

    One whose seeds are one and the same model has one of them.
    """
    probabilities = np.stack([cell.probabilities for cell in group])
    fixed = group[0].identity["seed"] is None
    # A head that came with the model: seeds have nothing to draw. An untrained one that was drawn
    # once stands for itself, since no seed of it would be chosen.
    fixed |= kind(group) == "base" and (own_head(group) or len(group) == 1)
    if fixed and (probabilities == probabilities[:1]).all():
        return Variant(name, probabilities[:1], trained=False)
    return Variant(name, probabilities, seeds=tuple(cell.identity["seed"] for cell in group))


def kind(group: list[Cell]) -> str:
    """Return baseline, base, adapter, head or full."""
    if cells.is_baseline(cells.Cell(**group[0].identity)):
        return "baseline"
    return group[0].record["run_info"].get("kind", "base")


def own_head(group: list[Cell]) -> bool:
    """Return whether the head came with the model."""
    return bool(group[0].record["train_info"].get("pretrained_head"))


def untrained(group: list[Cell]) -> bool:
    """Return whether it is a base whose head was drawn at random and never trained."""
    return kind(group) == "base" and not own_head(group)


def succeeded(group: list[Cell]) -> list[Cell]:
    """Return the cells whose training did not fail; all of them where all failed, and of a control.

    A control that learns nothing is as it should be.
    """
    return [cell for cell in group if is_control(group) or not failed(cell.record)] or group


def identity_of(name: str, group: list[Cell]) -> Found:
    """Return what names a variant."""
    identity = group[0].identity
    return {
        "name": name,
        "model": identity["model"] or None,
        "variant": identity["variant"],
        "kind": kind(group),
        "untrained_head": untrained(group),
        "control": is_control(group),
        "seeds": seeds_of(group),
    }


def seeds_of(group: list[Cell], holds: Callable[[Record], object] | None = None) -> list[int]:
    """Return the seeds of a variant of whose record something holds; none of a baseline."""
    seeds = ((cell.identity["seed"], cell.record) for cell in group)
    return [seed for seed, record in seeds if seed is not None and (holds is None or holds(record))]


def figures(
    every: Measured, measured: Measured, ranges: Intervals, group: list[Cell], level: float
) -> Found:
    """Return one metric of one variant: its mean with an interval, each seed, and their spread.

    Args:
        every: of all seeds.
        measured: of those whose training did not fail: mean, interval and spread are theirs.
        ranges: of each seed, and of the mean, by the rows alone.
        group: all cells.
        level: of confidence.
    """
    if every.metric == "accuracy":
        ranges = of_shares(every, measured, level)
    around, known = interval_of(measured, ranges, level)
    single = len(every.values) == 1  # also of seeds that are one and the same model
    each = [0 if single else number for number in range(len(group))]
    return {
        "value": measured.mean,
        "low": around.low,
        "high": around.high,
        "seeds_known": known,
        "shown": intervals.rounded(measured.mean, around),
        "over_all_seeds": every.mean,
        "cells": [
            {
                "seed": cell.identity["seed"],
                "value": float(every.values[number]),
                **asdict(intervals.holding(float(every.values[number]), ranges.cells[number])),
            }
            for cell, number in zip(group, each, strict=True)
        ],
        "spread": asdict(spread_over_seeds(measured)),
    }


def of_shares(every: Measured, measured: Measured, level: float) -> Intervals:
    """Return those of accuracy, a share of rows: Wilson's, of each model and of the mean."""
    hits = [round(float(value) * every.rows) for value in [*every.values, measured.mean]]
    *each, mean = [intervals.wilson(number, every.rows, level) for number in hits]
    return Intervals(each, mean)


def interval_of(measured: Measured, ranges: Intervals, level: float) -> tuple[Interval, bool]:
    """Return the interval of a mean over seeds, and whether it covers the seeds.

    Of several seeds it is Student's, from rows and seeds, on the logit scale; that of the rows
    alone, which has a width where every row is right, is for one model and for means at an end of
    the range. What answers every row alike has a figure that no resample of rows within their
    classes moves: it has no interval, and stands alone.
    """
    student, known = mean_interval(measured, level)
    if np.ptp(measured.replicates) < 1e-12 and not at_an_end(measured):
        return Interval(measured.mean, measured.mean), known
    if len(measured.values) > 1 and student.low < student.high:
        return student, known
    least, most = bounds(measured.metric)
    alone = Interval(max(ranges.mean.low, least), min(ranges.mean.high, most))
    return intervals.holding(measured.mean, alone), known


def at_an_end(measured: Measured) -> bool:
    """Return whether the mean is the least or the largest value that the metric can have."""
    return measured.mean in bounds(measured.metric)


def validation_losses(group: list[Cell]) -> list[Found]:
    """Return the loss on validation rows of each seed, by which variants are chosen.

    Loss rather than accuracy: of 200 rows it ranks variants on test rows better.
    """
    found = (
        (cell.identity["seed"], (cell.record["metrics"].get("validation") or {}).get("loss"))
        for cell in group
    )
    return [{"seed": seed, "loss": loss} for seed, loss in found if loss is not None]


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
        "ece_floor": fmean(calibration.calibrated_error(one) for one in each),
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


def failed(record: Record) -> object:
    """Return whether the training failed: its loss ended where guessing would.

    Told by the loss on training rows alone: to leave seeds out by their test rows would be to
    choose by them.
    """
    return record["train_info"].get("learned_nothing")


def failure_rates(groups: list[list[Cell]], level: float) -> list[Found]:
    """Return how many trainings failed of each model, over all of its variants.

    The share has its exact interval: Clopper and Pearson 1934, Biometrika 26, 404-413. Few seeds of
    one variant tell next to nothing of it: of five that trained, up to 52 % may fail.

    Args:
        groups: the cells of each variant that was trained, but for controls.
        level: of confidence.
    """
    counted: dict[str, list[bool]] = {}
    for cell in (cell for group in groups for cell in group):
        info = cell.record["train_info"]
        each = [bool(one.get("learned_nothing")) for one in info.get("attempts") or [info]]
        counted.setdefault(cell.identity["model"], []).extend(each)
    found = []
    for model, each in counted.items():
        test = stats.binomtest(sum(each), len(each))
        around = test.proportion_ci(level, method="exact")
        found.append({"model": model, "trainings": len(each), "failed": sum(each),
                      "low": float(around.low), "high": float(around.high)})  # fmt: skip
    return found


def assign_positions(variants: list[Found], measured: dict[str, Measured]) -> None:
    """Give each variant its position by its mean on the test rows, equal means the same."""
    order = significance.by_merit(measured)
    means = [round(measured[name].mean, DIGITS) for name in order]
    for variant in variants:
        variant["position"] = 1 + means.index(means[order.index(variant["name"])])


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

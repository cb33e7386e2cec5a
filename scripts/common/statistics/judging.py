"""What the answers on a dataset's test rows say of its variants: figures, differences, ties."""

from dataclasses import asdict
from statistics import fmean
from typing import Any

import numpy as np

from common.cells import full_name
from common.statistics import calibration, intervals, pairwise, significance, standing, ties
from common.statistics.answers import Answers, Cell
from common.statistics.catalogue import METRICS
from common.statistics.gap import GapShare, share_of_gap
from common.statistics.intervals import Interval, Intervals
from common.statistics.resampling import Measured, Variant, bounds, measure_all
from common.statistics.significance import Comparison
from common.statistics.variance import mean_interval, spread_over_seeds

STAND_IN = "macro_f1"  # where the metric of the verdicts is one of two classes alone
APART = "majority"  # like an untrained head, what all others should be better than
DIGITS = 10
WIDEST = 1.0  # interval of a share of a gap that is told
COSTS = {  # by what it is called: key of a metrics.json's train_info
    "trainable_parameters": "num_trainable_params",
    "train_seconds": "train_time",
    "peak_memory_bytes": "peak_memory_bytes",
    "file_bytes": "file_size",
}

Found = dict[str, Any]


def judge(answers: Answers, metric: str, level: float, resamples: int) -> Found:
    """All that is said of one dataset, as verdicts.json holds it, but for the sentences.

    Args:
        answers: of all its cells.
        metric: that differences are told by; ``macro_f1`` where this dataset does not have it.
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
    answered = {v.name: v.probabilities.argmax(axis=2) for v in variants}
    exact = pairwise.exact_limits(answered, answers.labels, metric)
    comparisons = significance.compare_all(measured[metric], set_apart(groups), exact)
    shown = [
        {
            **identity_of(name, group),
            "metrics": {
                each: figures(measured[each][name], ranges[each][name], group, level)
                for each in metrics
            },
            "calibration": calibrated(answers.labels, group),
            "costs": costs(group),
            "collapsed": collapsed(group),
        }
        for name, group in groups.items()
    ]
    placed(shown, measured[metric], comparisons, 1 - level)
    close_gaps(shown, measured[metric], comparisons, level)
    right = {name: given == answers.labels for name, given in answered.items()}
    found = {
        "metric": metric,
        "rows": len(answers.labels),
        "classes": answers.classes,
        "positive_label": None if answers.positive is None else answers.classes[answers.positive],
        "variants": shown,
        "comparisons": [
            pairwise.described(pair, shown, sides(measured[metric], pair), right, level)
            for pair in comparisons
        ],
    }
    unseat(found)
    return rounded_floats(found)


def unseat(found: Found) -> None:
    """Take the first place from yardsticks that only the lack of seeds ties with the best."""
    for variant in standing.leaders(found)[1:]:
        if standing.learned_nothing(variant) and standing.clearly_below(found, variant):
            variant["tied_for_first"] = False


def sides(measured: dict[str, Measured], pair: Comparison) -> tuple[Measured, Measured]:
    """Both variants of a comparison."""
    return measured[pair.a], measured[pair.b]


def set_apart(groups: dict[str, list[Cell]]) -> set[str]:
    """Variants that nobody would choose: the majority class, and heads that were never trained."""
    return {name for name, group in groups.items() if name == APART or untrained(group)}


def grouped(cells: list[Cell]) -> dict[str, list[Cell]]:
    """The cells of each variant, by its full name."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        name = full_name(cell.identity["model"], cell.identity["variant"])
        groups.setdefault(name, []).append(cell)
    return groups


def as_variant(name: str, group: list[Cell]) -> Variant:
    """A variant as it is measured; one whose seeds are one and the same model has one of them."""
    probabilities = np.stack([cell.probabilities for cell in group])
    fixed = group[0].identity["seed"] is None
    # A head that came with the model: seeds have nothing to draw.
    fixed |= kind(group) == "base" and own_head(group)
    if fixed and (probabilities == probabilities[:1]).all():
        return Variant(name, probabilities[:1], trained=False)
    return Variant(name, probabilities)


def kind(group: list[Cell]) -> str:
    """baseline, base, adapter, head or full."""
    if group[0].identity["seed"] is None:
        return "baseline"
    return group[0].record["run_info"].get("kind", "base")


def own_head(group: list[Cell]) -> bool:
    """Whether the head came with the model."""
    return bool(group[0].record["train_info"].get("pretrained_head"))


def untrained(group: list[Cell]) -> bool:
    """Whether it is a base whose head was drawn at random and never trained."""
    return kind(group) == "base" and not own_head(group)


def identity_of(name: str, group: list[Cell]) -> Found:
    """What names a variant."""
    identity = group[0].identity
    return {
        "name": name,
        "model": identity["model"] or None,
        "variant": identity["variant"],
        "kind": kind(group),
        "untrained_head": untrained(group),
        "seeds": seeds_of(group),
    }


def seeds_of(group: list[Cell]) -> list[int]:
    """The seeds of a variant; none of a baseline."""
    return [cell.identity["seed"] for cell in group if cell.identity["seed"] is not None]


def figures(measured: Measured, ranges: Intervals, group: list[Cell], level: float) -> Found:
    """One metric of one variant: its mean with an interval, each seed, and their spread."""
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
    """Those of accuracy, a share of rows: Wilson's, of each model and of their mean."""
    values = [*measured.values, measured.mean]
    hits = [round(float(value) * measured.rows) for value in values]
    *each, mean = [intervals.wilson(number, measured.rows, level) for number in hits]
    return Intervals(each, mean)


def interval_of(measured: Measured, ranges: Intervals, level: float) -> tuple[Interval, bool]:
    """The interval of a mean over seeds, and whether it minds the seeds.

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
    """Means over seeds; the points of the diagram are those of all seeds' answers together."""
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
    """What training took, as means over seeds; None where it took none."""
    found: Found = {}
    for name, key in COSTS.items():
        values = [cell.record["train_info"].get(key) for cell in group]
        numbers = [value for value in values if value is not None]
        mean = fmean(numbers) if numbers else None
        found[name] = round(mean) if mean is not None and name != "train_seconds" else mean
    return found


def collapsed(group: list[Cell]) -> list[int]:
    """The seeds that gave nearly every row one class. A baseline has none."""
    return [
        cell.identity["seed"]
        for cell in group
        if cell.identity["seed"] is not None and cell.record["metrics"]["test"].get("collapsed")
    ]


def placed(
    variants: list[Found],
    measured: dict[str, Measured],
    comparisons: list[Comparison],
    alpha: float,
) -> None:
    """Give each variant its position, equal means the same, its letters, and whether it leads."""
    order = ties.by_merit(measured)
    letters = ties.letters(measured, comparisons, alpha)
    first = ties.tied_for_first(measured, comparisons, alpha)
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
            share = asdict(worth_telling(found, known))
            variant["share_of_gap"] = {"head": head, "full": full, **share}


def worth_telling(found: GapShare, significant: bool) -> GapShare:
    """The share of a gap, or none: of one that is not significant, or if it may be anything.

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
    """The same with floats of ten significant digits: the last bits are an accident of order."""
    if isinstance(value, dict):
        return {key: rounded_floats(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded_floats(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") + 0.0
    return value

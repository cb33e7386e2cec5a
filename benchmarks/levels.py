"""Count how often the tests are wrong, and how often they find what there is.

    python benchmarks/levels.py --output docs/levels.csv

Answers are made up (tests/simulation.py): variants whose true quality and spread over seeds are
known answer rows of which some are hard for all. A difference that is found between equal ones is
wrong; at 5 %, five of 100 may be. Equal options give an equal file.
"""

import argparse
import csv
import math
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize, stats

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]

from common import files  # noqa: E402
from common.statistics.resampling import Measured, Variant, measure  # noqa: E402
from common.statistics.significance import (  # noqa: E402
    EQUIVALENT,
    compare,
    compare_all,
    paired_bootstrap,
)
from tests.simulation import draw, labels_of  # noqa: E402

QUALITY, AT_ONCE, RESAMPLES, MARGIN = 0.583, 250, 300, 0.02  # an accuracy of 72 %
MEASURES = ("two_variants", "beside_a_baseline", "better_than_a_baseline", "equivalent",
            "rows_alone")  # fmt: skip
COLUMNS = ("rows", "metric", "seeds", "sd_over_seeds", "shared", "failing", "difference", *MEASURES)


@dataclass(frozen=True)
class Setting:
    """What is simulated.

    Attributes:
        rows: test rows.
        seeds: of each variant.
        spreads: of the four variants that are compared with a baseline, the standard deviation
            over seeds in points. The fifth, which the first is compared with, has the second's.
        shared: part of the variance of a seed's effect that is the same for all variants.
        failing: chance that a seed fails; it answers by chance, and is set aside.
        difference: points by which the four are better than the baseline and than the fifth.
        share: of the rows that are of the second class.
        metric: to compare by.
    """

    rows: int
    seeds: int
    spreads: tuple[float, ...]
    shared: float = 0
    failing: float = 0
    difference: float = 0
    share: float = 0.5
    metric: str = "accuracy"


def alike(*spreads: float) -> tuple[float, ...]:
    """Return the spreads of four variants: one for all, or each its own."""
    return spreads * 4 if len(spreads) == 1 else spreads


UNEQUAL = ((7, 1, 1, 1), (3, 0, 0, 0), (7, 7, 0.5, 0.5), (1, 7, 7, 7))
SETTINGS = [
    *(Setting(1000, 2, alike(sd)) for sd in (1, 7)),
    *(Setting(300, 5, alike(sd)) for sd in (0, 1, 3, 7)),
    *(Setting(1000, seeds, alike(sd)) for seeds in (3, 5, 10)
      for sd in (0, 1, 3, 7)),
    *(Setting(4000, 5, alike(sd)) for sd in (0, 1, 3, 7)),
    *(Setting(1000, seeds, alike(sd), share=0.13, metric="macro_f1") for seeds in (3, 5)
      for sd in (1, 3, 7)),
    *(Setting(1000, seeds, each) for seeds in (3, 4, 5) for each in UNEQUAL),
    *(Setting(1000, seeds, alike(*each), shared=0.7) for seeds in (3, 4, 5)
      for each in ((1.5,), (7, 1, 1, 1))),
    *(Setting(1000, seeds, alike(1), failing=chance) for seeds in (3, 5, 10)
      for chance in (0.1, 0.2)),
    *(Setting(rows, 5, alike(1), shared, difference=2) for rows in (1000, 1700)
      for shared in (0, 0.7)),
    *(Setting(rows, seeds, alike(1.5), difference=5) for rows in (300, 1000, 1700, 2500)
      for seeds in (3, 5)),
    *(Setting(1000, 5, alike(1), failing=chance, difference=5) for chance in (0.1, 0.2)),
]  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=2000, help="simulated families")
    parser.add_argument("--level", type=float, default=0.05, help="of the tests")
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write")
    args = parser.parse_args(argv)
    with files.atomic_write(args.output) as aside, open(aside, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in rates(SETTINGS, args.runs, args.level):
            print(row, file=sys.stderr)
            writer.writerow(row)


def rates(settings: list[Setting], runs: int, level: float) -> Iterator[dict[str, Any]]:
    """Yield a row of COLUMNS for each setting, several settings at a time."""
    simulate = partial(rate, runs=runs, level=level)
    with ProcessPoolExecutor(min(len(settings), os.cpu_count() or 1)) as pool:
        yield from pool.map(simulate, settings)


def rate(setting: Setting, runs: int, level: float) -> dict[str, Any]:
    """Return a row of COLUMNS, in which shares of findings are in per cent."""
    generator, labels = np.random.default_rng(0), labels_of(setting.rows, setting.share)
    spreads = [*setting.spreads, setting.spreads[1]]
    effects = [effect_of(sd / 100, setting) for sd in spreads]
    mean = mean_and_spread(effects[0], setting)[0]
    fair = fixed_quality(mean - setting.difference / 100, setting)
    worse = fixed_quality(on_endless_rows(QUALITY, QUALITY, setting) - setting.difference / 100,
                          setting)  # fmt: skip
    found, left = np.zeros(len(MEASURES)), runs
    while left:
        count = min(AT_ONCE, left)
        left -= count
        families = draw(
            generator, labels, count, [*[setting.seeds] * 5, 1], [*effects, 0.0],
            [*[QUALITY] * 4, worse, fair], setting.shared,
        )  # fmt: skip
        found += findings(labels, [fail(family, setting, generator) for family in families],
                          setting.metric, level)  # fmt: skip
    shares = [f"{100 * each / runs:.1f}" for each in found]
    one_for_all = len(set(setting.spreads)) == 1
    shown = ", ".join(f"{sd:g}" for sd in setting.spreads[: 1 if one_for_all else None])
    known = (setting.rows, setting.metric, setting.seeds, shown, setting.shared, setting.failing,
             setting.difference)  # fmt: skip
    return dict(zip(COLUMNS, (*known, *shares), strict=True))


def effect_of(sd: float, setting: Setting) -> float:
    """Return the seed effect that makes a metric have a standard deviation over seeds."""
    if not sd:
        return 0.0
    apart = lambda effect: mean_and_spread(effect, setting)[1] - sd  # noqa: E731
    return float(optimize.brentq(apart, 1e-6, 3))


def mean_and_spread(effect: float, setting: Setting) -> tuple[float, float]:
    """Return mean and standard deviation over seeds of a metric, on endless rows."""
    points, weights = np.polynomial.hermite_e.hermegauss(40)
    overall, bias = np.meshgrid(effect * points, effect * points)
    level = QUALITY * math.sqrt(1 + 2 * effect**2)  # as in `draw`
    values = on_endless_rows(level + overall - bias, level + overall + bias, setting)
    weight = np.outer(weights, weights) / weights.sum() ** 2
    mean = float((weight * values).sum())
    return mean, math.sqrt(max(0.0, float((weight * (values - mean) ** 2).sum())))


def fixed_quality(value: float, setting: Setting) -> float:
    """Return the quality without a seed effect that gives a metric some value."""
    apart = lambda quality: float(on_endless_rows(quality, quality, setting)) - value  # noqa: E731
    return float(optimize.brentq(apart, -1, 5))


def on_endless_rows(first, second, setting: Setting):
    """A metric from the normal scores of the recalls of both classes, of arrays of any shape."""
    share = setting.share
    hits = (1 - share) * stats.norm.cdf(first), share * stats.norm.cdf(second)
    if setting.metric == "accuracy":
        return hits[0] + hits[1]
    misses = 1 - hits[0] - hits[1]
    return (2 * hits[0] / (2 * hits[0] + misses) + 2 * hits[1] / (2 * hits[1] + misses)) / 2


def fail(family: list[Variant], setting: Setting, generator: np.random.Generator) -> list[Variant]:
    """Return a family without the seeds that failed, the last of it as a baseline.

    A variant of which all seeds failed keeps them, answering one class.
    """
    *variants, baseline = family
    found = []
    for variant in variants:
        lost = generator.random(setting.seeds) < setting.failing
        answers, seeds = variant.probabilities, variant.seeds
        if lost.all():
            answers = np.zeros_like(answers)
            answers[..., 0] = 1
        elif lost.any():
            answers = answers[~lost]
            seeds = tuple(seed for seed, gone in zip(seeds, lost, strict=True) if not gone)
        found.append(Variant(variant.name, answers, seeds=seeds))
    return [*found, Variant(baseline.name, baseline.probabilities, trained=False)]


def findings(
    labels: np.ndarray, families: list[list[Variant]], metric: str, level: float
) -> np.ndarray:
    """Return how many families have a finding of each kind of MEASURES.

    Args:
        labels: shape (rows,).
        families: each of five variants and one that stands for a baseline.
        metric: to compare by.
        level: of the tests.
    """
    flat = [variant for family in families for variant in family]
    measured = measure(labels, flat, metric, resamples=RESAMPLES)
    return sum(
        (of_family([measured[variant.name] for variant in family], level) for family in families),
        np.zeros(len(MEASURES)),
    )


def of_family(family: list[Measured], level: float) -> np.ndarray:
    """Return whether each of MEASURES finds something in a family."""
    *variants, other, baseline = family
    first = variants[0]
    two = compare(first, other, margin=MARGIN)
    beside = compare(first, baseline)
    compared = {each.name: each for each in (*variants, baseline)}
    family_of = compare_all(compared, lambda _, b: "free" if b == baseline.name else None)
    better = any(pair.question == "free" and pair.p_holm <= level and pair.contrast.value > 0
                 for pair in family_of)  # fmt: skip
    return np.array([
        two.p <= level,
        beside.p <= level,
        better,
        two.outcome(level) == EQUIVALENT,
        paired_bootstrap(first, other)[1] <= level,
    ])  # fmt: skip


if __name__ == "__main__":
    main()

"""Count how often equal variants are told apart: the tests that they pass, and a common one.

    python benchmarks/levels.py --output docs/levels.csv

Answers are made up (tests/simulation.py): variants of the same true quality, whose seeds differ by
a given standard deviation, answer rows of which some are hard for all. Every difference that is
found is wrong; at 5 %, five of 100 may be. Equal options give an equal file.
"""

import argparse
import csv
import math
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize, stats

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]

from common import files  # noqa: E402
from common.statistics.resampling import Measured, Variant, measure  # noqa: E402
from common.statistics.significance import compare, compare_all, paired_bootstrap  # noqa: E402
from tests.simulation import draw, labels_of  # noqa: E402

TESTS = ((300, 0.5, "accuracy"), (1000, 0.13, "macro_f1"))  # rows, share of the second class
SEEDS, EFFECTS = (2, 3, 5), (0.0, 0.05, 0.15, 0.3)
QUALITY, VARIANTS, AT_ONCE = 1.5, 5, 250
COLUMNS = ["rows", "metric", "seeds", "sd_over_seeds", "two_variants", "beside_a_baseline",
           "any_of_ten_pairs", "rows_alone"]  # fmt: skip


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
        for row in rates(args.runs, args.level):
            print(row, file=sys.stderr)
            writer.writerow(row)


def rates(runs: int, level: float) -> Iterator[dict[str, Any]]:
    """A row of COLUMNS, in which shares of wrong findings are in per cent, for each setting."""
    for (rows, share, metric), seeds, effect in product(TESTS, SEEDS, EFFECTS):
        generator, labels = np.random.default_rng(0), labels_of(rows, share)
        fair, spread = alike(effect, share, metric)
        found = np.zeros(4)
        for start in range(0, runs, AT_ONCE):
            families = draw(
                generator, labels, min(AT_ONCE, runs - start), [*[seeds] * VARIANTS, 1],
                [*[effect] * VARIANTS, 0.0], [*[QUALITY] * VARIANTS, fair],
            )  # fmt: skip
            found += findings(labels, families, metric, level)
        setting = (rows, metric, seeds, f"{100 * spread:.1f}")
        shares = [f"{100 * each / runs:.1f}" for each in found]
        yield dict(zip(COLUMNS, (*setting, *shares), strict=True))


def alike(effect: float, share: float, metric: str) -> tuple[float, float]:
    """The quality of a baseline that is as good as variants with a seed effect are on average.

    Returns:
        the quality; and the standard deviation of the metric over seeds, on endless rows.
    """
    points, weights = np.polynomial.hermite_e.hermegauss(40)
    overall, bias = np.meshgrid(effect * points, effect * points)
    level = QUALITY * math.sqrt(1 + 2 * effect**2)  # as in `draw`
    values = on_endless_rows(level + overall - bias, level + overall + bias, share, metric)
    weight = np.outer(weights, weights) / weights.sum() ** 2
    mean = float((weight * values).sum())
    spread = math.sqrt(max(0.0, float((weight * (values - mean) ** 2).sum())))
    fair = optimize.brentq(
        lambda quality: float(on_endless_rows(quality, quality, share, metric)) - mean, 0, 5
    )
    return fair, spread


def on_endless_rows(first, second, share: float, metric: str):
    """A metric from the normal scores of the recalls of both classes, of arrays of any shape."""
    hits = (1 - share) * stats.norm.cdf(first), share * stats.norm.cdf(second)
    if metric == "accuracy":
        return hits[0] + hits[1]
    misses = 1 - hits[0] - hits[1]
    return (2 * hits[0] / (2 * hits[0] + misses) + 2 * hits[1] / (2 * hits[1] + misses)) / 2


def findings(
    labels: np.ndarray, families: list[list[Variant]], metric: str, level: float
) -> np.ndarray:
    """Return how many families have a wrong finding of each kind, in the order of COLUMNS.

    Args:
        labels: shape (rows,).
        families: each of VARIANTS variants and one that stands for a baseline, equally good.
        metric: to compare by.
        level: of the tests.
    """
    fixed = [
        [*variants, Variant(last.name, last.probabilities, trained=False)]
        for *variants, last in families
    ]
    flat = [variant for family in fixed for variant in family]
    measured = measure(labels, flat, metric, resamples=500)
    return sum(
        (wrong([measured[variant.name] for variant in family], level) for family in fixed),
        np.zeros(4),
    )


def wrong(family: list[Measured], level: float) -> np.ndarray:
    """Return whether each kind of test finds a difference in a family, in the order of COLUMNS."""
    *variants, baseline = family
    a, b, *_ = variants
    pairs = compare_all({each.name: each for each in variants})
    found = (compare(a, b).p, compare(a, baseline).p, min(pair.p_holm for pair in pairs),
             paired_bootstrap(a, b)[1])  # fmt: skip
    return np.array(found) <= level


if __name__ == "__main__":
    main()

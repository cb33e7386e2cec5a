"""The count of wrong findings that the documentation shows."""

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks import levels
from common.statistics.resampling import measure
from tests.simulation import draw, labels_of

ROOT = Path(__file__).parents[1]
OURS = ("two_variants", "beside_a_baseline", "any_of_ten_pairs")


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_equal_options_give_equal_files(tmp_path, monkeypatch):
    monkeypatch.setattr(levels, "TESTS", ((60, 0.5, "accuracy"),))
    monkeypatch.setattr(levels, "AT_ONCE", 5)
    for name in ("one.csv", "two.csv"):
        levels.main(["--runs", "8", "--output", str(tmp_path / name)])
    one, two = (tmp_path / name for name in ("one.csv", "two.csv"))
    assert one.read_bytes() == two.read_bytes()
    assert [row["seeds"] for row in read(one)] == [str(n) for n in levels.SEEDS for _ in range(4)]


def test_a_level_of_one_half_finds_more(tmp_path, monkeypatch):
    """What is counted is what the tests say: at 50 % they are wrong far more often than at 5 %."""
    monkeypatch.setattr(levels, "TESTS", ((200, 0.5, "accuracy"),))
    monkeypatch.setattr(levels, "SEEDS", (3,))
    found = {}
    for level in ("0.05", "0.5"):
        levels.main(["--runs", "40", "--level", level, "--output", str(tmp_path / "a.csv")])
        found[level] = sum(float(row["two_variants"]) for row in read(tmp_path / "a.csv"))
    assert found["0.5"] > 3 * found["0.05"]


def test_a_baseline_is_as_good_as_the_variants_beside_it():
    """Of 4,000 rows and 1,600 seeds, so that chance is small."""
    fair, spread = levels.alike(0.3, 0.13, "macro_f1")
    labels = labels_of(4000, 0.13)
    draws = draw(np.random.default_rng(0), labels, 1, [1600, 1], [0.3, 0.0],
                 [levels.QUALITY, fair])  # fmt: skip
    found = measure(labels, draws[0], "macro_f1", resamples=2)
    variant, _ = found.values()
    exact = float(levels.on_endless_rows(fair, fair, 0.13, "macro_f1"))
    assert variant.mean == pytest.approx(exact, abs=0.006)
    assert variant.values.std() == pytest.approx(spread, rel=0.1)


@pytest.mark.parametrize("column", OURS)
def test_the_documented_tests_keep_their_level(column):
    """Of 2,000 comparisons a true 5 % comes out above 6.4 in 2 of 1,000 rows of the table."""
    table = read(ROOT / "docs" / "levels.csv")
    assert max(float(row[column]) for row in table if float(row["sd_over_seeds"]) <= 4) <= 6.4

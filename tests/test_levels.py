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


@pytest.mark.full
def test_equal_options_give_equal_files(tmp_path, monkeypatch):
    monkeypatch.setattr(levels, "TESTS", ((60, 0.5, "accuracy"),))
    monkeypatch.setattr(levels, "AT_ONCE", 5)
    for name in ("one.csv", "two.csv"):
        levels.main(["--runs", "8", "--output", str(tmp_path / name)])
    one, two = (tmp_path / name for name in ("one.csv", "two.csv"))
    assert one.read_bytes() == two.read_bytes()
    assert [row["seeds"] for row in read(one)] == [str(n) for n in levels.SEEDS for _ in range(4)]


@pytest.mark.full
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


@pytest.mark.quick(1)
@pytest.mark.parametrize("setting", levels.TESTS)
def test_the_tests_keep_their_level_where_seeds_differ_most(setting, tmp_path, monkeypatch):
    """Of 250 families, a true 5 % comes out above 9.2 in 2 of 1,000 cases.

    The bootstrap of the rows alone, on the same families, is wrong in every second one. The table
    in the documentation begins with these families: the shares may differ from it by chance alone.
    """
    monkeypatch.setattr(levels, "TESTS", (setting,))
    monkeypatch.setattr(levels, "SEEDS", (3,))
    monkeypatch.setattr(levels, "EFFECTS", (0.3,))
    levels.main(["--runs", "250", "--output", str(tmp_path / "found.csv")])
    (found,) = read(tmp_path / "found.csv")
    assert max(float(found[column]) for column in OURS) <= 9.2
    assert float(found["rows_alone"]) > 40
    keys = ("rows", "metric", "seeds", "sd_over_seeds")
    told = next(
        row
        for row in read(ROOT / "docs" / "levels.csv")
        if all(row[key] == found[key] for key in keys)
    )
    for column in (*OURS, "rows_alone"):
        share = float(told[column]) / 100
        error = 100 * np.sqrt(share * (1 - share) / 250)
        assert float(found[column]) == pytest.approx(100 * share, abs=3.5 * error)


@pytest.mark.parametrize("column", OURS)
def test_the_table_of_the_documentation_shows_no_test_above_its_level(column):
    """Of the committed file alone: a true 5 % is above 6.4 in 2 of 1,000 rows of 2,000 families."""
    table = read(ROOT / "docs" / "levels.csv")
    assert max(float(row[column]) for row in table if float(row["sd_over_seeds"]) <= 4) <= 6.4

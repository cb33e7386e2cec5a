"""The benchmark of plans: as many jobs as there are cells, of a config that is as any other."""

import csv

import pytest

from benchmarks import plans
from rules.config import complete


@pytest.mark.parametrize("cells", [10, 200])
def test_there_are_so_many_cells(cells):
    config = complete(plans.config_of(cells), [])
    assert len(config["variants"]["lora"]["r"]) * len(config["seeds"]) == cells


@pytest.mark.full
def test_a_plan_is_measured(tmp_path):
    plans.main(["--cells", "10", "--output", str(tmp_path / "plans.csv")])
    with open(tmp_path / "plans.csv", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [(row["cells"], row["finished"]) for row in rows] == [("10", "no"), ("10", "yes")]
    assert int(rows[0]["jobs"]) > 20 + 10  # a training and an evaluation of each, and of each base
    assert int(rows[1]["jobs"]) == 0
    for row in rows:
        assert float(row["cpu_seconds"]) > 0.2
        assert int(row["peak_memory_mib"]) > 30


@pytest.mark.full
def test_a_plan_that_fails_is_told(tmp_path):
    (tmp_path / "config.yaml").write_text("nothing: here\n")
    with pytest.raises(SystemExit, match=r"(?s)snakemake.* failed: .*nothing"):
        plans.measured(tmp_path / "config.yaml", tmp_path)

"""The benchmark of whole comparisons: its cells, its figures, and a whole run on a tiny model."""

import json
from typing import Any

import pytest

from benchmarks import throughput, workloads
from benchmarks.throughput import Subject
from rules.cells import cells
from rules.config import complete


@pytest.fixture
def subject(tmp_path) -> Subject:
    (tmp_path / "rows.csv").write_text("text,label\n")
    dataset = {"source": {"path": str(tmp_path / "rows.csv")}, "train_rows": 8, "test_rows": 4}
    model = next(iter(workloads.QUICK_MODELS.values()))
    return Subject(model, dataset, tmp_path, {"threads": 1}, tmp_path)


@pytest.mark.parametrize("count", [2, 16])
def test_there_are_so_many_cells(subject, count):
    config = complete(throughput.config_of(subject, count), [])
    assert len(cells(config, throughput.DATASET)) == count


def test_a_dataset_of_the_benchmark_of_speed_is_a_section_of_a_config(tmp_path):
    found = throughput.dataset_of(workloads.DATASETS["imdb"], tmp_path, tmp_path)
    assert found == {
        "source": {"path": str(tmp_path / "rotten-tomatoes/train.csv")},
        "filter": ["source=imdb"],
        "near_duplicates": None,
        "labels": ["negative", "positive"],
    }


def run(arm: str, cells: int, seconds: float, **more) -> dict:
    return {"model": "m", "lengths": "sms", "arm": arm, "cells": cells, "jobs": 2, "threads": 1,
            "seconds": seconds, "cells_per_minute": 60 * cells / seconds,
            "computing_seconds": seconds, **more}  # fmt: skip


def test_runs_are_set_beside_the_loop_and_cold_jobs():
    """The loop is measured with the fewest cells; cold jobs with as many."""
    runs = [run("notebook", 4, 240), run("cold", 4, 120), run("workflow", 4, 60),
            run("cold", 8, 240), run("workflow", 8, 80)]  # fmt: skip
    found = throughput.with_ratios(runs)
    assert [row["times_notebook"] for row in found] == [1, 2, 4, 2, 6]
    assert [row.get("times_cold") for row in found] == [0.5, 1, 2, 1, 3]


def test_the_share_of_the_limit_counts_the_rows_of_all_cells(subject, monkeypatch):
    counts = {"train_operations_per_row": 3e9, "eval_operations_per_row": 1e9}
    monkeypatch.setattr(throughput.speed, "counted", lambda *_: counts)
    monkeypatch.setattr(throughput.comparison, "limit_of", lambda *_: 1e11)
    shape: Any = None
    found = throughput.of_limit(run("workflow", 10, 28.0), shape, subject, [])
    assert found["operations_per_second"] == pytest.approx(10 * (8 * 3e9 + 4 * 1e9) / 28)
    assert found["share_of_limit"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cells", "3"], "--cells 3: there are two ranks"),
        (["--models", "none"], "--models none is none of tiny"),
    ],
)
def test_a_mistake_on_the_command_line_is_told(words, message, capsys):
    with pytest.raises(SystemExit):
        throughput.parse(["--quick", "--minilm", ".", "--output", "t.json", *words])
    assert message in capsys.readouterr().err


def test_a_workflow_that_fails_is_told(subject):
    with pytest.raises(SystemExit, match=r"(?s)snakemake.* failed: .*no_such_file"):
        throughput.run_workflow(subject, subject.place, {"no_such_file": 1})


@pytest.mark.full
def test_a_quick_run_measures_every_arm(tiny_models, tmp_path, capsys):
    output = tmp_path / "throughput.json"
    throughput.main(["--quick", "--minilm", str(tiny_models["bert"]), "--output", str(output)])
    record = json.loads(output.read_text())
    assert [run["arm"] for run in record["runs"]] == list(throughput.ARMS)
    for found in record["runs"]:
        assert found["cells_per_minute"] > 0
        assert 0 < found["computing_seconds"] < found["jobs"] * found["seconds"]
        assert 0 < found["share_of_limit"] < 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Measured on ")
    assert len({line.count(" | ") for line in lines if line.startswith("| ")}) == 1

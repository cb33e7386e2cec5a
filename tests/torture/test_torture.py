"""The short form of the torture test, of which ``make torture`` is the long one; ends of runs."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.torture import stopping, torture

KILLS = 4


@pytest.mark.full
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(
    tiny_workflow, tmp_path, capsys, warm, monkeypatch
):
    # Snakemake itself starts cold, since its children are looked for, and its jobs warm.
    code = f"import sys; sys.executable = {warm.python!r}; from snakemake.cli import main; main()"
    monkeypatch.setattr(torture, "SNAKEMAKE", (sys.executable, "-c", code))
    monkeypatch.setattr(torture, "LONGEST_WAIT_SECONDS", 6)
    # The jobs of tests are forked by a process of theirs; tests/test_warm.py kills servers.
    monkeypatch.setattr(torture, "KINDS", [torture.TREE, torture.JOB, torture.ASKED])

    def make(place: Path) -> Path:
        return torture.make_tiny(tiny_workflow(place))

    told = torture.torture(make, tmp_path, KILLS, seed=1)
    print(capsys.readouterr().err)
    assert sum(told.kills.values()) >= KILLS
    assert told.different == []


STAGES = (
    "fetch_package", "fetch_dataset", "fetch_model", "prepare_data", "tokenize", "passport",
    "eval_baseline", "eval_embedding", "eval_base", "train_lora", "eval_lora", "verdicts", "report",
    "plot", "page", "predict",
)  # fmt: skip
# Those that a download, processes, a training and a figure could hold up.
FEW = ("fetch_package", "prepare_data", "train_lora", "eval_lora", "plot")
PREDICTIONS = "predictions: {new: {input: data/news.csv, dataset: news, cell: bert/lora-r2/seed0}}"
STEPS = "training={max_steps: 100000}"


@pytest.fixture(scope="module")
def done(finished, snakemake, tmp_path_factory) -> Path:
    """A finished workflow with a prediction too."""
    place = Path(shutil.copytree(finished, tmp_path_factory.mktemp("stopped") / "workflow"))
    config = place / "config/config.yaml"
    config.write_text(f"{config.read_text()}{PREDICTIONS}\n")
    snakemake("--cores", "2", cwd=place)
    return place


ENDS = [
    *((stage, stopping.GROUP) for stage in STAGES),
    *((stage, how) for stage in FEW for how in (stopping.ALONE, stopping.KILLED)),
]


@pytest.mark.full
@pytest.mark.parametrize(("stage", "how"), ENDS)
def test_a_run_ends_at_each_stage(done, tmp_path, stage, how):
    place = Path(shutil.copytree(done, tmp_path / "workflow"))
    found = stopping.stop(sys.executable, place, ["--forcerun", stage], stage, how)
    print(f"| {stage} | {how} | {found.seconds:.1f} | {len(found.orphans)} | {found.locks} |")
    assert found.orphans == []
    assert found.seconds < (2 if how == stopping.KILLED else 5), found.log
    assert found.locks == (how == stopping.KILLED)  # which nobody but a person can unlock


@pytest.mark.full
@pytest.mark.parametrize("how", [stopping.ALONE, stopping.KILLED])
def test_a_run_ends_in_a_training(work, how):
    # Not with the warm process: it ignores SIGINT where pytest itself runs in the background.
    words = ["--config", STEPS, "--", "results/news/bert/lora-r2/seed0/adapter"]
    found = stopping.stop(sys.executable, work, words, "train_lora", how, after=5)
    assert found.orphans == []
    assert found.seconds < (2 if how == stopping.KILLED else 5), found.log
    assert found.locks == (how == stopping.KILLED)

"""A report of what there is, which cannot be taken for the whole."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import partial
from common.cli import InputError

WORDS = ["--cells", "sms/bert/base,lora-r4/0,1,2", "news/bert/base/0", "--baselines", "majority"]


@pytest.fixture
def add(tmp_path, monkeypatch) -> Callable[..., Path]:
    """Lay the figures of a cell below the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(cell: str, macro_f1: float = 0.5, **more: Any) -> Path:
        directory = Path("results") / cell
        directory.mkdir(parents=True)
        figures = {"macro_f1": macro_f1, "accuracy": 0.75, "rows": 300, "collapsed": False,
                   "confusion_matrix": [[100, 50], [25, 125]], **more}  # fmt: skip
        made = {
            "run_info": {},
            "train_info": {"train_time": 1.0},
            "meta_info": {"dataset_info": {"labels": ["ham", "spam"]}},
            "metrics": {"test": figures},
        }
        for name in ("metrics.json", "training.json"):
            (directory / name).write_text(json.dumps(made))
        return directory

    return write


@pytest.fixture
def run(add) -> Callable[..., str]:
    """Write the report; returns it."""
    add("sms/baselines/majority", 0.4662, collapsed=True)

    def report(*words: str) -> str:
        partial.main([*WORDS, *words])
        return Path("results/partial.md").read_text()

    return report


def test_it_says_that_it_is_partial_and_how_much_is_missing(add, run):
    add("sms/bert/base/seed0")
    text = run()
    assert text.startswith("# Partial comparison: 2 of 9 cells and baselines\n\n**This is not the")
    assert "## sms\n\n**5 of 7 cells and baselines are missing.**\n" in text
    assert "## news\n\n**2 of 2 cells and baselines are missing.**\n" in text
    assert [file.name for file in Path("results").glob("*.*")] == ["partial.md"]


def test_each_missing_cell_is_named_with_its_reason(add, run):
    for seed in range(3):
        add(f"sms/bert/base/seed{seed}")
    log = Path("results/sms/bert/lora-r4/seed1/train_lora.log")
    log.parent.mkdir(parents=True)
    log.write_text("error: training diverged at | step 3\n")
    text = run()
    assert "| sms/bert/lora-r4/seed0 | not started |  |\n" in text
    reason = rf"train_lora failed: training diverged at \| step 3 ({log})"
    assert f"| sms/bert/lora-r4/seed1 | failed | {reason} |\n" in text
    assert text.count("| not started |") == 2 + 2


def test_the_download_of_all_sizes_of_a_dataset_is_looked_for_under_its_name(run):
    log = Path("resources/datasets/reviews.log")
    log.parent.mkdir(parents=True)
    log.write_text("error: no way to the index\n")
    assert "fetch_dataset failed" not in run()
    text = run("--sizes", "reviews=sms,news")
    assert text.count(f"fetch_dataset failed: no way to the index ({log})") == 6 + 2


def test_a_mean_over_fewer_seeds_says_so_wherever_it_stands(add, run):
    for seed in range(3):
        add(f"sms/bert/base/seed{seed}", 0.5 + seed / 10)
    add("sms/bert/lora-r4/seed0", 0.8)
    text = run()
    assert "| bert | base | 3 of 3 | 0.600 ± 0.100 | 0.750 ± 0.000 |" in text
    assert "| bert | lora-r4 | 1 of 3 | 0.800 (1 of 3 seeds) | 0.750 (1 of 3 seeds) |" in text
    assert "|  | majority |  | 0.466 | 0.750 |" in text
    assert "| bert | base | 0 of 1 | missing | missing |" in text


def test_a_collapsed_cell_is_marked(add, run):
    for seed in range(2):
        add(f"sms/bert/base/seed{seed}", collapsed=seed == 1)
    assert "| bert | base (collapsed in 1 of 2 seeds) | 2 of 3 | 0.500 ± 0.000 (2 of 3" in run()


def test_a_figure_without_a_meaning_stays_empty(add, run):
    add("sms/bert/base/seed0", f1=None)
    file = add("sms/baselines/tfidf", f1=None) / "metrics.json"
    file.replace("results/sms/baselines/majority/metrics.json")
    text = run("--metrics", "f1", "accuracy")
    assert "| bert | base | 1 of 3 |  | 0.750 (1 of 3 seeds) |" in text


def test_cells_of_before_and_after_an_edit_of_the_data_are_told_apart(add, run):
    add("sms/bert/base/seed0", rows=310)
    assert "**Not all were tested on the same rows: there are 300 and 310 of them.**" in run()


def test_rows_that_leaked_are_mentioned(add, run):
    assert "repeat a training row" not in run()
    add("sms/bert/base/seed0", clean={"rows": 290})
    assert "also of those that repeat a training row; comparison.md gives" in run()


def test_one_damaged_cell_is_named_and_all_others_are_reported(add, run):
    for seed in range(3):
        add(f"sms/bert/base/seed{seed}", 0.5 + seed / 10)
    file = Path("results/sms/bert/base/seed1/metrics.json")
    file.write_text(file.read_text().replace('"collapsed": false', '"other": 0'))
    text = run()
    reason = f"{file} lacks figures ('collapsed'): delete {file} and run again"
    assert f"| sms/bert/base/seed1 | damaged | {reason} |\n" in text
    assert "| bert | base | 2 of 3 | 0.600 ± 0.141 (2 of 3 seeds) |" in text
    assert "|  | majority |  | 0.466 | 0.750 |" in text


def test_a_file_that_lacks_a_metric_is_damaged_and_not_the_config(run):
    text = run("--metrics", "mcc")
    assert (
        "| sms/baselines/majority | damaged | results/sms/baselines/majority/metrics.json" in text
    )
    assert "('mcc'): delete results/sms/" in text


def test_an_unknown_metric_is_one_line(run):
    with pytest.raises(
        InputError, match=r"there is no metric 'f2': mend `metrics`; known are macro_f1"
    ):
        run("--metrics", "f2")
    assert not Path("results/partial.md").exists()


def test_a_whole_comparison_is_still_called_partial(add):
    add("sms/bert/base/seed0")
    partial.main(["--cells", "sms/bert/base/0", "--output", "results/partial.md"])
    text = Path("results/partial.md").read_text()
    assert text.startswith("# Partial comparison: 1 of 1 cells and baselines\n\n**This is not the")
    assert "\n0 of 1 cells and baselines are missing.\n" in text


def snapshot(root: Path) -> dict[Path, tuple[int, int]]:
    """Return every file below a directory, with its size and time."""
    files = [file for file in root.rglob("*") if file.is_file()]
    return {file: (file.stat().st_size, file.stat().st_mtime_ns) for file in files}


@pytest.mark.full
def test_make_partial_tells_of_a_sweep_with_failed_cells_and_runs_nothing(work, snakemake):
    """One variant diverges. Another run holds the lock of the directory while this is reported."""
    config = work / "config/config.yaml"
    more = "  bad: {r: 2, training: {learning_rate: 1.0e+30}}\nseeds: [0]"
    config.write_text(config.read_text().replace("seeds: [0]", more))
    said = snakemake("--cores", "2", "--keep-going", cwd=work, status=1).stdout
    assert "training diverged" in said
    for log in work.glob("results/*/gpt2/bad/seed0/train_lora.log"):
        log.unlink()  # as if they were still to come
    before = snapshot(work)
    locks = work / ".snakemake/locks"
    locks.mkdir(exist_ok=True)
    held = "\n".join(
        str(file.relative_to(work)) for file in work.glob("results/*/*/*/*/metrics.json")
    )
    (locks / "0.output.lock").write_text(held + "\n")
    words = ["make", "-o", ".venv/run.stamp", f"BIN={Path(sys.executable).parent}", "partial"]
    done = subprocess.run(words, cwd=work, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(locks)
    text = (work / "results/partial.md").read_text()
    assert text.startswith("# Partial comparison: 20 of 24 cells and baselines\n")
    for dataset in ("messages", "news"):
        failed = f"| {dataset}/bert/bad/seed0 | failed | train_lora failed: training diverged: "
        assert failed in text
        assert f"| {dataset}/gpt2/bad/seed0 | not started |  |" in text
    after = snapshot(work)
    written = {file.relative_to(work) for file in after if after[file] != before.get(file)}
    assert {file for file in written if "__pycache__" not in file.parts} == {
        Path("results/partial.md")
    }
    assert before.keys() <= after.keys()


def test_make_partial_before_any_run_is_one_line(copy_workflow, tmp_path):
    work = copy_workflow(tmp_path / "workflow")
    words = ["make", "-o", ".venv/run.stamp", f"BIN={Path(sys.executable).parent}", "partial"]
    done = subprocess.run(words, cwd=work, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "error: config: results/config.yaml does not exist; a run writes it" in done.stderr
    assert "Traceback" not in done.stderr

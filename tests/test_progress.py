"""How far a cell is, told from what lies there."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.cells import Cell
from common.report import progress
from common.report.progress import DAMAGED, FAILED, NOT_STARTED, RUNNING, Standing

TRAINED, BASE = Cell("sms", "bert", "lora", 0), Cell("sms", "bert", "base", 0)
BASELINE = Cell("sms", "", "tfidf", None)
MADE: dict[str, Any] = {
    "run_info": {},
    "train_info": {"train_time": 12.5},
    "meta_info": {"dataset_info": {"labels": ["ham", "spam"]}},
    "metrics": {"test": {"accuracy": 0.9, "macro_f1": 0.9, "confusion_matrix": [[4, 1], [0, 5]],
                         "rows": 10, "collapsed": False}},
}  # fmt: skip
TEST = MADE["metrics"]["test"]
DONE = "13:26:00 test accuracy 0.9933\n"
TRACEBACK = """Traceback (most recent call last):
  File "scripts/train_lora.py", line 175, in <module>
torch.OutOfMemoryError: CUDA out of memory.
"""


@pytest.fixture
def lay(tmp_path) -> Callable[..., None]:
    """Lay files below the working directory: a text, a record, or with None a directory."""

    def write(**found: object) -> None:
        for path, content in found.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                file.mkdir()
            else:
                file.write_text(content if isinstance(content, str) else json.dumps(content))

    return write


@pytest.fixture
def standing(tmp_path, monkeypatch) -> Callable[[Cell], Standing]:
    monkeypatch.chdir(tmp_path)
    return lambda cell: progress.standing(cell, Path("results"), Path("resources"))


CELL = "results/sms/bert/lora/seed0"


@pytest.mark.parametrize("cell", [TRAINED, BASE, BASELINE])
def test_a_cell_that_has_its_figures_is_there(lay, standing, cell):
    lay(**{f"results/{cell.path}/{name}.json": MADE for name in ("metrics", "training")})
    assert standing(cell) == Standing(cell, MADE)


@pytest.mark.parametrize("cell", [TRAINED, BASE, BASELINE])
def test_nothing_has_begun(standing, cell):
    assert standing(cell) == Standing(cell, None, NOT_STARTED, "")


@pytest.mark.parametrize(
    ("cell", "stage"), [(TRAINED, "train_lora"), (BASE, "eval_base"), (BASELINE, "eval_baseline")]
)
def test_a_log_without_an_error_is_a_job_that_runs_or_was_interrupted(lay, standing, cell, stage):
    log = f"results/{cell.path}/{stage}.log"
    lay(**{log: "{'loss': 0.65}\n"})
    os.utime(log, (0, 0))
    found = standing(cell)
    assert (found.record, found.state) == (None, RUNNING)
    assert found.reason == (
        f"{stage} is running or was interrupted; it last wrote to {log} at 1970-01-01 00:00 UTC"
    )


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("13:20 begun\nerror: training diverged: lower | it\n\n", "training diverged: lower | it"),
        ("train_lora.py: error: argument --seed: no number\n", "argument --seed: no number"),
        (TRACEBACK, "torch.OutOfMemoryError: CUDA out of memory."),
    ],
)
def test_a_log_that_ends_with_an_error_is_a_job_that_failed(lay, standing, said, reason):
    lay(**{f"{CELL}/train_lora.log": said})
    found = standing(TRAINED)
    assert found.state == FAILED
    assert found.reason == f"train_lora failed: {reason} ({CELL}/train_lora.log)"


def test_an_error_that_a_job_got_over_is_none(lay, standing):
    lay(**{f"{CELL}/train_lora.log": "error: of the past\n{'loss': 0.65}\n"})
    assert standing(TRAINED).state == RUNNING


def test_the_end_of_a_long_log_is_enough(lay, standing):
    lay(**{f"{CELL}/train_lora.log": "a line\n" * 100_000 + "error: at last\n"})
    assert standing(TRAINED).reason.startswith("train_lora failed: at last (")


def test_of_a_trained_cell_the_evaluation_can_fail(lay, standing):
    """The log of its training, which succeeded, says nothing of it."""
    lay(**{f"{CELL}/training.json": MADE, f"{CELL}/train_lora.log": "error: of an earlier run\n"})
    assert standing(TRAINED).state == NOT_STARTED
    lay(**{f"{CELL}/eval_lora.log": "error: the saved model is not the trained one\n"})
    assert standing(TRAINED).state == FAILED
    assert standing(TRAINED).reason.startswith("eval_lora failed: the saved model is not")


@pytest.mark.parametrize(
    ("log", "cells"),
    [
        ("resources/datasets/sms.log", (TRAINED, BASE, BASELINE)),
        ("results/sms/prepare_data.log", (TRAINED, BASE, BASELINE)),
        ("resources/models/bert.log", (TRAINED, BASE)),
        ("results/sms/bert/tokenize.log", (TRAINED, BASE)),
    ],
)
def test_a_cell_whose_input_failed_was_not_started(lay, standing, log, cells):
    lay(**{log: "error: no such thing\n"})
    for cell in (TRAINED, BASE, BASELINE):
        found = standing(cell)
        assert found.state == NOT_STARTED
        assert ("failed: no such thing" in found.reason) == (cell in cells)


def test_an_input_that_is_there_did_not_fail(lay, standing):
    """Whatever the log says, which may be of an earlier run."""
    lay(**{"results/sms/prepare_data.log": "error: of the past\n", "results/sms/data": None})
    assert standing(BASELINE) == Standing(BASELINE, None, NOT_STARTED, "")


def test_figures_of_an_earlier_training_do_not_count(lay, standing):
    lay(**{f"{CELL}/metrics.json": MADE, f"{CELL}/train_lora.log": "begun\n"})
    assert standing(TRAINED).state == RUNNING  # Snakemake takes training.json away at its start
    lay(**{f"{CELL}/training.json": {"train_info": {"train_time": 13.0}}})
    assert standing(TRAINED).reason == "trained anew, and not evaluated since"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is no whole JSON file"),
        ("3", "lacks figures (it is no mapping)"),
        ("{}", "lacks figures ('run_info')"),
        (MADE | {"metrics": {}}, "lacks figures ('test')"),
        (MADE | {"metrics": None}, "lacks figures (metrics is no mapping)"),
        (MADE | {"metrics": {"test": TEST | {"rows": None}}}, "rows of test None is no number"),
        (
            MADE | {"metrics": {"test": {k: TEST[k] for k in TEST if k != "collapsed"}}},
            "'collapsed",
        ),
        (MADE | {"train_info": {}}, "has no time of a training ('train_time')"),
        (MADE | {"train_info": {"train_time": None}}, "has no time of a training (None is no"),
    ],
)
def test_figures_that_cannot_be_read_are_missing(lay, standing, content, reason):
    lay(**{f"{CELL}/training.json": MADE, f"{CELL}/metrics.json": content})
    found = standing(TRAINED)
    assert (found.record, found.state) == (None, DAMAGED)
    assert found.reason.startswith(f"{CELL}/metrics.json ")
    assert reason in found.reason


@pytest.mark.parametrize("content", ["3", "[]", "{}", '{"train_info": {}}', '{"train_info": 3}'])
def test_a_damaged_record_of_the_training_is_named(lay, standing, content):
    lay(**{f"{CELL}/training.json": content, f"{CELL}/metrics.json": MADE})
    found = standing(TRAINED)
    assert (found.record, found.state) == (None, DAMAGED)
    assert found.reason.startswith(f"{CELL}/training.json has no time of a training")


def test_nothing_is_written(lay, standing, tmp_path):
    lay(**{f"{CELL}/train_lora.log": DONE})
    before = sorted(tmp_path.rglob("*"))
    standing(TRAINED)
    assert sorted(tmp_path.rglob("*")) == before

"""What all scripts have in common as commands."""

import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
# By script, a word of its help.
OPTIONS = {
    "diff": "REVISION:DIRECTORY",
    "eval_base": "--positive-label",
    "eval_baseline": "tfidf",
    "eval_lora": "--adapter",
    "fetch_dataset": "--revision",
    "fetch_model": "--member",
    "fetch_package": "--requirement",
    "page": "--templates",
    "partial": "--resources",
    "passport": "--license",
    "plot": "--confusion",
    "predict": "--adapter",
    "prepare_data": "--on-bad-rows",
    "report": "--baselines",
    "tokenize_data": "--max-length",
    "train_lora": "--backbone-dropout",
    "verdicts": "--resamples",
}


@pytest.mark.parametrize("script", OPTIONS)
def test_help_is_instant(run_script, script):
    """Nothing heavy is imported before the command line is read."""
    began = time.perf_counter()
    done = run_script(script, "--help")
    assert time.perf_counter() - began < 1
    assert done.returncode == 0
    assert OPTIONS[script] in done.stdout


def test_no_script_is_left_out():
    assert OPTIONS.keys() == {path.stem for path in SCRIPTS.glob("*.py")}

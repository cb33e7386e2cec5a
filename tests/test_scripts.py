"""What all scripts have in common as commands."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
# By script, a word of its help.
OPTIONS = {
    "diff": "REVISION:DIRECTORY",
    "eval_base": "--positive-label",
    "eval_baseline": "tfidf",
    "eval_embedding": "--positive-label",
    "eval_lora": "--adapter",
    "fetch_dataset": "--revision",
    "fetch_model": "--member",
    "fetch_package": "--requirement",
    "page": "--templates",
    "partial": "--resources",
    "passport": "--license",
    "plot": "--figures",
    "predict": "--adapter",
    "prepare_data": "--on-bad-rows",
    "report": "--baselines",
    "tokenize_data": "--max-length",
    "train_lora": "--backbone-dropout",
    "verdicts": "--resamples",
}

# Runs a script, and writes what it imported; `late` is what came while garbage was collected.
WATCHED = """
import gc, json, runpy, sys
record, *sys.argv = sys.argv[1:]
before, late = {*sys.modules, "__mp_main__"}, []  # multiprocessing's second name of __main__
class Watch:
    def find_spec(self, name, path=None, target=None):
        late.extend([name] if gc.isenabled() else [])
sys.meta_path.insert(0, Watch())
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    found = set(sys.modules) - before
    with open(record, "w") as file:
        json.dump({"all": sorted(found), "late": sorted(found & set(late))}, file)
"""

# What no training or evaluation of a model uses, and would wait for.
NEVER = {"datasketch", "evaluate", "gguf", "sklearn", "tabulate", "vl_convert"}
LATE = 20  # modules of libraries imported outside of `startup.importing`: those of BERT, say


@pytest.fixture(scope="module")
def imports(tmp_path_factory) -> Callable[..., tuple[str, set[str], list[str]]]:
    """Run a script; returns its output, and the packages and late modules of libraries."""

    def run(script: str, *words: object) -> tuple[str, set[str], list[str]]:
        record = tmp_path_factory.mktemp("imports") / "record.json"
        path = SCRIPTS / f"{script}.py"
        done = subprocess.run(
            [sys.executable, "-c", WATCHED, str(record), str(path), *map(str, words)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(record.read_text())
        packages = {name.partition(".")[0] for name in found["all"]} - sys.stdlib_module_names
        late = [name for name in found["late"] if name.partition(".")[0] in packages - {"common"}]
        return done.stdout, packages, late

    return run


@pytest.mark.parametrize("script", OPTIONS)
def test_help_imports_the_standard_library_alone(imports, script):
    """Nothing heavy is imported before the command line is read."""
    output, packages, _ = imports(script, "--help")
    assert OPTIONS[script] in output
    assert packages == {"common"}


@pytest.mark.full
def test_a_job_imports_what_its_stage_needs_at_once(imports, make_tokens, tiny_models, tmp_path):
    """Libraries that a stage needs come with the collector of garbage off, and no others."""
    given = ["--model", tiny_models["bert"], "--tokens", make_tokens("bert")]
    trained = ["--output", tmp_path / "adapter", "--record", tmp_path / "training.json"]
    written = ["--metrics", tmp_path / "m.json", "--predictions", tmp_path / "p.parquet"]
    adapter = ["--adapter", tmp_path / "adapter", "--training", tmp_path / "training.json"]
    jobs = {
        "train_lora": (["--peft", '{"r": 2}', "--max-steps", 1, *trained], NEVER),
        "eval_base": (written, NEVER - {"evaluate", "sklearn"}),
        "eval_lora": ([*adapter, *written], NEVER - {"evaluate", "sklearn"}),
    }
    for script, (words, unused) in jobs.items():
        _, packages, late = imports(script, *given, *words)
        assert "torch" in packages
        assert not packages & unused, script
        assert len(late) < LATE, (script, late)


def test_no_script_is_left_out():
    assert OPTIONS.keys() == {path.stem for path in SCRIPTS.glob("*.py")}

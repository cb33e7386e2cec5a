"""What a result says of its making."""

import json
import os
import subprocess
import sys
import time
from importlib.metadata import PathDistribution, version
from pathlib import Path

from common import cells

SCRIPTS = Path(__file__).parents[1] / "scripts"


def run(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own."""
    env = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=True)


def test_run_info_names_cell_and_options():
    cell = Path("results/sms-spam/minilm/lora-r8/seed0")
    options = {"model": Path("models/minilm"), "seed": 0, "max_steps": None, "peft": {"r": 8}}
    info = cells.Clock().run_info(cell, options)
    assert info["experiment_name"] == "sms-spam/minilm/lora-r8/seed0"
    assert info["options"] == options | {"model": "models/minilm"}
    assert info["error_msg"] == ""
    json.dumps(info)


def test_run_info_names_a_baseline():
    info = cells.Clock().run_info(Path("results/sms-spam/baselines/tfidf"), {}, seeded=False)
    assert info["experiment_name"] == "sms-spam/baselines/tfidf"


def test_run_info_names_a_baseline_of_a_seed():
    info = cells.Clock().run_info(Path("results/sms-spam/baselines/tfidf/seed3"), {})
    assert info["experiment_name"] == "sms-spam/baselines/tfidf/seed3"


def test_clock_measures_from_its_start():
    clock = cells.Clock()
    time.sleep(0.05)
    info = clock.run_info(Path(), {})
    assert 0.05 <= info["total_time"] < 5
    assert info["created_at"].endswith("+00:00")


def test_meta_info_names_classes_model_and_versions():
    model, dataset = {"name": "bert", "revision": "abc"}, {"kind": "path", "name": "rows.csv"}
    meta = cells.meta_info(["ham", "spam"], model, dataset)
    assert meta["dataset_info"] == {
        "labels": ["ham", "spam"],
        "source": dataset,
        "train_rows": None,
    }
    assert meta["model_info"] == {"name": "bert", "revision": "abc"}
    assert meta["package_info"]["torch-version"] == version("torch")
    assert meta["package_info"]["python-version"] == ".".join(map(str, sys.version_info[:3]))
    assert meta["system_info"]["system"] == os.uname().sysname
    assert meta["system_info"]["processor"]
    assert meta["pytorch_info"] is None or "PyTorch built with" in meta["pytorch_info"]
    json.dumps(meta)


def test_a_package_that_is_not_installed_has_no_version():
    assert cells.installed_version("no-such-package-anywhere") is None


def test_a_release_of_a_package_is_of_no_branch(monkeypatch):
    assert cells.installed_branch("no-such-package-anywhere") is None
    origins = iter([None, '{"url": "file:///peft"}'])
    monkeypatch.setattr(PathDistribution, "read_text", lambda *_: next(origins))
    assert cells.installed_branch("peft") is None
    assert cells.installed_branch("peft") is None


def test_a_package_out_of_version_control_names_its_branch(monkeypatch):
    origin = {"url": "https://example.org/peft", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    monkeypatch.setattr(PathDistribution, "read_text", lambda *_: json.dumps(origin))
    assert cells.installed_branch("peft") == "abc"
    origin["vcs_info"] = {"vcs": "git", "commit_id": "abc", "requested_revision": "main"}
    assert cells.installed_branch("peft") == "main"


def test_memory_is_that_of_this_process_at_its_peak():
    """100 MB more than before are seen, also after they are given back; this test's are not."""
    program = (
        "from common import cells\n"
        "before = cells.peak_memory_bytes()\n"
        "block = bytearray(b'x') * 100_000_000\n"
        "del block\n"
        "print(before, cells.peak_memory_bytes())\n"
    )
    ours = bytearray(b"x") * 300_000_000
    done = run(program)
    assert len(ours) == 300_000_000
    before, after = map(int, done.stdout.split())
    assert 1_000_000 < before < 100_000_000
    assert 90_000_000 < after - before < 150_000_000


def test_records_import_nothing_heavy():
    """A baseline needs no torch, and its figures would hold torch's memory."""
    program = "import sys; from common import cells; cells.meta_info([]); print(*sys.modules)"
    assert not {"torch", "pandas", "numpy"} & set(run(program).stdout.split())

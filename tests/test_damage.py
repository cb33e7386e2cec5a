"""Whatever happens to a file or a disk, it is named in one line, and never becomes a figure."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from common import cli, seals
from common.cli import InputError

ROOT = Path(__file__).parents[1]
CELL = "news/bert/lora-r2/seed0"


@pytest.fixture
def results(finished, tmp_path) -> Path:
    """A directory with results/ and resources/ of a finished run, to damage."""
    for name in ("results", "resources"):
        shutil.copytree(finished / name, tmp_path / name)
    return tmp_path


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def alter(path: Path) -> None:
    """One bit, as a memory turns it; where text is, it stays text."""
    content = bytearray(path.read_bytes())
    place = len(content) // 2
    while path.suffix == ".json" and not chr(content[place]).isdigit():
        place += 1
    content[place] ^= 1
    path.write_bytes(content)


def alter_weights(path: Path) -> None:
    """Weights that load, and are others."""
    save_file({name: tensor + 0.01 for name, tensor in load_file(path).items()}, path)


def alter_probabilities(path: Path) -> None:
    """Predictions that can be read, with the same answers and other probabilities."""
    frame = pd.read_parquet(path)
    shares = frame.columns[frame.columns.str.startswith("probability_")]
    frame[shares] = frame[shares] * 0.98 + 0.01
    frame.to_parquet(path, index=False)


def delete(path: Path) -> None:
    path.unlink()


MODEL, TOKENS, DATA = "resources/models/bert", "results/news/bert/tokens", "results/news/data"
ADAPTER, TRAINING = f"results/{CELL}/adapter", f"results/{CELL}/training.json"
METRICS, PREDICTIONS = f"results/{CELL}/metrics.json", f"results/{CELL}/predictions.parquet"
NEW = ["--metrics", "new/metrics.json", "--predictions", "new/predictions.parquet"]
STAGES = {
    "tokenize_data": ["--data", DATA, "--model", MODEL, "--output", "new/tokens"],
    "eval_baseline": ["--data", DATA, "--baseline", "majority", *NEW],
    "eval_base": ["--model", MODEL, "--tokens", TOKENS, *NEW],
    "train_lora": ["--model", MODEL, "--tokens", TOKENS, "--max-steps", "1",
                   "--output", "new/adapter", "--record", "new/training.json"],
    "eval_lora": ["--model", MODEL, "--tokens", TOKENS, "--adapter", ADAPTER,
                  "--training", TRAINING, *NEW],
    "predict": ["--input", "new.txt", "--model", MODEL, "--adapter", ADAPTER,
                "--output", "new/new.csv"],
    "verdicts": ["--results", "results", "--cells", "news/bert/lora-r2,lora-r4/0",
                 "--metric", "macro_f1", "--output", "new/verdicts.json"],
}  # fmt: skip

ARROW = "train/data-00000-of-00001.arrow"
CASES = {
    "tokenize_data": [(f"{DATA}/{ARROW}", alter), (f"{DATA}/dataset_dict.json", delete)],
    "eval_baseline": [(f"{DATA}/{ARROW}", alter), (f"{DATA}/{ARROW}", truncate)],
    "eval_base": [(f"{MODEL}/model.safetensors", alter_weights), (f"{MODEL}/config.json", alter)],
    "train_lora": [
        (f"{TOKENS}/{ARROW}", alter),
        (f"{TOKENS}/{ARROW}", truncate),
        (f"{TOKENS}/{ARROW}", empty),
        (f"{TOKENS}/{ARROW}", delete),
        (f"{TOKENS}/statistics.json", alter),
        (f"{MODEL}/model.safetensors", truncate),
        (f"{MODEL}/tokenizer.json", alter),
    ],
    "eval_lora": [
        (f"{ADAPTER}/adapter_model.safetensors", alter),
        (f"{ADAPTER}/adapter_model.safetensors", alter_weights),
        (f"{ADAPTER}/adapter_model.safetensors", truncate),
        (f"{ADAPTER}/classifier.json", alter),
        (f"{ADAPTER}/digests.json", truncate),
        (TRAINING, alter),
        (TRAINING, truncate),
    ],
    "predict": [
        (f"{ADAPTER}/adapter_model.safetensors", alter_weights),
        (f"{ADAPTER}/tokenizer.json", alter),
        (f"{ADAPTER}/adapter_config.json", alter),
    ],
    "verdicts": [
        (METRICS, alter),
        (METRICS, truncate),
        (METRICS, empty),
        (PREDICTIONS, alter),
        (PREDICTIONS, alter_probabilities),
        (PREDICTIONS, truncate),
        (PREDICTIONS, delete),
    ],
}


def run(stage: str, place: Path, monkeypatch) -> None:
    """Run a stage by hand, from the directory that holds results/ and resources/."""
    (place / "new.txt").write_text("win a prize\n")
    (place / "new").mkdir(exist_ok=True)
    monkeypatch.chdir(place)
    importlib.import_module(stage).main(STAGES[stage])


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_whole_is_used(results, stage, monkeypatch):
    run(stage, results, monkeypatch)
    assert list((results / "new").iterdir())


@pytest.mark.parametrize(
    ("stage", "name", "damage"),
    [
        pytest.param(stage, *case, id=f"{stage}-{Path(case[0]).name}-{case[1].__name__}")
        for stage, cases in CASES.items()
        for case in cases
    ],
)
def test_damage_is_named_and_nothing_is_made_of_it(
    results, stage, name, damage: Callable[[Path], None], monkeypatch
):
    damage(results / name)
    with pytest.raises(InputError, match=re.escape(name)):
        run(stage, results, monkeypatch)
    assert not list((results / "new").iterdir())


def test_a_seal_holds_every_file_and_no_later_one(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a").write_text("1")
    seals.seal(tmp_path)
    (tmp_path / "card.md").write_text("later")
    seals.check(tmp_path)
    seals.seal(tmp_path)  # anew, with the card
    (tmp_path / "deep/a").write_text("2")
    with pytest.raises(InputError, match="deep/a is damaged: it is not what was written"):
        seals.check(tmp_path)


def test_a_directory_without_a_seal_passes(tmp_path):
    (tmp_path / "a").write_text("1")
    seals.check(tmp_path)


@pytest.fixture
def mount(tmp_path):
    """Mount a small file system in memory; only root may."""
    mounted = []

    def make(options: str) -> Path:
        place = tmp_path / "mounted"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("file systems cannot be mounted here")
        mounted.append(place)
        return place

    yield make
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def train_into(warm, make_tokens, tiny_models):
    """Train a cell into a directory, in a process of its own."""

    def train(place: Path) -> subprocess.CompletedProcess[str]:
        inputs = ["--model", tiny_models["bert"], "--tokens", make_tokens("bert")]
        words = [*inputs, "--max-steps", "3", "--checkpoint-seconds", "0"]
        words += ["--output", place / "adapter", "--record", place / "training.json"]
        return warm.run([ROOT / "scripts/train_lora.py", *words], capture_output=True)

    return train


def test_a_full_disk_is_told_and_leaves_nothing_half_written(mount, train_into):
    """Checkpoints that have no room are told too, and training goes on."""
    place = mount("size=16k")
    done = train_into(place)
    assert done.returncode == 1
    assert "no checkpoint at step 1" in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "No space left on device; make room there, and run again" in last
    assert not (place / "adapter").exists()
    assert not (place / "training.json").exists()


def test_results_that_are_mounted_read_only_are_told(mount, train_into):
    place = mount("ro")
    done = train_into(place)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: {place}")
    assert "Read-only file system; write elsewhere, or have it mounted for writing" in last


def test_a_file_in_the_place_of_a_directory_is_told(tmp_path, train_into):
    (tmp_path / "results").write_text("")
    done = train_into(tmp_path / "results")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "move away the file that stands where a directory is needed, and run again" in last


def test_a_file_in_the_place_of_an_output_directory_is_replaced(tmp_path, train_into):
    (tmp_path / "adapter").write_text("")
    done = train_into(tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "adapter").is_dir()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            OSError(28, "No space left on device", "/x/a"),
            "/x/a: No space left on device; make room",
        ),
        (ValueError("I/O error: No space left on device (os error 28)"), "No space left on device"),
        (ValueError("anything else"), ""),
    ],
)
def test_what_the_system_refuses_is_found_in_any_error(error, line):
    assert line in cli.refusal(error)
    assert bool(cli.refusal(error)) == bool(line)
    try:
        raise RuntimeError("a library says so") from error
    except RuntimeError as passed_on:
        assert cli.refusal(passed_on) == cli.refusal(error)


def test_a_mistake_of_this_project_is_no_refusal(tmp_path):
    script = tmp_path / "broken.py"
    script.write_text("from common import cli\ncli.run(lambda: 1 / 0)\n")
    env = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=env)
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError" in done.stderr

"""One training in two processes: the same model, and neither outlives the other."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from common import cli

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def command(make_tokens, tiny_models):
    """The words of a training in so many processes, behind those of Python."""
    inputs = ["--model", tiny_models["gpt2"], "--tokens", make_tokens("gpt2", count=600)]

    def words(place: Path, processes: int, *more: object) -> list[str]:
        line = [*inputs, "--peft", json.dumps({"r": 4}), "--gpus", processes, "--batch-size", 16]
        line += ["--learning-rate", 1e-2]
        line += ["--output", place / "adapter", "--record", place / "training.json", *more]
        return [str(ROOT / "scripts/train_lora.py"), *map(str, line)]

    return words


@pytest.mark.full
def test_two_processes_train_the_model_that_one_does(command, warm, tmp_path):
    """Each has half of a batch; sums are added in another order, which is all that differs."""
    for processes in (1, 2):
        place = tmp_path / str(processes)
        words = command(place, processes, "--kind", "head", "--learning-rate", 0.1)
        done = warm.run(words, capture_output=True)
        assert done.returncode == 0, done.stderr
    records = [json.loads((tmp_path / n / "training.json").read_text()) for n in ("1", "2")]
    first, second = (record["train_info"] for record in records)
    # Of a head, since LoRA begins with gradients of 0 but for rounding, and AdamW makes whole steps
    # of those; of GPT-2, whose head has no dropout.
    logits = [record["round_trip"]["logits"] for record in records]
    assert np.ptp(logits[0]) > 0.5
    np.testing.assert_allclose(logits[0], logits[1], rtol=0, atol=1e-3)
    assert first["steps"] == second["steps"]
    # An epoch that does not divide into equal batches is filled up with rows from its beginning.
    assert second["train_samples"] == pytest.approx(first["train_samples"], abs=16)
    logs = [
        [e["eval_loss"] for e in info["metrics"] if "eval_loss" in e] for info in (first, second)
    ]
    assert logs[0] == pytest.approx(logs[1], rel=1e-3)


@pytest.mark.full
def test_all_processes_try_a_failed_training_again(command, warm, tmp_path):
    """As if it had the second seed from the first."""
    again, alone = tmp_path / "again", tmp_path / "alone"
    for place, more in ((again, ["--retries", 1, "--failed-above", 0.001]),
                        (alone, ["--seed", 2**31 - 1])):  # fmt: skip
        done = warm.run(command(place, 2, "--max-steps", 5, *more), capture_output=True)
        assert done.returncode == 0, done.stderr
    name = "adapter/adapter_model.safetensors"
    assert (again / name).read_bytes() == (alone / name).read_bytes()
    info = json.loads((again / "training.json").read_text())["train_info"]
    assert [each["seed"] for each in info["attempts"]] == [0, 2**31 - 1]


@pytest.fixture
def started(command, tmp_path):
    """A long training in two processes, once both are there: the first and the second."""
    words = command(tmp_path, 2, "--epochs", 500, "--checkpoint-seconds", 1)
    first = subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("adapter.checkpoints/step*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    (second,) = psutil.Process(first.pid).children()
    yield first, second
    for process in (first, second):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    first.wait()


@pytest.mark.full
def test_the_first_ends_when_the_second_fails(started):
    first, second = started
    second.kill()
    _, said = first.communicate(timeout=20)
    assert first.returncode == 1
    assert "process 1 of this training ended with status -9" in said


@pytest.mark.full
def test_the_second_ends_when_the_first_is_killed(started):
    first, second = started
    first.kill()
    first.wait()
    second.wait(timeout=20)


@pytest.mark.full
def test_both_go_on_where_they_were(started, command, tmp_path):
    first, second = started
    first.send_signal(signal.SIGTERM)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 128 + signal.SIGTERM
    assert "SIGTERM ended the training at step" in said
    second.wait(timeout=20)
    saved = list(tmp_path.glob("adapter.checkpoints/step*"))
    assert len(saved) == 1
    again = subprocess.Popen(
        [sys.executable, *command(tmp_path, 2, "--epochs", 500, "--checkpoint-seconds", 1)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert again.stderr is not None
    line = next((line for line in again.stderr if "going on from step" in line), "")
    again.kill()
    again.communicate()
    assert f"going on from step {saved[0].name.removeprefix('step')} " in line


def test_a_batch_that_cannot_be_shared_is_refused(command, warm, tmp_path):
    words = command(tmp_path, 2, "--batch-size", 7)
    done = warm.run(words, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert "`batch_size` is 7, and no multiple of `gpus`, 2" in done.stderr


JOB = "import time; from common import cli; {more}cli.run(lambda: time.sleep(60))"


@pytest.mark.parametrize("more", ["", "del cli.os.pidfd_open; cli.WATCH_SECONDS = .1; "])
def test_a_job_ends_when_its_snakemake_is_killed(monkeypatch, more):
    snakemake = subprocess.Popen(["sleep", "60"])
    monkeypatch.setenv(cli.WORKFLOW, cli.process_name(snakemake.pid))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "scripts"))
    job = subprocess.Popen(
        [sys.executable, "-c", JOB.format(more=more)], stderr=subprocess.PIPE, text=True
    )
    time.sleep(1)
    assert job.poll() is None
    snakemake.kill()
    assert job.wait(2) == -signal.SIGTERM
    assert job.stderr is not None
    assert "Snakemake is gone: this job ends, too" in job.stderr.read()
    snakemake.wait()


def test_a_script_that_is_run_by_hand_or_elsewhere_watches_nobody(monkeypatch):
    started: list[object] = []
    monkeypatch.setattr(cli.threading, "Thread", started.append)
    monkeypatch.delenv(cli.WORKFLOW, raising=False)
    cli.end_with_workflow()
    monkeypatch.setenv(cli.WORKFLOW, "1 2 pid:[3]")  # of another container
    cli.end_with_workflow()
    assert started == []


def test_the_name_of_a_process_is_not_that_of_a_later_one():
    process = subprocess.Popen(["sleep", "60"])
    name = cli.process_name(process.pid)
    assert name.split()[0] == str(process.pid)
    assert cli.process_name(process.pid) == name
    assert cli.process_name(os.getpid()) != name
    process.kill()
    time.sleep(0.1)
    assert cli.process_name(process.pid) == ""  # though nobody has waited for it
    process.wait()

"""A training that was cut short ends as one that was not, bit for bit."""

import json
import os
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import train_lora
from common.cli import InputError, StoppedError
from common.data import tokens
from common.model import checkpoint, models, trainer, training, variants
from common.model.checkpoint import Checkpoints
from common.model.collator import Padding
from tests.test_training import SETTINGS

torch.set_num_threads(1)

ROOT = Path(__file__).parents[1]
ROWS, BATCH = 86, 8  # 11 steps in an epoch
STEPS = 22


class Killed(Exception):  # noqa: N818
    """In place of a signal that nobody can catch."""


@pytest.fixture(scope="module")
def data(make_tokens) -> tokens.Tokens:
    return tokens.load(make_tokens("bert", count=120))


@pytest.fixture(scope="module")
def train(data, tiny_models):
    """Train a fresh model; returns its state, what was told of it, and its random numbers."""

    def run(kind="adapter", peft=None, checkpoints=None, **changes):
        made = models.load_classifier(tiny_models["bert"], data.labels, data.pad_token_id, 0)
        model = variants.adapt(made, kind, peft or {"r": 4, "lora_dropout": 0.1}, STEPS)
        settings = replace(SETTINGS, **{"epochs": 2, "batch_size": BATCH, **changes})
        padding = Padding(data.pad_token_id)
        told = training.train(model, data.splits, padding, settings, 0, checkpoints)
        return {"weights": model.state_dict(), "told": told, "draw": torch.rand(4)}

    return run


@pytest.fixture
def cut_short(train, tmp_path, monkeypatch):
    """Train again and again, ended after the next of some steps each time, then to the end."""

    def run(after, **words):
        kept = Checkpoints(tmp_path / "checkpoints", 0, lambda: {"of": "this"})
        begin = trainer.SaveWhenDue.on_step_end
        for last in after:

            def on_step_end(self, args, state, control, last=last, **more):
                if state.global_step > last:
                    raise Killed
                begin(self, args, state, control, **more)

            with monkeypatch.context() as patch:
                patch.setattr(trainer.SaveWhenDue, "on_step_end", on_step_end)
                with pytest.raises(Killed):
                    train(checkpoints=kept, **words)
        return train(checkpoints=kept, **words)

    return run


def without_times(told: dict) -> dict:
    """Return what does not depend on the clock."""
    log = [{k: v for k, v in entry.items() if "runtime" not in k and "per_second" not in k}
           for entry in told["metrics"]]  # fmt: skip
    timed = ("train_time", "peak_memory_bytes", "metrics")
    kept = {k: v for k, v in told.items() if k not in timed and "per_second" not in k}
    attempts = [{**each, "seconds": None} for each in told.get("attempts", [])]
    return {**kept, "log": log, "attempts": attempts}


def assert_same(found: dict, wanted: dict) -> None:
    assert found["weights"].keys() == wanted["weights"].keys()
    for name, value in wanted["weights"].items():
        assert torch.equal(found["weights"][name], value), name
    assert without_times(found["told"]) == without_times(wanted["told"])
    assert torch.equal(found["draw"], wanted["draw"])


@pytest.mark.quick(2)
@pytest.mark.parametrize("after", [[11], [2, 5, 9, 14], [1], [10], [12], [21]])
def test_it_goes_on_from_any_step(train, cut_short, after):
    """Steps 10 and 20 are logged, 11 and 22 end an epoch, and validate."""
    assert_same(cut_short(after), train())


VARIANTS: dict[str, dict[str, Any]] = {
    "full": {"kind": "full"},
    "adalora": {"peft": {"peft_type": "ADALORA", "init_r": 4, "target_r": 1, "deltaT": 1,
                         "tinit": 3, "tfinal": 4, "total_step": STEPS}},
    "oft": {"peft": {"peft_type": "OFT", "r": 0, "oft_block_size": 4, "module_dropout": 0.1}},
    "best": {"keep": "best"},
    "accumulation": {"gradient_accumulation_steps": 3},
    "head": {"kind": "head"},
    "dora": {"peft": {"r": 4, "use_dora": True}},
    "prompt": {"peft": {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4}},
    "prefix": {"peft": {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4}},
    "vera": {"peft": {"peft_type": "VERA", "r": 4}},
    "ia3": {"peft": {"peft_type": "IA3"}},
    "patience": {"patience": 1, "epochs": 4, "learning_rate": 0.3},
    "dropout": {"backbone_dropout": True},
    "lora-plus": {"lora_plus_ratio": 4.0},
    "bf16": {"precision": "bf16"},
    "cosine": {"scheduler": "cosine", "warmup": 0.3},
    "steps": {"max_steps": 15},
    "balanced": {"class_weights": "balanced"},
    "checkpointing": {"gradient_checkpointing": True},
}  # fmt: skip


@pytest.mark.quick(5)
@pytest.mark.parametrize("name", VARIANTS)
def test_whatever_is_trained_and_however(train, cut_short, name):
    words = VARIANTS[name]
    per_epoch = 4 if name == "accumulation" else 11
    assert_same(cut_short([3, per_epoch + 1], **words), train(**words))


def test_an_end_that_was_asked_for_keeps_what_there_is(train, tmp_path, monkeypatch):
    kept = Checkpoints(tmp_path / "checkpoints", 10_000, dict)
    begin = trainer.SaveWhenDue.on_step_end

    def on_step_end(self, args, state, control, **more):
        if state.global_step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        begin(self, args, state, control, **more)

    handler = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(trainer.SaveWhenDue, "on_step_end", on_step_end)
        with pytest.raises(StoppedError, match="SIGTERM ended the training at step 5 of 22"):
            train(checkpoints=kept)
    assert signal.getsignal(signal.SIGTERM) is handler
    assert kept.latest()[0] == tmp_path / "checkpoints/step5"
    assert_same(train(checkpoints=kept), train())


def test_nothing_is_kept_of_a_training_that_is_over(train, tmp_path):
    """Early stopping is not part of the state: a training that goes on would not stop."""
    kept = Checkpoints(tmp_path / "checkpoints", 0, dict)
    told = train(checkpoints=kept, patience=1, epochs=6, learning_rate=0.5)["told"]
    assert told["epochs"] < 6
    path, _ = kept.latest()
    assert path is not None
    assert checkpoint.step_of(path) < told["steps"]


def test_elsewhere_than_in_the_main_thread_no_signal_is_asked_for(train, tmp_path):
    done = []
    kept = Checkpoints(tmp_path / "checkpoints", 10_000, dict)
    thread = threading.Thread(target=lambda: done.append(train(checkpoints=kept, max_steps=2)))
    thread.start()
    thread.join()
    assert done


@pytest.fixture(scope="module")
def retried(tiny_models, make_tokens):
    """Train a cell that always fails, and is tried again once; ended after some steps, if at all.

    The steps are counted over both attempts, 22 each.
    """
    inputs = ["--model", tiny_models["bert"], "--tokens", make_tokens("bert", count=120)]
    peft = json.dumps({"r": 4, "lora_dropout": 0.1})

    def run(place: Path, patch=None, after=None) -> None:
        line = [*inputs, "--peft", peft, "--learning-rate", 1e-2, "--epochs", 2, "--retries", 1]
        line += ["--failed-above", 0.01, "--checkpoint-seconds", 0]
        line += ["--output", place / "adapter", "--record", place / "training.json"]
        begin = trainer.SaveWhenDue.on_step_end

        def on_step_end(self, args, state, control, **more):
            before = sum(each["steps"] for each in self.checkpoints.attempts)
            if before + state.global_step > after:
                raise Killed
            begin(self, args, state, control, **more)

        if after is not None:
            patch.setattr(trainer.SaveWhenDue, "on_step_end", on_step_end)
        train_lora.main(list(map(str, line)))

    return run


@pytest.fixture(scope="module")
def retried_whole(retried, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("retried")
    retried(place)
    return place


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("after", "last"),
    [([22], 21), ([3, 24, 35, 42], 42), ([5], 5), ([25], 25), ([32, 33], 33)],
)
def test_a_second_attempt_goes_on_where_it_was(
    retried, retried_whole, tmp_path, monkeypatch, after, last
):
    """A checkpoint is written after every step but the last of an attempt."""
    for step in after:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            retried(tmp_path, patch, step)
    kept = tmp_path / "adapter.checkpoints"
    assert [path.name for path in kept.glob("step*")] == [f"step{last}"]
    retried(tmp_path)
    assert not kept.exists()
    assert contents(tmp_path) == contents(retried_whole)
    found, wanted = (json.loads((place / "training.json").read_text())
                     for place in (tmp_path, retried_whole))  # fmt: skip
    assert found["round_trip"] == wanted["round_trip"]
    infos = [without_times(record["train_info"]) for record in (found, wanted)]
    assert infos[0] == infos[1]
    assert [each["seed"] for each in infos[0]["attempts"]] == [0, 2**31 - 1]


def test_an_attempt_does_not_begin_with_the_checkpoint_of_another(tmp_path):
    """Here the first was ended between its last checkpoint and the second's first."""
    first = Checkpoints(tmp_path / "kept", 0, dict)
    first.write(20, {"weights": torch.ones(2)}, transformers.TrainerState())
    failed = [{"seed": 0, "steps": 22, "final_loss": 0.7}]
    second = Checkpoints(tmp_path / "kept", 0, dict, failed)
    assert second.latest() == (None, {})
    assert second.attempts_before() == []
    second.write(3, {"weights": torch.zeros(2)}, transformers.TrainerState())
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["step25"]
    assert first.attempts_before() == failed
    assert second.latest()[0] == tmp_path / "kept/step25"


@pytest.fixture(scope="module")
def command(make_tokens, tiny_models, warm):
    """The words of a training of a few seconds, in a process of its own."""
    inputs = ["--model", tiny_models["gpt2"], "--tokens", make_tokens("gpt2", count=200)]

    def words(place: Path, *more: object) -> list[str]:
        peft = json.dumps({"r": 4, "lora_dropout": 0.1})
        line = [*inputs, "--peft", peft, "--learning-rate", 1e-2, "--epochs", 4]
        line += ["--checkpoint-seconds", 0, "--output", place / "adapter"]
        line += ["--record", place / "training.json", *more]
        return [warm.python, str(ROOT / "scripts/train_lora.py"), *map(str, line)]

    return words


def contents(place: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted((place / "adapter").iterdir())}


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory) -> Path:
    """The cell of a training that was left alone."""
    place = tmp_path_factory.mktemp("whole")
    subprocess.run(command(place), capture_output=True, check=True)
    return place


@pytest.mark.quick(2)
@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_ended_goes_on_when_it_is_run_again(command, whole, tmp_path, ended_by):
    cut = tmp_path / "cut"
    saved = cut / "adapter.checkpoints"
    process = subprocess.Popen(command(cut), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(saved.glob("step*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(ended_by)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (-ended_by if ended_by == signal.SIGKILL else 128 + ended_by)
    if ended_by != signal.SIGKILL:
        assert f"{ended_by.name} ended the training at step" in said.splitlines()[-1]
    assert not (cut / "adapter").exists()
    assert not (cut / "training.json").exists()

    again = subprocess.run(command(cut), capture_output=True, text=True, check=True)
    assert "going on from step" in again.stderr
    assert not saved.exists()
    assert contents(cut) == contents(whole)
    first, second = (json.loads((place / "training.json").read_text()) for place in (cut, whole))
    assert first["round_trip"] == second["round_trip"]
    assert without_times(first["train_info"]) == without_times(second["train_info"])


@pytest.mark.parametrize(
    ("more", "named"), [(("--seed", 1), "seed"), (("--learning-rate", 0.02), "learning_rate")]
)
def test_a_checkpoint_of_other_settings_is_not_used(
    command, tmp_path, monkeypatch, caplog, more, named
):
    class Ended(Exception):  # noqa: N818
        pass

    def on_save(*_: object, **__: object) -> None:
        raise Ended

    with monkeypatch.context() as patch:
        patch.setattr(trainer.SaveWhenDue, "on_save", on_save)
        with pytest.raises(Ended):
            train_lora.main(command(tmp_path)[2:])
    assert (tmp_path / "adapter.checkpoints/step1").is_dir()
    train_lora.main(command(tmp_path, "--epochs", 1, *more)[2:])
    assert f"is of a training with another epochs, {named}" in caplog.text
    assert not (tmp_path / "adapter.checkpoints").exists()


HOOKS = [*trainer.SAVING, *trainer.LOADING]


@pytest.mark.parametrize("name", HOOKS)
def test_a_trainer_without_a_private_method_is_refused_on_import(name):
    methods = {hook: vars(trainer.transformers.Trainer)[hook] for hook in HOOKS}
    trainer.require_hooks(type("Trainer", (), methods))
    renamed = methods | {name: None, f"{name}_state": methods[name]}
    with pytest.raises(InputError, match=f"`Trainer.{name}` is missing there; install the version"):
        trainer.require_hooks(type("Trainer", (), renamed))
    with pytest.raises(InputError, match=f"`Trainer.{name}` is another there"):
        trainer.require_hooks(type("Trainer", (), methods | {name: lambda _, more: more}))


@pytest.mark.parametrize("name", HOOKS)
def test_a_trainer_that_calls_a_private_method_no_more_ends_in_one_line(
    cut_short, monkeypatch, name
):
    """As after a release that keeps the method for those who override it, and has another."""
    monkeypatch.setattr(trainer.ResumableTrainer, name, lambda *_, **__: None)
    with pytest.raises(InputError, match=f"`Trainer.{name}` is not called there"):
        cut_short([3])

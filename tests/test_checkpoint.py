"""Checkpoints: whole, of this training, read without unpickling; or not used."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from common import checksums, files
from common.model import checkpoint
from common.model.checkpoint import Checkpoints
from rules.digest import code_params

STATE = {
    "weights": {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor(0, dtype=torch.uint8)},
    "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "groups": [{"betas": (0.9, 0.999)}]},
    "none": None,
    "sums": {"loss": 0.1 + 0.2, "best": math.inf, "steps": 7, "yes": True},
}
TRAINER = SimpleNamespace(save_to_json=lambda path: Path(path).write_text("{}"))


def checkpoints(place: Path, seconds: float = 0, **parts: object) -> Checkpoints:
    return Checkpoints(place / "checkpoints", seconds, lambda: {"seed": 0, **parts})


def same(first: object, second: object) -> bool:
    """Return whether two states are equal, and of the same types."""
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if type(first) is not type(second):
        return False
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


def test_a_state_comes_back_as_it_was(tmp_path):
    written = checkpoints(tmp_path)
    written.write(3, STATE, TRAINER)
    found = checkpoints(tmp_path)
    path, state = found.latest()
    assert path == tmp_path / "checkpoints/step3"
    assert same(state, STATE)


def test_a_state_of_anything_else_is_refused():
    with pytest.raises(TypeError, match="cannot hold a set"):
        checkpoint.to_json({"a": [{1}]}, {})


def test_only_the_last_one_stays(tmp_path):
    written = checkpoints(tmp_path)
    for step in (3, 20, 100):
        written.write(step, STATE, TRAINER)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step100"]
    written.remove()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("parts", "named"),
    [({"seed": 1}, "seed"), ({"rate": 0.1}, "rate"), ({"seed": 2, "code": "x"}, "code, seed")],
)
def test_one_of_another_training_is_not_used(tmp_path, caplog, parts, named):
    checkpoints(tmp_path).write(3, STATE, TRAINER)
    assert checkpoints(tmp_path, **parts).latest() == (None, {})
    assert f"is of a training with another {named}" in caplog.text
    assert len(caplog.records) == 1
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["other-step3"]


def test_one_of_another_training_is_found_again_when_all_is_as_it_was(tmp_path):
    checkpoints(tmp_path).write(3, STATE, TRAINER)
    edited = checkpoints(tmp_path, code="edited")
    assert edited.latest() == (None, {})
    edited.write(2, {"other": 2}, TRAINER)
    edited.write(3, {"other": 3}, TRAINER)
    path, state = checkpoints(tmp_path).latest()
    assert path == tmp_path / "checkpoints/step3"
    assert same(state, STATE)
    # And the other one in turn, of the same step.
    path, state = checkpoints(tmp_path, code="edited").latest()
    assert path == tmp_path / "checkpoints/step3"
    assert state == {"other": 3}


def test_of_those_set_aside_the_furthest_is_kept_until_the_training_is_done(tmp_path):
    for number, step in enumerate((7, 30, 5)):
        written = checkpoints(tmp_path, code=number)
        assert written.latest() == (None, {})
        written.write(step, STATE, TRAINER)
    last = checkpoints(tmp_path)
    assert last.latest() == (None, {})
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["other-step30"]
    last.remove()
    assert not list(tmp_path.iterdir())


def test_the_one_before_is_used_where_the_last_is_damaged(tmp_path, caplog):
    written = checkpoints(tmp_path)
    written.write(3, STATE, TRAINER)
    kept = tmp_path / "kept"
    (tmp_path / "checkpoints/step3").rename(kept)
    written.write(5, STATE, TRAINER)
    kept.rename(tmp_path / "checkpoints/step3")
    tensors = tmp_path / "checkpoints/step5" / checkpoint.TENSORS
    tensors.write_bytes(tensors.read_bytes()[:-1])
    path, _ = checkpoints(tmp_path).latest()
    assert path is not None
    assert path.name == "step3"
    assert "step5 is damaged" in caplog.text
    assert (tmp_path / "checkpoints/damaged-step5").exists()


@pytest.mark.parametrize("name", [checkpoint.STATE, checkpoint.TENSORS])
@pytest.mark.parametrize("damage", ["truncated", "altered", "missing", "empty"])
def test_a_damaged_one_is_not_used(tmp_path, name, damage):
    checkpoints(tmp_path).write(3, STATE, TRAINER)
    file = tmp_path / "checkpoints/step3" / name
    content = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "altered" and name == checkpoint.STATE:
        file.write_text(file.read_text().replace('"loss": ', '"loss": 1'))
        file.write_text(file.read_text().replace("0.30000000000000004", "0.31"))
    elif damage == "altered":
        tensors = load_file(file)
        save_file({name: tensor + 1 for name, tensor in tensors.items()}, file)
    else:
        file.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"")
    assert checkpoints(tmp_path).latest() == (None, {})


def test_one_that_lost_its_seal_is_not_used(tmp_path):
    checkpoints(tmp_path).write(3, STATE, TRAINER)
    (tmp_path / "checkpoints/step3" / checksums.MANIFEST).unlink()
    assert checkpoints(tmp_path).latest() == (None, {})


def test_what_was_not_finished_is_not_seen(tmp_path):
    """A process that was killed while it wrote leaves a directory under another name."""
    checkpoints(tmp_path).write(3, STATE, TRAINER)
    (tmp_path / "checkpoints/step3").rename(tmp_path / "checkpoints/.step3.partial")
    assert checkpoints(tmp_path).latest() == (None, {})


def test_without_room_training_goes_on_and_the_one_before_stays(tmp_path, monkeypatch, caplog):
    written = checkpoints(tmp_path)
    written.write(3, STATE, TRAINER)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_json", full)
    written.write(5, STATE, TRAINER)
    assert "no checkpoint at step 5: [Errno 28] No space left on device" in caplog.text
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step3"]


def test_one_is_due_when_so_many_seconds_have_passed(tmp_path):
    assert checkpoints(tmp_path, seconds=0).due()
    assert not checkpoints(tmp_path, seconds=60).due()


def test_data_and_weights_are_read_only_when_there_is_something_to_compare(tmp_path):
    def identify() -> dict:
        raise AssertionError("asked")

    assert Checkpoints(tmp_path / "checkpoints", 0, identify).latest() == (None, {})


@pytest.fixture
def script(tmp_path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/helper.py").write_text('def f():\n    raise ValueError("no")\n')
    (tmp_path / "code/script.py").write_text("import helper\nhelper.f()\n")
    return tmp_path / "code/script.py"


def test_the_identity_holds_options_inputs_code_and_packages(tmp_path, script):
    data = tmp_path / "data"
    data.mkdir()
    (data / "a").write_text("1")
    first = checkpoint.identity({"seed": 0}, {"data": data}, script)
    assert first.keys() == {"seed", "data", "code", "packages", "device"}
    assert checkpoint.identity({"seed": 0}, {"data": data}, script) == first
    (data / "a").write_text("2")
    second = checkpoint.identity({"seed": 0}, {"data": data}, script)
    assert checkpoint.different(second, first) == "data"
    json.dumps(first)


@pytest.mark.parametrize(
    ("text", "different"),
    [
        ('def f():\n    raise ValueError("no")  # why\n', ""),
        ('def f():\n    """Fail."""\n    raise ValueError("never")\n', ""),
        ("def f():\n    return 1\n", "code"),
    ],
)
def test_an_edit_costs_a_checkpoint_where_it_costs_a_result(script, text, different):
    before = checkpoint.identity({}, {}, script)
    (script.parent / "helper.py").write_text(text)
    assert checkpoint.different(checkpoint.identity({}, {}, script), before) == different


def test_the_code_of_a_training_is_what_its_rule_holds():
    script = Path(checkpoint.__file__).parents[2] / "train_lora.py"
    held = {*code_params(script, script.parent).values()}
    code = checkpoint.identity({}, {}, script)["code"]
    assert {f"{name} {digest}" for name, digest in code.items()} == held

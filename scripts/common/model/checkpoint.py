"""Checkpoints: the whole state of a training, so that one that was cut short goes on as if it never
had been.

A checkpoint is used by the training that it is of, and by no other: it names the options, the code,
the data, the model and the packages, and has checksums. It is read without unpickling: tensors are
safetensors, all else in JSON.

One of another training is set aside, and found again when the code, the options or the packages are
what they were. One that is damaged is set aside too, for a person to look at. Of each kind one is
kept at most, until the training is done.

Heavy libraries are imported in the functions: a training without a checkpoint reads only its path.
"""

import json
import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import checksums, cli, files, syntax
from common.cli import InputError

log = logging.getLogger("checkpoint")

# The name of the Trainer's own file; it reads the step to go on from there.
TRAINER_STATE = "trainer_state.json"
STATE, TENSORS = "state.json", "tensors.safetensors"

OTHER, DAMAGED = "other-", "damaged-"  # begin the name of what was set aside

Identity = dict[str, Any]


class OtherTrainingError(InputError):
    """A checkpoint is whole, and of another training."""


@dataclass
class Checkpoints:
    """Where the state of one training is kept, and how often.

    Attributes:
        directory: of the training; it holds one directory for each checkpoint, named by its step,
            which is counted over all attempts.
        seconds: that pass between one and the next; 0: one after every step.
        identify: tells what the training is of, part by part. It may read all data and weights, and
            is asked only when there is a checkpoint to read or to write.
        attempts: records of those before this one, which failed, with the ``steps`` of each.
    """

    directory: Path
    seconds: float
    identify: Callable[[], Identity]
    attempts: list[dict[str, Any]] = field(default_factory=list)
    _identity: Identity | None = None
    _saved_at: float = field(default_factory=time.monotonic)

    @property
    def identity(self) -> Identity:
        """Return what the training is of, as JSON knows it."""
        if self._identity is None:
            self._identity = json.loads(json.dumps(self.identify(), default=str))
        return self._identity

    def due(self) -> bool:
        """Return whether so many seconds have passed."""
        return time.monotonic() - self._saved_at >= self.seconds

    def latest(self) -> tuple[Path | None, dict[str, Any]]:
        """Return the last checkpoint that is whole and of this training, and its state.

        Others are set aside, with a line of the log each; of several, the one that is furthest on
        is kept. One of this training that was set aside earlier comes back. None and {} where there
        is none, or one of an earlier attempt.
        """
        if self.directory.is_dir():
            files.remove_leftovers(self.directory)
        path, state = self.first_readable()
        for kind in (OTHER, DAMAGED):
            for less in self.inside(kind)[1:]:
                files.remove(less)
        if path and self.record(path)["attempts"] != self.attempts:
            return None, {}
        return path, state

    def attempts_before(self) -> list[dict[str, Any]]:
        """Return the attempts before that which ``latest`` will find a checkpoint of.

        Nothing is renamed: all processes of a training may ask at the same time.
        """
        for path in [*self.inside(""), *self.inside(OTHER)]:
            with suppress(InputError):  # ``latest`` will say so
                return self.record(path)["attempts"]
        return []

    def first_readable(self) -> tuple[Path | None, dict[str, Any]]:
        """Return what ``latest`` does, and set aside what cannot be used."""
        for path in self.inside(""):
            try:
                return path, self.read(path)
            except OtherTrainingError as error:
                self.set_aside(path, OTHER, error)
            except InputError as error:
                self.set_aside(path, DAMAGED, error)
        for path in self.inside(OTHER):
            try:
                state = self.read(path)
            except InputError:
                continue  # it was said when it was set aside
            back = path.with_name(f"step{step_of(path)}")
            path.rename(back)
            return back, state
        return None, {}

    def inside(self, kind: str) -> list[Path]:
        """Return the checkpoints of a kind, the last one first.

        Args:
            kind: "" for those to go on from, or OTHER or DAMAGED.
        """
        return sorted(self.directory.glob(f"{kind}step*"), key=step_of, reverse=True)

    def set_aside(self, path: Path, kind: str, why: InputError) -> None:
        """Rename a checkpoint that cannot be used, and say why.

        Args:
            path: of the checkpoint.
            kind: OTHER or DAMAGED.
            why: it cannot be used.
        """
        aside = path.with_name(f"{kind}{path.name}")
        while aside.exists():  # another one of the same step
            aside = aside.with_name(f"{aside.name}-")
        path.rename(aside)
        log.warning("%s; set aside as %s, until the training is done", why, aside.name)

    def read(self, path: Path) -> dict[str, Any]:
        """Return the state in a checkpoint; raises as ``record`` does."""
        import safetensors.torch

        record = self.record(path)
        try:
            tensors = safetensors.torch.load_file(path / TENSORS)
        except (OSError, safetensors.SafetensorError) as error:
            raise damaged(path) from error
        return from_json(record["state"], tensors)

    def record(self, path: Path) -> dict[str, Any]:
        """Return what a checkpoint holds beside its tensors.

        Raises:
            OtherTrainingError: it is of another training.
            InputError: it is damaged.
        """
        if not (path / checksums.MANIFEST).exists():
            raise InputError(f"{path} has lost its checksums: it is not used")
        try:
            checksums.verify(path)
            record = files.read_json(path / STATE, ("identity", "state"))
        except InputError as error:
            raise damaged(path) from error
        if changed := different(record["identity"], self.identity):
            raise OtherTrainingError(
                f"{path} is of a training with another {changed}: it is not used"
            )
        return record

    def write(self, step: int, state: dict[str, Any], trainer_state: Any) -> None:
        """Write a checkpoint, then remove the one before. Where there is no room, training goes on.

        Args:
            step: of this attempt at the training.
            state: of tensors, and of what JSON knows.
            trainer_state: a ``TrainerState``.
        """
        import safetensors.torch

        before = sum(attempt["steps"] for attempt in self.attempts)
        place = self.directory / f"step{before + step}"
        tensors: dict[str, Any] = {}
        content = to_json(state, tensors)
        try:
            with files.atomic_write(place) as aside:
                aside.mkdir()
                safetensors.torch.save_file(tensors, aside / TENSORS)
                record = {"identity": self.identity, "attempts": self.attempts, "state": content}
                files.write_json(record, aside / STATE)
                trainer_state.save_to_json(str(aside / TRAINER_STATE))
                checksums.write(aside)
        except (OSError, safetensors.SafetensorError) as error:
            log.warning("no checkpoint at step %d: %s", step, cli.one_line(error))
        else:
            for other in set(self.inside("")) - {place}:
                files.remove(other)
            log.info("checkpoint at step %d", step)
        self._saved_at = time.monotonic()

    def remove(self) -> None:
        """Remove all checkpoints, those that were set aside too: the training is done."""
        files.remove(self.directory)


def damaged(path: Path) -> InputError:
    """Return the error of a checkpoint that cannot be read."""
    return InputError(f"{path} is damaged: it is not used")


def step_of(path: Path) -> int:
    """Return the step of a checkpoint, from the name of its directory; -1 for another directory."""
    digits = path.name.rpartition("step")[2].rstrip("-")
    return int(digits) if digits.isdecimal() else -1


def different(found: Identity, wanted: Identity) -> str:
    """Return the names of the parts in which two trainings differ; "" if they are the same."""
    names = sorted(found.keys() | wanted.keys())
    missing = object()
    return ", ".join(
        name for name in names if found.get(name, missing) != wanted.get(name, missing)
    )


def to_json(value: Any, tensors: dict[str, Any]) -> Any:
    """Return a state as JSON, with its tensors set apart.

    Args:
        value: dicts, with keys of any JSON type, lists, tuples, numbers, texts and tensors.
        tensors: to add the tensors to, each under a name that takes its place.

    Raises:
        TypeError: there is something else in it, which could be read back by unpickling alone.
    """
    import torch

    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(value, dict):
        return {"items": [[key, to_json(part, tensors)] for key, part in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [to_json(part, tensors) for part in value]}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f"a checkpoint cannot hold a {type(value).__name__}")


def from_json(content: Any, tensors: dict[str, Any]) -> Any:
    """Return the state that was parted."""
    if not isinstance(content, dict):
        return content
    ((kind, value),) = content.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "float":
        return float(value)
    if kind == "items":
        return {key: from_json(part, tensors) for key, part in value}
    parts = [from_json(part, tensors) for part in value]
    return parts if kind == "list" else tuple(parts)


def identity(options: dict[str, Any], inputs: dict[str, Path], script: Path) -> Identity:
    """Return what a training is of: two that are equal in this give the same weights.

    Args:
        options: that change its result, by name.
        inputs: directories that it reads, by name.
        script: that trains. Of its code, what the rules see as changed counts (``common.syntax``):
            an edit of a comment or of a message costs no checkpoint.

    Returns:
        the options, and digests of all else. The processor is left out: a training may go on where
        there is another, as it may begin there.
    """
    import torch

    from common import cells

    return {
        **options,
        **{name: checksums.verified_digests(path) for name, path in inputs.items()},
        "code": syntax.code(script, script.parent),
        "packages": cells.meta_info([])["package_info"],
        "device": "cuda" if torch.cuda.is_available() else "cpu",
    }

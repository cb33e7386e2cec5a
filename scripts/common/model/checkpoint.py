"""Checkpoints: the whole state of a training, so that one that was cut short goes on as if it never
had been.

A checkpoint is used by the training that it is of, and by no other: it names the options, the code,
the data, the model and the packages, and is sealed. It is read without unpickling: tensors stand in
safetensors, all else in JSON.

Heavy libraries are imported in the functions: a training without a checkpoint reads only its path.
"""

import json
import logging
import math
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import cli, files, seals
from common.cli import InputError

log = logging.getLogger("checkpoint")

# The name of the Trainer's own file; it reads the step to go on from there.
TRAINER_STATE = "trainer_state.json"
STATE, TENSORS = "state.json", "tensors.safetensors"

Identity = dict[str, Any]


@dataclass
class Checkpoints:
    """Where the state of one training is kept, and how often.

    Attributes:
        directory: of the training; it holds one directory for each checkpoint, named by its step.
        seconds: that pass between one and the next; 0: one after every step.
        identify: tells what the training is of, part by part. It may read all data and weights, and
            is asked only when there is a checkpoint to read or to write.
    """

    directory: Path
    seconds: float
    identify: Callable[[], Identity]
    _identity: Identity | None = None
    _saved_at: float = field(default_factory=time.monotonic)

    @property
    def identity(self) -> Identity:
        """What the training is of, as JSON knows it."""
        if self._identity is None:
            self._identity = json.loads(json.dumps(self.identify(), default=str))
        return self._identity

    def due(self) -> bool:
        """Whether so many seconds have passed."""
        return time.monotonic() - self._saved_at >= self.seconds

    def latest(self) -> tuple[Path | None, dict[str, Any]]:
        """The last checkpoint that is whole and of this training: its directory, and its state.

        Others are removed, and it is told why. None and {} where there is none.
        """
        for path in sorted(self.directory.glob("step*"), key=step_of, reverse=True):
            try:
                return path, self.read(path)
            except InputError as error:
                log.warning("%s", error)
                shutil.rmtree(path, ignore_errors=True)
        return None, {}

    def read(self, path: Path) -> dict[str, Any]:
        """The state in a checkpoint.

        Raises:
            InputError: it is damaged, or of another training.
        """
        import safetensors.torch

        if not (path / seals.SEAL).exists():
            raise InputError(f"{path} has lost its seal: it is not used")
        try:
            seals.check(path)
            record = files.read_json(path / STATE, ("identity", "state"))
            tensors = safetensors.torch.load_file(path / TENSORS)
        except (InputError, OSError, safetensors.SafetensorError) as error:
            raise InputError(f"{path} is damaged: it is not used") from error
        if changed := different(record["identity"], self.identity):
            raise InputError(f"{path} is of a training with another {changed}: it is not used")
        return joined(record["state"], tensors)

    def write(self, step: int, state: dict[str, Any], trainer_state: Any) -> None:
        """Write a checkpoint, then remove the one before. Where there is no room, training goes on.

        Args:
            step: of the training.
            state: of tensors, and of what JSON knows.
            trainer_state: a ``TrainerState``.
        """
        import safetensors.torch

        place = self.directory / f"step{step}"
        tensors: dict[str, Any] = {}
        content = parted(state, tensors)
        try:
            with files.written_aside(place) as aside:
                aside.mkdir()
                safetensors.torch.save_file(tensors, aside / TENSORS)
                files.write_json({"identity": self.identity, "state": content}, aside / STATE)
                trainer_state.save_to_json(str(aside / TRAINER_STATE))
                seals.seal(aside)
        except (OSError, safetensors.SafetensorError) as error:
            log.warning("no checkpoint at step %d: %s", step, cli.one_line(error))
        else:
            for other in set(self.directory.glob("step*")) - {place}:
                files.remove(other)
            log.info("checkpoint at step %d", step)
        self._saved_at = time.monotonic()

    def remove(self) -> None:
        """Remove all checkpoints: the training is done."""
        files.remove(self.directory)


def step_of(path: Path) -> int:
    """The step of a checkpoint, told by the name of its directory; -1 for another directory."""
    digits = path.name.removeprefix("step")
    return int(digits) if digits.isdecimal() else -1


def different(found: Identity, wanted: Identity) -> str:
    """The names of the parts in which two trainings differ; "" if they are the same."""
    names = sorted(found.keys() | wanted.keys())
    missing = object()
    return ", ".join(
        name for name in names if found.get(name, missing) != wanted.get(name, missing)
    )


def parted(value: Any, tensors: dict[str, Any]) -> Any:
    """A state as JSON, with its tensors set apart.

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
        return {"items": [[key, parted(part, tensors)] for key, part in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [parted(part, tensors) for part in value]}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f"a checkpoint cannot hold a {type(value).__name__}")


def joined(content: Any, tensors: dict[str, Any]) -> Any:
    """The state that was parted."""
    if not isinstance(content, dict):
        return content
    ((kind, value),) = content.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "float":
        return float(value)
    if kind == "items":
        return {key: joined(part, tensors) for key, part in value}
    parts = [joined(part, tensors) for part in value]
    return parts if kind == "list" else tuple(parts)


def identity(options: dict[str, Any], inputs: dict[str, Path]) -> Identity:
    """What a training is of: two that are equal in this give the same weights.

    Args:
        options: that change its result, by name.
        inputs: directories that it reads, by name.

    Returns:
        the options, and digests of all else. The processor is left out: a training may go on where
        there is another, as it may begin there.
    """
    import torch

    from common.model import records

    return {
        **options,
        **{name: seals.verified(path) for name, path in inputs.items()},
        "code": code(),
        "packages": records.meta_info([])["package_info"],
        "device": "cuda" if torch.cuda.is_available() else "cpu",
    }


def code() -> dict[str, str]:
    """The digests of the modules of this project that are loaded."""
    root = Path(__file__).parents[2]
    places = {Path(path) for module in tuple(sys.modules.values())
              if (path := getattr(module, "__file__", None))}  # fmt: skip
    own = sorted(path for path in places if path.suffix == ".py" and path.is_relative_to(root))
    return seals.digests(own, root)

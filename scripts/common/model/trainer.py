"""A Trainer that can be stopped at any step and resumed bit for bit, and its callbacks.

What the Trainer of transformers saves is not all that a training is made of, and it is pickled.
Here the state is complete (weights, optimizer, schedule, random numbers, sums of losses, and what
stands between the steps), and common.model.checkpoint stores it.

Imports torch and transformers, so import it late.
"""

import functools
import inspect
import logging
import math
import random
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import transformers
from accelerate.utils import gather_object

from common import cells
from common.cli import InputError, StoppedError
from common.model.checkpoint import Checkpoints

log = logging.getLogger("trainer")


class BestEpoch(transformers.TrainerCallback):
    """Keeps the weights of the epoch with the lowest validation loss, in memory.

    Args:
        model: its trainable parameters are kept.
        patience: end after so many epochs without a lower loss; None: run to the end.
    """

    KEPT = ("loss", "epoch", "without_gain", "best", "ranks")

    def __init__(self, model: Any, patience: int | None) -> None:
        self.trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.peft_config: Any = getattr(model, "peft_config", {}).get("default")
        self.patience = patience
        self.loss, self.epoch, self.without_gain = float("inf"), 0.0, 0
        self.best: dict[str, Any] = {}
        self.ranks: Any = None

    def on_evaluate(self, args, state, control, metrics, **_) -> None:  # noqa: ARG002
        """Compare the epoch that has just ended with the best one."""
        if metrics["eval_loss"] < self.loss:
            self.loss, self.epoch, self.without_gain = metrics["eval_loss"], state.epoch, 0
            self.best = {name: value.detach().clone() for name, value in self.trained.items()}
            self.ranks = getattr(self.peft_config, "rank_pattern", None)
        else:
            self.without_gain += 1
        if self.patience is not None and self.without_gain >= self.patience:
            control.should_training_stop = True

    def state(self) -> dict[str, Any]:
        """Return what ``load_state`` needs."""
        return {name: getattr(self, name) for name in self.KEPT}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        for name in self.KEPT:
            setattr(self, name, state[name])

    def restore(self) -> None:
        """Put the weights of the best epoch back, and the ranks that AdaLoRA had left it."""
        for name, value in self.best.items():
            self.trained[name].data.copy_(value)
        if self.best and hasattr(self.peft_config, "rank_pattern"):
            self.peft_config.rank_pattern = self.ranks


class RequireFiniteLoss(transformers.TrainerCallback):
    """Ends a training whose loss is not finite, when it is logged: no adapter is made of it.

    Losses alone: in fp16 a gradient may overflow, and its step is left out.
    """

    LOSSES = ("loss", "eval_loss", "train_loss")

    def on_log(self, args, state, control, logs, **_) -> None:  # noqa: ARG002
        """Raise InputError if a loss of this line of the log is not finite."""
        for name in self.LOSSES:
            if name in logs and not math.isfinite(logs[name]):
                raise InputError(
                    f"training diverged: `{name}` is {logs[name]} at step {state.global_step}; "
                    "lower `learning_rate`, or raise `warmup`"
                )


class AcceleratorMemory(transformers.TrainerCallback):
    """Notes after every step what torch holds of the accelerator's memory, in bytes.

    On the CPU, where there is no accelerator, that is 0.
    """

    def __init__(self) -> None:
        self.reserved: list[int] = []
        self.peak_before = 0

    def on_step_end(self, args, state, control, **_) -> None:  # noqa: ARG002
        """Note what is reserved now."""
        self.reserved.append(torch.cuda.memory_reserved() if torch.cuda.is_available() else 0)

    def state(self) -> dict[str, Any]:
        """Return what ``load_state`` needs."""
        return {"reserved": self.reserved, "peak": self.peak()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.reserved, self.peak_before = state["reserved"], state["peak"]

    def peak(self) -> int:
        """Return the most that torch ever held, in bytes."""
        peak = torch.cuda.max_memory_reserved() if torch.cuda.is_available() else 0
        return max(peak, self.peak_before)

    def summary(self) -> dict[str, int]:
        """Return mean, 99th percentile and peak, under the names of PEFT's suite; whole bytes."""
        return {
            "accelerator_memory_reserved_avg": int(np.mean(self.reserved)),
            "accelerator_memory_max": self.peak(),
            "accelerator_memory_reserved_99th": int(np.percentile(self.reserved, 99)),
        }


class AdaLoraSchedule(transformers.TrainerCallback):
    """Moves AdaLoRA's budget of ranks after every step; without it all ranks stay as they began."""

    KEPT = ("ipt", "exp_avg_ipt", "exp_avg_unc")

    def __init__(self, model: Any) -> None:
        self.model = model

    def state(self) -> dict[str, Any]:
        """Return what ``load_state`` needs: how much each rank has mattered, and which are left."""
        allocator, config = self.model.base_model.rankallocator, self.model.peft_config["default"]
        kept = {name: getattr(allocator, name) for name in self.KEPT}
        return kept | {"rank_pattern": config.rank_pattern}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        device = self.model.device
        for name in self.KEPT:
            kept = {layer: tensor.to(device) for layer, tensor in state[name].items()}
            setattr(self.model.base_model.rankallocator, name, kept)
        self.model.peft_config["default"].rank_pattern = state["rank_pattern"]

    def finish(self) -> None:
        """Take the masked ranks out, as saving does: sums over fewer terms round otherwise."""
        if ranks := self.model.peft_config["default"].rank_pattern:
            self.model.base_model.resize_modules_by_rank_pattern(ranks, "default")

    def on_optimizer_step(self, args, state, control, **_) -> None:  # noqa: ARG002
        """Called while the gradients of the step are still there."""
        self.model.base_model.update_and_allocate(state.global_step + 1)


# What a scheduler of jobs, or a person, ends a job with, some time before it is killed.
STOPS = (signal.SIGTERM, signal.SIGINT)

ONE_ASK_SECONDS = 2  # within them, Ctrl-C of a terminal and Snakemake, which passes it on, are one
# Of the Trainer: sums of losses since the last line of its log, and since the beginning.
SUMS = ("_tr_loss", "_total_loss_scalar", "_globalstep_last_logged", "current_flos")

FIRST_STEP = "_initial_global_step"
# Of the Trainer too, and private: what it calls to keep its state and to go on from there, with the
# parameters that it hands over. ResumableTrainer overrides them. A release that renamed one would
# go on with fresh moments or other random numbers, and say nothing.
SAVING = {"_save_checkpoint": ("model", "trial")}

LOADING = {
    "_load_from_checkpoint": ("resume_from_checkpoint", "model"),
    "_load_optimizer_and_scheduler": ("checkpoint",),
    "_load_scaler": ("checkpoint",),
    "_load_rng_state": ("checkpoint",),
}


def require_hooks(trainer: type, hooks: dict[str, tuple[str, ...]] = SAVING | LOADING) -> None:
    """Refuse a Trainer that has other private methods than those that are overridden here.

    Args:
        trainer: the class.
        hooks: the methods, with their parameters.

    Raises:
        InputError: one is missing or takes other parameters.
    """
    for name, wanted in hooks.items():
        method = vars(trainer).get(name)
        found = tuple(inspect.signature(method).parameters)[1:] if callable(method) else None
        if found != wanted:
            raise unfit(f"`Trainer.{name}` is {'missing' if found is None else 'another'} there")


def unfit(why: str) -> InputError:
    """Return the error of a Trainer that cannot be resumed."""
    return InputError(
        f"a training cannot go on from a checkpoint with transformers {transformers.__version__}: "
        f"{why}; install the version that envs/requirements.txt names"
    )


require_hooks(transformers.Trainer)


def noted(hook: Callable[..., None]) -> Callable[..., None]:
    """Note in ``called`` of a Trainer that it called a hook."""

    @functools.wraps(hook)
    def call(self: "ResumableTrainer", *args: Any, **words: Any) -> None:
        self.called.add(hook.__name__)
        hook(self, *args, **words)

    return call


class Stateful(Protocol):
    """What changes as the training goes on, beside the Trainer."""

    def state(self) -> dict[str, Any]:
        """Return what ``load_state`` needs: tensors, and what JSON knows."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Be what gave the state."""


class ResumableTrainer(transformers.Trainer):
    """The Trainer, with checkpoints of its whole state.

    Attributes:
        checkpoints: where they are kept; None: nowhere.
        parts: what else has a state, by name.
        called: the names of the hooks that the Trainer has called.
    """

    checkpoints: Checkpoints | None = None
    parts: dict[str, Stateful]
    called: set[str]
    _loaded: dict[str, Any]  # the state of the checkpoint, until it is put back
    _before: dict[str, Any]  # what training took before it was stopped

    def run(self) -> dict[str, Any]:
        """Train, from the last checkpoint if there is one.

        Returns:
            ``seconds`` and ``peak_memory_bytes`` (``cells.peak_memory_bytes``), of all processes
            that took part.

        Raises:
            StoppedError: the process was asked to end, and there is a checkpoint.
        """
        self.called = set()
        path, self._loaded = self.last_checkpoint()
        self._before = self._loaded.get("taken", {"seconds": 0.0, "peak_memory_bytes": 0})
        self._started = time.perf_counter()
        with ExitStack() as stack:
            if self.checkpoints:
                asked = stack.enter_context(asked_to_stop())
                self.add_callback(SaveWhenDue(self, self.checkpoints, asked))
            self.train(resume_from_checkpoint=str(path) if path else None)
        return self.taken()

    def spent(self) -> float:
        """Return the seconds since the training began in this process."""
        return time.perf_counter() - self._started

    def last_checkpoint(self) -> tuple[Path | None, dict[str, Any]]:
        """Return the directory of the checkpoint to go on from, and its state; None and {}: none.

        The first process looks before the others do: it renames what cannot be used.
        """
        if not self.checkpoints:
            return None, {}
        is_first = self.args.process_index == 0
        found = self.checkpoints.latest() if is_first else None
        self.accelerator.wait_for_everyone()
        return found or self.checkpoints.latest()

    def taken(self) -> dict[str, Any]:
        """Return what training took until now."""
        seconds = self.spent()
        peak = cells.peak_memory_bytes()
        return {
            "seconds": self._before["seconds"] + seconds,
            "peak_memory_bytes": max(self._before["peak_memory_bytes"], peak),
        }

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:  # noqa: ARG002
        """Count nothing: the Trainer asks at every step, and its formula walks the whole model."""
        return 0

    def trained(self) -> dict[str, torch.Tensor]:
        """Parameters that are trained, and buffers, by name."""
        trained = {name: each for name, each in self.model.named_parameters() if each.requires_grad}
        return trained | dict(self.model.named_buffers())

    def agreed(self, yes: bool) -> bool:
        """Return whether any process of this training says yes.

        All of them ask at the same step.
        """
        if self.args.world_size == 1:
            return yes
        answers = self.accelerator.gather(torch.tensor([yes], device=self.args.device))
        return bool(answers.any())

    def summed(self, counts: dict[str, int]) -> dict[str, int]:
        """Return counts of this process as counts of all processes of this training."""
        if self.args.world_size == 1:
            return counts
        own = torch.tensor([list(counts.values())], device=self.args.device)
        return dict(zip(counts, self.accelerator.gather(own).sum(dim=0).tolist(), strict=True))

    @noted
    def _save_checkpoint(self, model: Any, trial: Any) -> None:  # noqa: ARG002
        """Called by the Trainer, after a step or an epoch."""
        if self.control.should_training_stop:
            return  # it is over, or was ended early: there is nothing to go on with
        scaler = self.accelerator.scaler
        own = {"random": random_state(), "parts": {k: v.state() for k, v in self.parts.items()}}
        state = {
            "weights": self.trained(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.lr_scheduler.state_dict(),
            "scaler": scaler.state_dict() if scaler else {},
            "processes": gather_object([own]),
            "sums": {name: getattr(self, name) for name in SUMS},
            "taken": self.taken(),
        }
        if self.checkpoints and self.args.should_save:
            self.checkpoints.write(self.state.global_step, state, self.state)

    @noted
    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:  # noqa: ARG002
        """Called by the Trainer before it begins."""
        weights = self.trained()
        with torch.no_grad():
            for name, value in self._loaded["weights"].items():
                weights[name].copy_(value)

    @noted
    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Called by the Trainer when it has made both."""
        if checkpoint:
            self.optimizer.load_state_dict(self._loaded["optimizer"])
            self.lr_scheduler.load_state_dict(self._loaded["schedule"])

    @noted
    def _load_scaler(self, checkpoint: str | None) -> None:
        """Called by the Trainer when it has made what scales gradients in fp16."""
        if checkpoint and self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(self._loaded["scaler"])

    @noted
    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Called by the Trainer when it has skipped the batches that were seen before."""
        if checkpoint:
            set_random_state(self._loaded["processes"][self.args.process_index]["random"])

    def require_called(self, hooks: Iterable[str]) -> None:
        """Refuse to go on where the Trainer has not called each of these hooks.

        Raises:
            InputError: it does not call one any more.
        """
        if missing := [name for name in hooks if name not in self.called]:
            raise unfit(f"`Trainer.{missing[0]}` is not called there")

    def require_attributes(self) -> None:
        """Refuse a Trainer that keeps its sums elsewhere.

        Raises:
            InputError: it names the first attribute that is missing.
        """
        for name in (*SUMS, FIRST_STEP):
            if not hasattr(self, name):
                raise unfit(f"`Trainer.{name}` is missing there")

    def restore_sums(self) -> None:
        """Put back what the Trainer sets to 0 when it begins, and the state of the parts."""
        for name, value in self._loaded["sums"].items():
            is_tensor = isinstance(value, torch.Tensor)
            setattr(self, name, value.to(self.args.device) if is_tensor else value)
        setattr(self, FIRST_STEP, 0)
        own = self._loaded["processes"][self.args.process_index]
        for name, part in self.parts.items():
            part.load_state(own["parts"][name])
        # The rest takes as much memory as all that is trained, several times.
        self._loaded = {"processes": self._loaded["processes"]}


class SaveWhenDue(transformers.TrainerCallback):
    """Asks for a checkpoint when one is due, or when the process was asked to end.

    Args:
        trainer: whose training it is.
        checkpoints: of it.
        asked: the signals that were received.
    """

    def __init__(
        self, trainer: ResumableTrainer, checkpoints: Checkpoints, asked: list[int]
    ) -> None:
        self.trainer = trainer
        self.checkpoints = checkpoints
        self.asked = asked
        self.first_step = 0

    def on_train_begin(self, args, state, control, **_) -> None:  # noqa: ARG002
        """When all is set up, before the first step."""
        self.trainer.require_attributes()
        self.first_step = state.global_step
        if state.global_step:
            log.info("going on from step %d of %d", state.global_step, state.max_steps)
            self.trainer.restore_sums()

    def on_step_begin(self, args, state, control, **_) -> None:  # noqa: ARG002
        """Before a step; all was put back before the first."""
        if self.first_step and state.global_step == self.first_step:
            self.trainer.require_called(LOADING)

    def on_step_end(self, args, state, control, **_) -> None:  # noqa: ARG002
        """After a step; but the last of an epoch, since its validation is still to come."""
        if not float(state.epoch).is_integer():
            self.save_if_due(control)

    def on_epoch_end(self, args, state, control, **_) -> None:  # noqa: ARG002
        """Before the validation of an epoch, which comes before the checkpoint."""
        self.save_if_due(control)

    def save_if_due(self, control: Any) -> None:
        """Ask for a checkpoint."""
        due = bool(self.asked) or self.checkpoints.due()
        control.should_save = control.should_save or self.trainer.agreed(due)

    def on_save(self, args, state, control, **_) -> None:  # noqa: ARG002
        """After a checkpoint."""
        self.trainer.require_called(SAVING)
        if not control.should_training_stop and self.trainer.agreed(bool(self.asked)):
            received = signal.Signals(self.asked[0]) if self.asked else signal.SIGTERM
            raise StoppedError(
                f"{received.name} ended the training at step {state.global_step} of "
                f"{state.max_steps}: run it again, and it goes on from there",
                received,
            )


_noted: list[list[int]] = []  # by the main thread, while it notes signals


@contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """Note signals that ask this process to end, in place of ending at once.

    Only the main thread of a process receives signals: others are told what it notes.
    """
    asked: list[int] = []
    first = 0.0
    if threading.current_thread() is not threading.main_thread():
        yield _noted[-1] if _noted else asked
        return

    def note(received: int, _: Any) -> None:
        nonlocal first
        if asked and time.monotonic() - first > ONE_ASK_SECONDS:
            raise KeyboardInterrupt  # asked twice: at once, then
        first = first or time.monotonic()
        asked.append(received)

    before = {each: signal.signal(each, note) for each in STOPS}
    _noted.append(asked)
    try:
        yield asked
    finally:
        _noted.pop()
        for each, handler in before.items():
            signal.signal(each, handler)


def random_state() -> dict[str, Any]:
    """Return the state of every generator that a training may draw from, in this process."""
    numbers = np.random.get_state(legacy=False)
    words = numbers["state"]["key"].tolist()
    return {
        "python": random.getstate(),
        "numpy": numbers | {"state": numbers["state"] | {"key": words}},
        "torch": torch.random.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Go on drawing as ``random_state`` found it."""
    random.setstate(state["python"])
    numbers = state["numpy"]
    words = np.array(numbers["state"]["key"], dtype=np.uint32)
    np.random.set_state(numbers | {"state": numbers["state"] | {"key": words}})
    torch.random.set_rng_state(state["torch"])
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"])

"""Cells trained together: LoRA adapters of one dataset and model, in one pass (``engine``).

They differ in seed, rank and learning rate, and share all frozen weights. All else of a training is
the Trainer's own. Each cell has a thread, of which one runs at a time, and in it the Trainer, with
its callbacks, log and checkpoints; where it would compute steps, it asks the pack for them, which
answers when all cells have asked.

Imports torch and transformers, so import it late.
"""

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import transformers
from transformers.trainer_utils import EvalLoopOutput

from common import cells, cli
from common.cli import InputError
from common.model import acceleration
from common.model.batches import Rows, rounded_tokens
from common.model.engine import Engine, Joined, share_frozen, step_bytes
from common.model.packing import UnsupportedError
from common.model.trainer import ResumableTrainer, asked_to_stop, require_hooks

log = logging.getLogger("pack")


@dataclass(frozen=True)
class Join:
    """Asked by a cell before its training: whether it is computed in the pack.

    The answer is why it is not; "" where it is.
    """

    joined: Joined


@dataclass(frozen=True)
class Steps:
    """Asked by a training: at least one of these steps. The answer is a ``Report``."""

    rows: Rows  # of each step
    factors: list[float]  # of the learning rate
    optimizer: Any
    limit: float  # of the norm of a gradient; 0: none


@dataclass(frozen=True)
class Report:
    """Steps that were taken.

    Attributes:
        losses: of each step.
        norm: of the gradient of the last step, before clipping.
        tokens: real ones.
        positions: tokens, and filler that was computed with them.
    """

    losses: list[float]
    norm: float
    tokens: int
    positions: int


@dataclass(frozen=True)
class Validation:
    """Asked by a training: the mean loss of some validation rows. The answer is that number."""

    rows: list[int]


class Cell:
    """A cell of a pack: a training in a thread of its own, which runs while all others wait.

    Args:
        number: of the cell, from 0.
        name: for the records of its companions.
        train: its training; it is called with the cell, and asks it.

    Attributes:
        request: what the training waits for; None: it can go on.
        has_ended: whether the training is over, for good or ill.
        seconds: its share of the time that the pack computed, by real tokens.
        generator: the state of torch's random numbers in its thread.
        pack: what it was trained with; None: nothing yet.
    """

    def __init__(self, number: int, name: str, train: Callable[["Cell"], None]) -> None:
        self.number, self.name, self.train = number, name, train
        self.request: Join | Steps | Validation | None = None
        self.has_ended, self.seconds = False, 0.0
        self.generator = torch.Generator()
        self.pack: Pack | None = None
        self._answer: Any = None
        self._error: BaseException | None = None
        self._turn, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._turn.acquire()
        try:
            if not self._is_closing:
                self.train(self)
        except BaseException as error:  # raised again by ``go_on``, in the thread of the pack
            self._error = error
        finally:
            self.has_ended = True
            self._back.release()

    def go_on(self) -> None:
        """Let the training run until it asks for something or ends; raise what it raises."""
        torch.random.set_rng_state(self.generator.get_state())
        self._turn.release()
        self._back.acquire()
        self.generator.set_state(torch.random.get_rng_state())
        if self._error is not None and not self._is_closing:
            raise self._error

    def ask(self, request: Join | Steps | Validation) -> Any:
        """Return the answer to what the training asks; called in its thread."""
        self.request = request
        self._back.release()
        self._turn.acquire()
        if self._is_closing:
            raise GeneratorExit
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer

    def answer(self, answer: Any) -> None:
        """Note an answer, or an exception for the training to raise, for when it goes on."""
        self.request, self._answer = None, answer

    def leave(self) -> dict[str, Any]:
        """Give the model parameters of its own again; return the record of the pack."""
        assert self.pack is not None
        engine, number = self.pack.places[self]
        engine.stack.release(number)
        return self.pack.record(self)

    def close(self) -> None:
        """End the thread of a training that nobody lets go on any more."""
        if not self.has_ended:
            self._is_closing = True
            self.go_on()


def train_together(
    trainings: Sequence[tuple[str, Callable[[Cell], None]]],
    within: Callable[[int], AbstractContextManager[Any]],
    static: bool | None = None,
) -> None:
    """Train cells together.

    Args:
        trainings: of each cell its name, and what trains it; see ``Cell``.
        within: each cell runs, and raises, within ``within(number)``. What does not stay there ends
            all trainings.
        static: whether shapes are static; None: on a GPU.
    """
    static = torch.cuda.is_available() if static is None else static
    members = [Cell(number, *each) for number, each in enumerate(trainings)]
    with asked_to_stop() as asked:
        pack = Pack(static, asked)
        try:
            while live := [each for each in members if not each.has_ended]:
                for cell in live:
                    if cell.request is None:
                        with within(cell.number):
                            cell.go_on()
                pack.answer([each for each in live if not each.has_ended])
        finally:
            for cell in members:
                cell.close()


class Pack:
    """Answers cells that wait, of which there is no other when it does.

    Attributes:
        static: whether shapes are static.
        asked: signals that ask this process to end.
        places: of each cell its engine, and its number there.
        cells: the names of all that are packed.
        seconds: that were computed, of the group.
    """

    def __init__(self, static: bool, asked: Sequence[int]) -> None:
        self.static, self.asked = static, asked
        self.places: dict[Cell, tuple[Engine, int]] = {}
        self.cells: list[str] = []
        self.seconds = 0.0
        self.has_graphs = False

    def record(self, cell: Cell) -> dict[str, Any]:
        """Return what is kept of the pack with a cell."""
        return {
            "cells": len(self.cells),
            "companions": [name for name in self.cells if name != cell.name],
            "seconds": round(self.seconds, 3),
            "peak_memory_bytes": cells.peak_memory_bytes(),
            "graphs": self.has_graphs,
        }

    def answer(self, waiting: Sequence[Cell]) -> None:
        """Answer some of the cells: those that join, else that validate, else that take steps."""
        for kind, answer in ((Join, self.join), (Validation, self.validate), (Steps, self.steps)):
            if some := [cell for cell in waiting if isinstance(cell.request, kind)]:
                answer(some)
                return

    def join(self, waiting: list[Cell]) -> None:
        """Say of cells whether they are packed: all of them, or none."""
        joined = [cell.request.joined for cell in waiting]  # type: ignore[union-attr]
        try:
            share_frozen([each.model for each in joined])
            engine = Engine(joined, self.static)
            engine.prove()
        except (UnsupportedError, *acceleration.FAILURES) as error:
            why = cli.one_line(error)
            log.info("without packing of cells: %s", why)
            for cell in waiting:
                cell.answer(why)
            return
        self.cells = [cell.name for cell in waiting]
        for number, cell in enumerate(waiting):
            self.places[cell], cell.pack = (engine, number), self
            cell.answer("")
        self.bound(engine)

    def bound(self, engine: Engine) -> None:
        """Split an engine until a step of each part fits into the free memory of the GPU.

        An estimate: what proves too large all the same is split when it is (``steps``).
        """
        if engine.device.type != "cuda" or len(engine.joined) == 1:
            return
        free, _ = torch.cuda.mem_get_info()
        if len(engine.joined) * step_bytes(engine) > free:
            self.split(engine)

    def split(self, engine: Engine) -> None:
        """Put two engines of half the cells in the place of one."""
        halves = engine.halves()
        log.info("a pack of %d cells is split for memory", len(engine.joined))
        middle = len(halves[0].joined)
        for cell, (other, number) in self.places.items():
            if other is engine:
                place = (halves[0], number) if number < middle else (halves[1], number - middle)
                self.places[cell] = place
        for half in halves:
            self.bound(half)

    def engines(self, waiting: Sequence[Cell]) -> Iterator[tuple[Engine, dict[int, Cell]]]:
        """Yield the engines of cells, each with its cells that wait, by number."""
        found: dict[Engine, dict[int, Cell]] = {}
        for cell in waiting:
            engine, number = self.places[cell]
            found.setdefault(engine, {})[number] = cell
        yield from found.items()

    def validate(self, waiting: list[Cell]) -> None:
        """Answer cells that validate."""
        for engine, asking in self.engines(waiting):
            rows: Rows = [[] for _ in engine.joined]
            for number, cell in asking.items():
                rows[number] = cell.request.rows  # type: ignore[union-attr, assignment]
            started = time.perf_counter()
            found = self.guarded(engine, partial(engine.validate, rows))
            if found is None:
                self.validate(list(asking.values()))
                continue
            weights = {n: max(1, len(rows[n])) for n in asking}
            self.share_out(time.perf_counter() - started, asking, weights)
            for number, cell in asking.items():
                cell.answer(found[number] if isinstance(found, list) else found)

    def guarded(self, engine: Engine, compute: Callable[[], Any]) -> Any:
        """Return what an engine computes.

        Returns:
            the exception where it fails; None where the memory did not suffice for so many cells:
            the engine is split, and the cells are to ask its parts.
        """
        states = [each.generator.get_state() for each in engine.joined]
        try:
            with engine.installed():
                return compute()
        except torch.OutOfMemoryError as error:
            if len(engine.joined) == 1:
                return InputError(
                    f"the memory of the GPU does not suffice for a step of one cell "
                    f"({cli.one_line(error)}): lower `batch_size` or `max_length`"
                )
        except Exception as error:
            return error
        for each, state in zip(engine.joined, states, strict=True):
            each.generator.set_state(state)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.split(engine)
        return None

    def steps(self, waiting: list[Cell]) -> None:
        """Answer cells that take steps: as many as all have asked for, fewer after a signal."""
        count = min(len(cell.request.rows) for cell in waiting)  # type: ignore[union-attr]
        for engine, asking in self.engines(waiting):
            for number, cell in asking.items():
                if number not in engine.optimizers:
                    request: Any = cell.request
                    engine.adopt(number, request.optimizer, request.limit)
            self.steps_of(engine, asking, count)

    def steps_of(self, engine: Engine, asking: dict[int, Cell], count: int) -> None:
        """Let the cells of an engine take steps.

        Where memory does not suffice, those before stay taken: they are answered on their own.
        """
        requests: dict[int, Any] = {number: cell.request for number, cell in asking.items()}
        found: list[tuple[Any, Any, list[int]]] = []
        started = time.perf_counter()
        for step in range(count):
            rows: Rows = [[] for _ in engine.joined]
            factors = [0.0] * len(engine.joined)
            for number, request in requests.items():
                rows[number], factors[number] = request.rows[step], request.factors[step]
            taken = self.guarded(engine, partial(engine.train, rows, factors))
            if isinstance(taken, Exception):
                for cell in asking.values():
                    cell.answer(taken)
                return
            if taken is None and not found:
                self.steps(list(asking.values()))
                return
            if taken is None:
                break
            found.append(taken)
            if self.asked:
                break
        self.has_graphs = self.has_graphs or bool(engine.graphs)
        self.report(engine, asking, found, started)

    def report(
        self, engine: Engine, asking: dict[int, Cell], found: list[Any], started: float
    ) -> None:
        """Answer cells with the steps that were taken since a time."""
        losses = torch.stack([each[0] for each in found]).double().cpu().T.tolist()
        norms = found[-1][1].double().cpu().tolist()
        tokens = np.array([each[2] for each in found]).sum(0)
        filled = sum(rounded_tokens(max(each[2])) for each in found) if engine.static else 0
        self.share_out(
            time.perf_counter() - started, asking, {n: max(1, int(tokens[n])) for n in asking}
        )
        for number, cell in asking.items():
            own = int(tokens[number])
            cell.answer(Report(losses[number], norms[number], own, filled or own))

    def share_out(self, seconds: float, asking: dict[int, Cell], weights: dict[int, int]) -> None:
        """Give each cell its share of the time."""
        self.seconds += seconds
        for number, cell in asking.items():
            cell.seconds += seconds * weights[number] / sum(weights.values())


# Of the Trainer, and private: what runs an epoch and is overridden here, and what it ends with.
EPOCH = {
    "_run_epoch": (
        "model", "epoch", "train_dataloader", "steps_in_epoch", "num_update_steps_per_epoch",
        "trial", "ignore_keys_for_eval", "start_time", "resume_from_checkpoint", "epochs_trained",
        "steps_trained_in_current_epoch",
    ),
    "_maybe_log_save_evaluate": (
        "tr_loss", "grad_norm", "model", "trial", "epoch", "ignore_keys_for_eval", "start_time",
        "learning_rate",
    ),
}  # fmt: skip

require_hooks(transformers.Trainer, EPOCH)


class PackedTrainer(ResumableTrainer):
    """The Trainer of a cell whose steps and validations the pack computes.

    Its datasets are the numbers of the rows, and its batches lists of them.

    Attributes:
        cell: that it asks.
        work: counts what was computed in training (``training.ThroughputCounter``).
    """

    cell: Cell
    work: Any
    control: transformers.TrainerControl

    def spent(self) -> float:
        """Return the cell's share of the seconds that the pack has computed."""
        return self.cell.seconds

    def _run_epoch(
        self, model, epoch, train_dataloader, steps_in_epoch, num_update_steps_per_epoch,  # noqa: ARG002
        trial, ignore_keys_for_eval, start_time, resume_from_checkpoint, epochs_trained,
        steps_trained_in_current_epoch,
    ) -> None:  # fmt: skip
        """Called by the Trainer: ask for the steps of an epoch, and do all that is due between."""
        self.called.add("_run_epoch")
        goes_on = epoch == epochs_trained and resume_from_checkpoint is not None
        step = steps_trained_in_current_epoch if goes_on else 0
        if goes_on and not step:
            self._load_rng_state(resume_from_checkpoint)
        train_dataloader.set_epoch(epoch)
        batches = list(train_dataloader)[step:]
        if goes_on and step:
            self._load_rng_state(resume_from_checkpoint)
        norm = rate = None
        while batches and not self.control.should_training_stop:
            self.control = self.callback_handler.on_step_begin(self.args, self.state, self.control)
            report = self.cell.ask(self.steps(batches))
            taken = len(report.losses)
            norm, rate = report.norm, self.move_schedule(taken)
            self.count(report, batches[:taken])
            for loss in report.losses:
                self._tr_loss += loss
            del batches[:taken]
            step += taken
            self.state.global_step += taken
            self.state.epoch = epoch + step / steps_in_epoch
            self.control = self.callback_handler.on_step_end(self.args, self.state, self.control)
            self._maybe_log_save_evaluate(
                self._tr_loss, norm, model, trial, epoch, ignore_keys_for_eval, start_time, rate
            )
        self.control = self.callback_handler.on_epoch_end(self.args, self.state, self.control)
        self._maybe_log_save_evaluate(
            self._tr_loss, norm, model, trial, epoch, ignore_keys_for_eval, start_time, rate
        )

    def steps(self, batches: Rows) -> Steps:
        """Return the steps until something is due: a line of the log, a checkpoint, the end."""
        every = int(self.state.logging_steps)
        count = min(
            every - self.state.global_step % every,
            self.state.max_steps - self.state.global_step,
            1 if self.checkpoints and self.checkpoints.due() else every,
        )
        (factor,) = set(self.lr_scheduler.lr_lambdas[:1])
        first = self.state.global_step
        factors = [factor(first + number) for number in range(len(batches[:count]))]
        return Steps(batches[:count], factors, self.optimizer, self.args.max_grad_norm)

    def move_schedule(self, count: int) -> float:
        """Move the learning rate on by so many steps; return that of the last one."""
        schedule, step = self.lr_scheduler, self.state.global_step + count
        pairs = list(zip(schedule.base_lrs, schedule.lr_lambdas, strict=True))
        rates = [base * factor(step) for base, factor in pairs]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        moved = {"last_epoch": step, "_step_count": step + 1, "_last_lr": rates}
        schedule.load_state_dict(schedule.state_dict() | moved)
        base, factor = pairs[0]
        return base * factor(step - 1)

    def count(self, report: Report, batches: Rows) -> None:
        """Count what was computed, as a pass of the model would."""
        work = self.work
        work.passes, work.rows = work.passes + len(batches), work.rows + sum(map(len, batches))
        work.tokens += report.tokens
        work.positions += report.positions

    def evaluation_loop(self, dataloader, *_: Any, metric_key_prefix="eval", **__: Any) -> Any:
        """Return the validation loss, the mean over rows, as the Trainer has it."""
        rows = [row for batch in dataloader for row in batch]
        loss = self.cell.ask(Validation(rows))
        return EvalLoopOutput(None, None, {f"{metric_key_prefix}_loss": loss}, len(rows))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Called by the Trainer: its optimizer has the moments, and is told the step."""
        for state in self.optimizer.state.values():
            state["step"].fill_(self.state.global_step)
        super()._save_checkpoint(model, trial)

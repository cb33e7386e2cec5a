"""Training of what is trainable in a classifier, by the Trainer of transformers.

Settings, the loss, counts of what is computed, and the run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common import cli, files, task
from common.cells import SUCCESS
from common.cli import InputError
from common.model import models
from common.model.adapters import method_of
from common.model.checkpoint import Checkpoints
from common.model.collator import Padding
from common.model.models import base_model

if TYPE_CHECKING:
    from common.model.pack import Cell


def loss_function(model, settings: Settings, labels: list[int]) -> Callable[..., Any] | None:
    """Return cross-entropy over a step of the optimiser, its classes weighted or not.

    The models' own losses are means over a batch, which the Trainer (transformers 5.23) adds up
    over accumulated batches: twice the gradient for two of them. This one divides by the rows of
    the step. Balanced weights are scikit-learn's: rows / (classes x rows of the class); over the
    training rows their mean is 1.

    Args:
        model: a classifier.
        settings: the hyper-parameters.
        labels: class numbers of the training rows.

    Returns:
        A function of outputs, labels and the number of rows in the step; None for AdaLoRA, whose
        own loss has a term more.

    Raises:
        InputError: that term would be lost.
    """
    if method_of(model) == "ADALORA":
        if settings.class_weights != "none" or settings.gradient_accumulation_steps > 1:
            raise InputError(
                "`class_weights` and `gradient_accumulation_steps` cannot be used with ADALORA, "
                "which has a loss of its own: leave them at their defaults"
            )
        return None
    kind = task.of_model(model)
    weights = class_weights(model, settings, labels)

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        total = kind.loss(outputs.logits.float(), labels, weights)
        return total / (num_items_in_batch or len(labels))

    return loss


def class_weights(model, settings: Settings, labels: list[int]) -> Any:
    """Return the weights of the classes in the loss, shape (classes,); None: all are 1."""
    return task.of_model(model).weights(labels) if settings.class_weights == "balanced" else None


class ThroughputCounter:
    """Counts what passes through a model in training mode, within a ``with`` block.

    Args:
        model: a classifier, called with padded batches and their masks.

    Attributes:
        passes: how often it was called.
        rows: of all batches.
        tokens: real ones, with virtual ones where an adapter puts such before a text.
        positions: tokens and the padding that was computed with them.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.passes = self.rows = self.tokens = self.positions = 0

    @property
    def padding_share(self) -> float:
        """Return the share of padding among the positions that were computed, from 0 to 1."""
        return round(1 - self.tokens / self.positions, 4) if self.positions else 0.0

    def state(self) -> dict[str, int]:
        """Return what ``load_state`` needs."""
        return {name: getattr(self, name) for name in ("passes", "rows", "tokens", "positions")}

    def load_state(self, state: dict[str, int]) -> None:
        """Go on from a checkpoint."""
        for name, value in state.items():
            setattr(self, name, value)

    def __enter__(self) -> ThroughputCounter:
        self._hook = base_model(self.model).register_forward_pre_hook(self.count, with_kwargs=True)
        return self

    def __exit__(self, *_: Any) -> None:
        self._hook.remove()

    def count(self, classifier: Any, _: Any, kwargs: dict[str, Any]) -> None:
        """Before a batch is computed."""
        if not classifier.training:
            return
        mask = kwargs["attention_mask"]
        tokens = int(mask.sum())
        self.passes += 1
        self.rows += len(mask)
        self.tokens += tokens
        self.positions += tokens if is_packed(classifier) else mask.numel()


def is_packed(classifier: Any) -> bool:
    """Return whether a classifier computes its batches without their padding."""
    from common.model.packing import ATTENTION

    return classifier.config._attn_implementation == ATTENTION


LAST_LINES = 3  # of the log, at least, that tell how a training ended

VALIDATED = 32  # rows of a batch, at least: without gradients they take less memory than 8 with

MAX_RETRIES = 5
# Seeds of a config end below it (config/schema.yaml), those of numpy at 2**32 - 1.
FIRST_RETRY_SEED = 2**31 - 1
RETRY_SEEDS = 2**31

OF_LAST_RUN = ("train_runtime", "train_samples_per_second", "train_steps_per_second", "total_flos")


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of training; config/README.md says what each one means."""

    learning_rate: float
    epochs: float
    max_steps: int | None
    batch_size: int
    weight_decay: float
    warmup: float
    scheduler: str
    max_grad_norm: float
    backbone_dropout: bool
    gpus: int = 1
    gradient_accumulation_steps: int = 1
    gradient_checkpointing: bool = False
    precision: str = "fp32"
    class_weights: str = "none"
    keep: str = "last"
    patience: int | None = None
    lora_plus_ratio: float | None = None
    failed_above: float = 0.95
    retries: int = 0
    permute_labels: bool = False

    @property
    def keeps_best(self) -> bool:
        """Return whether the best epoch is kept; to stop early is to keep it."""
        return self.keep == "best" or self.patience is not None

    def __post_init__(self) -> None:
        """Refuse numbers that the Trainer would refuse late, or take for something else."""
        for name in ("learning_rate", "epochs"):
            if not getattr(self, name) > 0:
                raise InputError(f"`{name}` is {getattr(self, name)}: set it above 0")
        if self.lora_plus_ratio is not None and not self.lora_plus_ratio > 0:
            raise InputError(f"`lora_plus_ratio` is {self.lora_plus_ratio}: set it above 0")
        if self.batch_size % self.gpus:
            raise InputError(
                f"`batch_size` is {self.batch_size}, and no multiple of `gpus`, {self.gpus}: every "
                "GPU has an equal part of a batch; set either"
            )
        for name in ("weight_decay", "warmup", "max_grad_norm"):
            if not getattr(self, name) >= 0:
                raise InputError(f"`{name}` is {getattr(self, name)}: set it to 0 or above")
        if not 0 < self.failed_above <= 1:
            raise InputError(f"`failed_above` is {self.failed_above}: set it above 0, at most to 1")
        if not 0 <= self.retries <= MAX_RETRIES:
            raise InputError(f"`retries` is {self.retries}: set it from 0 to {MAX_RETRIES}")
        if self.permute_labels and self.retries:
            raise InputError(
                f"`permute_labels` with `retries` of {self.retries}: a control that learns nothing "
                "is no failure; set `retries` to 0"
            )


def train(
    model: Any,
    splits: Any,
    padding: Padding,
    settings: Settings,
    seed: int,
    checkpoints: Checkpoints | None = None,
    cell: Cell | None = None,
    why_alone: str = "",
) -> dict[str, Any]:
    """Train the trainable parameters of ``model`` in place; validate after every epoch.

    A training that was cut short goes on from its last checkpoint, and ends with the same weights.

    Args:
        model: a classifier, of which some parameters require gradients.
        splits: tokenised ``DatasetDict``; "train" and "validation" are read, "test" never.
        padding: fills up the shorter rows of a batch.
        settings: the hyper-parameters.
        seed: of the order of the rows and of dropout. On the CPU, the same seed, machine and number
            of threads give the same weights, bit for bit.
        checkpoints: where the state is kept; None: nowhere.
        cell: of a pack, which computes the training if it can; None: it is trained alone.
        why_alone: for the record.

    Returns:
        train_time (seconds, validation included; of a cell of a pack, its share by real tokens),
        peak_memory_bytes, samples and real tokens, in all and per second, the share of padding
        among the positions that were computed, what made it fast (``accelerated``), what it took of
        the accelerator's memory, ``metrics``: the log of losses, and ``pack``: with which cells it
        was trained, or why alone.
    """
    from common.model import roundtrip
    from common.model.acceleration import accelerated
    from common.model.trainer import AcceleratorMemory, BestEpoch, RequireFiniteLoss

    prepare(model, settings)
    if cell:
        why_alone = join(cell, model, splits, padding, settings)
    packed = cell if not why_alone else None
    work, memory = ThroughputCounter(model), AcceleratorMemory()
    best, between_steps = BestEpoch(model, settings.patience), schedules(model)
    callbacks = [memory, *between_steps, *([best] if settings.keeps_best else [])]
    with files.workspace(checkpoints.directory if checkpoints else None) as folder:
        trainer = make_trainer(
            model, splits, padding, arguments(settings, seed, str(folder)), settings, packed, work
        )
        trainer.checkpoints = checkpoints
        trainer.parts = {type(part).__name__: part for part in [work, *callbacks]}
        for callback in (*callbacks, RequireFiniteLoss()):
            trainer.add_callback(callback)
        with ExitStack() as stack:
            used = ["cells"]
            if not packed:
                pair = roundtrip.probe(splits["train"])
                used = stack.enter_context(accelerated(model, pair, padding, settings.precision))
                stack.enter_context(work)
            taken = trainer.run()
    work.load_state(trainer.summed(work.state()))
    # Else the model would go on computing in the precision of its training, as no saved one does.
    trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    best.restore()
    for schedule in between_steps:
        schedule.finish()
    return {
        **summary(trainer.state, work, taken["seconds"], best.epoch),
        **progress(trainer.state.log_history, splits["train"]["label"], settings),
        "peak_memory_bytes": taken["peak_memory_bytes"],
        "optimizations": used,
        "pack": packed.leave() if packed else {"cells": 1, "why_alone": why_alone},
        **memory.summary(),
    }


def join(cell: Cell, model: Any, splits: Any, padding: Padding, settings: Settings) -> str:
    """Let a cell join its pack; return why it is trained alone, "" where it is not."""
    import torch

    from common.model.engine import Joined
    from common.model.pack import Join

    weights = class_weights(model, settings, splits["train"]["label"])
    if weights is None:
        weights = torch.ones(len(model.config.id2label))
    dtype = torch.bfloat16 if settings.precision == "bf16" else None
    return cell.ask(
        Join(Joined(model, padding, splits, weights, settings.batch_size, dtype, cell.generator))
    )


def prepare(model: Any, settings: Settings) -> None:
    """Put a model into the state that the settings ask for.

    Raises:
        InputError: this machine or the model's adapter does not allow it.
    """
    require_precision(settings.precision)
    if settings.gradient_checkpointing:
        if method_of(model) == "PREFIX_TUNING":
            raise InputError(
                "`gradient_checkpointing` drops what PREFIX_TUNING hands over: take it out of this "
                "variant's `training`"
            )
        models.base_model(model).activation_checkpointing_enable({"use_reentrant": False})
    if not settings.backbone_dropout and models.has_frozen_parameters(model):
        models.without_backbone_dropout(model)


def make_trainer(
    model: Any,
    splits: Any,
    padding: Padding,
    words: Any,
    settings: Settings,
    packed: Cell | None = None,
    work: ThroughputCounter | None = None,
) -> Any:
    """Return the Trainer; ``words`` are the settings as it wants them.

    That of a cell of a pack is given the numbers of the rows, and counts what the pack computes.
    """
    from common.model.trainer import ResumableTrainer

    if not packed:
        return ResumableTrainer(
            model,
            words,
            data_collator=padding,
            train_dataset=splits["train"],
            eval_dataset=by_length(splits["validation"]),
            compute_loss_func=loss_function(model, settings, splits["train"]["label"]),
            optimizers=(optimizer(model, settings), None),
        )
    from common.model.pack import PackedTrainer

    trainer = PackedTrainer(
        model,
        words,
        data_collator=list,
        train_dataset=range(len(splits["train"])),
        eval_dataset=range(len(splits["validation"])),
        optimizers=(optimizer(model, settings), None),
    )
    trainer.cell, trainer.work = packed, work
    return trainer


def by_length(rows: Any) -> Any:
    """Return rows in order of length, so that those of a batch need little padding."""
    import numpy as np

    return rows.select(np.argsort(rows["length"], kind="stable"), keep_in_memory=True)


def summary(state: Any, work: Any, seconds: float, kept_epoch: float) -> dict[str, Any]:
    """Return what training took.

    Args:
        state: of the Trainer, at the end.
        work: ``ThroughputCounter``, what was computed in training.
        seconds: from the first step to the end.
        kept_epoch: the epoch whose weights were kept; 0 for the last.
    """
    return {
        **cost(seconds, work.rows, work.tokens),
        "padding_share": work.padding_share,
        "steps": state.global_step,
        "epochs": round(state.epoch, 4),
        "kept_epoch": round(kept_epoch or state.epoch, 4),
        "metrics": [without_speed(entry) for entry in state.log_history],
        "status": SUCCESS,
    }


def cost(seconds: float, rows: int, tokens: int) -> dict[str, Any]:
    """Return what training took, in all and per second.

    Args:
        seconds: validation included.
        rows: that were trained on, each as often as it was.
        tokens: in them, without padding.
    """
    return {
        "train_time": round(seconds, 3),
        "train_samples": rows,
        "train_tokens": tokens,
        "train_samples_per_second": round(rows / seconds, 2),
        "train_tokens_per_second": round(tokens / seconds, 1),
    }


def progress(log: list[dict[str, Any]], labels: list[int], settings: Settings) -> dict[str, Any]:
    """Return how far the training loss fell below that of guessing; no test row is read.

    A line of the log is the mean over ten steps, which with small batches is noise: in the default
    comparison, single last lines of trainings that learned lie above the entropy. So at least
    LAST_LINES of them count; of a long training the last fifth, which has less noise still, and in
    which the learning rate is low and the loss hardly moves.

    Args:
        log: of the Trainer.
        labels: class numbers of the training rows.
        settings: ``failed_above``, and ``class_weights``, of which balanced ones make all classes
            count alike.

    Returns:
        ``class_entropy``, the loss in nats of answering the shares of the classes; ``final_loss``,
        the mean of the last logged losses; and ``learned_nothing``: whether the training failed,
        its final loss above the share ``failed_above`` of the entropy, as of a model that collapsed
        or hardly moved.
    """
    import numpy as np

    counts = np.bincount(labels)
    shares = counts[counts > 0] / len(labels)
    entropy = -float((shares * np.log(shares)).sum())
    if settings.class_weights == "balanced":
        entropy = math.log(len(shares))
    losses = [entry["loss"] for entry in log if "loss" in entry]
    if not losses:  # fewer steps than a line of the log takes
        losses = [entry["train_loss"] for entry in log if "train_loss" in entry]
    final = float(np.mean(losses[-max(LAST_LINES, math.ceil(len(losses) / 5)) :]))
    return {
        "class_entropy": entropy,
        "final_loss": final,
        "learned_nothing": final > settings.failed_above * entropy,
    }


def seed_of_attempt(seed: int, attempt: int) -> int:
    """Return the seed of an attempt at a training.

    The first one has the seed of its cell. Those that follow have seeds beyond any that a config
    may name, so that no other cell begins as they do: 2**31 - 1 + (5 seed + attempt - 1), modulo
    2**31 in the bracket; all of them differ for seeds below 400 million.

    Args:
        seed: of the cell.
        attempt: its number, from 0.
    """
    if attempt == 0:
        return seed
    return FIRST_RETRY_SEED + (MAX_RETRIES * seed + attempt - 1) % RETRY_SEEDS


def attempt_record(seed: int, info: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of an attempt at a training.

    Args:
        seed: of the attempt.
        info: as ``train`` returns it.
    """
    return {
        "seed": seed,
        "final_loss": info["final_loss"],
        "learned_nothing": info["learned_nothing"],
        "seconds": info["train_time"],
        "steps": info["steps"],
        "samples": info["train_samples"],
        "tokens": info["train_tokens"],
    }


def of_attempts(attempts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the ``attempts`` at a training, and the cost of them all."""
    total = {
        name: sum(each[name] for each in attempts) for name in ("seconds", "samples", "tokens")
    }
    return {**cost(*total.values()), "attempts": attempts}


def without_speed(entry: dict[str, float]) -> dict[str, float]:
    """A line of the Trainer's log without its speed, which leaves out the time before a stop.

    And without its operations, which are not counted.
    """
    return {name: value for name, value in entry.items() if name not in OF_LAST_RUN}


def resolved_precision(precision: str) -> str:
    """Return the precision that ``auto`` stands for: bf16 on a GPU that has it, else fp32.

    On the CPU it is fp32 whatever units the processor has: results do not depend on its generation.
    """
    if precision != "auto":
        return precision
    import torch

    gpu = torch.cuda.is_available()
    return "bf16" if gpu and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"


def require_precision(precision: str) -> None:
    """Refuse a precision that this machine has no arithmetic for.

    Raises:
        InputError: fp16 without a GPU, or bf16 on a GPU without it.
    """
    import torch

    gpu = torch.cuda.is_available()
    if precision == "fp16" and not gpu:
        raise InputError("`precision: fp16` needs a GPU: use fp32 or bf16")
    if precision == "bf16" and gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise InputError("`precision: bf16` is beyond this GPU: use fp16 or fp32")


def total_steps(rows: int, settings: Settings) -> int:
    """Return the optimiser steps of a whole training on so many rows."""
    return settings.max_steps or math.ceil(settings.epochs * steps_per_epoch(rows, settings))


def steps_per_epoch(rows: int, settings: Settings) -> int:
    """Return the optimiser steps of one pass over so many rows."""
    batches = math.ceil(rows / settings.batch_size)
    return math.ceil(batches / settings.gradient_accumulation_steps)


def optimizer(model, settings: Settings) -> Any:
    """Return AdamW with LoRA+, where B learns faster than A; None for the Trainer's own AdamW.

    Raises:
        InputError: the model has no LoRA matrices.
    """
    if settings.lora_plus_ratio is None:
        return None
    if method_of(model) != "LORA":
        raise InputError("`lora_plus_ratio` is for LORA adapters: take it out of this variant")
    import torch
    from peft.optimizers import create_loraplus_optimizer

    return create_loraplus_optimizer(
        model,
        torch.optim.AdamW,
        lr=settings.learning_rate,
        loraplus_lr_ratio=settings.lora_plus_ratio,
        weight_decay=settings.weight_decay,
    )


def schedules(model) -> list[Any]:
    """Return what a method does between steps."""
    from common.model.trainer import AdaLoraSchedule

    return [AdaLoraSchedule(model)] if method_of(model) == "ADALORA" else []


def arguments(settings: Settings, seed: int, folder: str):
    """Return the settings in the Trainer's words."""
    import torch
    import transformers

    return transformers.TrainingArguments(
        output_dir=folder,
        learning_rate=settings.learning_rate,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        per_device_train_batch_size=settings.batch_size // settings.gpus,
        # Several processes share equal batches: larger ones would be filled up with more rows.
        per_device_eval_batch_size=max(
            VALIDATED if settings.gpus == 1 else 1, settings.batch_size // settings.gpus
        ),
        weight_decay=settings.weight_decay,
        warmup_steps=settings.warmup,  # below 1: a share of all steps
        lr_scheduler_type=settings.scheduler,
        max_grad_norm=settings.max_grad_norm,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        activation_checkpointing=settings.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False},
        bf16=settings.precision == "bf16" and torch.cuda.is_available(),  # CPU: ``accelerated``
        fp16=settings.precision == "fp16",
        use_cpu=not torch.cuda.is_available(),
        # Not by length: where length tells the class (spam is long), batches of one length are
        # batches of one class, and a model that learns at once in random order stays at the
        # majority class.
        train_sampling_strategy="random",
        remove_unused_columns=False,  # the collator picks its columns
        label_names=["labels"],
        eval_strategy="epoch",
        logging_strategy="steps",
        logging_steps=10,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=not cli.is_interactive(),
        dataloader_pin_memory=torch.cuda.is_available(),
        seed=seed,
        data_seed=seed,
    )

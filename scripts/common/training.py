"""Training of what is trainable in a classifier, by the Trainer of transformers."""

import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from common import cli
from common.cli import InputError
from common.padding import Padding


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

    def __post_init__(self) -> None:
        """Refuse numbers that the Trainer would refuse late, or take for something else."""
        for name in ("learning_rate", "epochs"):
            if not getattr(self, name) > 0:
                raise InputError(f"`{name}` is {getattr(self, name)}: set it above 0")
        for name in ("weight_decay", "warmup", "max_grad_norm"):
            if not getattr(self, name) >= 0:
                raise InputError(f"`{name}` is {getattr(self, name)}: set it to 0 or above")


def train(model, splits, pad_token_id: int, settings: Settings, seed: int) -> dict[str, Any]:
    """Train the trainable parameters of ``model`` in place; validate after every epoch.

    Args:
        model: a classifier, of which some parameters require gradients.
        splits: tokenised ``DatasetDict``; "train" and "validation" are read, "test" never.
        pad_token_id: fills up the shorter rows of a batch.
        settings: the hyper-parameters.
        seed: of the order of the rows and of dropout. On the CPU, the same seed, machine and number
            of threads give the same weights, bit for bit.

    Returns:
        train_time (seconds, validation included), samples and real tokens per second, and
        ``metrics``: the log of losses.
    """
    import transformers

    if not settings.backbone_dropout and has_frozen_parameters(model):
        without_backbone_dropout(model)
    with tempfile.TemporaryDirectory(prefix="trainer-") as folder:
        trainer = transformers.Trainer(
            model,
            arguments(settings, seed, folder),
            data_collator=Padding(pad_token_id),
            train_dataset=splits["train"],
            eval_dataset=splits["validation"],
        )
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
    require_finite(trainer.state.log_history)
    rows = trainer.state.epoch * len(splits["train"])
    tokens = trainer.state.epoch * sum(splits["train"]["length"])
    return {
        "train_time": round(seconds, 3),
        "train_samples_per_second": round(rows / seconds, 2),
        "train_tokens_per_second": round(tokens / seconds, 1),
        "steps": trainer.state.global_step,
        "epochs": round(trainer.state.epoch, 4),
        "metrics": trainer.state.log_history,
        "status": "success",
    }


def require_finite(log: list[dict[str, float]]) -> None:
    """Refuse a training whose loss became infinite or no number.

    Raises:
        InputError: it names the step.
    """
    for entry in log:
        if not all(math.isfinite(value) for value in entry.values()):
            raise InputError(
                f"training diverged: the loss is not finite at step {entry['step']}; lower "
                "`learning_rate`, or raise `warmup`"
            )


def arguments(settings: Settings, seed: int, folder: str):
    """The settings in the Trainer's words."""
    import transformers

    return transformers.TrainingArguments(
        output_dir=folder,
        learning_rate=settings.learning_rate,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        weight_decay=settings.weight_decay,
        warmup_steps=settings.warmup,  # below 1: a share of all steps
        lr_scheduler_type=settings.scheduler,
        max_grad_norm=settings.max_grad_norm,
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
        disable_tqdm=not cli.watched(),
        dataloader_pin_memory=False,
        seed=seed,
        data_seed=seed,
    )


def has_frozen_parameters(model) -> bool:
    """Whether some of a model is not trained: not so in full fine-tuning."""
    return not all(parameter.requires_grad for parameter in model.parameters())


def without_backbone_dropout(model) -> None:
    """Keep the frozen backbone in eval mode while the adapter and the head train.

    Dropout then acts only where something is learned. In a frozen backbone it costs a factor of two
    to three on the CPU (it draws its mask on one thread, and turns the fused attention kernel off).
    """
    classifier = model.get_base_model() if hasattr(model, "get_base_model") else model
    frozen = list(frozen_modules(getattr(classifier, classifier.base_model_prefix)))
    plain_train = model.train

    def train(mode: bool = True):
        plain_train(mode)
        for module in frozen:
            module.training = False
        return model

    model.train = train  # the Trainer calls it before every step


def frozen_modules(module) -> Iterator[Any]:
    """A module and all modules in it, but for adapters and modules that are trained in full."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    if isinstance(module, BaseTunerLayer):
        yield from frozen_modules(module.get_base_layer())
    elif not isinstance(module, ModulesToSaveWrapper):
        yield module
        for child in module.children():
            yield from frozen_modules(child)

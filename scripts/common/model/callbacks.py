"""What happens between the steps of a training; imports torch, so import it late."""

import math
from typing import Any

import numpy as np
import torch
import transformers

from common.cli import InputError


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
        """What ``load_state`` needs."""
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
        """What ``load_state`` needs."""
        return {"reserved": self.reserved, "peak": self.peak()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.reserved, self.peak_before = state["reserved"], state["peak"]

    def peak(self) -> int:
        """The most that torch ever held, in bytes."""
        peak = torch.cuda.max_memory_reserved() if torch.cuda.is_available() else 0
        return max(peak, self.peak_before)

    def summary(self) -> dict[str, int]:
        """Mean, 99th percentile and peak, under the names of PEFT's suite; whole bytes."""
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
        """What ``load_state`` needs: how much each rank has mattered, and which are left."""
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

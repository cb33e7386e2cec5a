"""What training minimises."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from common.cli import InputError
from common.model.adapters import method_of

if TYPE_CHECKING:
    from common.model.training import Settings


def loss_function(model, settings: Settings, labels: list[int]) -> Callable[..., Any] | None:
    """Cross-entropy over a step of the optimiser, its classes weighted or not.

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
    import torch

    if method_of(model) == "ADALORA":
        if settings.class_weights != "none" or settings.gradient_accumulation_steps > 1:
            raise InputError(
                "`class_weights` and `gradient_accumulation_steps` cannot be used with ADALORA, "
                "which has a loss of its own: leave them at their defaults"
            )
        return None
    weights = balanced_weights(labels) if settings.class_weights == "balanced" else None

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        logits = outputs.logits.float()
        of_class = None if weights is None else weights.to(logits.device)
        total = torch.nn.functional.cross_entropy(logits, labels, of_class, reduction="sum")
        return total / (num_items_in_batch or len(labels))

    return loss


def balanced_weights(labels: list[int]) -> Any:
    """A weight per class, the rarer the heavier, as a tensor of shape (classes,)."""
    import numpy as np
    import torch
    from sklearn.utils.class_weight import compute_class_weight

    classes = np.unique(labels)  # every class is in every split
    weights = compute_class_weight("balanced", classes=classes, y=np.asarray(labels))
    return torch.tensor(weights, dtype=torch.float32)

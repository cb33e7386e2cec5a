"""The gate: a saved model must answer as the trained one did in memory, or its cell fails.

``train_lora`` records the logits of a few rows before it saves; ``eval_lora``, a process of its
own, loads what was saved over a head of another seed and compares. A head that was not saved, a
padding token that got lost, an adapter that reloads as another model: all of it shows here.
"""

from collections.abc import Sequence
from typing import Any

from common import padding
from common.cli import InputError
from common.padding import Padding

ROWS = 16


def rows(split: Any) -> list[dict[str, Any]]:
    """The rows of a tokenised split that the gate reads: the first ones."""
    return [split[row] for row in range(min(ROWS, len(split)))]


def check(found: Any, recorded: list[list[float]], tolerance: float) -> dict[str, float]:
    """Compare the logits of the reloaded model with those of the trained one.

    Args:
        found: of the reloaded model, shape (rows, classes).
        recorded: of the trained one; a float32 is the same number in JSON.
        tolerance: what is allowed. On the machine that trained it, a reloaded model is the same
            program on the same numbers: nothing. Another processor, device or number of threads
            adds in another order: ``padding.rounding``.

    Returns:
        ``reload_difference``, the largest absolute difference, and its ``tolerance``.

    Raises:
        InputError: the difference is larger than the tolerance.
    """
    import numpy as np

    difference = float(np.abs(np.asarray(found) - np.asarray(recorded)).max())
    if not difference <= tolerance:  # also where a logit is no number
        raise InputError(
            f"the saved model is not the trained one: its logits differ by {difference:.3g}, "
            f"{tolerance:g} is allowed; what was trained and not saved?"
        )
    return {"reload_difference": difference, "tolerance": tolerance}


def check_padding(model: Any, batch: Sequence[dict[str, Any]], collate: Padding) -> dict[str, Any]:
    """Compare the probabilities of rows in a padded batch with those of each row alone.

    Returns:
        ``padding_side`` and ``padding_difference``, the largest absolute difference.

    Raises:
        InputError: rounding does not explain the difference.
    """
    difference = padding.difference(model, batch, collate)
    if not difference <= padding.rounding(model):
        raise InputError(
            f"padding moves the probabilities of the trained model by {difference:.2g}, "
            f"{padding.rounding(model):g} is allowed: its figures would depend on the batch; "
            "choose another `peft_type` or model"
        )
    return {"padding_side": collate.side, "padding_difference": difference}

"""The gate: a saved model must answer as the trained one did in memory, or its cell fails.

``train_lora`` records the logits of a few rows before it saves; ``eval_lora``, a process of its
own, loads what was saved over a head of another seed and compares. A head that was not saved, a
padding token that got lost, an adapter that reloads as another model: all of it shows here.
"""

from typing import Any

from common.cli import InputError
from common.padding import Padding

ROWS = 16
# In fp32 on the machine that trained it, a reloaded model is the same program on the same numbers.
EXACT = 0.0
# Another processor, device or number of threads adds in another order; fp32 then agrees to this.
ROUNDING = 1e-4


def logits(model: Any, rows: Any, pad_token_id: int) -> list[list[float]]:
    """The logits of the first rows of a split, as one padded batch.

    Args:
        model: a classifier, on any device.
        rows: a tokenised split.
        pad_token_id: the padding token.

    Returns:
        One list per row, one logit per class; a float32 is the same number in JSON.
    """
    import torch

    model.eval()
    batch = Padding(pad_token_id)([rows[row] for row in range(min(ROWS, len(rows)))])
    with torch.inference_mode():
        inputs = {name: tensor.to(model.device) for name, tensor in batch.items()}
        return model(**inputs).logits.float().cpu().tolist()


def check(
    found: list[list[float]], recorded: list[list[float]], same_machine: bool
) -> dict[str, float]:
    """Compare the logits of the reloaded model with those of the trained one.

    Args:
        found: of the reloaded model.
        recorded: of the trained one.
        same_machine: whether both were computed on one kind of processor, device and threads.

    Returns:
        ``reload_difference``, the largest absolute difference, and its ``tolerance``.

    Raises:
        InputError: the difference is larger than the tolerance.
    """
    import numpy as np

    difference = float(np.abs(np.asarray(found) - np.asarray(recorded)).max())
    tolerance = EXACT if same_machine else ROUNDING
    if not difference <= tolerance:  # also where a logit is no number
        raise InputError(
            f"the saved model is not the trained one: its logits differ by {difference:.3g}, "
            f"{tolerance:g} is allowed; what was trained and not saved?"
        )
    return {"reload_difference": difference, "tolerance": tolerance}

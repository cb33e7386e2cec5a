"""Class probabilities for tokenised rows, as fast as padding allows."""

import time
from collections.abc import Callable
from typing import Any

from common import cli
from common.model import forward
from common.model.padding import Padding


def predictor(model, padding: Padding, batch_size: int) -> Callable[[Any], dict[str, Any]]:
    """``predict`` with everything given but the rows, on the device that the job was given."""
    placed = forward.on_device(model)
    return lambda rows: predict(placed, rows, padding, batch_size)


def predict(model, rows, padding: Padding, batch_size: int) -> dict[str, Any]:
    """The probabilities of every row, in the order of the rows.

    Rows are taken longest first, so that the rows of a batch are of nearly one length and padding
    is rare, and a batch too large for the memory fails at once rather than at the end.

    Args:
        model: a classifier, already on its device.
        rows: a tokenised split (see ``common.data.tokens``).
        padding: fills up the shorter rows of a batch.
        batch_size: rows per forward pass; it does not change the result beyond rounding.

    Returns:
        probabilities (float64 array of shape (rows, classes)) and seconds.
    """
    import numpy as np
    import torch
    from tqdm import tqdm

    order = np.argsort(-np.asarray(rows["length"]), kind="stable")
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    outputs: list[Any] = []
    started = time.perf_counter()
    # `leave=None`: under the bar of a caller, this one vanishes when it is full.
    for batch in tqdm(batches, desc="predict", unit="batch", leave=None, disable=not cli.watched()):
        outputs.append(forward.logits(model, [rows[int(row)] for row in batch], padding))
    in_order = torch.cat(outputs)[torch.as_tensor(np.argsort(order))]
    seconds = time.perf_counter() - started
    return {"probabilities": in_order.double().softmax(dim=1).numpy(), "seconds": seconds}

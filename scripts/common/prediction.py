"""Class probabilities for tokenised rows, as fast as padding allows."""

import time
from collections.abc import Callable
from typing import Any

from common import cli
from common.padding import Padding


def predictor(model, pad_token_id: int, batch_size: int) -> Callable[[Any], dict[str, Any]]:
    """``predict`` with everything given but the rows, on the device that the job was given."""
    on_device = model.to(device())
    return lambda rows: predict(on_device, rows, pad_token_id, batch_size)


def predict(model, rows, pad_token_id: int, batch_size: int) -> dict[str, Any]:
    """The probabilities of every row, in the order of the rows.

    Rows are taken longest first, so that the rows of a batch are of nearly one length and padding
    is rare, and a batch too large for the memory fails at once rather than at the end.

    Args:
        model: a classifier, already on its device.
        rows: a tokenised split (see ``common.tokens``).
        pad_token_id: fills up the shorter rows of a batch.
        batch_size: rows per forward pass; it does not change the result beyond rounding.

    Returns:
        probabilities (float64 array of shape (rows, classes)) and seconds.
    """
    import numpy as np
    import torch
    from tqdm import tqdm

    model.eval()
    collate = Padding(pad_token_id)
    order = np.argsort(-np.asarray(rows["length"]), kind="stable")
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    logits: list[Any] = []
    started = time.perf_counter()
    with torch.inference_mode():
        # `leave=None`: under the bar of a caller, this one vanishes when it is full.
        for batch in tqdm(
            batches, desc="predict", unit="batch", leave=None, disable=not cli.watched()
        ):
            inputs = collate([rows[int(row)] for row in batch])
            del inputs["labels"]
            inputs = {name: tensor.to(model.device) for name, tensor in inputs.items()}
            logits.append(model(**inputs).logits.float().cpu())
    in_order = torch.cat(logits)[torch.as_tensor(np.argsort(order))]
    seconds = time.perf_counter() - started
    return {"probabilities": in_order.double().softmax(dim=1).numpy(), "seconds": seconds}


def device():
    """The device to compute on: the GPU that the job was given, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")

"""Class probabilities for tokenised rows, as fast as padding allows."""

import time
from collections.abc import Callable
from typing import Any

from common import cli
from common.cli import InputError
from common.tokens import Padding

PADDING_TOLERANCE = 1e-3  # of a probability; rounding in fp32 stays below 1e-5


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
        for batch in tqdm(batches, desc="predict", unit="batch", disable=not cli.watched()):
            inputs = collate([rows[int(row)] for row in batch])
            del inputs["labels"]
            inputs = {name: tensor.to(model.device) for name, tensor in inputs.items()}
            logits.append(model(**inputs).logits.float().cpu())
    in_order = torch.cat(logits)[torch.as_tensor(np.argsort(order))]
    seconds = time.perf_counter() - started
    return {"probabilities": in_order.double().softmax(dim=1).numpy(), "seconds": seconds}


def require_exact_padding(model, rows, pad_token_id: int) -> None:
    """Refuse a model that answers otherwise when a text is padded: its figures would be chance.

    A decoder whose prompt is tuned classifies by a padding token: it gets embeddings, in which it
    cannot see where a text ends. So does XLNet, which wants its padding on the left.

    Args:
        model: a classifier.
        rows: a tokenised split; its longest row pads its shortest.
        pad_token_id: the padding.

    Raises:
        InputError: the probabilities differ by more than rounding explains.
    """
    import numpy as np

    extremes = rows.select([int(np.argmin(rows["length"])), int(np.argmax(rows["length"]))])
    padded, alone = (
        predictor(model, pad_token_id, batch_size)(extremes)["probabilities"]
        for batch_size in (2, 1)
    )
    if (gap := abs(padded - alone).max()) > PADDING_TOLERANCE:
        raise InputError(
            f"padding moves the probabilities of this {model.config.model_type} by {gap:.2g}, so its "
            "figures would be chance: choose another model, or another `peft_type`"
        )


def device():
    """The device to compute on: the GPU that the job was given, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")

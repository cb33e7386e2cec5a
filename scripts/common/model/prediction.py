"""Class probabilities for tokenised rows, as fast as the machine allows."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from common import cli
from common.model import forward, gate
from common.model.padding import Padding

CPU_TOKENS = 4096  # per pass: enough for full speed; more only takes memory
GPU_BYTES_PER_VALUE = 64  # of a hidden state in one pass without gradients, measured generously


class Predictor:
    """A classifier that predicts, within a ``with`` block, as fast as it is proven to be the same.

    The proof (``common.fast.faster``) is made once, with the first rows that are asked for.

    Args:
        model: a classifier; it is put on the device that the job was given.
        padding: fills up the shorter rows of a batch.
        batch_tokens: per forward pass, padding included; 0: what this device takes. It does not
            change the result beyond rounding.
    """

    def __init__(self, model: Any, padding: Padding, batch_tokens: int) -> None:
        self.model = forward.on_device(model)
        self.padding = padding
        self.batch_tokens = batch_tokens or device_tokens(self.model)
        self._stack = ExitStack()
        self._proven = False

    def __enter__(self) -> "Predictor":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self, rows: Any) -> dict[str, Any]:
        """``predict`` of rows."""
        from common.fast.faster import faster

        if not self._proven:
            self._stack.enter_context(faster(self.model, gate.probe(rows), self.padding))
            self._proven = True
        return predict(self.model, rows, self.padding, self.batch_tokens)


def device_tokens(model: Any) -> int:
    """How many tokens a device takes in one pass: on a GPU, what half of its free memory holds."""
    import torch

    if model.device.type != "cuda":
        return CPU_TOKENS
    free, _ = torch.cuda.mem_get_info()
    return max(CPU_TOKENS, free // 2 // (GPU_BYTES_PER_VALUE * model.config.hidden_size))


def predict(model: Any, rows: Any, padding: Padding, batch_tokens: int) -> dict[str, Any]:
    """The probabilities of every row, in the order of the rows.

    Rows are taken longest first, so that the rows of a batch are of nearly one length and padding
    is rare, and a batch too large for the memory fails at once rather than at the end.

    Args:
        model: a classifier, already on its device.
        rows: a tokenised split (see ``common.data.tokens``).
        padding: fills up the shorter rows of a batch.
        batch_tokens: per forward pass, padding included.

    Returns:
        probabilities (float64 array of shape (rows, classes)) and seconds, of the passes alone.
    """
    import numpy as np
    import torch
    from tqdm import tqdm

    lengths = np.asarray(rows["length"])
    order = np.argsort(-lengths, kind="stable")
    parts = batches(lengths[order].tolist(), batch_tokens)
    outputs: list[Any] = []
    # `leave=None`: under the bar of a caller, this one vanishes when it is full.
    bar = tqdm(parts, desc="predict", unit="batch", leave=None, disable=not cli.watched())
    started = time.perf_counter()
    for part in bar:
        batch = [rows[int(row)] for row in order[part]]
        outputs.append(forward.logits(model, batch, padding))
    seconds = time.perf_counter() - started
    in_order = torch.cat(outputs)[torch.as_tensor(np.argsort(order))]
    return {"probabilities": in_order.double().softmax(dim=1).numpy(), "seconds": seconds}


def batches(lengths: Sequence[int], tokens: int) -> list[slice]:
    """Rows in batches of at most so many tokens when padded; a longer row is a batch of its own.

    Args:
        lengths: of the rows, in tokens, the longest first.
        tokens: of a batch.
    """
    found, start = [], 0
    while start < len(lengths):
        count = max(1, tokens // max(1, lengths[start]))
        found.append(slice(start, start + count))
        start += count
    return found

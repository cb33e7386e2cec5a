"""Class probabilities for tokenised rows, as fast as the machine allows."""

import logging
import time
from contextlib import ExitStack
from typing import Any

from common import cli
from common.cli import InputError
from common.model import forward, gate
from common.model.padding import Padding

log = logging.getLogger("prediction")

CPU_TOKENS = 4096  # per pass: enough for full speed; more only takes memory
GPU_BYTES_PER_VALUE = 64  # of a hidden state in one pass without gradients, measured generously


class Predictor:
    """A classifier that predicts, within a ``with`` block, as fast as it is proven to be the same.

    The proof (``common.fast.faster``) is made once, with the first rows that are asked for.

    Args:
        model: a classifier; it is put on the device that the job was given.
        padding: fills up the shorter rows of a batch.
        batch_tokens: per forward pass, padding included; 0: what this device takes. It does not
            change the result beyond rounding. Fewer, where the memory turns out to be too small.
        jobs_per_gpu: that share the device, and its free memory with it.
    """

    def __init__(
        self, model: Any, padding: Padding, batch_tokens: int, jobs_per_gpu: int = 1
    ) -> None:
        self.model = forward.on_device(model)
        self.padding = padding
        self.batch_tokens = batch_tokens or device_tokens(self.model, jobs_per_gpu)
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
        found = predict(self.model, rows, self.padding, self.batch_tokens)
        self.batch_tokens = found["batch_tokens"]
        return found


def device_tokens(model: Any, jobs_per_gpu: int = 1) -> int:
    """Return how many tokens a device takes in one pass.

    On a GPU, it is what half of the free memory holds; or of this job's part of it, since jobs that
    start together see the same memory.
    """
    import torch

    if model.device.type != "cuda":
        return CPU_TOKENS
    free, _ = torch.cuda.mem_get_info()
    return max(
        CPU_TOKENS, free // jobs_per_gpu // 2 // (GPU_BYTES_PER_VALUE * model.config.hidden_size)
    )


def predict(model: Any, rows: Any, padding: Padding, batch_tokens: int) -> dict[str, Any]:
    """The probabilities of every row, in the order of the rows.

    Rows are taken longest first, so that the rows of a batch are of nearly one length and padding
    is rare, and a batch too large for the memory shows at once rather than at the end. Such a batch
    is done anew in halves, and so are those that follow.

    Args:
        model: a classifier, already on its device.
        rows: a tokenised split (see ``common.data.tokens``).
        padding: fills up the shorter rows of a batch.
        batch_tokens: per forward pass, padding included.

    Returns:
        probabilities (float64 array of shape (rows, classes)), seconds, of the passes alone, and
        batch_tokens, that the memory had room for.

    Raises:
        InputError: the memory has no room for one row.
    """
    import numpy as np
    import torch
    from tqdm import tqdm

    lengths = np.asarray(rows["length"])
    order = np.argsort(-lengths, kind="stable")
    falling = lengths[order].tolist()
    outputs: list[Any] = []
    done = 0
    # `leave=None`: under the bar of a caller, this one vanishes when it is full.
    bar = tqdm(total=len(order), desc="predict", unit="row", leave=None, disable=not cli.watched())
    started = time.perf_counter()
    with bar:
        while done < len(order):
            count = batch_rows(falling[done], len(order) - done, batch_tokens)
            batch = [rows[int(row)] for row in order[done : done + count]]
            try:
                outputs.append(forward.logits(model, batch, padding))
            except torch.OutOfMemoryError:
                batch_tokens = smaller(count, falling[done])
                continue
            done += count
            bar.update(count)
    seconds = time.perf_counter() - started
    in_order = torch.cat(outputs)[torch.as_tensor(np.argsort(order))]
    return {
        "probabilities": in_order.double().softmax(dim=1).numpy(),
        "seconds": seconds,
        "batch_tokens": batch_tokens,
    }


def smaller(rows: int, length: int) -> int:
    """Return the tokens of half of a batch that the memory had no room for.

    Args:
        rows: of the batch.
        length: of the longest one, in tokens.

    Raises:
        InputError: it is one row.
    """
    import torch

    if rows == 1:
        raise InputError(
            f"a row of {length} tokens does not fit into the memory of this GPU: lower "
            "`max_length` or `jobs_per_gpu`, or take a larger GPU"
        )
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    log.info("out of memory with %d rows of %d tokens: going on with half", rows, length)
    return rows // 2 * length


def batch_rows(length: int, left: int, tokens: int) -> int:
    """Return how many rows are a batch of at most so many tokens when padded, and at least one.

    Args:
        length: of the first row, which is the longest, in tokens.
        left: rows that there are.
        tokens: of a batch.
    """
    return min(left, max(1, tokens // max(1, length)))

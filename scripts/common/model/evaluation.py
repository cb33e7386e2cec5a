"""One evaluation: class probabilities as fast as the machine allows, metrics per split, and files.

Heavy libraries are imported in the functions: scripts read their options from here.
"""

from __future__ import annotations

import logging
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import cells, cli, gpus, startup, task, warm
from common.cli import InputError
from common.model import collator, roundtrip, scoring
from common.model.collator import Padding

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

log = logging.getLogger("evaluation")


# What a stage that evaluates a model imports, and what takes long of it.
LIBRARIES = ("transformers", "peft", "datasets", "evaluate", "sklearn.metrics")
CPU_TOKENS = 4096  # per pass: enough for full speed; more only takes memory

GPU_BYTES_PER_VALUE = 64  # of a hidden state in one pass without gradients, measured generously


class Predictor:
    """A classifier that predicts, within a ``with`` block, as fast as it is proven to be the same.

    The proof (``common.model.acceleration``) is made once, with the first rows that are asked for.

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
        self.model = collator.on_device(model)
        self.padding = padding
        self.batch_tokens = batch_tokens or device_tokens(self.model, jobs_per_gpu)
        self._stack = ExitStack()
        self._proven = False

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self, rows: Any) -> dict[str, Any]:
        """``predict`` of rows."""
        from common.model.acceleration import accelerated

        if not self._proven:
            self._stack.enter_context(accelerated(self.model, roundtrip.probe(rows), self.padding))
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
    """Return the probabilities of every row, in the order of the rows.

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
    logits, seconds, batch_tokens = of_each_row(
        lambda batch: collator.logits(model, batch, padding), rows, batch_tokens, "predict"
    )
    return {
        "probabilities": task.of_model(model).activation(logits.double()).numpy(),
        "seconds": seconds,
        "batch_tokens": batch_tokens,
    }


def of_each_row(
    compute: Callable[[list[Any]], Any], rows: Any, batch_tokens: int, description: str
) -> tuple[Any, float, int]:
    """Return what is computed of every row, in the order of the rows.

    Rows are taken longest first, so that the rows of a batch are of nearly one length and padding
    is rare, and a batch too large for the memory shows at once rather than at the end. Such a batch
    is done anew in halves, and so are those that follow.

    Args:
        compute: takes rows, returns a tensor on the CPU whose first axis is theirs.
        rows: a tokenised split.
        batch_tokens: per forward pass, padding included.
        description: of the progress bar.

    Returns:
        a tensor; seconds, of the passes alone; and the tokens of a pass that the memory had room
        for.

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
    bar = tqdm(
        total=len(order), desc=description, unit="row", leave=None, disable=not cli.is_interactive()
    )
    started = time.perf_counter()
    with bar:
        while done < len(order):
            count = batch_rows(falling[done], len(order) - done, batch_tokens)
            batch = [rows[int(row)] for row in order[done : done + count]]
            try:
                outputs.append(compute(batch))
            except torch.OutOfMemoryError:
                batch_tokens = smaller(count, falling[done])
                continue
            done += count
            bar.update(count)
    seconds = time.perf_counter() - started
    return torch.cat(outputs)[torch.as_tensor(np.argsort(order))], seconds, batch_tokens


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


SPLITS = ("validation", "test")  # nothing is ever fitted to these rows


Predict = Callable[[Any], dict[str, Any]]


def add_options(parser: ArgumentParser) -> None:
    """The options of the stages that evaluate a model on tokenised rows."""
    parser.add_argument("--model", required=True, type=Path, help="model directory")
    parser.add_argument("--tokens", required=True, type=Path, help="Arrow directory of the splits")
    parser.add_argument("--positive-label", help="class of F1, precision, recall; else the last")
    add_device_options(parser)
    warm.add_option(parser)
    parser.add_argument("--metrics", required=True, type=Path, help="JSON file to write")
    parser.add_argument("--predictions", required=True, type=Path, help="Parquet file to write")


def add_device_options(parser: ArgumentParser) -> None:
    """Add the options of the stages that predict, about the device that they use."""
    parser.add_argument(
        "--batch-tokens",
        type=cli.int_at_least(0),
        default=0,
        help="per pass; 0: what the device takes",
    )
    parser.add_argument("--threads", type=cli.int_at_least(1), default=1, help="of the CPU")
    gpus.add_option(parser)


def key(args: Namespace) -> tuple[str, int] | None:
    """Return which evaluations one process may do in turn, as ``warm.run`` wants it.

    Args:
        args: the options of ``add_options``.
    """
    same = (args.model, args.tokens, args.threads, args.batch_tokens)
    return warm.key(" ".join(map(str, same)), args.cells_per_process)


def begin(args: Namespace) -> cells.Clock:
    """Begin a job that evaluates a model: take a device, import libraries; return its clock.

    Args:
        args: the options of ``add_options``.
    """
    cli.go_offline()
    gpus.lease(jobs_per_gpu=args.jobs_per_gpu)
    clock = cells.Clock()
    with startup.importing():
        import datasets  # noqa: F401
        import peft  # noqa: F401 - it brings the models of transformers
        import torch

    torch.set_num_threads(args.threads)
    return clock


def evaluate(
    predict: Predict, splits, names: list[str], positive: int
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return metrics of validation and test, and the predictions of the test rows.

    Args:
        predict: takes the rows of a split; returns ``probabilities``, shape (rows, classes), and
            ``seconds``.
        splits: a ``DatasetDict`` whose splits have id and label; and perhaps clean, false for rows
            that repeat one that was trained on.
        names: class names in order.
        positive: number of the positive class.

    Returns:
        metrics by split, with the block of ``of_clean_rows`` where rows are marked; and a frame
        with id, label, prediction (class names) and one column ``probability_{class}`` per class,
        in row order.

    Raises:
        InputError: a probability is none, as of logits that are not finite.
    """
    with startup.importing(), startup.without("transformers"):
        import evaluate  # noqa: F401
        import sklearn.metrics  # noqa: F401

    score = scoring.scorer(splits)
    outcomes = {split: predict(splits[split]) for split in SPLITS}
    for split, outcome in outcomes.items():
        if problem := cells.improper(outcome["probabilities"]):
            raise InputError(
                f"probabilities of the {split} rows {problem}: no metric is computed from them; "
                "look for the cause in the log above"
            )
    results = {}
    for split, outcome in outcomes.items():
        rows, labels = splits[split], splits[split]["label"]
        results[split] = {
            **score(outcome["probabilities"], labels, positive),
            **of_clean_rows(outcome["probabilities"], rows, names, positive),
            "rows": len(labels),
            "eval_seconds": round(outcome["seconds"], 3),
            "eval_samples_per_second": round(len(labels) / outcome["seconds"], 2),
        }
    return results, scoring.tabulate(splits["test"], outcomes["test"]["probabilities"], names)


def of_clean_rows(
    probabilities: np.ndarray, rows, names: list[str], positive: int
) -> dict[str, Any]:
    """Return the metrics of the clean rows and ``rows``, their number, under ``clean``.

    Where they lack a class, a perfect classifier would score 0 on it, and its macro-averages would
    fall: there are ``rows`` and ``classes`` (rows by class name) then, and no metrics.

    Args:
        probabilities: shape (rows, classes).
        rows: of one split; {} is returned where they are not marked.
        names: class names in order.
        positive: number of the positive class.
    """
    import numpy as np

    if "clean" not in rows.column_names:
        return {}
    clean = np.array(rows["clean"], dtype=bool)
    labels = np.array(rows["label"])[clean].tolist()
    classes = {name: labels.count(number) for number, name in enumerate(names)}
    if not all(classes.values()):
        return {"clean": {"rows": len(labels), "classes": classes}}
    found = scoring.scorer({"rows": rows})(probabilities[clean], labels, positive)
    return {"clean": {**found, "rows": len(labels)}}

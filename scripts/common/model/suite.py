"""What the readers of PEFT's method-comparison suite look for in a result, beside the record.

They are in huggingface/peft, method_comparison/processing.py: a result is one JSON file, and its
outcome the last entry of ``train_info.metrics``, under names with blanks in them. Ours are written
beside our own names, which stay. tests/test_formats.py holds the list of what is looked for.
"""

from typing import Any


def whole_run(training: dict[str, Any], evaluation: dict[str, Any]) -> dict[str, Any]:
    """The ``run_info`` of a cell, which is made by two jobs.

    Args:
        training: ``run_info`` of the job that trained.
        evaluation: that of the job that evaluated; it wins, but for the time.

    Returns:
        both, with ``total_time`` in seconds of the two jobs together.
    """
    seconds = training["total_time"] + evaluation["total_time"]
    return training | evaluation | {"total_time": round(seconds, 3)}


def with_outcome(train_info: dict[str, Any], metrics: dict[str, Any]) -> dict[str, Any]:
    """The ``train_info`` of a cell with the outcome as one more, last, entry of its log.

    Args:
        train_info: what training took; left as it is.
        metrics: by split, as ``evaluation.evaluate`` returns them.
    """
    outcome = {
        "step": train_info["steps"],
        "valid accuracy": metrics["validation"]["accuracy"],
        "test accuracy": metrics["test"]["accuracy"],
        "train loss": last_loss(train_info["metrics"]),
        "train samples": train_info["train_samples"],
        "train total tokens": train_info["train_tokens"],
    }
    return {**train_info, "metrics": [*train_info["metrics"], outcome]}


def last_loss(log: list[dict[str, float]]) -> float:
    """The last loss on training rows that a log holds, in nats: a mean over some steps.

    Of a training too short for one such entry, the mean over all its steps.
    """
    losses = [entry["loss"] for entry in log if "loss" in entry]
    means = [entry["train_loss"] for entry in log if "train_loss" in entry]
    return [*means, *losses][-1]

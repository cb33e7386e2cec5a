"""The record of a result: the three blocks of PEFT's method-comparison suite, and its own names.

``run_info``, ``train_info`` and ``meta_info`` carry that suite's key names where the meaning is the
same (huggingface/peft, method_comparison/processing.py), so that its readers can read ours: a
result is one JSON file, and its outcome the last entry of ``train_info.metrics``, under names with
blanks in them. Those are written beside our own. tests/test_formats.py lists what is looked for.
Times are seconds.
"""

import importlib.metadata
import json
import platform
import re
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def whole_run(training: dict[str, Any], evaluation: dict[str, Any]) -> dict[str, Any]:
    """Return the ``run_info`` of a cell, which is made by two jobs.

    Args:
        training: ``run_info`` of the job that trained.
        evaluation: that of the job that evaluated; it wins, but for the time.

    Returns:
        both, with ``total_time`` in seconds of the two jobs together.
    """
    seconds = training["total_time"] + evaluation["total_time"]
    return training | evaluation | {"total_time": round(seconds, 3)}


def with_outcome(train_info: dict[str, Any], metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the ``train_info`` of a cell with the outcome as one more, last, entry of its log.

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
    """Return the last loss on training rows that a log holds, in nats: a mean over some steps.

    Of a training too short for one such entry, the mean over all its steps.
    """
    losses = [entry["loss"] for entry in log if "loss" in entry]
    means = [entry["train_loss"] for entry in log if "train_loss" in entry]
    return [*means, *losses][-1]


PACKAGES = (
    "transformers",
    "peft",
    "datasets",
    "torch",
    "evaluate",
    "accelerate",
    "scikit-learn",
    "bitsandbytes",
)

KIB = 1024
# The suite reads what training gave where its status is "success", and skips other results.
SUCCESS, NOT_TRAINED = "success", "not trained"


class Clock:
    """Started when a job starts; tells when that was and how long ago it is."""

    def __init__(self) -> None:
        self.created_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._started = time.perf_counter()

    def run_info(self, cell: Path, options: dict[str, Any], parts: int = 4) -> dict[str, Any]:
        """Return which cell was made when, how long the whole job took, and with which options.

        Args:
            cell: the directory of the cell; its last parts are the name of the experiment.
            options: the command line's.
            parts: how many: dataset, model, variant, seed; or dataset, "baselines", baseline.
        """
        return {
            "created_at": self.created_at,
            "total_time": round(time.perf_counter() - self._started, 3),
            "experiment_name": "/".join(cell.parts[-parts:]),
            "peft_branch": installed_branch("peft"),
            "options": {k: str(v) if isinstance(v, Path) else v for k, v in options.items()},
            "error_msg": "",
        }


def meta_info(
    labels: list[str], model: dict[str, Any] | None = None, dataset: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Of what and where it was made.

    Args:
        labels: class names in order.
        model: where the pretrained model came from; None for a baseline.
        dataset: where the rows came from.
    """
    versions = {f"{name}-version": installed_version(name) for name in PACKAGES}
    return {
        "model_info": model,
        "dataset_info": {"labels": labels, "source": dataset},
        "package_info": {"python-version": platform.python_version(), **versions},
        "system_info": {
            "system": platform.system(),
            "release": platform.release(),
            "version": platform.version(),
            "machine": platform.machine(),
            "processor": processor(),
            "accelerator": accelerator(),
        },
        "pytorch_info": pytorch_info(),
    }


def installed_version(package: str) -> str | None:
    """Return the version of an installed package; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def installed_branch(package: str) -> str | None:
    """The branch, tag or commit that a package was installed from by version control; else None.

    pip leaves it in direct_url.json: PEP 610, "Recording the direct URL origin of installed
    distributions". A release from a package index has no such file.
    """
    try:
        origin = importlib.metadata.distribution(package).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return None
    vcs = json.loads(origin or "{}").get("vcs_info", {})
    return vcs.get("requested_revision") or vcs.get("commit_id")


def pytorch_info() -> str | None:
    """How torch was built; None where this stage does without it."""
    torch = sys.modules.get("torch")
    return torch.__config__.show() if torch else None


def processor() -> str:
    """Return the processor's name, as Linux gives it; elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def accelerator() -> str | None:
    """Return the GPU's name; None on a CPU or where this stage does without torch."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None


def peak_memory_bytes() -> int:
    """The most memory that this process held: on the GPU if there is one, else resident on the CPU.

    Each cell is a process of its own, so the figure is the cell's.
    """
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        return torch.cuda.max_memory_reserved()
    return peak_resident_bytes()


def peak_resident_bytes() -> int:
    """Return the high-water mark of this process's resident memory.

    On Linux read from /proc: what getrusage says there begins with the memory of the process that
    started this one.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    if found:
        return int(found[1]) * KIB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * KIB  # macOS counts in bytes, Linux in KiB

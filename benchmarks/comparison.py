"""What speed.py measured, set beside each other: speeds, shares of the limit, ratios, tables."""

import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from common import markdown  # noqa: E402

ARMS = {  # in the words of the tables
    "notebook": "notebook",
    "best-trainer": "best Trainer",
    "one-job": "this project, one job",
    "job-per-core": "this project, a job per core",
}
GIB = 1 << 30


def compare(found: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Return the measured figures with those that follow from several of them.

    Args:
        found: limits, runs and quality, as of ``speed.Found``.

    Returns:
        limits, training, evaluation and quality.
    """
    parts = {
        part: [speeds(run, part, limit_of(run, found["limits"])) for run in found["runs"]]
        for part in ("train", "eval")
    }
    for rows in parts.values():
        for row in rows:
            row |= ratios(row, rows)
    return {
        "limits": found["limits"],
        "training": parts["train"],
        "evaluation": parts["eval"],
        "quality": [with_means(row) for row in found["quality"]],
    }


def limit_of(run: dict[str, Any], limits: Iterable[dict[str, Any]]) -> float:
    """Return the most operations per second that were measured on this model, with as many threads.

    Of jobs side by side, the best of each is added. Before, between or after: the machine may have
    been slow for a while.
    """
    most: dict[int, float] = {}
    for each in limits:
        if all(each[name] == run[name] for name in ("model", "threads", "jobs")):
            found = max(product["operations_per_second"] for product in each["products"])
            most[each["job"]] = max(found, most.get(each["job"], 0))
    return sum(most.values())


def speeds(run: dict[str, Any], part: str, limit: float) -> dict[str, Any]:
    """Return a row of training or of evaluation."""
    named = ("model", "lengths", "arm", "jobs", "threads")
    rows = run["train_samples" if part == "train" else "eval_rows"]
    seconds = run["train_time" if part == "train" else "eval_seconds"]
    each = rows / seconds
    operations = {
        name: each * run[f"{part}_{name}_per_row"] for name in ("operations", "needed_operations")
    }
    own = ("steps", "step_seconds", "padding_share", "peak_memory_bytes", "process_seconds")
    return {
        **{name: run[name] for name in named},
        "rows": rows,
        "seconds": seconds,
        "samples_per_second": each,
        "tokens_per_second": each * run[f"{part}_tokens_per_row"],
        **{f"{name}_per_second": value for name, value in operations.items()},
        "limit_operations_per_second": limit,
        **{f"{name}_share_of_limit": value / limit for name, value in operations.items()},
        **({name: run[name] for name in own if name in run} if part == "train" else {}),
    }


def ratios(row: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return how many times as fast a row is as both recipes of the Trainer, on the same task."""
    speed = {
        other["arm"]: other["samples_per_second"]
        for other in rows
        if (other["model"], other["lengths"]) == (row["model"], row["lengths"])
    }
    return {
        f"times_{name}": row["samples_per_second"] / speed[arm]
        for name, arm in (("notebook", "notebook"), ("best_trainer", "best-trainer"))
    }


def with_means(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of quality, with the means over seeds."""
    means = {f"mean_{name}": statistics.mean(row[name]) for name in ("accuracy", "macro_f1")}
    return row | means


def tables(record: dict[str, Any]) -> str:
    """Return all figures as Markdown, as they stand in docs/performance.md."""
    parts = [
        header(record),
        "### Training\n\n" + training_table(record["training"]),
        "### Evaluation\n\n" + evaluation_table(record["evaluation"]),
    ]
    if record["quality"]:
        parts.append("### Quality\n\n" + quality_table(record["quality"]))
    parts.append("### The limit\n\n" + limits_table(record["limits"]))
    return "\n\n".join(parts) + "\n"


def header(record: dict[str, Any]) -> str:
    """Return when, where and by what command it was measured."""
    system = record["system_info"]
    threads = f"{record['cores']} cores, {record['memory_bytes'] / GIB:.0f} GiB of memory"
    versions = ", ".join(
        f"{name} {record['package_info'][f'{name}-version']}"
        for name in ("torch", "transformers", "peft")
    )
    where = markdown.shown(f"{system['accelerator'] or system['processor']}, {threads}")
    return (
        f"Measured on {record['date'][:10]} in {record['seconds'] / 60:.0f} minutes: {where}; "
        f"{versions}. By `{record['command']}`."
    )


def training_table(rows: list[dict[str, Any]]) -> str:
    """Training, an arm a row."""
    header = ["model", "texts", "arm", "rows", "samples/s", "real tokens/s", "padding",
              "GFLOP/s", "of the limit", "needed alone", "memory (GiB)", "training (s)",
              "process (s)", "× notebook", "× best Trainer"]  # fmt: skip
    lines = [
        [
            *first_cells(row),
            percent(row["padding_share"]),
            *limit_cells(row),
            f"{row['peak_memory_bytes'] / GIB:.2f}",
            f"{row['seconds']:.1f}",
            f"{row['process_seconds']:.1f}",
            *ratio_cells(row),
        ]
        for row in rows
    ]
    return markdown.table(header, lines)


def evaluation_table(rows: list[dict[str, Any]]) -> str:
    """Evaluation, an arm a row."""
    header = ["model", "texts", "arm", "rows", "samples/s", "real tokens/s", "GFLOP/s",
              "of the limit", "needed alone", "× notebook", "× best Trainer"]  # fmt: skip
    lines = [[*first_cells(row), *limit_cells(row), *ratio_cells(row)] for row in rows]
    return markdown.table(header, lines)


def first_cells(row: dict[str, Any]) -> list[str]:
    """Return which arm, and how fast it is."""
    named = [row["model"], row["lengths"], ARMS[row["arm"]], f"{row['rows']:,}"]
    return [*named, f"{row['samples_per_second']:.3g}", f"{row['tokens_per_second']:,.0f}"]


def limit_cells(row: dict[str, Any]) -> list[str]:
    """Operations per second, and as a share of the limit: all of them, and those needed."""
    shares = ("operations_share_of_limit", "needed_operations_share_of_limit")
    return [f"{row['operations_per_second'] / 1e9:.1f}", *(percent(row[each]) for each in shares)]


def ratio_cells(row: dict[str, Any]) -> list[str]:
    """Return how many times as fast as both recipes."""
    return [f"{row[name]:.2f}" for name in ("times_notebook", "times_best_trainer")]


def percent(share: float | None) -> str:
    """Return a share in per cent; empty where it is not known."""
    return "" if share is None else f"{100 * share:.0f} %"


def quality_table(rows: list[dict[str, Any]]) -> str:
    """Quality, an arm a row: means, and every seed."""
    header = ["texts", "arm", "rows", "accuracy", "of each seed", "macro-F1", "of each seed"]
    lines = []
    for row in rows:
        cells = [row["lengths"], ARMS[row["arm"]], f"{row['train_rows']:,}"]
        for name in ("accuracy", "macro_f1"):
            seeds = ", ".join(f"{value:.3f}" for value in row[name])
            cells += [f"{row[f'mean_{name}']:.3f}", seeds]
        lines.append(cells)
    return markdown.table(header, lines)


def limits_table(rows: list[dict[str, Any]]) -> str:
    """Return the best product of each kernel, by model and threads; jobs side by side are added."""
    kernels = sorted({product["kernel"] for row in rows for product in row["products"]})
    groups: dict[tuple[str, int, int], dict[str, dict[int, float]]] = {}
    for row in rows:
        best = groups.setdefault((row["model"], row["jobs"], row["threads"]), {})
        for product in row["products"]:
            jobs = best.setdefault(product["kernel"], {})
            jobs[row["job"]] = max(jobs.get(row["job"], 0), product["operations_per_second"])
    lines = [
        [model, f"{jobs} × {threads}",
         *(f"{sum(best.get(kernel, {}).values()) / 1e9:.0f}" for kernel in kernels)]
        for (model, jobs, threads), best in groups.items()
    ]  # fmt: skip
    header = ["model", "processes × threads", *(f"{kernel} (GFLOP/s)" for kernel in kernels)]
    return markdown.table(header, lines)

"""Measure whole comparisons: cells per minute, from `snakemake` to the report.

    python benchmarks/throughput.py --minilm resources/models/minilm \\
        --datasets resources/datasets --output docs/throughput.json

Rows and models are fetched, prepared and tokenised before; the clock then runs until the last
output is there. A cell is a LoRA of one of two ranks with one seed: trained, saved, loaded anew and
evaluated. Arms:

- `notebook`, `best-trainer`: a loop of the shell over benchmarks/notebook.py, a process for each
  cell. Since one takes as long as another, as many as the smallest comparison has.
- `cold`: the workflow, with a new process for each job (`execution: {warm: false}`).
- `workflow`: the workflow as it is.

On a GPU the figures are absolute as well. The share of the limit counts the operations of training
and test rows, as speed.py does, and all of the time.
"""

import argparse
import copy
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]

from benchmarks import comparison, speed, workloads  # noqa: E402
from benchmarks.workloads import Model  # noqa: E402
from common import cli, files, markdown  # noqa: E402

if TYPE_CHECKING:
    from benchmarks.operations import Shape

CELLS, RANKS = (4, 8, 16), (4, 8)
ARMS = {  # in the words of the table
    "notebook": "notebook, in a loop",
    "best-trainer": "best Trainer, in a loop",
    "cold": "this project, cold jobs",
    "workflow": "this project",
}
RECIPES = {"notebook": "plain", "best-trainer": "best"}
DATASET, TOKENS = "rows", "results/rows/model/tokens"
TRAINING = {"learning_rate": speed.LEARNING_RATE, "epochs": 1}


@dataclass(frozen=True)
class Subject:
    """What the cells are of.

    Attributes:
        model: what is compared.
        dataset: a section of a config.
        weights: the directory of the model.
        execution: that section of the config.
        place: a directory with model and tokens ready.
    """

    model: Model
    dataset: dict[str, Any]
    weights: Path
    execution: dict[str, Any]
    place: Path


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    cli.go_offline()
    began, runs = time.perf_counter(), []
    for run in measure_all(args):
        runs.append(run)  # a benchmark that is ended early keeps what it has
        about = speed.about(argv, time.perf_counter() - began, "throughput")
        record = {**about, "runs": with_ratios(runs)}
        files.write_json(record, args.output)
    print(tables(record))


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = workloads.parser(__doc__)
    parser.add_argument("--cells", type=int, nargs="+", help="of each comparison, even; 4 8 16")
    parser.add_argument("--arms", nargs="+", choices=ARMS, help="all there are")
    parser.add_argument("--rows", type=int, help="training rows; else by model")
    parser.add_argument(
        "--execution", type=json.loads, default={}, help="that section of the config, as JSON"
    )
    args = workloads.parsed(parser, argv, first=True)
    args.cells = sorted(args.cells or ([2] if args.quick else CELLS))
    if odd := [count for count in args.cells if count < 1 or count % len(RANKS)]:
        parser.error(f"--cells {odd[0]}: there are two ranks, so the number is even")
    args.arms = args.arms or [*ARMS]
    return args


def measure_all(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the figures of every arm, for each model, lengths and number of cells."""
    from benchmarks import operations

    for name in args.models:
        for lengths in args.lengths:
            with tempfile.TemporaryDirectory(prefix="throughput-") as folder:
                subject = make(args, name, lengths, Path(folder))
                model = operations.load_empty(subject.place / "resources/models/model")
                shape = operations.shape_of(model, subject.model.adapted, RANKS[-1])
                limits = speed.limits(name, shape, Path(folder))
                for cells in args.cells:
                    for arm in args.arms:
                        if arm in RECIPES and cells > args.cells[0]:
                            continue
                        speed.say(f"{name}, {lengths}: {arm}, {cells} cells")
                        named = {"model": name, "lengths": lengths, "arm": arm, "cells": cells}
                        run = {**named, **measure(subject, arm, cells)}
                        yield {**run, **of_limit(run, shape, subject, limits)}


def make(args: argparse.Namespace, name: str, lengths: str, scratch: Path) -> Subject:
    """Return a subject of which the model is fetched and the rows are tokenised."""
    model, place = args.known_models[name], scratch / "prepared"
    place.mkdir()
    weights = workloads.make_model(model, args.minilm, scratch)
    rows = args.rows or model.rows[lengths]
    dataset = dataset_of(args.known_datasets[lengths], args.datasets, scratch)
    dataset |= {"train_rows": rows, "validation_rows": workloads.DRAWN_VALIDATION_ROWS,
                "test_rows": model.eval_rows}  # fmt: skip
    subject = Subject(model, dataset, weights, args.execution, place)
    run_workflow(subject, place, config_of(subject, args.cells[0]), TOKENS)
    return subject


def dataset_of(known: dict[str, Any], datasets: Path, scratch: Path) -> dict[str, Any]:
    """Return a dataset of workloads.py as a section of a config."""
    if known["source"] is None:
        source = scratch / "rows.csv"
        workloads.run("generate", "--rows", 200, "--output", source)
    else:
        source = datasets.absolute() / known["source"] / "train.csv"
    section: dict[str, Any] = {"source": {"path": str(source)}, "labels": known["labels"]}
    words = iter(known["options"])
    for word in words:
        key = word.removeprefix("--").replace("-", "_")
        if key.startswith("no_"):
            section[key.removeprefix("no_")] = None
        else:
            section[key] = [next(words)] if key == "filter" else next(words)
    return section


def config_of(subject: Subject, cells: int) -> dict[str, Any]:
    """Return the config of a comparison of so many cells."""
    adapter = {"target_modules": subject.model.adapted, "lora_alpha": RANKS[0]}
    return {
        "datasets": {DATASET: subject.dataset},
        "models": {"model": {"source": {"path": str(subject.weights.absolute())}}},
        "variants": {"lora": {"r": [*RANKS], **adapter}},
        "seeds": [*range(cells // len(RANKS))],
        "base_seeds": 1,
        "baselines": ["majority"],
        "tokenization": {"max_length": workloads.MAX_LENGTH, "max_unknown_share": 1},
        "training": {**TRAINING, "batch_size": subject.model.batch_size},
        "execution": copy.deepcopy(subject.execution),
    }


def measure(subject: Subject, arm: str, cells: int) -> dict[str, Any]:
    """Return the seconds that an arm takes for so many cells, and those in which it computes."""
    place = subject.place.with_name(f"{arm}-{cells}")
    config = config_of(subject, cells)
    if arm in RECIPES:
        place.mkdir()
        took, computing = timed(lambda: loop(subject, RECIPES[arm], config, place))
        jobs, threads = 1, speed.cores()
    else:
        shutil.copytree(subject.place, place)  # with the times of the files
        if arm == "cold":
            config["execution"]["warm"] = False
        took, _ = timed(lambda: run_workflow(subject, place, config))
        computing = computed(place)
        jobs, threads = (1, speed.cores()) if speed.has_gpu() else (speed.cores(), 1)
    files.remove(place)
    return {
        "jobs": jobs,
        "threads": threads,
        "seconds": round(took, 1),
        "cells_per_minute": round(60 * cells / took, 2),
        "computing_seconds": round(computing, 1),
    }


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that something takes, and what it returns."""
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def loop(subject: Subject, recipe: str, config: dict[str, Any], place: Path) -> float:
    """Do the cells as a shell does, one after the other; return the seconds of computing."""
    variant = config["variants"]["lora"]
    computing = 0.0
    for rank in variant["r"]:
        for seed in config["seeds"]:
            output = place / f"r{rank}-{seed}.json"
            peft = {**variant, "r": rank}
            words = [
                *("--recipe", recipe, "--peft", json.dumps(peft), "--seed", seed),
                *("--model", subject.place / "resources/models/model"),
                *("--tokens", subject.place / TOKENS),
                *("--learning-rate", TRAINING["learning_rate"], "--epochs", TRAINING["epochs"]),
                *("--batch-size", subject.model.batch_size),
                *("--adapter", output.with_suffix(""), "--output", output),
            ]
            workloads.run("notebook", *words)
            found = files.read_json(output)
            computing += found["train_time"] + found["eval_seconds"]
    return computing


def run_workflow(subject: Subject, place: Path, config: dict[str, Any], *targets: str) -> None:
    """Run the workflow in a directory to its end, or to some targets.

    Raises:
        SystemExit: it failed; what it said is passed on.
    """
    file = place / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", str(place), "--configfile", str(file), "--cores", "all"]
    done = subprocess.run(
        [*command, *targets], capture_output=True, text=True, cwd=ROOT, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed: {done.stderr}")
    for wanted in targets or ("results/report.html",):
        assert (place / wanted).exists(), f"{place / wanted} was not made: {subject}"


def computed(place: Path) -> float:
    """Return the seconds of training and evaluation that all cells have on record."""
    total = 0.0
    for path in place.glob("results/*/*/*/seed*/training.json"):
        total += files.read_json(path)["train_info"]["train_time"]
        splits = files.read_json(path.with_name("metrics.json"))["metrics"].values()
        total += sum(split["eval_seconds"] for split in splits)
    return total


def of_limit(
    run: dict[str, Any], shape: "Shape", subject: Subject, limits: list[dict[str, Any]]
) -> dict[str, float]:
    """Return the operations per second of a comparison, and their share of the machine's limit."""
    counts = speed.counted(shape, subject.place / TOKENS)
    rows = subject.dataset["train_rows"] * TRAINING["epochs"]
    each = rows * counts["train_operations_per_row"]
    each += subject.dataset["test_rows"] * counts["eval_operations_per_row"]
    per_second = run["cells"] * each / run["seconds"]
    limit = comparison.limit_of(run, limits)
    return {"operations_per_second": per_second, "share_of_limit": per_second / limit}


def with_ratios(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return runs, each with how many times as fast it is as the notebook and as cold jobs."""
    rows = []
    for run in runs:
        same = [each for each in runs if all(each[k] == run[k] for k in ("model", "lengths"))]
        row = dict(run)
        for arm in ("notebook", "cold"):
            # A loop is measured with the fewest cells.
            cells = run["cells"] if arm == "cold" else min(each["cells"] for each in same)
            for other in same:
                if (other["arm"], other["cells"]) == (arm, cells):
                    row[f"times_{arm}"] = run["cells_per_minute"] / other["cells_per_minute"]
        rows.append(row)
    return rows


def tables(record: dict[str, Any]) -> str:
    """Return all figures as Markdown, as they stand in docs/performance.md."""
    header = ["model", "texts", "arm", "cells", "seconds", "cells/min", "seconds of a cell",
              "computing", "GFLOP/s", "of the limit", "× notebook", "× cold"]  # fmt: skip
    lines = [
        [
            run["model"],
            run["lengths"],
            ARMS[run["arm"]],
            str(run["cells"]),
            f"{run['seconds']:.0f}",
            f"{run['cells_per_minute']:.3g}",
            f"{run['seconds'] / run['cells']:.1f}",
            comparison.percent(run["computing_seconds"] / (run["seconds"] * run["jobs"])),
            f"{run['operations_per_second'] / 1e9:.1f}",
            f"{100 * run['share_of_limit']:.2g} %",
            *(f"{run[key]:.2f}" if key in run else "" for key in ("times_notebook", "times_cold")),
        ]
        for run in record["runs"]
    ]
    return f"{comparison.header(record)}\n\n{markdown.table(header, lines)}\n"


if __name__ == "__main__":
    main()

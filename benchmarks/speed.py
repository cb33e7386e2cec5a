"""Measure training and evaluation beside the Trainer of a notebook, and the machine's limit.

    python benchmarks/speed.py --minilm resources/models/minilm --datasets resources/datasets \\
        --output docs/performance.json

docs/performance.md tells what is compared and what the figures mean. Every arm is a process of its
own, one after the other, on the same rows and weights; between the arms of one model and the next
it is measured how fast this machine multiplies. What happens is told on stderr.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]

from benchmarks import comparison, workloads  # noqa: E402
from benchmarks.workloads import MAX_LENGTH, QUALITY_MAX_LENGTH, Model  # noqa: E402
from common import cli, files  # noqa: E402

if TYPE_CHECKING:
    from benchmarks.operations import Shape

RANK = 8  # PEFT's default, as is lora_alpha
LEARNING_RATE = 1e-3
# LoRA with alpha = r wants a higher one than with alpha = 2 r; MiniLM has to learn something in
# every arm, or equal quality says nothing.
QUALITY_LEARNING_RATE = 3e-3
QUALITY_ROWS, QUALITY_EPOCHS = {"sms": 2000, "imdb": 1000}, {"sms": 2, "imdb": 1}


@dataclass(frozen=True)
class Work:
    """One process to run on one model and one set of rows; several of them run side by side.

    Attributes:
        model, tokens: directories.
        adapted: names of the layers to adapt.
        place: a directory for what is written.
        batch_size: rows per step.
        threads: of the CPU; None: those that torch takes, all.
        max_steps, epochs, seed, learning_rate: of the training.
    """

    model: Path
    tokens: Path
    adapted: list[str]
    place: Path
    batch_size: int
    threads: int | None = None
    max_steps: int | None = None
    epochs: float = 1
    seed: int = 0
    learning_rate: float = LEARNING_RATE

    @property
    def words(self) -> list[Any]:
        """The options that all arms have."""
        peft = {"r": RANK, "lora_alpha": RANK, "target_modules": self.adapted}
        chosen = {"max-steps": self.max_steps, "threads": self.threads}
        return [
            *("--model", self.model, "--tokens", self.tokens, "--peft", json.dumps(peft)),
            *("--learning-rate", self.learning_rate, "--batch-size", self.batch_size),
            *("--epochs", self.epochs, "--seed", self.seed),
            *(word for name, value in chosen.items() if value for word in (f"--{name}", value)),
        ]


@dataclass
class Found:
    """All that was measured, as it is written."""

    limits: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    quality: list[dict[str, Any]] = field(default_factory=list)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    cli.go_offline()
    began, found = time.perf_counter(), Found()
    with tempfile.TemporaryDirectory(prefix="speed-") as folder:
        scratch = Path(folder)
        tokens = make_rows(args, scratch)
        for name in args.models:
            measure_model(name, args, tokens, scratch, found)
            write(argv, args.output, began, found)  # a run that is ended early keeps what it has
        for lengths in args.lengths if args.seeds else ():
            found.quality += qualities(args, lengths, tokens, scratch)
    print(comparison.tables(write(argv, args.output, began, found)))


def write(argv: list[str] | None, path: Path, began: float, found: Found) -> dict[str, Any]:
    """Write what was measured so far; returns the record."""
    record = {**about(argv, time.perf_counter() - began), **comparison.compare(vars(found))}
    files.write_json(record, path)
    return record


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = workloads.parser(__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", help="of the quality; 0 1 2")
    parser.add_argument("--rows", type=int, help="training rows at most; else by model")
    args = workloads.parsed(parser, argv)
    if args.seeds is None:
        args.seeds = [] if args.quick else [0, 1, 2]
    return args


def about(argv: list[str] | None, seconds: float, script: str = "speed") -> dict[str, Any]:
    """When, where and by what command it was measured."""
    import torch  # noqa: F401 (the record tells what is loaded)

    from common import cells

    words = sys.argv[1:] if argv is None else argv
    meta = cells.meta_info([])
    return {
        "command": shlex.join(["python", f"benchmarks/{script}.py", *words]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds),
        "cores": cores(),
        "logical_cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "settings": {
            "rank": RANK,
            "learning_rate": LEARNING_RATE,
            "max_length": MAX_LENGTH,
            "quality_learning_rate": QUALITY_LEARNING_RATE,
            "quality_max_length": QUALITY_MAX_LENGTH,
        },
        "package_info": meta["package_info"],
        "system_info": meta["system_info"],
    }


@cache
def cores() -> int:
    """As many as torch computes on unless it is told otherwise, as it is not in a notebook.

    Asked of a process of its own: in this one, it may have been told.
    """
    ask = "import torch; print(torch.get_num_threads())"
    return int(subprocess.run([sys.executable, "-c", ask], capture_output=True, check=True).stdout)


def has_gpu() -> bool:
    """Return whether the arms will run on a GPU."""
    import torch

    return torch.cuda.is_available()


def make_rows(args: argparse.Namespace, scratch: Path) -> dict[tuple[str, int], Path]:
    """Tokens of each set of rows, by its name and the maximum they are cut at."""
    places = {}
    for lengths in args.lengths:
        say(f"prepare {lengths}")
        data = scratch / f"{lengths}-data"
        workloads.prepare(args.known_datasets[lengths], args.datasets, data)
        for longest in (MAX_LENGTH, QUALITY_MAX_LENGTH) if args.seeds else (MAX_LENGTH,):
            places[lengths, longest] = scratch / f"{lengths}-{longest}"
            workloads.tokenize(data, args.minilm, longest, places[lengths, longest])
    return places


def measure_model(
    name: str, args: argparse.Namespace, tokens: Any, scratch: Path, found: Found
) -> None:
    """All arms on one model, for each set of rows, with the limit before, between and after."""
    model, place = args.known_models[name], scratch / name
    place.mkdir()
    say(f"make {name}")
    made = workloads.make_model(model, args.minilm, place)
    from benchmarks import operations

    shape = operations.shape_of(operations.load_empty(made), model.adapted, RANK)
    found.limits += limits(name, shape, place)
    for lengths in args.lengths:
        rows = min(model.rows[lengths], args.rows or model.rows[lengths])
        part = place / "tokens"
        workloads.part(tokens[lengths, MAX_LENGTH], rows, model.eval_rows, part)
        work = Work(made, part, model.adapted, place, model.batch_size)
        for arm, run in arms(work, model).items():
            say(f"{name}, {lengths}: {arm}")
            found.runs.append({"model": name, "lengths": lengths, "arm": arm, **run()})
            found.runs[-1] |= counted(shape, part)
        if not args.quick:
            found.limits += limits(name, shape, place)
    files.remove(place)  # the weights of the largest take over a GB


def arms(work: Work, model: Model) -> dict[str, Any]:
    """Return what to run, by the name of the arm: functions that return figures."""
    from dataclasses import replace

    all_cores, one = replace(work, threads=cores()), replace(work, threads=1)
    few = replace(work, max_steps=model.notebook_steps)
    found: dict[str, Any] = {
        "notebook": lambda: of_notebook("plain", [few])[0],
        "best-trainer": lambda: of_notebook("best", [work])[0],
        "one-job": lambda: together(of_project([all_cores])),
    }
    if not has_gpu():
        found["job-per-core"] = lambda: together(of_project([one] * cores()))
    return found


def of_notebook(recipe: str, works: Sequence[Work]) -> list[dict[str, Any]]:
    """Figures of notebook.py, of processes side by side."""
    outputs = [work.place / f"{number}.json" for number, work in enumerate(works)]
    script = ROOT / "benchmarks" / "notebook.py"
    seconds = side_by_side(
        [
            [script, "--recipe", recipe, *work.words, "--output", output]
            for work, output in zip(works, outputs, strict=True)
        ]
    )
    return [
        {"jobs": 1, **files.read_json(output), "process_seconds": taken}
        for output, taken in zip(outputs, seconds, strict=True)
    ]


def of_project(works: Sequence[Work]) -> list[dict[str, Any]]:
    """Figures of train_lora.py, then of eval_lora.py, of processes side by side."""
    cells = [work.place / f"cell{number}" for number, work in enumerate(works)]
    train, evaluate = (ROOT / "scripts" / f"{stage}_lora.py" for stage in ("train", "eval"))
    paths = [[cell / name for name in ("adapter", "training.json")] for cell in cells]
    trained = side_by_side(
        [
            [train, *work.words, "--output", adapter, "--record", record]
            for work, (adapter, record) in zip(works, paths, strict=True)
        ]
    )
    evaluated = side_by_side(
        [
            [
                *(evaluate, "--model", work.model, "--tokens", work.tokens),
                *("--threads", work.threads, "--adapter", adapter, "--training", record),
                *("--metrics", record.with_name("metrics.json")),
                *("--predictions", record.with_name("predictions.parquet")),
            ]
            for work, (adapter, record) in zip(works, paths, strict=True)
        ]
    )
    return [
        read_cell(cell, work, sum(seconds))
        for cell, work, *seconds in zip(cells, works, trained, evaluated, strict=True)
    ]


def read_cell(cell: Path, work: Work, process_seconds: float) -> dict[str, Any]:
    """Return the figures of a cell of the project, under the names of notebook.py's."""
    training = files.read_json(cell / "training.json")["train_info"]
    test = files.read_json(cell / "metrics.json")["metrics"]["test"]
    same = ("steps", "train_samples", "train_tokens", "train_time", "peak_memory_bytes")
    return {
        "threads": work.threads,
        **{name: training[name] for name in same},
        "padding_share": training.get("padding_share"),
        "eval_rows": test["rows"],
        "eval_seconds": test["eval_seconds"],
        "accuracy": test["accuracy"],
        "macro_f1": test["macro_f1"],
        "process_seconds": process_seconds,
    }


def together(jobs: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of jobs side by side as of one: rows and memory in all, the time of the slowest.

    The time of evaluation is that of all rows at the jobs' speeds added, since they are short and
    begin at different moments.
    """
    first = dict(jobs[0])
    for name in ("train_samples", "train_tokens", "peak_memory_bytes", "eval_rows"):
        first[name] = sum(job[name] for job in jobs)
    for name in ("train_time", "process_seconds"):
        first[name] = max(job[name] for job in jobs)
    speed = sum(job["eval_rows"] / job["eval_seconds"] for job in jobs)
    return first | {"jobs": len(jobs), "eval_seconds": round(first["eval_rows"] / speed, 4)}


def side_by_side(commands: Sequence[Sequence[Any]]) -> list[float]:
    """Run Python commands at the same time; returns the seconds that each took.

    Raises:
        SystemExit: one failed; what it said is passed on.
    """
    began, taken = time.perf_counter(), [0.0] * len(commands)
    with tempfile.TemporaryDirectory(prefix="log-") as folder:
        logs = [Path(folder) / str(number) for number in range(len(commands))]
        running = {}
        for number, (command, log) in enumerate(zip(commands, logs, strict=True)):
            with open(log, "w") as file:
                words = [sys.executable, *map(str, command)]
                running[number] = subprocess.Popen(words, stdout=file, stderr=file)
        while running:
            time.sleep(0.02)
            for number in [n for n, process in running.items() if process.poll() is not None]:
                taken[number] = round(time.perf_counter() - began, 2)
                if running.pop(number).returncode:
                    for process in running.values():
                        process.kill()
                    sys.exit(f"{shlex.join(map(str, commands[number]))} failed: "
                             f"{logs[number].read_text()}")  # fmt: skip
    return taken


def limits(name: str, shape: "Shape", place: Path) -> list[dict[str, Any]]:
    """What this machine multiplies now: with all threads, and by single-threaded jobs together."""
    from benchmarks import operations

    sizes = operations.sizes(shape)
    script, found = ROOT / "benchmarks" / "operations.py", []
    for threads, jobs in [(cores(), 1)] if has_gpu() else [(cores(), 1), (1, cores())]:
        say(f"{name}: limit, {jobs} x {threads} threads")
        outputs = [place / f"limit{number}.json" for number in range(jobs)]
        side_by_side(
            [
                [script, "--threads", threads, "--output", output, "--sizes", *sizes]
                for output in outputs
            ]
        )
        for number, output in enumerate(outputs):
            found.append({"model": name, "threads": threads, "jobs": jobs, "job": number,
                          "products": files.read_json(output)})  # fmt: skip
    return found


def counted(shape: "Shape", tokens: Path) -> dict[str, float]:
    """Operations of a row of mean cost: in training over its rows, in evaluation over the test's.

    With and without what is never read, see operations.py.
    """
    from benchmarks import operations
    from common.data import datadict

    splits, found = datadict.load(tokens), {}
    for key, split, training in (("train", "train", True), ("eval", "test", False)):
        lengths = splits[split]["length"]
        for name, needed in (("operations", False), ("needed_operations", True)):
            counts = [operations.operations(shape, length, training, needed) for length in lengths]
            found[f"{key}_{name}_per_row"] = sum(counts) / len(counts)
        found[f"{key}_tokens_per_row"] = sum(lengths) / len(lengths)
    return found


def qualities(
    args: argparse.Namespace, lengths: str, tokens: Any, scratch: Path
) -> list[dict[str, Any]]:
    """Test quality of the best Trainer and of the project, over the seeds.

    As many single-threaded trainings at a time as there are cores: threads change no quality.
    """
    place, first = scratch / f"{lengths}-quality", next(iter(args.known_models.values()))
    place.mkdir()
    model = workloads.make_model(first, args.minilm, place)
    rows = args.rows or QUALITY_ROWS.get(lengths, 64)
    workloads.part(tokens[lengths, QUALITY_MAX_LENGTH], rows, rows, place / "tokens")
    found: dict[str, list[dict[str, Any]]] = {"best-trainer": [], "one-job": []}
    for start in range(0, len(args.seeds), cores()):
        seeds = args.seeds[start : start + cores()]
        works = [
            Work(model, place / "tokens", first.adapted, place, first.batch_size, threads=1,
                 epochs=QUALITY_EPOCHS.get(lengths, 1), seed=seed,
                 learning_rate=QUALITY_LEARNING_RATE)
            for seed in seeds
        ]  # fmt: skip
        say(f"quality, {lengths}: seeds {seeds}")
        found["best-trainer"] += of_notebook("best", works)
        found["one-job"] += of_project(works)
    return [
        {"lengths": lengths, "arm": arm, "train_rows": jobs[0]["train_samples"],
         "seeds": args.seeds, **{name: [job[name] for job in jobs]
                                 for name in ("accuracy", "macro_f1")}}
        for arm, jobs in found.items()
    ]  # fmt: skip


def say(words: str) -> None:
    """Tell on stderr what is going on, and when."""
    print(f"{datetime.now():%H:%M:%S} {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

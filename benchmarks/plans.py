"""Measure how long Snakemake takes to plan comparisons of many cells, and in what memory.

    python benchmarks/plans.py --output docs/plans.csv

A dry run of nothing but the plan: one dataset, one model, and as many ranks and seeds as make so
many cells; when no file exists, and when all are there and up to date: empty ones, which Snakemake
records without making them (`--touch`). Memory is the most that the process held, resident.
"""

import argparse
import csv
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from common import files  # noqa: E402

CELLS = (10, 100, 1_000, 10_000)
SEEDS = 10  # of each rank
COLUMNS = ["cells", "finished", "jobs", "seconds", "cpu_seconds", "peak_memory_mib"]
SOURCE = {"package": "nothing==1.0", "sha256": "0" * 64, "member": "nothing"}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, nargs="+", default=CELLS, help="trained, in all")
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write")
    args = parser.parse_args(argv)
    planned = list(measure_all(args.cells))
    with files.atomic_write(args.output) as aside, open(aside, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(planned)


def measure_all(sizes: list[int]) -> Iterator[dict[str, Any]]:
    """Yield a row of COLUMNS for each number of cells, as it is measured."""
    for cells in sizes:
        with tempfile.TemporaryDirectory() as scratch:
            config = Path(scratch) / "config.yaml"
            config.write_text(yaml.safe_dump(config_of(cells)))
            for finished in ("no", "yes"):
                if finished == "yes":
                    finish(config, Path(scratch))
                found = {"cells": cells, "finished": finished, **measured(config, Path(scratch))}
                print(found, file=sys.stderr)
                yield found


def config_of(cells: int) -> dict[str, Any]:
    """Return a config of so many cells to train."""
    seeds = min(cells, SEEDS)
    return {
        "datasets": {"rows": {"source": SOURCE}},
        "models": {"model": {"source": SOURCE}},
        "variants": {"lora": {"r": list(range(1, math.ceil(cells / seeds) + 1))}},
        "seeds": list(range(seeds)),
    }


def words(config: Path, place: Path) -> list[str]:
    """Return the command that plans the workflow in a directory."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    return [*command, "--directory", str(place), "--configfile", str(config), "--cores", "1"]


def finish(config: Path, place: Path) -> None:
    """Make an empty file or directory of every output, and let Snakemake take them for current.

    Raises:
        SystemExit: Snakemake failed; what it said is passed on.
    """
    table = said([*words(config, place), "--summary"])
    for line in csv.DictReader(table.splitlines(), delimiter="\t"):
        output = place / line["output_file"]
        if output.suffix:
            output.parent.mkdir(parents=True, exist_ok=True)
            output.touch()
        else:
            output.mkdir(parents=True, exist_ok=True)
    said([*words(config, place), "--touch", "--quiet", "all"])


def said(command: list[str]) -> str:
    """Return what a command writes.

    Raises:
        SystemExit: it failed; what it said is passed on.
    """
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed: {done.stderr}")
    return done.stdout


def measured(config: Path, place: Path) -> dict[str, Any]:
    """Jobs, seconds and MiB of a plan.

    Raises:
        SystemExit: Snakemake failed; what it said is passed on.
    """
    command = words(config, place)
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--dry-run", "--quiet", "rules"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    told = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if status:
        sys.exit(f"{' '.join(command)} failed: {told}")
    totals = [line.split()[1] for line in told.splitlines() if line.startswith("total")]
    if not totals and "Nothing to be done" not in told:
        sys.exit(f"{' '.join(command)} names no jobs: {told}")
    return {
        "jobs": int(totals[0]) if totals else 0,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_memory_mib": used.ru_maxrss // 1024,
    }


if __name__ == "__main__":
    main()

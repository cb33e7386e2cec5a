"""Measure how long Snakemake takes to plan comparisons of many cells, and in what memory.

    python benchmarks/plans.py --output docs/plans.csv

A dry run of nothing but the plan: one dataset, one model, and as many ranks and seeds as make so
many cells. Memory is the most that the process held, resident.
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
COLUMNS = ["cells", "jobs", "seconds", "cpu_seconds", "peak_memory_mib"]
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
            found = {"cells": cells, **measured(config, Path(scratch))}
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


def measured(config: Path, place: Path) -> dict[str, Any]:
    """Jobs, seconds and MiB of a plan, made in an empty directory.

    Raises:
        SystemExit: Snakemake failed; what it said is passed on.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", str(place), "--configfile", str(config), "--cores", "1"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--dry-run", "--quiet", "rules"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if status:
        sys.exit(f"{' '.join(command)} failed: {said}")
    total = next(line.split()[1] for line in said.splitlines() if line.startswith("total"))
    return {
        "jobs": int(total),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_memory_mib": used.ru_maxrss // 1024,
    }


if __name__ == "__main__":
    main()

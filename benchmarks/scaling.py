"""Measure how long it takes to prepare and tokenise data of several sizes, and in what memory.

    python benchmarks/scaling.py --model resources/models/minilm --output docs/scaling.csv \\
        --figure docs/scaling.svg

Rows are made up (generate.py beside this file) in a scratch directory; each script runs as the
workflow runs it. The memory of a script is the most that it and the processes it starts hold at one
time, resident, memory that they share counted for each of them; it is looked at 20 times a second.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from common import files  # noqa: E402

SIZES = (10_000, 100_000, 1_000_000)
STAGES = ("prepare_data", "tokenize")
INTERVAL_SECONDS = 0.05
COLUMNS = ["stage", "rows", "processes", "seconds", "peak_memory_mib"]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="whose tokenizer to use")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="in rows")
    parser.add_argument("--processes", type=int, default=1, help="of each script, at most")
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write")
    parser.add_argument("--figure", type=Path, required=True, help="SVG file to write")
    args = parser.parse_args(argv)
    measured = list(measure_all(args.model, args.sizes, args.processes))
    with files.atomic_write(args.output) as aside, open(aside, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(measured)
    draw(measured, args.figure)


def measure_all(model: Path, sizes: list[int], processes: int) -> Iterator[dict[str, Any]]:
    """Yield a row of COLUMNS for each size and stage, as it is measured."""
    for rows in sizes:
        with tempfile.TemporaryDirectory() as scratch:
            for stage, command in commands(Path(scratch), model, rows, processes).items():
                seconds, memory = measured(command)
                found = dict(zip(COLUMNS, (stage, rows, processes, seconds, memory), strict=True))
                if stage != "generate":
                    print(found, file=sys.stderr)
                    yield found


def commands(scratch: Path, model: Path, rows: int, processes: int) -> dict[str, list[str]]:
    """Return the command of each stage, in order; the first makes up the rows."""
    source, data = scratch / "rows.csv", scratch / "data"
    places: dict[str, list[Any]] = {
        "generate": [ROOT / "benchmarks" / "generate.py", "--rows", rows, "--output", source],
        "prepare_data": [
            *(ROOT / "scripts" / "prepare_data.py", "--source", source, "--output", data),
            *("--csv", scratch / "leakage.csv", "--threads", processes),
        ],
        "tokenize": [
            *(ROOT / "scripts" / "tokenize_data.py", "--data", data, "--model", model),
            *("--max-unknown-share", "1"),  # made-up words
            *("--output", scratch / "tokens", "--threads", processes),
        ],
    }
    return {stage: [sys.executable, *map(str, words)] for stage, words in places.items()}


def measured(command: list[str]) -> tuple[float, int]:
    """Seconds that a command takes, and the most memory that its processes hold, in MiB."""
    began, most = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as log, subprocess.Popen(command, stderr=log) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            most = max(most, resident_bytes(watched))
            time.sleep(INTERVAL_SECONDS)
        seconds = time.perf_counter() - began
        if process.returncode:
            log.seek(0)
            sys.exit(f"{' '.join(command)} failed: {log.read()}")
    return round(seconds, 1), most >> 20


def resident_bytes(process: psutil.Process) -> int:
    """Return the resident memory of a process and of those that it started."""
    total = 0
    try:
        for each in (process, *process.children(recursive=True)):
            total += each.memory_info().rss
    except psutil.NoSuchProcess:  # it ended meanwhile
        return 0
    return total


def draw(measured: list[dict[str, Any]], path: Path) -> None:
    """Draw seconds and memory by the number of rows; the dotted line grows as the rows do."""
    from common.report import vega

    sizes = sorted({row["rows"] for row in measured})
    across = vega.number(
        "rows", "rows", scale={"type": "log"}, axis={"values": sizes, "format": ","}
    )
    colour = {"field": "stage", "type": "nominal", "title": None,
              "scale": {"domain": list(STAGES), "range": vega.COLOURS[: len(STAGES)]}}  # fmt: skip
    panels = []
    for column, title in {
        "seconds": "seconds",
        "peak_memory_mib": "most memory held (MiB)",
    }.items():
        up = vega.number(column, None, scale={"type": "log"}, axis={"format": ",", "tickCount": 4})
        # The larger of two values of as many rows stands above its line, the smaller below.
        rows = [row | {"upper": row[column] >= max(other[column] for other in measured
                                                   if other["rows"] == row["rows"])}
                for row in measured]  # fmt: skip
        text = {"type": "text", "fontSize": 10}
        places = [
            vega.layer(f"{column}-{upper}", {**text, "dy": shift},
                       [row for row in rows if row["upper"] is upper],
                       x=across, y=up, color=colour, text={"field": column, "format": ",.4~g"})
            for upper, shift in ((True, -11), (False, 14))
        ]  # fmt: skip
        last = max((row for row in rows if row["stage"] == STAGES[0]), key=lambda row: row["rows"])
        guide = [{"rows": last["rows"] / by, column: last[column] / by} for by in (10, 1)]
        dotted = {"type": "line", "strokeDash": [1, 4], "color": vega.INK}
        linear = vega.layer(f"linear-{column}", dotted, guide, x=across, y=up)
        line = vega.layer(f"line-{column}", {"type": "line", "point": True}, rows, x=across, y=up,
                          color=colour)  # fmt: skip
        layers = [*([linear] if column == "seconds" else []), line, *places]
        panels.append({"title": title, "width": 320, "height": 240, "layer": layers})
    heading = {"text": "Preparing and tokenising rows of 30 words",
             "subtitle": "Dotted: ten times the rows, ten times the time"}  # fmt: skip
    vega.save({"title": heading, "hconcat": panels}, path)


if __name__ == "__main__":
    main()

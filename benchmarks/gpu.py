"""Measure packs of cells on a GPU, beside the Trainer alone and the card's limit.

    python benchmarks/gpu.py --model resources/models/minilm --output gpu.json \\
        --tokens results/sms-spam/minilm/tokens results/rotten-tomatoes/minilm/tokens

Each arm trains cells of ranks 4 and 16 by ``train_lora.main_together`` in this process, from their
files to their adapters, with captures and validation. ``--quick`` takes a few steps of small packs,
and runs on the CPU too. The table is told on stdout.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]

import train_lora  # noqa: E402
from common import cli, files  # noqa: E402

SIZES, QUICK_SIZES = (1, 8, 32, 96), (1, 2)  # of packs
RANKS = (4, 16)
STEPS, QUICK_STEPS = 100, 3
EMBEDDINGS = ("embed", "wte", "wpe")  # in the names of matrices that tokens are looked up in
ALONE_STEPS = 30  # of the Trainer alone, which is slow
SIDE, QUICK_SIDE, PRODUCTS = 8192, 256, 20  # of square matrices, which show the card's limit


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--model", required=True, type=Path, help="model directory")
    parser.add_argument("--tokens", required=True, type=Path, nargs="+", help="Arrow directories")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--batch-size", type=cli.int_at_least(1), default=16, help="rows per step")
    parser.add_argument("--quick", action="store_true", help="a few steps of small packs")
    parser.add_argument("--output", required=True, type=Path, help="JSON file to write")
    args = parser.parse_args(argv)
    logging.disable(logging.INFO)
    limit = product_flops(args.precision, QUICK_SIDE if args.quick else SIDE)
    arms = [
        arm
        for tokens in args.tokens
        for size in (0, *(QUICK_SIZES if args.quick else SIZES))
        for arm in [measured(args, tokens, size, limit)]
    ]
    files.write_json({"limit_flops": limit, "arms": arms}, args.output)
    sys.stdout.write(table(arms))


def product_flops(precision: str, side: int) -> float:
    """Return how many operations of a matrix product this device does in a second."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    matrix = torch.randn(side, side, device=device).to(dtype)
    for count in (2, PRODUCTS):  # the first ones warm up
        started = time.perf_counter()
        for _ in range(count):
            product = matrix @ matrix
        float(product[0, 0])  # waits for the device
        seconds = time.perf_counter() - started
    return 2 * side**3 * PRODUCTS / seconds


def measured(args: argparse.Namespace, tokens: Path, size: int, limit: float) -> dict[str, Any]:
    """Return what an arm took.

    Args:
        args: the options.
        tokens: Arrow directory of the splits.
        size: cells of the pack; 0: one cell, by the Trainer alone.
        limit: of the device, operations in a second.
    """
    steps = QUICK_STEPS if args.quick else STEPS if size else ALONE_STEPS
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / str(number) for number in range(max(1, size))]
        commands = [command(args, tokens, place, steps) for place in places]
        started = time.perf_counter()
        if size:
            train_lora.main_together(commands, lambda _: nullcontext())
        else:
            options = train_lora.parse(commands[0])
            train_lora.run(options, train_lora.begin(options), why="to be measured alone")
        seconds = time.perf_counter() - started
        found = [files.read_json(place / "training.json")["train_info"] for place in places]
    pack = found[0]["pack"]
    computed = max(each["pack"].get("seconds", each["train_time"]) for each in found)
    count = {n: sum(each[f"train_{n}"] for each in found) for n in ("samples", "tokens")}
    # Forward, and the gradient of the outputs: weights are frozen.
    operations = 4 * multiplied(args.model) * count["tokens"]
    return {
        "tokens": tokens.parts[-3] if len(tokens.parts) > 2 else tokens.name,
        "cells": size,
        "graphs": pack.get("graphs", False),
        "why_alone": pack.get("why_alone", ""),
        "seconds": round(seconds, 2),
        "rows_per_second": round(count["samples"] / computed, 1),
        "tokens_per_second": round(count["tokens"] / computed),
        "share_of_limit": round(operations / computed / limit, 4),
        "padding_share": found[0]["padding_share"],
        "peak_memory_bytes": max(each["peak_memory_bytes"] for each in found),
    }


def multiplied(model: Path) -> int:
    """Return how many weights of a model each token is multiplied with: those of its matrices."""
    import safetensors

    total = 0
    for path in model.glob("*.safetensors"):
        with safetensors.safe_open(path, framework="np") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
        total += sum(
            shape[0] * shape[1]
            for name, shape in shapes.items()
            if len(shape) == 2 and not any(word in name for word in EMBEDDINGS)
        )
    return total


def command(args: argparse.Namespace, tokens: Path, place: Path, steps: int) -> list[str]:
    """Return the command line of one cell."""
    number = int(place.name)
    peft = json.dumps({"r": RANKS[number % len(RANKS)], "lora_alpha": 16})
    line = ["--model", args.model, "--tokens", tokens, "--peft", peft, "--seed", number]
    line += ["--precision", args.precision, "--batch-size", args.batch_size, "--max-steps", steps]
    line += ["--output", place / "adapter", "--record", place / "training.json"]
    return list(map(str, line))


def table(arms: list[dict[str, Any]]) -> str:
    """Return the arms as a table in Markdown."""
    names = list(arms[0])
    lines = [names, ["---"] * len(names), *([str(each[n]) for n in names] for each in arms)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    cli.run(main)

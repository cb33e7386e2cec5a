"""Evaluate a trained cell: load it from disk, in a process of its own, and predict.

    python scripts/eval_lora.py --model resources/models/minilm \\
        --tokens results/sms-spam/minilm/tokens --positive-label spam \\
        --adapter results/sms-spam/minilm/lora-r4/seed0/adapter \\
        --training results/sms-spam/minilm/lora-r4/seed0/training.json \\
        --predictions results/sms-spam/minilm/lora-r4/seed0/predictions.parquet \\
        --metrics results/sms-spam/minilm/lora-r4/seed0/metrics.json

What is measured is what a user of the cell would get. It has to pass the round-trip check
first: its logits must be those of the trained model in memory, or the job fails without figures.

Beside the weights it writes their model card (README.md). The training does not: the test figures
are known only now, and only a cell that passed the check has a card.
"""

import logging
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import cells, cli, files, warm
from common.model import evaluation

log = logging.getLogger("eval_lora")


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    clock = evaluation.begin(args)
    from common.data import tokens
    from common.model import card

    source, training = files.read_source(args.model), cells.read_training(args.training)
    data, rows = tokens.load(args.tokens), training["meta_info"]["dataset_info"]["train_rows"]
    model, padding, passed = load(args, training, data.splits["validation"])
    positive = cells.class_number(args.positive_label, data.labels)
    with evaluation.Predictor(model, padding, args.batch_tokens, args.jobs_per_gpu) as predict:
        results, predictions = evaluation.evaluate(predict, data.splits, data.labels, positive)
    record = {
        "run_info": cells.whole_run(
            training["run_info"], clock.run_info(args.training.parent, vars(args))
        ),
        "train_info": cells.with_outcome(training["train_info"], results),
        "meta_info": cells.meta_info(data.labels, source, data.source, rows),
        "round_trip": passed,
        "metrics": results,
    }
    card.write(
        args.adapter,
        record,
        options=training["run_info"]["options"],
        train_rows=rows,
        max_length=data.max_length,
    )
    cells.write_results(record, predictions, args.metrics, args.predictions)
    log.info("test accuracy %.4f", results["test"]["accuracy"])


def parse(argv: Sequence[str] | None) -> Namespace:
    """Return the command line."""
    parser = cli.parser(__doc__)
    evaluation.add_options(parser)
    parser.add_argument("--adapter", required=True, type=Path, help="adapter directory")
    parser.add_argument("--training", required=True, type=Path, help="JSON file of the training")
    return parser.parse_args(argv)


def load(args: Namespace, training: dict[str, Any], split: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Return the model of a cell that passed the round-trip check, its padding, the findings."""
    from common.model import card, collator, roundtrip, variants

    model = collator.on_device(variants.load(args.model, args.adapter))
    padding = variants.padding_of(args.adapter)
    files.remove(args.adapter / card.CARD)  # of an evaluation before, should this one fail
    same = same_program(training, args.threads)
    tolerance = roundtrip.SAME_PROGRAM_ROUNDING if same else roundtrip.rounding(model)
    return (
        model,
        padding,
        roundtrip.passed(model, split, padding, training["round_trip"], tolerance),
    )


def same_program(training: dict[str, Any], threads: int) -> bool:
    """Return whether the model is evaluated as it was trained, so that sums are added alike.

    That is on the CPU, with the same packages, processor and number of threads; a GPU chooses its
    kernels by the shapes and by what else it does.
    """
    here, there = cells.meta_info([]), training["meta_info"]
    parts = ("package_info", "system_info")
    return (
        here["system_info"]["accelerator"] is None
        and training["round_trip"]["threads"] == threads
        and all(here[part] == there[part] for part in parts)
    )


if __name__ == "__main__":
    warm.run(main, *evaluation.LIBRARIES, key=lambda argv: evaluation.key(parse(argv)))

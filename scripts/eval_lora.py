"""Evaluate a trained cell: load its adapter from disk, in a process of its own, and predict.

    python scripts/eval_lora.py --model resources/models/minilm \\
        --tokens results/sms-spam/minilm/tokens --positive-label spam \\
        --adapter results/sms-spam/minilm/lora-r4/seed0/adapter \\
        --training results/sms-spam/minilm/lora-r4/seed0/training.json \\
        --predictions results/sms-spam/minilm/lora-r4/seed0/predictions.parquet \\
        --metrics results/sms-spam/minilm/lora-r4/seed0/metrics.json

What is measured is what a user of the adapter would get, not what was in memory after training.
"""

import logging
from pathlib import Path

from common import cli, evaluation, files

log = logging.getLogger("eval_lora")

# Draws the head that the saved one must replace. No cell trains with it, so an adapter that came
# without its head cannot pass for a trained one.
HEAD_SEED = 2**31 - 1


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    evaluation.add_options(parser)
    parser.add_argument("--adapter", required=True, type=Path, help="adapter directory")
    parser.add_argument("--training", required=True, type=Path, help="JSON file of the training")
    args = parser.parse_args(argv)
    cli.go_offline()
    import torch

    from common import adapters, models, prediction, records, tokens

    torch.set_num_threads(args.threads)
    clock = records.Clock()
    source, training = models.read_source(args.model), files.read_json(args.training)
    data = tokens.load(args.tokens)
    classifier = models.load_classifier(args.model, data.labels, data.pad_token_id, HEAD_SEED)
    model = adapters.load(classifier, args.adapter)
    predict = prediction.predictor(model, data.pad_token_id, args.batch_size)
    positive = evaluation.class_number(args.positive_label, data.labels)
    results, predictions = evaluation.evaluate(predict, data.splits, data.labels, positive)
    record = {
        "run_info": training["run_info"] | clock.run_info(args.metrics.parent, vars(args)),
        "train_info": training["train_info"],
        "meta_info": records.meta_info(data.labels, source),
        "metrics": results,
    }
    evaluation.write(record, predictions, args.metrics, args.predictions)
    log.info("test accuracy %.4f", results["test"]["accuracy"])


if __name__ == "__main__":
    cli.run(main)

"""Evaluate a model whose head is untrained: where every variant of a (model, seed) starts.

    python scripts/eval_base.py --model resources/models/minilm \\
        --tokens results/sms-spam/minilm/tokens --positive-label spam --seed 0 \\
        --predictions results/sms-spam/minilm/base/seed0/predictions.parquet \\
        --metrics results/sms-spam/minilm/base/seed0/metrics.json

The figures are those of a random head, and swing widely from seed to seed: never show one alone. A
head that came with the model is used if its classes are those of the dataset, by their names or as
--classes declares; the record says so.
"""

import logging
from argparse import Namespace
from collections.abc import Sequence

from common import cells, cli, files, warm
from common.model import evaluation, models

log = logging.getLogger("eval_base")


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    clock = evaluation.begin(args)
    from common.data import tokens
    from common.model import roundtrip

    source = files.read_source(args.model)
    data = tokens.load(args.tokens)
    classifier = models.load_classifier(
        args.model, data.labels, data.pad_token_id, args.seed, classes=args.classes
    )
    classifier.log_head(log)
    total = sum(parameter.numel() for parameter in classifier.model.parameters())
    padded, gap = roundtrip.choose_padding(
        classifier.model, data.splits["train"], data.pad_token_id
    )
    positive = cells.class_number(args.positive_label, data.labels)
    with evaluation.Predictor(
        classifier.model, padded, args.batch_tokens, args.jobs_per_gpu
    ) as predict:
        results, predictions = evaluation.evaluate(predict, data.splits, data.labels, positive)
    record = {
        "run_info": clock.run_info(args.metrics.parent, vars(args)) | {"peft_config": None},
        "train_info": {
            "num_trainable_params": 0,
            "num_total_params": total,
            **classifier.head_record(),
            "status": cells.NOT_TRAINED,
        },
        "meta_info": cells.meta_info(data.labels, source, data.source),
        "round_trip": {"padding_side": padded.side, "padding_difference": gap},
        "metrics": results,
    }
    cells.write_results(record, predictions, args.metrics, args.predictions)
    log.info("test accuracy %.4f", results["test"]["accuracy"])


def parse(argv: Sequence[str] | None) -> Namespace:
    """Return the command line."""
    parser = cli.parser(__doc__)
    evaluation.add_options(parser)
    models.add_head_options(parser)
    parser.add_argument("--seed", type=cli.int_at_least(0), default=0, help="of the head")
    return parser.parse_args(argv)


if __name__ == "__main__":
    warm.run(main, *evaluation.LIBRARIES, key=lambda argv: evaluation.key(parse(argv)))

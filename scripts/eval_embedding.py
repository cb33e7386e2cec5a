"""Evaluate a frozen model with logistic regression on its embeddings: what needs no training.

    python scripts/eval_embedding.py --model resources/models/minilm \\
        --tokens results/sms-spam/minilm/tokens --positive-label spam \\
        --predictions results/sms-spam/minilm/embedding/predictions.parquet \\
        --metrics results/sms-spam/minilm/embedding/metrics.json

The model reads every text once. Its last hidden states become one vector for each text: their mean,
the first or the last one. Which, and the regularisation, are chosen by log loss on the validation
rows. Nothing is drawn, so there are no seeds; but for --train-rows, which a seed draws.
"""

import logging
import time
from typing import TYPE_CHECKING, Any

from common import cells, cli, files
from common.baselines import BASELINES, best_candidate
from common.data import draws
from common.model import evaluation, models

if TYPE_CHECKING:
    import numpy as np

    from common.model.collator import Padding

log = logging.getLogger("eval_embedding")

POOLINGS = ("mean", "first", "last")


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    evaluation.add_options(parser)
    draws.add_option(parser)
    parser.add_argument("--seed", type=cli.int_at_least(0), help="that draws --train-rows")
    args = parser.parse_args(argv)
    clock = evaluation.begin(args)
    from common.data import tokens
    from common.model import collator

    source = files.read_source(args.model)
    data = tokens.load(args.tokens, draws.Draw(args.train_rows, args.seed))
    # The head that comes with it is not used: no seed counts.
    classifier = models.load_classifier(args.model, data.labels, data.pad_token_id, seed=0)
    backbone = collator.on_device(classifier.model).base_model
    total = sum(parameter.numel() for parameter in backbone.parameters())
    size = args.batch_tokens or evaluation.device_tokens(classifier.model, args.jobs_per_gpu)
    padding = collator.Padding(data.pad_token_id)
    started = time.perf_counter()
    parts = {name: embed(backbone, data.splits[name], padding, size)
             for name in ("train", "validation")}  # fmt: skip
    pooling, fitted = choose(parts, {name: data.splits[name]["label"] for name in parts})
    train_seconds = time.perf_counter() - started
    log.info("pooled by %s, C = %g", pooling, fitted[-1].C)

    def predict(rows: Any) -> dict[str, Any]:
        begun = time.perf_counter()
        probabilities = fitted.predict_proba(embed(backbone, rows, padding, size)[pooling])
        return {"probabilities": probabilities, "seconds": time.perf_counter() - begun}

    positive = cells.class_number(args.positive_label, data.labels)
    results, predictions = evaluation.evaluate(predict, data.splits, data.labels, positive)
    record = {
        "run_info": {
            **clock.run_info(args.metrics.parent, vars(args), seeded=args.seed is not None),
            "kind": "baseline",
            "peft_config": None,
        },
        "train_info": {
            "train_time": round(train_seconds, 3),
            "peak_memory_bytes": cells.peak_memory_bytes(),
            "num_trainable_params": int(fitted[-1].coef_.size + fitted[-1].intercept_.size),
            "num_total_params": total,
            "pooling": pooling,
            "inverse_regularisation": fitted[-1].C,
            "status": cells.NOT_TRAINED,
        },
        "meta_info": cells.meta_info(data.labels, source, data.source, len(data.splits["train"])),
        "metrics": results,
    }
    cells.write_results(record, predictions, args.metrics, args.predictions)
    log.info("test accuracy %.4f", results["test"]["accuracy"])


def embed(
    backbone: Any, rows: Any, padding: "Padding", batch_tokens: int
) -> "dict[str, np.ndarray]":
    """Return the embeddings of rows, float64 of shape (rows, width), by pooling.

    Args:
        backbone: a model without its head; of an encoder-decoder, the encoder reads.
        rows: a tokenised split.
        padding: fills up the shorter rows of a batch, on the right.
        batch_tokens: per forward pass, padding included.

    Raises:
        InputError: a hidden state is not finite.
    """
    import torch

    reader = backbone.get_encoder() if backbone.config.is_encoder_decoder else backbone
    reader.eval()

    def pooled(batch: list[Any]) -> Any:
        texts = padding.texts(batch)
        inputs = {name: tensor.to(backbone.device) for name, tensor in texts.items()}
        hidden = reader(**inputs).last_hidden_state.float()
        mask = inputs["attention_mask"].unsqueeze(-1)
        tokens = mask.sum(dim=1)
        last = hidden[torch.arange(len(batch)), tokens.squeeze(-1) - 1]
        mean = (hidden * mask).sum(dim=1) / tokens
        return torch.stack([mean, hidden[:, 0], last]).transpose(0, 1).cpu()

    with torch.inference_mode():
        found, *_ = evaluation.of_each_row(pooled, rows, batch_tokens, "embed")
    if not found.isfinite().all():
        raise cli.InputError(
            f"hidden states of this {backbone.config.model_type} are not finite: take the "
            "baseline `embedding` out, or choose another model"
        )
    return {name: found[:, place].double().numpy() for place, name in enumerate(POOLINGS)}


def choose(
    parts: "dict[str, dict[str, np.ndarray]]", labels: dict[str, list[int]]
) -> tuple[str, Any]:
    """Return the pooling and the fitted classifier with the least log loss on validation rows.

    Args:
        parts: embeddings of train and validation, by split and pooling.
        labels: class numbers, by split.
    """
    best: dict[str, tuple[float, Any]] = {}
    for pooling in POOLINGS:
        train, validation = parts["train"][pooling], parts["validation"][pooling]
        candidates = BASELINES["embedding"].candidates(train)
        best[pooling] = best_candidate(
            candidates, (train, labels["train"]), (validation, labels["validation"])
        )
    chosen = min(best, key=lambda pooling: best[pooling][0])
    return chosen, best[chosen][1]


if __name__ == "__main__":
    cli.run(main)

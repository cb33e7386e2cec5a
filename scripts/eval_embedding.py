"""Evaluate a frozen model with logistic regression on its embeddings: what needs no training.

    python scripts/eval_embedding.py --model resources/models/minilm \\
        --tokens results/sms-spam/minilm/tokens --positive-label spam \\
        --predictions results/sms-spam/minilm/embedding/predictions.parquet \\
        --metrics results/sms-spam/minilm/embedding/metrics.json

The model reads every text once. Its last hidden states become one vector for each text, pooled as
the model's files say (sentence-transformers' modules.json); where they do not, by their mean or by
the first one, of a decoder the last one. Which of the two, and the regularisation, are chosen by
log loss on the validation rows. Nothing is drawn, so there are no seeds;
but for --train-rows, which a seed draws.
"""

import logging
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from common import cells, cli, files, warm
from common.baselines import BASELINES, best_candidate
from common.cli import InputError
from common.data import draws
from common.model import evaluation, models

if TYPE_CHECKING:
    import numpy as np

    from common.model.collator import Padding

log = logging.getLogger("eval_embedding")

# Of hidden states, shape (rows, tokens, width), and their mask, shape (rows, tokens, 1).
POOLINGS = {
    "mean": lambda hidden, mask: (hidden * mask).sum(dim=1) / mask.sum(dim=1),
    "first": lambda hidden, _: hidden[:, 0],
    "last": lambda hidden, mask: hidden.take_along_dim(mask.sum(dim=1, keepdim=True) - 1, dim=1)[
        :, 0
    ],
    "max": lambda hidden, mask: hidden.masked_fill(mask == 0, float("-inf")).amax(dim=1),
}
# Of sentence-transformers: the list of a model's modules, those that are known here, what a pooling
# is called, and the flags of releases before 6, in the order in which their vectors are joined.
MODULES = "modules.json"
KNOWN = ("Transformer", "Pooling", "Normalize")
MODES = {"mean": "mean", "cls": "first", "lasttoken": "last", "max": "max"}
FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
ROUNDING = 1e-4  # of a hidden state, as a share of the largest
FROM_MODEL, FROM_VALIDATION = "model", "validation"  # who says how to pool


class Pooling(NamedTuple):
    """How the hidden states of a text become one vector.

    Attributes:
        names: of POOLINGS; the vectors of several are joined.
        is_unit: whether the vector is scaled to unit length.
    """

    names: tuple[str, ...]
    is_unit: bool = False

    def __str__(self) -> str:
        return "+".join(self.names)

    def __call__(self, hidden: Any, mask: Any) -> Any:
        """Return the vectors, shape (rows, width); arguments as of POOLINGS."""
        import torch

        joined = torch.cat([POOLINGS[name](hidden, mask) for name in self.names], dim=1)
        return torch.nn.functional.normalize(joined, dim=1) if self.is_unit else joined


class Embedded(NamedTuple):
    """The embeddings of the rows of a split.

    Attributes:
        vectors: float64 of shape (rows, width), by pooling.
        seconds: that the model took.
    """

    vectors: "dict[Pooling, np.ndarray]"
    seconds: float


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
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
    own = own_pooling(args.model)
    poolings = [own] if own else usual_poolings(backbone, data.splits["train"], padding)
    parts = {name: embed(backbone, data.splits[name], padding, size, poolings)
             for name in ("train", "validation")}  # fmt: skip
    losses, fitted = fit(parts, {name: data.splits[name]["label"] for name in parts})
    pooling = min(losses, key=lambda each: losses[each])
    regression = fitted[pooling][-1]
    train_seconds = time.perf_counter() - started
    log.info("pooled by %s, %s; C = %g", pooling, reason(own, losses), regression.C)

    def predict(rows: Any) -> dict[str, Any]:
        is_embedded = rows is data.splits["validation"]
        embedded = (
            parts["validation"] if is_embedded else embed(backbone, rows, padding, size, [pooling])
        )
        begun = time.perf_counter()
        probabilities = fitted[pooling].predict_proba(embedded.vectors[pooling])
        seconds = embedded.seconds + time.perf_counter() - begun
        return {"probabilities": probabilities, "seconds": seconds}

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
            "num_trainable_params": int(regression.coef_.size + regression.intercept_.size),
            "num_total_params": total,
            "pooling": str(pooling),
            "pooling_origin": FROM_MODEL if own else FROM_VALIDATION,
            "unit_length": pooling.is_unit,
            "inverse_regularisation": regression.C,
            "status": cells.NOT_TRAINED,
        },
        "meta_info": cells.meta_info(data.labels, source, data.source, len(data.splits["train"])),
        "metrics": results,
    }
    cells.write_results(record, predictions, args.metrics, args.predictions)
    log.info("test accuracy %.4f", results["test"]["accuracy"])


def parse(argv: Sequence[str] | None) -> Namespace:
    """Return the command line."""
    parser = cli.parser(__doc__)
    evaluation.add_options(parser)
    draws.add_option(parser)
    parser.add_argument("--seed", type=cli.int_at_least(0), help="that draws --train-rows")
    return parser.parse_args(argv)


def own_pooling(directory: Path) -> Pooling | None:
    """Return how a model pools, by its files; None where they do not say, or name what is unknown.

    Source: modules.json and the config of its module Pooling, as sentence-transformers 2 to 6 save
    them. What is not supported is logged.

    Args:
        directory: of the model, as ``fetch_model`` leaves it.
    """
    path = directory / MODULES
    if not path.is_file():
        return None
    try:
        kinds = {each["type"].rpartition(".")[2]: each["path"] for each in files.read_json(path)}
        config = files.read_json(directory / kinds["Pooling"] / "config.json")
        names = tuple(MODES[mode] for mode in modes(config))
    except (InputError, LookupError, TypeError, AttributeError) as error:
        why = cli.one_line(error)
        log.warning("%s: no pooling that is known here (%s); the validation rows decide", path, why)
        return None
    if others := [kind for kind in kinds if kind not in KNOWN]:
        log.warning("%s: left out of the model are its modules %s", path, ", ".join(others))
    return Pooling(names, "Normalize" in kinds)


def modes(config: dict[str, Any]) -> list[str]:
    """Return the names of the poolings in the config of sentence-transformers' Pooling."""
    given = config.get("pooling_mode")
    if given is None:
        return [mode for flag, mode in FLAGS.items() if config.get(flag)] or ["mean"]
    return [given] if isinstance(given, str) else list(given)


def usual_poolings(backbone: Any, rows: Any, padding: "Padding") -> list[Pooling]:
    """Return what to choose from: the mean, and the token that has seen all of a text.

    That is the last one of a decoder, and else the first, where encoders have a token for it.
    """
    return [
        Pooling(("mean",)),
        Pooling(("last" if is_causal(backbone, rows, padding) else "first",)),
    ]


def is_causal(backbone: Any, rows: Any, padding: "Padding") -> bool:
    """Return whether a token sees none of those after it: the first one is the same alone."""
    import torch

    from common.model import roundtrip

    read = reader(backbone)
    _, longest = roundtrip.probe(rows)
    inputs = on_device(backbone, padding.texts([longest]))
    with torch.inference_mode():
        together = read(**inputs).last_hidden_state[:, 0]
        alone = read(**{name: each[:, :1] for name, each in inputs.items()}).last_hidden_state[:, 0]
    return bool((together - alone).abs().max() <= ROUNDING * together.abs().max())


def reader(backbone: Any) -> Any:
    """Return what reads a text, with its dropout off: of an encoder-decoder, the encoder."""
    read = backbone.get_encoder() if backbone.config.is_encoder_decoder else backbone
    return read.eval()


def on_device(backbone: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """Return tensors on the device of a model."""
    return {name: tensor.to(backbone.device) for name, tensor in inputs.items()}


def embed(
    backbone: Any, rows: Any, padding: "Padding", batch_tokens: int, poolings: Sequence[Pooling]
) -> Embedded:
    """Return the embeddings of rows, in their order.

    Args:
        backbone: a model without its head; of an encoder-decoder, the encoder reads.
        rows: a tokenised split.
        padding: fills up the shorter rows of a batch, on the right.
        batch_tokens: per forward pass, padding included.
        poolings: how to pool.

    Raises:
        InputError: a hidden state is not finite.
    """
    import torch

    read = reader(backbone)

    def pooled(batch: list[Any]) -> Any:
        inputs = on_device(backbone, padding.texts(batch))
        hidden = read(**inputs).last_hidden_state.float()
        mask = inputs["attention_mask"].unsqueeze(-1)
        return torch.cat([pooling(hidden, mask) for pooling in poolings], dim=1).cpu()

    with torch.inference_mode():
        found, seconds, _ = evaluation.of_each_row(pooled, rows, batch_tokens, "embed")
    if not found.isfinite().all():
        raise InputError(
            f"hidden states of this {backbone.config.model_type} are not finite: take the "
            "baseline `embedding` out, or choose another model"
        )
    width = found.shape[1] // sum(len(pooling.names) for pooling in poolings)
    parts = found.double().split([width * len(pooling.names) for pooling in poolings], dim=1)
    vectors = {pooling: part.numpy() for pooling, part in zip(poolings, parts, strict=True)}
    return Embedded(vectors, seconds)


def fit(
    parts: dict[str, Embedded], labels: dict[str, list[int]]
) -> tuple[dict[Pooling, float], dict[Pooling, Any]]:
    """Return the log loss on validation rows, in nats, and the fitted classifier, by pooling.

    Args:
        parts: embeddings of train and validation.
        labels: class numbers, by split.
    """
    losses: dict[Pooling, float] = {}
    fitted: dict[Pooling, Any] = {}
    for pooling, train in parts["train"].vectors.items():
        losses[pooling], fitted[pooling] = best_candidate(
            BASELINES["embedding"].candidates(train),
            (train, labels["train"]),
            (parts["validation"].vectors[pooling], labels["validation"]),
        )
    return losses, fitted


def reason(own: Pooling | None, losses: dict[Pooling, float]) -> str:
    """Return why a pooling was taken, for the log.

    Args:
        own: what the model's files say.
        losses: on validation rows, by pooling.
    """
    if own:
        return "as the files of the model say"
    found = ", ".join(f"{pooling} {loss:.4f}" for pooling, loss in losses.items())
    return f"the better one on the validation rows by log loss ({found})"


if __name__ == "__main__":
    warm.run(
        main,
        *evaluation.LIBRARIES,
        "sklearn.linear_model",
        key=lambda argv: evaluation.key(parse(argv)),
    )

"""Padding: to the longest row of each batch, on the side that leaves a model's answers alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common import cli
from common.cli import InputError

SIDES = ("right", "left")  # in the order they are tried
# Of a probability, and of a logit on another machine. Rounding in fp32 stays below 1e-6.
ROUNDING = 1e-4
# Layers of 8 bits decide by the whole batch which columns they compute in full.
QUANTIZED_ROUNDING = 0.05


@dataclass(frozen=True)
class Padding:
    """Collates rows of tokens into a batch: padded, masked, with labels.

    Called with rows of ``input_ids`` (lists of different lengths) and ``label``; returns tensors
    ``input_ids`` and ``attention_mask`` of shape (rows, longest row), and ``labels`` of (rows,).

    Attributes:
        token_id: what fills a row up; the mask is 0 there.
        side: where the filling goes; see ``choose``.
    """

    token_id: int
    side: str = "right"

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The rows as one batch, for training."""
        import torch

        return self.texts(rows) | {"labels": torch.as_tensor([row["label"] for row in rows])}

    def texts(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The rows as one batch without labels, for prediction."""
        import torch

        def padded(texts: list[Any], value: int) -> Any:
            return torch.nn.utils.rnn.pad_sequence(texts, True, value, self.side)

        texts = [torch.as_tensor(row["input_ids"]) for row in rows]
        return {
            "input_ids": padded(texts, self.token_id),
            "attention_mask": padded([torch.ones_like(text) for text in texts], 0),
        }


def logits(model: Any, rows: Sequence[dict[str, Any]], padding: Padding) -> Any:
    """What a model in eval mode says of rows in one padded batch.

    Args:
        model: a classifier, on any device.
        rows: tokenised rows.
        padding: makes the batch.

    Returns:
        A float32 tensor of shape (rows, classes), on the CPU.
    """
    import torch

    with torch.inference_mode():
        inputs = {name: tensor.to(model.device) for name, tensor in padding.texts(rows).items()}
        return model(**inputs).logits.float().cpu()


def choose(model: Any, rows: Any, token_id: int) -> tuple[Padding, float]:
    """The padding that a model is blind to: on the right if it can be, else on the left.

    It depends on the architecture and on the method. Most classifiers are exact padded on the
    right; GPT-2 returns other logits padded on the left, without an error. XLNet classifies by the
    last position and wants its padding on the left; so does OPT with a tuned prompt, which reaches
    the model as embeddings, in which no end of the text can be seen. GPT-2 with a tuned prompt has
    no right side.

    Args:
        model: a classifier, with its adapter.
        rows: a tokenised split; its longest row pads its shortest.
        token_id: what fills a row up.

    Returns:
        the padding, and by how much it moves a probability.

    Raises:
        InputError: on either side it moves them by more than rounding explains, so that the figures
            would be chance; or the model and its adapter do not run together.
    """
    gaps = {}
    for side in SIDES:
        padding = Padding(token_id, side)
        try:
            gaps[side] = difference(model, probe(rows), padding)
        except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"this {model.config.model_type} does not run with this variant: "
                f"{cli.one_line(error)}; choose another `peft_type` or model"
            ) from error
        if gaps[side] <= rounding(model):
            return padding, gaps[side]
    raise InputError(
        f"padding moves the probabilities of this {model.config.model_type}, by "
        f"{gaps['right']:.2g} on the right and {gaps['left']:.2g} on the left: its figures would "
        "be chance; choose another `peft_type` or model"
    )


def rounding(model: Any) -> float:
    """How far a probability or a logit may move for no other reason than rounding."""
    return QUANTIZED_ROUNDING if getattr(model, "is_quantized", False) else ROUNDING


def probe(rows: Any) -> list[dict[str, Any]]:
    """The shortest and the longest row of a split, made of different lengths if they are not."""
    import numpy as np

    short, long = (dict(rows[int(pick(rows["length"]))]) for pick in (np.argmin, np.argmax))
    if len(short["input_ids"]) == len(long["input_ids"]):
        # An inner token goes: the special ones around a text must stay.
        short["input_ids"] = [*short["input_ids"][:1], *short["input_ids"][2:]]
    return [short, long]


def difference(model: Any, rows: Sequence[dict[str, Any]], padding: Padding) -> float:
    """By how much a probability of a row in a padded batch differs from that of the row alone.

    Args:
        model: a classifier, with its adapter.
        rows: tokenised rows of different lengths.
        padding: makes the batch.
    """
    import torch

    model.eval()
    together = logits(model, rows, padding)
    alone = torch.cat([logits(model, [row], padding) for row in rows])
    return float((together.softmax(dim=1) - alone.softmax(dim=1)).abs().max())

"""Padding: to the longest row of each batch, and the proof that a model is blind to it."""

from collections.abc import Sequence
from typing import Any

from common.cli import InputError

TOLERANCE = 1e-3  # of a probability; rounding in fp32 stays below 1e-5


class Padding:
    """Collates rows of tokens into a batch: right-padded, masked, with labels.

    Args:
        pad_token_id: what fills a row up; the mask is 0 there.

    Called with rows of ``input_ids`` (lists of different lengths) and ``label``; returns tensors
    ``input_ids`` and ``attention_mask`` of shape (rows, longest row), and ``labels`` of (rows,).
    """

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The rows as one batch."""
        import torch

        texts = [torch.as_tensor(row["input_ids"]) for row in rows]
        pad = torch.nn.utils.rnn.pad_sequence
        return {
            "input_ids": pad(texts, batch_first=True, padding_value=self.pad_token_id),
            "attention_mask": pad([torch.ones_like(text) for text in texts], batch_first=True),
            "labels": torch.as_tensor([row["label"] for row in rows]),
        }


def require_exact(model, rows, pad_token_id: int) -> float:
    """Refuse a model that answers otherwise when a text is padded: its figures would be chance.

    A decoder whose prompt is tuned classifies by a padding token: it gets embeddings, in which it
    cannot see where a text ends. So does XLNet, which wants its padding on the left.

    Args:
        model: a classifier.
        rows: a tokenised split; its longest row pads its shortest.
        pad_token_id: the padding.

    Returns:
        By how much padding moves a probability.

    Raises:
        InputError: the probabilities differ by more than rounding explains.
    """
    import numpy as np
    import torch

    collate = Padding(pad_token_id)
    shortest, longest = (rows[int(pick(rows["length"]))] for pick in (np.argmin, np.argmax))
    model.eval()

    def probabilities(*batch: dict[str, Any]) -> Any:
        inputs = {name: tensor.to(model.device) for name, tensor in collate(batch).items()}
        return model(**inputs).logits[0].double().softmax(dim=0)

    with torch.inference_mode():
        gap = float((probabilities(shortest, longest) - probabilities(shortest)).abs().max())
    if gap > TOLERANCE:
        raise InputError(
            f"padding moves the probabilities of this {model.config.model_type} by {gap:.2g}: its "
            "figures would be chance; choose another model, or another `peft_type`"
        )
    return gap

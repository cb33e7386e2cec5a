"""Rows of tokens as a batch, each padded to the longest, and the forward pass of one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common.cli import InputError
from common.data.encoding import TYPES


@dataclass(frozen=True)
class Padding:
    """Collates rows of tokens into a batch: padded, masked, with labels.

    Called with rows of ``input_ids`` (lists of different lengths), perhaps ``token_type_ids`` as
    long, and ``label``; returns tensors ``input_ids``, ``attention_mask`` and, where they are
    given, ``token_type_ids`` of shape (rows, longest row), and ``labels`` of (rows,).

    Attributes:
        token_id: what fills a row up; the mask is 0 there.
        side: where the filling goes; see ``roundtrip.choose_padding``.
    """

    token_id: int
    side: str = "right"

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the rows as one batch, for training."""
        import torch

        return self.texts(rows) | {"labels": torch.as_tensor([row["label"] for row in rows])}

    def texts(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the rows as one batch without labels, for prediction."""
        import torch

        def padded(texts: list[Any], value: int) -> Any:
            return torch.nn.utils.rnn.pad_sequence(texts, True, value, self.side)

        def tensors(column: str) -> list[Any]:
            return [torch.as_tensor(row[column]) for row in rows]

        texts = tensors("input_ids")
        batch = {
            "input_ids": padded(texts, self.token_id),
            "attention_mask": padded([torch.ones_like(text) for text in texts], 0),
        }
        return batch | ({TYPES: padded(tensors(TYPES), 0)} if TYPES in rows[0] else {})


def logits(model: Any, rows: Sequence[dict[str, Any]], padding: Padding) -> Any:
    """Return what a model says of rows in one padded batch.

    Args:
        model: a classifier, on any device; it is put in eval mode.
        rows: tokenised rows.
        padding: makes the batch.

    Returns:
        A float32 tensor of shape (rows, classes), on the CPU.

    Raises:
        InputError: a logit is not finite.
    """
    import torch

    model.eval()
    with torch.inference_mode():
        inputs = {name: tensor.to(model.device) for name, tensor in padding.texts(rows).items()}
        found = model(**inputs).logits.float().cpu()
    if not found.isfinite().all():
        raise InputError(
            f"the logits of this {model.config.model_type} are not finite, and nothing is made of "
            "them: its training diverged, or its precision is too low; train it with a lower "
            "`learning_rate` or in fp32"
        )
    return found


def on_device(model: Any) -> Any:
    """Return the model on the device to compute on.

    The GPU that the job was given, else the CPU.
    """
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # A quantised model is loaded to its device, and some cannot be moved.
    return model if model.device.type == device.type else model.to(device)

"""Padding: rows of tokens become a batch, each filled up to the longest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common.data.encoding import TYPES


@dataclass(frozen=True)
class Padding:
    """Collates rows of tokens into a batch: padded, masked, with labels.

    Called with rows of ``input_ids`` (lists of different lengths), perhaps ``token_type_ids`` as
    long, and ``label``; returns tensors ``input_ids``, ``attention_mask`` and, where they are
    given, ``token_type_ids`` of shape (rows, longest row), and ``labels`` of (rows,).

    Attributes:
        token_id: what fills a row up; the mask is 0 there.
        side: where the filling goes; see ``gate.choose_padding``.
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

        def tensors(column: str) -> list[Any]:
            return [torch.as_tensor(row[column]) for row in rows]

        texts = tensors("input_ids")
        batch = {
            "input_ids": padded(texts, self.token_id),
            "attention_mask": padded([torch.ones_like(text) for text in texts], 0),
        }
        return batch | ({TYPES: padded(tensors(TYPES), 0)} if TYPES in rows[0] else {})

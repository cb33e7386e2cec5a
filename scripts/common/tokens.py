"""Tokenised splits: kept unpadded, padded batch by batch to the longest row of the batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import datadict, files

STATISTICS = "statistics.json"


@dataclass(frozen=True)
class Tokens:
    """A tokenised dataset.

    Attributes:
        splits: ``DatasetDict`` with the columns id, input_ids, label and length (in tokens).
        labels: class names, in the order of the class numbers.
        pad_token_id: the token that fills up the shorter rows of a batch.
    """

    splits: Any
    labels: list[str]
    pad_token_id: int


def load(directory: Path) -> Tokens:
    """What ``tokenize_data`` wrote.

    Raises:
        InputError: the directory holds no such thing.
    """
    splits = datadict.load(directory)
    statistics = files.read_json(directory / STATISTICS)
    return Tokens(splits, datadict.class_names(splits), statistics["pad_token_id"])


class Padding:
    """Collates rows of tokens into a batch: right-padded, masked, with labels.

    Args:
        pad_token_id: what fills a row up; the mask is 0 there.

    Called with rows of ``input_ids`` (lists of different lengths) and ``label``; returns tensors
    ``input_ids`` and ``attention_mask`` of shape (rows, longest row) and ``labels`` of shape (rows).
    """

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        import torch

        texts = [torch.as_tensor(row["input_ids"]) for row in rows]
        pad = torch.nn.utils.rnn.pad_sequence
        return {
            "input_ids": pad(texts, batch_first=True, padding_value=self.pad_token_id),
            "attention_mask": pad([torch.ones_like(text) for text in texts], batch_first=True),
            "labels": torch.as_tensor([row["label"] for row in rows]),
        }

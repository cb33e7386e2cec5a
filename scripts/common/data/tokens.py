"""Tokenised splits: kept unpadded, as `tokenize_data` wrote them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common import files
from common.data import datadict, draws
from common.data.encoding import TYPES


@dataclass(frozen=True)
class Tokens:
    """A tokenised dataset.

    Attributes:
        splits: ``DatasetDict`` with the columns id, input_ids, label and length (in tokens), and
            of pairs perhaps token_type_ids.
        labels: class names, in the order of the class numbers.
        pad_token_id: the token that fills up the shorter rows of a batch.
        max_length: tokens kept of each text.
        separator: put before the second text of a pair; None where texts are no pairs.
        source: where the rows came from, as ``fetch_dataset`` recorded it.
    """

    splits: Any
    labels: list[str]
    pad_token_id: int
    max_length: int
    separator: str | None
    source: dict[str, Any]

    @property
    def types(self) -> bool:
        """Return whether tokens tell which text of a pair they are of."""
        return TYPES in self.splits["train"].column_names


def load(directory: Path, draw: draws.Draw = draws.ALL) -> Tokens:
    """Return what ``tokenize_data`` wrote, of the training rows those that a seed draws.

    Raises:
        InputError: the directory holds no such thing, or the rows cannot be drawn.
    """
    splits = draws.drawn(datadict.load(directory), draw)
    names = ("pad_token_id", "max_length", "separator", "source")
    statistics = files.read_json(directory / files.STATISTICS, names)
    return Tokens(
        splits, datadict.class_names(splits), **{name: statistics[name] for name in names}
    )


def with_permuted_labels(data: Tokens, seed: int) -> Tokens:
    """Return the same with the labels of the training rows permuted, other splits as they are.

    What a classifier learns of such rows is chance, as in a permutation test (Ojala and Garriga,
    2010): what it then seems to know of the test rows was no knowledge.

    Args:
        data: a tokenised dataset.
        seed: draws the permutation.
    """
    import numpy as np

    rows = data.splits["train"]
    labels = np.random.default_rng(seed).permutation(np.asarray(rows["label"]))
    permuted = rows.remove_columns("label").add_column(
        "label", labels, feature=rows.features["label"]
    )
    return replace(data, splits={**data.splits, "train": permuted})

"""Batches of several cells: rows one cell behind the other, in shapes that a CUDA graph can hold.

Imports torch and transformers, so import it late.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from common.data.encoding import TYPES
from common.model.collator import Padding
from common.model.packing import Layout, StaticLayout, UnsupportedError

NO_LABEL = -100  # of a row that is none; torch's cross-entropy leaves it out

# Sizes of static batches are rounded up to multiples: few sizes are few graphs.
TOKENS, LENGTH = 128, 64

LONG, LONG_TOKENS = 4096, 512  # from so many tokens of a cell on, multiples of so many


@dataclass
class Shares:
    """Which rows of a tensor are of which cell.

    Attributes:
        tokens: packed ones of each cell, in order.
        texts: of each cell.
        equal: all cells have as many: products are batched.
        masks: what is left for the dropouts of the head to take, in the order in which they are
            called; None: they let all through.
    """

    tokens: list[int]
    texts: list[int]
    equal: bool = False
    masks: list[torch.Tensor] | None = None

    def sizes(self, rows: torch.Tensor) -> list[int]:
        """Return how many rows of a tensor of shape (..., columns), made flat, each cell has.

        Raises:
            UnsupportedError: they are neither packed tokens nor texts.
        """
        if rows.shape[:-1] in ((1, sum(self.tokens)), (sum(self.tokens),)):
            return self.tokens
        if rows.shape[0] == sum(self.texts):
            each = rows[..., 0].numel() // rows.shape[0] if rows.shape[0] else 0
            return [count * each for count in self.texts]
        raise UnsupportedError("a layer computes neither tokens nor texts")


class Texts:
    """The tokens of a split, one text behind the other.

    Args:
        split: tokenised rows.
        padding: fills up the shorter rows of a batch.
    """

    COLUMNS = ("input_ids", TYPES)

    def __init__(self, split: Any, padding: Padding) -> None:
        names = [name for name in self.COLUMNS if name in split.column_names]
        table = split.select_columns([*names, "label"]).with_format("arrow")[:]
        columns = {name: table[name].combine_chunks() for name in names}
        self.tokens = {name: each.flatten().to_numpy() for name, each in columns.items()}
        self.lengths = columns["input_ids"].value_lengths().to_numpy().astype(np.int64)
        self.starts = self.lengths.cumsum() - self.lengths
        self.labels = table["label"].to_numpy().astype(np.int64)
        self.padding = padding

    def padded(self, rows: np.ndarray, longest: int) -> dict[str, np.ndarray]:
        """Return rows as one padded batch: tensors of shape (rows, longest), and the mask.

        Args:
            rows: numbers of texts; -1 for none.
            longest: to pad to.
        """
        lengths = np.where(rows < 0, 0, self.lengths[rows])[:, None]
        places = np.arange(longest)[None]
        if self.padding.side == "left":
            places = places - longest + lengths
        mask = (places >= 0) & (places < lengths)
        where = np.where(mask, self.starts[rows][:, None] + places, 0)
        fill = {"input_ids": self.padding.token_id, TYPES: 0}
        found = {n: np.where(mask, each[where], fill[n]) for n, each in self.tokens.items()}
        return {**found, "attention_mask": mask.astype(np.int64)}


Rows = list[list[int]]  # numbers of texts, for each cell


@dataclass
class Batch:
    """Rows of several cells, one cell behind the other, and where they stand.

    Attributes:
        inputs: of the classifier, tensors of shape (rows, longest).
        labels: class numbers, NO_LABEL for a row that is none, shape (rows,).
        counts: how many rows each cell has, shape (cells,).
        shares: which rows and tokens are of which cell.
        static: what a ``StaticLayout`` is made of; {}: the layout is read off the mask.
        bits: of the dropouts of the head, each of shape (rows, columns).
        tokens: real ones of each cell.
    """

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    counts: torch.Tensor
    shares: Shares
    static: dict[str, torch.Tensor]
    tokens: list[int]
    bits: list[torch.Tensor] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, ...]:
        """Return what the shapes of all tensors follow from."""
        return (*self.inputs["input_ids"].shape, *self.shares.tokens[:1])

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return all tensors by name."""
        bits = {f"bits{number}": each for number, each in enumerate(self.bits)}
        own = {"labels": self.labels, "counts": self.counts}
        return {**self.inputs, **own, **self.static, **bits}

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        if device.type == "cpu":
            return self

        def moved(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.pin_memory().to(device, non_blocking=True)

        return Batch(
            {name: moved(each) for name, each in self.inputs.items()},
            moved(self.labels),
            moved(self.counts),
            self.shares,
            {name: moved(each) for name, each in self.static.items()},
            self.tokens,
            [moved(each) for each in self.bits],
        )

    def layout(self) -> Layout | None:
        """Return where the tokens stand, for ``Packing.given``."""
        if not self.static:
            return None
        rows, longest = self.inputs["input_ids"].shape
        return StaticLayout(
            shape=(rows, longest), lengths=[], runs=[], places=self.static["places"],
            targets=self.static["targets"], segments=self.static["segments"],
            visible=self.inputs["attention_mask"].bool(),
        )  # fmt: skip


def collate(texts: Sequence[Texts], rows: Rows, least: int | None = None) -> Batch:
    """Return a batch.

    Args:
        texts: of each cell.
        rows: of each cell.
        least: rows that each cell has at least, in shapes that depend on few sizes (``static``);
            None: just the rows that there are.
    """
    static = least is not None
    most = max(least or 0, *map(len, rows))
    numbers = [np.array(each + [-1] * (most - len(each) if static else 0), int) for each in rows]
    own = list(zip(texts, numbers, strict=True))
    lengths = [np.where(n < 0, 0, t.lengths[n]) for t, n in own]
    longest = max([int(each.max()) for each in lengths if len(each)], default=1)
    longest = rounded(longest, LENGTH) if static else longest
    padded = [t.padded(n, longest) for t, n in own]
    inputs = {name: np.concatenate([each[name] for each in padded]) for name in padded[0]}
    labels = np.concatenate([np.where(n < 0, NO_LABEL, t.labels[n]) for t, n in own])
    tokens = [int(each.sum()) for each in lengths]
    size = rounded_tokens(max(tokens)) if static else 0
    return Batch(
        {name: torch.from_numpy(each) for name, each in inputs.items()},
        torch.from_numpy(labels),
        torch.tensor([float(len(each)) for each in rows]),
        Shares([size] * len(rows) if static else tokens, [len(n) for n in numbers], static),
        places_of(np.stack(lengths), inputs["attention_mask"], size) if static else {},
        tokens,
    )


def rounded(number: int, step: int) -> int:
    """Return a number rounded up to a multiple of a step."""
    return -(-number // step) * step


def rounded_tokens(count: int) -> int:
    """Return the bucket of a number of tokens of one cell."""
    return rounded(count, TOKENS if count < LONG else LONG_TOKENS)


def places_of(lengths: np.ndarray, mask: np.ndarray, size: int) -> dict[str, torch.Tensor]:
    """Return the tensors of a ``StaticLayout``.

    Filler is split into runs that are no longer than the longest text: the kernel of variable
    lengths is told a longest one, and gives no numbers beyond it.

    Args:
        lengths: of the texts of each cell, shape (cells, rows).
        mask: 1 for tokens, shape (cells x rows, longest).
        size: tokens of each cell, filler included.
    """
    count, longest = len(lengths), mask.shape[1]
    places = np.arange(count)[:, None].repeat(size, axis=1) * (mask.size // count)
    targets = np.full((count, size), mask.size)
    for cell, own in enumerate(mask.reshape(count, -1)):
        found = own.nonzero()[0] + cell * own.size
        places[cell, : len(found)] = targets[cell, : len(found)] = found
    filler = size - lengths.sum(1, keepdims=True)
    runs = (filler - longest * np.arange(-(-size // longest))).clip(0, longest)
    segments = np.concatenate([lengths, runs], axis=1).cumsum()
    return {
        "places": torch.from_numpy(places.ravel()),
        "targets": torch.from_numpy(targets.ravel()),
        "segments": torch.from_numpy(np.concatenate([[0], segments]).astype(np.int32)),
    }

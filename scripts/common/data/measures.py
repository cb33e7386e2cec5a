"""Figures of a batch of texts: what tells duplicates, how long they are, what is odd about them."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from common.data import duplicates

# What UTF-8 read as latin-1 or cp1252 looks like: "Ã©" for é, "Â£" for £, "â€™" for an apostrophe.
CONTINUED = "\u0080-\u00bf" + re.escape(
    bytes(set(range(0x80, 0xA0)) - {0x81, 0x8D, 0x8F, 0x90, 0x9D}).decode("cp1252")
)
ENCODING = {
    "replacement character": re.compile("\ufffd"),
    "C1 control character": re.compile("[\u0080-\u009f]"),
    "UTF-8 read as another encoding": re.compile(
        f"[\u00c2\u00c3][{CONTINUED}]|\u00e2[\u0080\u20ac]"
    ),
}


@dataclass(frozen=True)
class Measures:
    """Figures of some texts, in order.

    Attributes:
        exact: digests of the texts, uint64, shape (texts, 2).
        normalised: digests of the normalised texts, of the same shape.
        buckets: of near duplicates, uint64, shape (texts, bands); no bands where none are wanted.
        characters: lengths, shape (texts,).
        words: the same in words, that is, in runs without white space.
        encoding: how many texts have which sign of a wrong encoding.
    """

    exact: np.ndarray
    normalised: np.ndarray
    buckets: np.ndarray
    characters: np.ndarray
    words: np.ndarray
    encoding: Counter[str]


def measure(batch: list[tuple[str, str | None]], threshold: float | None) -> Measures:
    """The figures of a batch of texts.

    Args:
        batch: texts, each with the second of a pair, or None.
        threshold: Jaccard similarity from which texts are near duplicates; None: none are.
    """
    texts = [text if pair is None else text + duplicates.SIDES + pair for text, pair in batch]
    keys = [duplicates.key(*both) for both in batch]
    none = np.empty((len(texts), 0), dtype=np.uint64)
    return Measures(
        exact=duplicates.digests(texts),
        normalised=duplicates.digests(keys),
        buckets=none if threshold is None else duplicates.banded(keys, threshold),
        characters=counted(batch, len),
        words=counted(batch, lambda text: len(text.split())),
        encoding=Counter(sign for text in texts for sign in encoding_signs(text)),
    )


def counted(batch: list[tuple[str, str | None]], count: Callable[[str], int]) -> np.ndarray:
    """A count of each text, of pairs the sum of both."""
    counts = (count(text) + (0 if pair is None else count(pair)) for text, pair in batch)
    return np.fromiter(counts, np.int64, len(batch))


def encoding_signs(text: str) -> list[str]:
    """What betrays that a text was read in a wrong encoding."""
    if text.isascii():
        return []
    return [name for name, sign in ENCODING.items() if sign.search(text)]

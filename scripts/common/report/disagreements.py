"""Predictions in few letters, and the test rows on which it pays to read the text.

A page of 200 cells and 5,000 rows holds a million predictions: as class numbers in one string per
cell they are a megabyte. Texts are long, so they are kept where they tell most: where the cells
that were trained split into right and wrong.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"


def letters_per_class(classes: int) -> int:
    """Return how many letters of ``ALPHABET`` a class number takes.

    1 up to 64 classes, 2 up to 4,096.
    """
    letters = 1
    while len(ALPHABET) ** letters < classes:
        letters += 1
    return letters


def encode(numbers: "np.ndarray", classes: int) -> str:
    """Return class numbers as one string, ``letters_per_class(classes)`` letters each.

    Args:
        numbers: shape (rows,), from 0.
        classes: how many there are.
    """
    import numpy as np

    size, letters = len(ALPHABET), letters_per_class(classes)
    places = [numbers // size**place % size for place in reversed(range(letters))]
    return "".join(np.array(list(ALPHABET))[np.stack(places, axis=1)].ravel())


def disputed(predictions: "np.ndarray", labels: "np.ndarray", weights: "np.ndarray") -> list[int]:
    """Return the rows on which cells disagree, those that tell most first.

    A row tells most where the weight of the cells that are right equals that of those that are
    wrong; between two such rows the earlier comes first.

    Args:
        predictions: class numbers, shape (cells, rows).
        labels: class numbers, shape (rows,).
        weights: of each cell, shape (cells,); 0 for one that learned nothing, whose answers make
            every row of other classes look disputed.
    """
    import numpy as np

    differ = (predictions != predictions[0]).any(axis=0)
    right = ((predictions == labels) * weights[:, None]).sum(axis=0)
    split = np.minimum(right, weights.sum() - right)
    order = np.lexsort((np.arange(len(labels)), -split))
    return [int(row) for row in order if differ[row]]


def shortened(texts: list[str], size: int) -> tuple[list[str], int]:
    """Return as many of the texts, from the first on, as fit.

    Args:
        texts: in the order of their worth.
        size: of all of them, in bytes of UTF-8; a text may take a hundredth, and is cut there.

    Returns:
        the texts, a cut one ending in ``…``, and how many were cut.
    """
    longest = max(size // 100, len("…".encode()))
    kept, cut, left = [], 0, size
    for text in texts:
        whole = text.encode()
        short = text if len(whole) <= longest else cut_off(whole, longest)
        left -= len(short.encode())
        if left < 0:
            break
        cut += short != text
        kept.append(short)
    return kept, cut


def cut_off(text: bytes, size: int) -> str:
    """Return the beginning of a text in UTF-8, in so many bytes, with ``…`` at its end."""
    return text[: size - len("…".encode())].decode(errors="ignore") + "…"

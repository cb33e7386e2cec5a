"""Groups of duplicate texts: exact, normalised and near; each kind holds the groups of the last.

Normalised texts are equal but for case, digits, punctuation and white space. Near texts share most
runs of letters: candidates are found by MinHash and banding (Leskovec, Rajaraman and Ullman, Mining
of Massive Datasets, chapter 3), then compared in full. No step looks at all pairs, so the time
grows with the number of texts.
"""

import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd

KINDS = ("exact", "normalised", "near")

SHINGLE = 5  # letters; a text of fewer is one shingle
PERMUTATIONS = 128  # numbers per signature
MISSED = 0.005  # share of the pairs exactly at the threshold that no band may show
COMPARED = 8  # texts of a bucket that all others in it are compared with
CHUNK = 1024  # texts or shingles at a time, which bounds the memory
SEED = 1  # of the permutations; part of what makes results equal everywhere
# Digits, punctuation, separators, controls, and the symbols that keyboards have. Letters and their
# marks stay, and so do emoji: they carry what a text says.
IGNORED = ("N", "P", "Z", "C", "Sc", "Sk", "Sm")
SIDES = "\0"  # between the two texts of a pair; rows that hold it are bad
At = Callable[[np.ndarray], list[str]]
BASE = 0x9E3779B97F4A7C15  # odd; of the polynomials that hash


def digests(texts: Iterable[str]) -> np.ndarray:
    """Return a BLAKE2b hash of 128 bits of each text: uint64, shape (texts, 2).

    Equal is equal texts.
    """
    joined = b"".join(
        blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts
    )
    return np.frombuffer(joined, dtype="<u8").reshape(-1, 2)


def groups(
    exact: np.ndarray, normalised: np.ndarray, buckets: np.ndarray, at: At, threshold: float | None
) -> dict[str, np.ndarray]:
    """Return the group of every text, by kind: equal numbers mean one group.

    Args:
        exact: digests of the texts.
        normalised: digests of the normalised texts.
        buckets: as ``banded`` gives them.
        at: gives the normalised texts at some positions.
        threshold: Jaccard similarity from which texts are near, above 0 and at most 1; None: the
            kind "near" is left out.
    """
    numbers, first = numbered(normalised)
    found = {"exact": numbered(exact)[0], "normalised": numbers}
    if threshold is not None:
        distinct = near(buckets[first], lambda places: at(first[places]), threshold)
        found["near"] = distinct[numbers]
    return found


def numbered(digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of each digest among the distinct ones, and where each of those stands first."""
    numbers = pd.DataFrame(digests).groupby([0, 1], sort=False).ngroup().to_numpy()
    return numbers, np.unique(numbers, return_index=True)[1]


class Ignoring(dict):
    """A table for ``str.translate`` that takes out what does not count; fills itself."""

    def __missing__(self, code: int) -> int | None:
        kept = not unicodedata.category(chr(code)).startswith(IGNORED)
        self[code] = code if kept else None
        return self[code]


COUNTING = Ignoring()


def normalise(text: str) -> str:
    """Return the letters, marks and emoji of a text, in Unicode NFKC and without case.

    A text without any keeps all but its white space: "1" and "2" are not equal, nor "?" and ":)".
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return folded.translate(COUNTING) or "".join(folded.split()) or text


def key(text: str, pair: str | None = None) -> str:
    """Return what normalised duplicates have in common: the normalised text, or both of a pair."""
    return normalise(text) if pair is None else normalise(text) + SIDES + normalise(pair)


def near(buckets: np.ndarray, at: At, threshold: float) -> np.ndarray:
    """Return the group of each of some distinct texts.

    The components of the graph of similar pairs.

    Args:
        buckets: as ``banded`` gives them.
        at: gives the texts, distinct and normalised, at some positions.
        threshold: Jaccard similarity of the sets of shingles, from which a pair is similar.

    Returns:
        a group number per text, shape (texts,).
    """
    labels = np.arange(len(buckets))
    for band in buckets.T:
        for left, right in candidates(band):
            apart = labels[left] != labels[right]
            left, right = left[apart], right[apart]
            similar = are_similar(at, left, right, threshold)
            if similar.any():
                labels = merged(labels, left[similar], right[similar])
    return labels


def rows_per_band(threshold: float) -> int:
    """Return how many numbers of a signature make a band.

    The most at which few similar pairs are missed.

    A pair of similarity s agrees in a band of r numbers with probability s ** r.
    """
    for rows in range(PERMUTATIONS, 1, -1):
        if (1 - threshold**rows) ** (PERMUTATIONS // rows) <= MISSED:
            return rows
    return 1


def banded(texts: list[str], threshold: float) -> np.ndarray:
    """Return the buckets of every text: uint64, shape (texts, bands).

    Similar texts share one, nearly all.

    Args:
        texts: normalised.
        threshold: Jaccard similarity from which texts are similar.
    """
    rows = rows_per_band(threshold)
    bands = PERMUTATIONS // rows
    found = np.empty((len(texts), bands), dtype=np.uint64)
    for start in range(0, len(texts), CHUNK):
        signed = signatures(texts[start : start + CHUNK])
        parts = signed[:, : bands * rows].reshape(len(signed), bands, rows)
        found[start : start + CHUNK] = polynomial([parts[:, :, i] for i in range(rows)])
    return found


def signatures(texts: list[str]) -> np.ndarray:
    """Return the MinHash signature of each text: uint32, shape (texts, PERMUTATIONS).

    Shingles are hashed here, in NumPy: quicker than one by one, and the same in every process.
    """
    from datasketch import MinHash

    sketch = MinHash(num_perm=PERMUTATIONS, seed=SEED, hashfunc=int, scheme="affine32")
    found = np.empty((len(texts), PERMUTATIONS), dtype=np.uint32)
    for number, hashes in enumerate(shingle_hashes(texts)):
        sketch.clear()
        for start in range(0, len(hashes), CHUNK):  # a text may have millions
            sketch.update_batch(hashes[start : start + CHUNK].tolist())
        found[number] = sketch.hashvalues
    return found


def shingle_hashes(texts: list[str]) -> Iterator[np.ndarray]:
    """Yield the hashes of each text's shingles, in order: uint64 below 2 ** 32."""
    filled = [text.ljust(SHINGLE, "\0") for text in texts]
    order = f"utf-32-{sys.byteorder[0]}e"
    letters = np.frombuffer("".join(filled).encode(order, "surrogatepass"), dtype=np.uint32)
    windows = len(letters) - SHINGLE + 1
    hashes = polynomial([letters[i : i + windows] for i in range(SHINGLE)]) >> np.uint64(32)
    end = 0
    for text in filled:
        start, end = end, end + len(text)
        yield hashes[start : end - SHINGLE + 1]


def polynomial(columns: list[np.ndarray]) -> np.ndarray:
    """Return a hash of numbers side by side, modulo 2 ** 64; its upper half is the better one."""
    total = np.zeros(columns[0].shape, dtype=np.uint64)
    for column in columns:
        total = (total + column.astype(np.uint64) + np.uint64(1)) * np.uint64(BASE)
    return total


def candidates(buckets: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs of texts that share a bucket, as positions, in COMPARED rounds.

    In a bucket of up to COMPARED + 1 texts all pairs are given; of a larger one, the pairs with its
    first texts, so that a bucket of n texts has not n ** 2 pairs.
    """
    order = np.argsort(buckets, kind="stable")
    places = np.arange(len(order))
    begins = np.diff(buckets[order], prepend=buckets[order][:1]) != 0
    first = np.maximum.accumulate(np.where(begins, places, 0))
    for number in range(COMPARED):
        later = places[first + number < places]
        if not len(later):
            return
        yield order[first[later] + number], order[later]


def are_similar(at: At, left: np.ndarray, right: np.ndarray, threshold: float) -> np.ndarray:
    """Return which pairs have a Jaccard similarity of at least the threshold.

    Booleans, shape (pairs,).

    One text at a time is held beside the last on the left, which stands in pair after pair: the
    first of a bucket.
    """
    found = np.zeros(len(left), dtype=bool)
    order = np.argsort(left, kind="stable")
    last, ours = -1, []
    for number in order.tolist():
        if left[number] != last:
            last = left[number]
            ours = shingles(*at(left[number : number + 1]))
        theirs = shingles(*at(right[number : number + 1]))
        found[number] = similarity(ours, theirs) >= threshold
    return found


def similarity(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """Return the Jaccard similarity of two texts.

    Of two pairs, that of the sides that differ more.
    """
    return min(map(jaccard, ours, theirs))


def jaccard(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the shingles that two texts share, as a share of all that they have."""
    both = len(np.intersect1d(ours, theirs, assume_unique=True))
    return both / (len(ours) + len(theirs) - both)


def shingles(text: str) -> list[np.ndarray]:
    """Return the hashes of a text's shingles, each once, in order.

    Of a pair, those of each side.
    """
    return [np.unique(hashes) for hashes in shingle_hashes(text.split(SIDES))]


def merged(labels: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the labels with the groups of each pair made one."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ones: Any = np.ones(len(left), dtype=bool)
    pairs = coo_array((ones, (labels[left], labels[right])), shape=(len(labels), len(labels)))
    return connected_components(pairs, directed=False)[1][labels]


def linked(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return groups of rows, of which those go together that two given groupings link."""
    start = ours.max(initial=-1) + 1
    labels = np.arange(start + theirs.max(initial=-1) + 1)
    return merged(labels, ours, start + theirs)[ours]

"""The lengths of texts in figures: a summary, and counts in bins that suit short and long texts."""

from typing import Any

BITS = 3  # of a length that its bin keeps: four bins for each doubling


def summary(lengths: Any) -> dict[str, float]:
    """Mean, median, 95th percentile and maximum of lengths, an array or a series of integers."""
    import numpy as np

    counts = np.asarray(lengths)
    return {
        "mean": round(float(counts.mean()), 1),
        "median": round(float(np.median(counts)), 1),
        "p95": round(float(np.percentile(counts, 95)), 1),
        "max": int(counts.max()),
    }


def bin_edges(longest: int) -> list[int]:
    """Return the edges of bins that hold every length up to ``longest``; the first is 0.

    A bin holds the lengths above its left edge, up to and with its right one. Bins are one wide up
    to 8, two up to 16, and so on: 60 reach to 100,000. Edges do not depend on ``longest``, but for
    where they end, so that counts of several datasets and models can be compared.
    """
    edges = [0]
    while edges[-1] < longest:
        edges.append(edges[-1] + (1 << max(0, edges[-1].bit_length() - BITS)))
    return edges


def histogram(lengths: Any, edges: list[int]) -> list[int]:
    """Return how many of the lengths, an array of integers, are in each bin.

    One of 0 is in the first.
    """
    import numpy as np

    bins = np.searchsorted(edges, np.maximum(lengths, 1)) - 1
    return np.bincount(bins, minlength=len(edges) - 1).tolist()

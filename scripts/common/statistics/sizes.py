"""What a comparison of one dataset at several numbers of training rows says."""

from collections.abc import Mapping

BETTER = "better"


def better_from(outcomes: Mapping[int, str]) -> int | None:
    """Return the fewest training rows from which on a variant is better than another.

    It is better at that size and at every larger one that was compared; of sizes between them
    nothing is known.

    Args:
        outcomes: of the comparison of two variants, by number of training rows, in any order.

    Returns:
        One of these numbers; None where it is not better at the largest.
    """
    found = None
    for rows in sorted(outcomes, reverse=True):
        if outcomes[rows] != BETTER:
            break
        found = rows
    return found

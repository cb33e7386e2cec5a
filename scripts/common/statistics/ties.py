"""Which variants cannot be told apart.

That two variants are not told apart is no equality: a may be tied with b, and b with c, where a
beats c. So a group of ties is never made by chaining; it is told from the best, or by letters.
"""

from collections.abc import Sequence
from string import ascii_lowercase

from common.statistics.catalogue import LOWER_IS_BETTER
from common.statistics.resampling import Measured
from common.statistics.significance import Comparison


def by_merit(measured: dict[str, Measured]) -> list[str]:
    """The names of the variants, best mean first; ties of means in the given order."""
    sign = {True: 1, False: -1}
    return sorted(
        measured,
        key=lambda name: sign[measured[name].metric in LOWER_IS_BETTER] * measured[name].mean,
    )


def tied_for_first(
    measured: dict[str, Measured], comparisons: Sequence[Comparison], alpha: float = 0.05
) -> list[str]:
    """The variant with the best mean, and all that are not significantly worse than it.

    Members may well differ from each other; what they share is that the data do not rule out
    that each is as good as the best. The correction is over all pairs, hence over whichever of
    them happened to come out best.

    Args:
        measured: the variants.
        comparisons: of all pairs of them: ``significance.compare_all``.
        alpha: level of the corrected tests.

    Returns:
        names, best mean first.
    """
    order = by_merit(measured)
    apart = separated(comparisons, alpha)
    return [name for name in order if frozenset((order[0], name)) not in apart]


def letters(
    measured: dict[str, Measured], comparisons: Sequence[Comparison], alpha: float = 0.05
) -> dict[str, str]:
    """The compact letter display: two variants share a letter if and only if they are tied.

    By insertion and absorption: Piepho 2004, "An algorithm for a letter-based representation of
    all-pairwise comparisons", J. Comput. Graph. Stat. 13, 456-466.

    Args:
        measured: the variants.
        comparisons: of all pairs of them.
        alpha: level of the corrected tests.

    Returns:
        letters by name, best mean first: {"full": "a", "lora-r16": "ab", "lora-r4": "b"}.
    """
    order = by_merit(measured)
    groups = [frozenset(order)]
    for pair in sorted(separated(comparisons, alpha), key=sorted):
        split = [part for group in groups for part in without(group, pair)]
        groups = [one for one in dict.fromkeys(split) if not any(one < other for other in split)]
    groups.sort(key=lambda group: sorted(map(order.index, group)))
    return {
        name: "".join(letter(i) for i, group in enumerate(groups) if name in group)
        for name in order
    }


def separated(comparisons: Sequence[Comparison], alpha: float) -> set[frozenset[str]]:
    """The pairs that differ significantly."""
    return {frozenset((each.a, each.b)) for each in comparisons if each.significant(alpha)}


def without(group: frozenset[str], pair: frozenset[str]) -> list[frozenset[str]]:
    """The group, or where it holds both of the pair, the two groups that lack one of them."""
    return [group - {name} for name in sorted(pair)] if pair <= group else [group]


def letter(number: int) -> str:
    """a, b, ..., z, then (26), (27), ..."""
    return ascii_lowercase[number] if number < len(ascii_lowercase) else f"({number})"

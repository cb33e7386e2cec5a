"""The names that a wildcard stands for, as a regular expression.

Snakemake writes the constraint of a wildcard into every path that has it, and reads the whole again
for each file of each job: a list of a thousand ranks is 15 % of a plan of 10,000 cells.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache


def one_of(names: Iterable[object]) -> str:
    """Return a regular expression of these names, and no other; without a name it matches nothing.

    What begins and goes on alike is written once: a thousand ranks take 116 characters.
    """
    return pattern(frozenset(map(str, names))) or "(?!)"


@cache
def pattern(endings: frozenset[str]) -> str:
    """Return a regular expression of a set of endings, all of a name or what is left of it."""
    behind: dict[str, set[str]] = defaultdict(set)
    for ending in endings:
        if ending:
            behind[ending[0]].add(ending[1:])
    first: dict[str, list[str]] = defaultdict(list)  # characters by what may follow
    for character in sorted(behind):
        first[pattern(frozenset(behind[character]))].append(re.escape(character))
    choices = [
        (characters[0] if len(characters) == 1 else f"[{''.join(characters)}]") + rest
        for rest, characters in first.items()
    ]
    both = "|".join(choices)
    if "" in endings and choices:
        return f"(?:{both})?"
    return f"(?:{both})" if len(choices) > 1 else both

"""What a variant is held against in tables: the untrained base of its model, and TF-IDF."""

from collections.abc import Iterator
from typing import Any

from common.statistics.standing import TFIDF, of_kind, pair

Found = dict[str, Any]


def base_of(found: Found, variant: Found) -> Found | None:
    """The untrained base of the same model; of a baseline, none."""
    return of_kind(found, variant["model"], "base") if variant["model"] else None


def tfidf_of(found: Found) -> Found | None:
    """The baseline; None where it is not in the comparison."""
    named = (v for v in found["variants"] if (v["kind"], v["variant"]) == ("baseline", TFIDF))
    return next(named, None)


def held_against(found: Found, variant: Found, other: Found | None) -> Found | None:
    """The comparison of a variant with another, the first less the second; None without another."""
    if other is None or other is variant:
        return None
    return pair(found, variant["name"], other["name"])


def doubt(comparison: Found) -> str | None:
    """Why a difference that is said to be real is not assured to be; None where it is."""
    return comparison["caution"] if comparison["significant"] else None


def shown(found: Found) -> Iterator[Found]:
    """The comparisons that the tables of a dataset show."""
    for variant in found["variants"]:
        for other in (base_of(found, variant), tfidf_of(found)):
            if told := held_against(found, variant, other):
                yield told


def doubts(found: Found) -> list[str]:
    """The reasons for doubt in the tables of a dataset, each once; not those of other pairs."""
    return sorted({reason for each in shown(found) if (reason := doubt(each))})

"""How the variants of a dataset stand to each other, read off verdicts.json."""

from typing import Any

from common.statistics.catalogue import LOWER_IS_BETTER
from common.statistics.intervals import Interval, signed

UNTRAINED = ("baseline", "base")  # kinds
MAJORITY, TFIDF = "majority", "tfidf"  # baselines
BETTER, WORSE, TIE = "better", "worse", "tie"

Found = dict[str, Any]


def by_position(found: Found) -> list[Found]:
    """The variants, best mean first."""
    return sorted(found["variants"], key=lambda variant: variant["position"])


def leaders(found: Found) -> list[Found]:
    """Those tied for first, best mean first; one of them where there is no tie."""
    return [variant for variant in by_position(found) if variant["tied_for_first"]]


def trained(variants: list[Found]) -> list[Found]:
    """Those of them that were trained."""
    return [variant for variant in variants if variant["kind"] not in UNTRAINED]


def learned_nothing(variant: Found) -> bool:
    """Whether it is a yardstick that nobody would use: majority class, or an untrained head."""
    return variant["name"] == MAJORITY or variant["untrained_head"]


def clearly_below(found: Found, variant: Found) -> bool:
    """Whether something tied for first is better than a yardstick, or ahead of it with every seed.

    Two seeds may be too few for the test to tell even a coin from the best.
    """
    others = (leader for leader in leaders(found) if leader is not variant)
    told = (pair(found, other["name"], variant["name"]) for other in others)
    return any(outcome(each) == BETTER or ahead(each) for each in told)


def unconfirmed(found: Found) -> list[Found]:
    """Yardsticks that are not tied for first, and that no test tells from the best."""
    best, *rest = by_position(found)
    return [
        variant
        for variant in rest
        if not variant["tied_for_first"]
        and outcome(pair(found, best["name"], variant["name"])) == TIE
    ]


def chosen(found: Found) -> Found:
    """What to use: what costs no training and is tied for first, else the cheapest near the best.

    What a trained variant beats is not chosen, though it be tied with the best mean: a best mean of
    widely differing seeds is tied with much. The majority class and untrained heads are chosen only
    where nothing is shown to be better.
    """
    free = [v for v in leaders(found) if v["kind"] in UNTRAINED and not beaten_by(found, v)]
    useful = [variant for variant in free if not learned_nothing(variant)]
    return next(iter([*useful, *free]), None) or worth_training(found) or leaders(found)[0]


def beaten_by(found: Found, variant: Found) -> list[Found]:
    """The variants that are significantly better: of a yardstick all, else the trained ones."""
    those = found["variants"] if learned_nothing(variant) else trained(found["variants"])
    others = [other for other in those if other["name"] != variant["name"]]
    return [v for v in others if outcome(pair(found, v["name"], variant["name"])) == BETTER]


def worth_training(found: Found) -> Found | None:
    """The cheapest of the trained variants tied for first; None where none is tied.

    Of those within one standard error of the best of them: Breiman, Friedman, Olshen and Stone
    1984, "Classification and regression trees", section 3.4.3. A variant that is far below the
    best, and tied with it because little is known, is no good choice; nor is one that does not beat
    a baseline which others tied for first do beat. One that collapsed with some seed is chosen only
    where all did.
    """
    near, first = near_best(found), leaders(found)
    lost = [beaten for v in first if v["kind"] in UNTRAINED and (beaten := beaten_by(found, v))]
    proven = [v for v in trained(first) if all(v in beaten for beaten in lost)]
    pool = [variant for variant in near if variant in proven] or proven or near
    return min(pool, key=lambda v: (bool(v["collapsed"]), *cost(v)), default=None)


def near_best(found: Found) -> list[Found]:
    """Of the trained variants tied for first, those within one standard error of the best."""
    first = trained(leaders(found))
    return [v for v in first if v is first[0] or within_error(found, first[0], v)]


def within_error(found: Found, best: Found, other: Found) -> bool:
    """Whether two variants are within one standard error of each other."""
    told = pair(found, best["name"], other["name"])
    return abs(told["difference"]) <= told["standard_error"]


def cost(variant: Found) -> tuple:
    """What to sort by: the parameters that are trained, the bytes saved, then the position.

    Not seconds: they differ from run to run, and with them the choice would.
    """
    costs = variant["costs"]
    return costs["trainable_parameters"] or 0, costs["file_bytes"] or 0, variant["position"]


def of_kind(found: Found, model: str | None, kind: str) -> Found | None:
    """The first variant of a kind on a model; None where there is none."""
    matching = (v for v in found["variants"] if (v["model"], v["kind"]) == (model, kind))
    return next(matching, None)


def pair(found: Found, a: str, b: str) -> Found:
    """The comparison of two variants, turned so that the difference is a less b."""
    for each in found["comparisons"]:
        if (each["a"], each["b"]) == (a, b):
            return each
        if (each["a"], each["b"]) == (b, a):
            turned = {"difference": -each["difference"], "low": -each["high"], "high": -each["low"]}
            return {**each, "a": a, "b": b, **turned}
    raise KeyError(f"{a} and {b} were not compared")


def outcome(comparison: Found) -> str:
    """What a comparison says of its first variant: better, worse, or a tie."""
    if not comparison["significant"]:
        return TIE
    lower = comparison["metric"] in LOWER_IS_BETTER
    return BETTER if (comparison["difference"] < 0) == lower else WORSE


def ahead(comparison: Found) -> bool:
    """Whether its first variant is better with every seed, if only by the figures."""
    lower = comparison["metric"] in LOWER_IS_BETTER
    return comparison["each_seed"] and (comparison["difference"] < 0) == lower


def apart(comparison: Found) -> str:
    """The difference with its sign and the digits that its interval supports: +0.036."""
    return signed(comparison["difference"], Interval(comparison["low"], comparison["high"]))

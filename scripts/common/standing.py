"""How the variants of a dataset stand to each other, read off verdicts.json."""

from typing import Any

from common.intervals import Interval, signed
from common.resampling import LOWER_IS_BETTER

UNTRAINED = ("baseline", "base")  # kinds
MAJORITY, TFIDF = "majority", "tfidf"  # baselines
BETTER, WORSE, TIE = "better", "worse", "tie"

Found = dict[str, Any]


def by_rank(found: Found) -> list[Found]:
    """The variants, best mean first."""
    return sorted(found["variants"], key=lambda variant: variant["rank"])


def leaders(found: Found) -> list[Found]:
    """Those tied for first, best mean first; one of them where there is no tie.

    The majority class and untrained heads are none of them where each seed of the best is better
    than each of theirs: then seeds are too few for the test, see ``unconfirmed``.
    """
    out = unconfirmed(found)
    return [v for v in by_rank(found) if v["tied_for_first"] and v not in out]


def unconfirmed(found: Found) -> list[Found]:
    """Majority class and untrained heads that each seed of the best beats, and no test tells."""
    first, *rest = by_rank(found)
    return [
        variant
        for variant in rest
        if variant["tied_for_first"]
        and (variant["name"] == MAJORITY or variant["untrained_head"])
        and pair(found, first["name"], variant["name"])["each_seed"]
    ]


def chosen(found: Found) -> Found:
    """What to use: a baseline that is tied for first, else the cheapest of those near the best.

    The majority class only where nothing at all is shown to be better than it.
    """
    best = leaders(found)
    untrained = [variant for variant in best if variant["kind"] in UNTRAINED]
    for variant in untrained:
        if variant["name"] == MAJORITY and not any_beats(found, MAJORITY):
            return variant
    useful = [variant for variant in untrained if variant["name"] != MAJORITY]
    return next(iter(useful), None) or worth_training(found) or best[0]


def any_beats(found: Found, name: str) -> bool:
    """Whether some variant is significantly better than this one."""
    others = (variant["name"] for variant in found["variants"] if variant["name"] != name)
    return any(outcome(pair(found, other, name)) == BETTER for other in others)


def worth_training(found: Found) -> Found | None:
    """The cheapest of the trained variants tied for first; None where none is tied.

    Of those within one standard error of the best of them: Breiman, Friedman, Olshen and Stone
    1984, "Classification and regression trees", section 3.4.3. A variant that is far below the
    best, and tied with it because little is known, is no good choice. One that collapsed with some
    seed is chosen only where all did.
    """
    near = near_best(found)
    return min(near, key=lambda v: (bool(v["collapsed"]), *cost(v)), default=None)


def near_best(found: Found) -> list[Found]:
    """Of the trained variants tied for first, those within one standard error of the best."""
    trained = [variant for variant in leaders(found) if variant["kind"] not in UNTRAINED]
    return [v for v in trained if v is trained[0] or within_error(found, trained[0], v)]


def within_error(found: Found, best: Found, other: Found) -> bool:
    """Whether a variant is within one standard error of a better one."""
    told = pair(found, best["name"], other["name"])
    return abs(told["difference"]) <= told["standard_error"]


def cost(variant: Found) -> tuple:
    """What to sort by: the parameters that are trained, then seconds, then the rank."""
    costs = variant["costs"]
    return costs["trainable_parameters"] or 0, costs["train_seconds"] or 0, variant["rank"]


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

"""How the variants of a dataset stand to each other, read off verdicts.json."""

from typing import Any

from common.intervals import Interval, signed
from common.resampling import LOWER_IS_BETTER

UNTRAINED = ("baseline", "base")  # kinds
BETTER, WORSE, TIE = "better", "worse", "tie"

Found = dict[str, Any]


def by_rank(found: Found) -> list[Found]:
    """The variants, best mean first."""
    return sorted(found["variants"], key=lambda variant: variant["rank"])


def leaders(found: Found) -> list[Found]:
    """Those tied for first, best mean first; one of them where there is no tie.

    An untrained head is none of them, unless it is the best: see ``untested``.
    """
    return [
        variant
        for variant in by_rank(found)
        if variant["tied_for_first"] and (variant["rank"] == 1 or not variant["untrained_head"])
    ]


def chosen(found: Found) -> Found:
    """What to use: a baseline that is tied for first, else the cheapest of those near the best."""
    for variant in leaders(found):
        if variant["kind"] in UNTRAINED:
            return variant
    return worth_training(found) or leaders(found)[0]


def worth_training(found: Found) -> Found | None:
    """The cheapest of the trained variants tied for first; None where none is tied.

    Of those within one standard error of the best of them: Breiman, Friedman, Olshen and Stone
    1984, "Classification and regression trees", section 3.4.3. A variant that is far below the
    best, and tied with it because little is known, is no good choice. One that collapsed with some
    seed is chosen only where all did.
    """
    trained = [variant for variant in leaders(found) if variant["kind"] not in UNTRAINED]
    if not trained:
        return None
    near = [v for v in trained if v is trained[0] or within_error(found, trained[0], v)]
    return min(near, key=lambda variant: (bool(variant["collapsed"]), *cost(variant)))


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


def apart(comparison: Found) -> str:
    """The difference with its sign and the digits that its interval supports: +0.036."""
    return signed(comparison["difference"], Interval(comparison["low"], comparison["high"]))

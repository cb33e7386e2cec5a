"""The verdict on one dataset in plain sentences: what to use, what it beats, what it costs.

Sentences are plain text; names of the user stand in them as they are. They are told from the
figures of verdicts.json alone.
"""

from collections.abc import Iterator
from typing import Any

from common.intervals import Interval, decimals, signed
from common.resampling import LOWER_IS_BETTER

UNTRAINED = ("baseline", "base")
MAJORITY, TFIDF = "majority", "tfidf"
BETTER, WORSE, TIE = "better", "worse", "tie"

Found = dict[str, Any]


def sentences(found: Found, wanted: str) -> list[str]:
    """The verdict.

    Args:
        found: a dataset of verdicts.json, without its ``verdict``.
        wanted: the metric that was asked for; another stands in where the dataset lacks it.
    """
    parts = []
    if found["metric"] != wanted:
        parts.append(f"{found['metric']} stands in for {wanted}, which is of two classes alone.")
    if len(found["variants"]) == 1:
        only = found["variants"][0]
        parts.append(f"{only['name']} alone was measured, so there is nothing to compare it with.")
        return [*parts, *collapses(found), *few_seeds(found)]
    return [
        *parts,
        choice(found),
        *tied(found),
        *beaten(found),
        *price(found),
        *adapters(found),
        *gaps(found),
        *outlook(found),
        *collapses(found),
        *few_seeds(found),
        *cautions(found),
    ]


def by_rank(found: Found) -> list[Found]:
    """The variants, best mean first."""
    return sorted(found["variants"], key=lambda variant: variant["rank"])


def leaders(found: Found) -> list[Found]:
    """Those tied for first, best mean first; one of them where there is no tie."""
    return [variant for variant in by_rank(found) if variant["tied_for_first"]]


def chosen(found: Found) -> Found:
    """What to use: of those tied for first one that needs no training, else the cheapest.

    A variant that collapsed with some seed is chosen only where all did.
    """
    return min(leaders(found), key=lambda variant: (bool(variant["collapsed"]), *cost(variant)))


def cost(variant: Found) -> tuple:
    """What to sort by: a baseline is cheapest, then what trains fewest parameters, then seconds."""
    costs = variant["costs"]
    kinds = UNTRAINED.index(variant["kind"]) if variant["kind"] in UNTRAINED else len(UNTRAINED)
    return kinds, costs["trainable_parameters"] or 0, costs["train_seconds"] or 0, variant["rank"]


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


def choice(found: Found) -> str:
    """What to use, and why."""
    best, use = leaders(found), chosen(found)
    others = len(best) > 1
    if not any(variant["kind"] not in UNTRAINED for variant in found["variants"]):
        ahead = "is tied for first" if others else "is better than every other variant"
        return f"Nothing was trained here; of what there is, {use['name']} {ahead}."
    if any(variant["name"] == MAJORITY for variant in best):
        ahead = "is tied for first" if others else "is better than every other variant"
        return (
            f"Nothing learned: {MAJORITY}, which gives every row the most frequent class, {ahead}."
        )
    if use["kind"] in UNTRAINED:
        why = (
            "it is tied for first, and no trained variant is significantly better"
            if others
            else "it is better than every other variant"
        )
        return f"No reason to train: use {use['name']}, {why}."
    if not others:
        return f"Use {use['name']}: it is better than every other variant."
    return f"Use {use['name']}: of those tied for first it trains the fewest parameters."


def tied(found: Found) -> Iterator[str]:
    """Who is tied for first, and what the test rows could have shown."""
    best = [variant["name"] for variant in leaders(found)]
    if len(best) == 1:
        return
    pairs = [pair(found, a, b) for i, a in enumerate(best) for b in best[i + 1 :]]
    inside = [f"{each['a']} is {outcome(each)} than {each['b']}" for each in pairs
              if each["significant"]]  # fmt: skip
    them = f"them from {best[0]}" if inside else "them apart"
    shown = [each["detectable"] for each in pairs if each["detectable"] is not None]
    power = f"; it could show a difference of {size(max(shown))}" if shown else ""
    though = f" (though {'; '.join(inside)})" if inside else ""
    yield (
        f"Tied for first: {', '.join(best)}: this test set of {found['rows']:,} rows cannot tell "
        f"{them}{power}{though}."
    )


def size(difference: float) -> str:
    """A difference with one or two digits that count: 0.02, 0.16."""
    return f"{difference:.{decimals(difference)}f}"


def beaten(found: Found) -> Iterator[str]:
    """All that the chosen one beats."""
    use = chosen(found)["name"]
    others = [variant["name"] for variant in by_rank(found) if variant["name"] != use]
    worse = [name for name in others if outcome(pair(found, use, name)) == BETTER]
    if worse:
        named = [f"{name} ({apart(pair(found, use, name))})" for name in worse]
        yield f"{use} beats {', '.join(named)} by {found['metric']}."
    else:
        yield f"{use} beats nothing by {found['metric']}."


def price(found: Found) -> Iterator[str]:
    """What the chosen one costs, and beside it full fine-tuning of the same model."""
    use = chosen(found)
    if use["kind"] in UNTRAINED:
        return
    full = of_kind(found, use["model"], "full")
    beside = f"; {full['name']} {spent(full)}" if full and full is not use else ""
    yield f"{use['name']} {spent(use)}{beside}."
    trained = [variant for variant in leaders(found) if variant["costs"]["train_seconds"]]
    fastest = min(trained, key=lambda variant: variant["costs"]["train_seconds"], default=use)
    if fastest["name"] != use["name"]:
        yield f"Of those tied for first, {fastest['name']} is the fastest: it {spent(fastest)}."


def spent(variant: Found) -> str:
    """What training took, as the rest of a sentence."""
    parameters, seconds = (variant["costs"][key] for key in ("trainable_parameters",
                                                             "train_seconds"))  # fmt: skip
    counted = "an unknown number of" if parameters is None else f"{parameters:,}"
    return f"trains {counted} parameters" + ("" if seconds is None else f" in {seconds:,.0f} s")


def of_kind(found: Found, model: str | None, kind: str) -> Found | None:
    """The first variant of a kind on a model; None where there is none."""
    matching = (v for v in found["variants"] if (v["model"], v["kind"]) == (model, kind))
    return next(matching, None)


def models(found: Found) -> list[str]:
    """Those that adapters were trained on."""
    return list(dict.fromkeys(v["model"] for v in found["variants"] if v["kind"] == "adapter"))


def adapters(found: Found) -> Iterator[str]:
    """Of each model, whether its best adapter beats TF-IDF, the untrained base and the rest."""
    names = {variant["name"] for variant in found["variants"]}
    for model in models(found):
        best = next(v for v in by_rank(found) if (v["model"], v["kind"]) == (model, "adapter"))
        base, full = of_kind(found, model, "base"), of_kind(found, model, "full")
        against = [(name, name) for name in (TFIDF,) if name in names]
        against += [("the untrained base", base["name"])] if base else []
        against += [("full fine-tuning", full["name"])] if full else []
        said = [compared(word, pair(found, best["name"], name)) for word, name in against]
        if said:
            yield f"The best adapter of {model}, {best['variant']}, is {listed(said)}."
        if not full:
            yield f"What full fine-tuning of {model} would add was not measured."


def compared(word: str, comparison: Found) -> str:
    """One comparison as part of a sentence."""
    words = {BETTER: "better than", WORSE: "worse than", TIE: "not told apart from"}
    return f"{words[outcome(comparison)]} {word} ({apart(comparison)})"


def listed(parts: list[str]) -> str:
    """a; a and b; a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def gaps(found: Found) -> Iterator[str]:
    """Which share of the gap from head to full the adapters of each model close."""
    for model in models(found):
        told = [v for v in found["variants"] if v["model"] == model and v["share_of_gap"]]
        if not told:
            continue
        ends = told[0]["share_of_gap"]
        between = f"the gap from {ends['head']} to {ends['full']}"
        if shares := [v for v in told if v["share_of_gap"]["share"] is not None]:
            yield f"Of {between}, {listed([closes(variant) for variant in shares])}."
        else:
            yield f"Of {between} no share can be told: {ends['reason']}."


def closes(variant: Found) -> str:
    """The share of the gap that an adapter closes, in per cent, with its interval."""
    ends = variant["share_of_gap"]
    value, low, high = (f"{100 * ends[key]:.0f}" for key in ("share", "low", "high"))
    return f"{variant['variant']} closes {value} % ({low} to {high} %)"


def outlook(found: Found) -> Iterator[str]:
    """What it would take to tell the chosen one from the best, or from the one nearest to it."""
    best, use = leaders(found), chosen(found)
    others = [variant for variant in best if variant is not use]
    if not others:
        return
    told = pair(found, others[0]["name"], use["name"])
    needed = told["needed"]
    ways = [
        f"{needed['rows']:,} test rows with these seeds" if needed["rows"] else "",
        f"{needed['seeds']:,} seeds on these rows" if needed["seeds"] else "",
    ]
    named = f"To tell {told['a']} from {told['b']} ({apart(told)})"
    if took := " or ".join(way for way in ways if way):
        yield f"{named} would take about {took}, were that the true difference: {needed['why']}."
    else:
        yield f"{named}: {needed['why']}."


def collapses(found: Found) -> Iterator[str]:
    """Which variants collapsed, and with which seeds."""
    for variant in found["variants"]:
        if seeds := variant["collapsed"]:
            named = listed([str(seed) for seed in seeds])
            word = "seeds" if len(seeds) > 1 else "seed"
            yield (
                f"{variant['name']} collapsed with {word} {named} of {len(variant['seeds'])}: it "
                "gave one class to nearly every row. Its figures count that."
            )


def few_seeds(found: Found) -> Iterator[str]:
    """How far one or two seeds can be trusted."""
    several = {len(v["seeds"]) for v in found["variants"] if v["kind"] != "baseline"}
    if 1 in several:
        yield (
            "One seed: what is said holds for these trained models, and another seed may turn it. "
            "Run three or more."
        )
    elif 2 in several:
        yield "Two seeds are weak evidence of how much seeds differ: run three or more."


def cautions(found: Found) -> Iterator[str]:
    """Which significant differences of the chosen one rest on a test whose level is not assured."""
    use = chosen(found)["name"]
    weak = [
        each["a"] if each["b"] == use else each["b"]
        for each in found["comparisons"]
        if use in (each["a"], each["b"])
        and each["significant"] and each["caution"] and each["seeds_known"]
    ]  # fmt: skip
    if weak:
        yield (
            f"The difference between {use} and {listed(weak)} may pass for real more often than "
            "stated: one side alone differs over seeds, and two seeds cannot tell how much."
        )

"""The verdict on one dataset in plain sentences: what to use, what it beats, what it costs.

Sentences are plain text; names of the user stand in them as they are. They are told from the
figures of verdicts.json alone.
"""

from collections.abc import Iterator
from typing import Any

from common.intervals import decimals
from common.resampling import LOWER_IS_BETTER
from common.standing import (
    BETTER,
    TIE,
    UNTRAINED,
    WORSE,
    apart,
    by_rank,
    chosen,
    cost,
    leaders,
    of_kind,
    outcome,
    pair,
    worth_training,
)  # fmt: skip

MAJORITY, TFIDF = "majority", "tfidf"

Found = dict[str, Any]


def sentences(found: Found, wanted: str, alpha: float = 0.05) -> list[str]:
    """The verdict.

    Args:
        found: a dataset of verdicts.json, without its ``verdict``.
        wanted: the metric that was asked for; another stands in where the dataset lacks it.
        alpha: level of the tests.
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
        *untested(found),
        *beaten(found),
        *price(found),
        *adapters(found),
        *gaps(found),
        *outlook(found, alpha),
        *collapses(found),
        *few_seeds(found),
        *cautions(found),
    ]


def untested(found: Found) -> Iterator[str]:
    """The untrained heads that so few draws cannot tell from the best, however far below it."""
    best = leaders(found)
    rest = [v for v in by_rank(found) if v["tied_for_first"] and v not in best]
    if rest:
        named = listed([f"{v['name']} at {v['metrics'][found['metric']]['shown']}" for v in rest])
        yield (
            f"An untrained head is a coin that every seed tosses anew, and so few tosses are no "
            f"test: {named} cannot formally be told from the best."
        )


def choice(found: Found) -> str:
    """What to use, and why."""
    best, use, train = leaders(found), chosen(found), worth_training(found)
    if not any(variant["kind"] not in UNTRAINED for variant in found["variants"]):
        return f"Nothing was trained here; of what there is, {use['name']} {lead(best)}."
    if any(variant["name"] == MAJORITY for variant in best):
        return (
            f"Nothing learned: {MAJORITY}, which gives every row the most frequent class, "
            f"{lead(best)}."
        )
    if use["kind"] in UNTRAINED:
        if not train:
            return f"No reason to train: use {use['name']}, which {lead(best)}."
        return (
            f"No reason to train is shown: {use['name']} is tied for first, and no trained variant "
            f"is significantly better. If you train, use {train['name']}{why(found, train)}."
        )
    if len(best) == 1:
        return f"Use {use['name']}: it {lead(best)}."
    return f"Use {use['name']}{why(found, use)}."


def lead(best: list[Found]) -> str:
    """How a leader leads, as the rest of a sentence."""
    return "is tied for first" if len(best) > 1 else "is better than every other variant"


def why(found: Found, use: Found) -> str:
    """Why of those tied for first that one, as the rest of a sentence."""
    trained = [variant for variant in leaders(found) if variant["kind"] not in UNTRAINED]
    if len(trained) == 1:
        return ""
    cheapest = min(trained, key=cost)
    if use is cheapest:
        return ": of those tied for first it trains the fewest parameters"
    return (
        ": of those tied for first, and within one standard error of the best, it is the cheapest"
    )


def tied(found: Found) -> Iterator[str]:
    """Who is tied for first, and what the test rows could have shown."""
    best = [variant["name"] for variant in leaders(found)]
    if len(best) == 1:
        return
    pairs = [pair(found, a, b) for i, a in enumerate(best) for b in best[i + 1 :]]
    inside = [f"{each['a']} is {outcome(each)} than {each['b']}" for each in pairs
              if each["significant"]]  # fmt: skip
    them = f"them from {best[0]}" if inside else "them apart"
    though = f" (though {'; '.join(inside)})" if inside else ""
    yield (
        f"Tied for first: {', '.join(best)}: this test set of {found['rows']:,} rows cannot tell "
        f"{them}{though}{power(pairs)}."
    )


def power(pairs: list[Found]) -> str:
    """The difference that the test rows could have shown, as the rest of a sentence."""
    told = [each for each in pairs if each["detectable"] is not None]
    if not told:
        return ""
    least, most = (end(told, key=lambda each: each["detectable"]) for end in (min, max))
    if most["detectable"] <= 1.5 * least["detectable"]:
        return f"; it could show a difference of {size(most['detectable'])}"
    return (
        f"; it could show a difference of {size(least['detectable'])} between {least['a']} and "
        f"{least['b']}, but only one of {size(most['detectable'])} between {most['a']} and "
        f"{most['b']}"
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
    """What training costs: the one that is worth it, beside full fine-tuning of the same model."""
    use = worth_training(found)
    if not use:
        return
    full = of_kind(found, use["model"], "full")
    beside = f"; {full['name']} {spent(full)}" if full and full is not use else ""
    yield f"{use['name']} {spent(use)}{beside}."
    timed = [
        v for v in leaders(found) if v["kind"] not in UNTRAINED and v["costs"]["train_seconds"]
    ]
    fastest = min(timed, key=lambda variant: variant["costs"]["train_seconds"], default=use)
    if fastest["name"] not in (use["name"], full and full["name"]):
        yield f"Of those tied for first, {fastest['name']} is the fastest: it {spent(fastest)}."


def spent(variant: Found) -> str:
    """What training took, as the rest of a sentence."""
    parameters, seconds = (variant["costs"][key] for key in ("trainable_parameters",
                                                             "train_seconds"))  # fmt: skip
    counted = "an unknown number of" if parameters is None else f"{parameters:,}"
    return f"trains {counted} parameters" + ("" if seconds is None else f" in {seconds:,.0f} s")


def models(found: Found) -> list[str]:
    """Those that adapters were trained on."""
    return list(dict.fromkeys(v["model"] for v in found["variants"] if v["kind"] == "adapter"))


def adapters(found: Found) -> Iterator[str]:
    """Of each model, whether its best adapter beats TF-IDF, the untrained base and the rest."""
    names = {variant["name"] for variant in found["variants"]}
    for model in models(found):
        best = next(v for v in by_rank(found) if (v["model"], v["kind"]) == (model, "adapter"))
        base, full = of_kind(found, model, "base"), of_kind(found, model, "full")
        said = [compared(TFIDF, pair(found, best["name"], TFIDF))] if TFIDF in names else []
        said += [against_base(found, best, base)] if base else []
        told = pair(found, best["name"], full["name"]) if full else None
        said += [compared("full fine-tuning", told)] if told else []
        if said:
            yield f"The best adapter of {model}, {best['variant']}, is {listed(said)}."
        if not full:
            yield f"What full fine-tuning of {model} would add was not measured."


def compared(word: str, comparison: Found) -> str:
    """One comparison as part of a sentence."""
    words = {BETTER: "better than", WORSE: "worse than", TIE: "not told apart from"}
    return f"{words[outcome(comparison)]} {word} ({apart(comparison)})"


def against_base(found: Found, best: Found, base: Found) -> str:
    """How an adapter does against the base, in a sentence's part; told by seeds if no test can."""
    told = pair(found, best["name"], base["name"])
    word = "the untrained base" if base["untrained_head"] else "the base with its own head"
    sign = -1 if found["metric"] in LOWER_IS_BETTER else 1
    ours, theirs = (
        [sign * cell["value"] for cell in variant["metrics"][found["metric"]]["cells"]]
        for variant in (best, base)
    )
    if outcome(told) == TIE and base["untrained_head"] and min(ours) > max(theirs):
        return f"ahead of {word} with every seed ({apart(told)}, too few seeds for the test)"
    return compared(word, told)


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


def outlook(found: Found, alpha: float) -> Iterator[str]:
    """What it would take to tell the chosen one from the best, or from the one nearest to it."""
    use = chosen(found)
    others = [variant for variant in leaders(found) if variant is not use]
    if not others:
        return
    told = pair(found, others[0]["name"], use["name"])
    needed = told["needed"]
    ways = [
        f"{needed['rows']:,} test rows with these seeds" if needed["rows"] else "",
        f"{needed['seeds']:,} seeds on these rows" if needed["seeds"] else "",
    ]
    named = f"To tell {told['a']} from {told['b']} ({apart(told)})"
    if told["p"] <= alpha:
        yield (
            f"{told['a']} against {told['b']} ({apart(told)}) would pass as a single comparison "
            f"(p = {told['p']:.2g}), and does not among {len(found['comparisons'])} "
            f"(p = {told['p_holm']:.2g})."
        )
    elif took := " or ".join(way for way in ways if way):
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

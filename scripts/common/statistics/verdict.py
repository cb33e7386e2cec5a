"""The verdict on one dataset in plain sentences: what to use, what it beats, what it costs.

First come the positions of the variants, read from verdicts.json; then the sentences. They are
plain text in which names of the user stand unchanged, and they follow from the figures of
verdicts.json alone, none of which was measured by a clock: equal predictions of equal models give
equal sentences.
"""

import math
from collections.abc import Iterator
from typing import Any

from common.baselines import REFERENCE, TRIVIAL
from common.metrics import LOWER_IS_BETTER
from common.statistics.intervals import Interval, decimals, signed

UNTRAINED = ("baseline", "base")  # kinds

BETTER, WORSE, TIE = "better", "worse", "tie"

Found = dict[str, Any]


def by_position(found: Found) -> list[Found]:
    """Return the variants, best mean first."""
    return sorted(found["variants"], key=lambda variant: variant["position"])


def leaders(found: Found) -> list[Found]:
    """Return those tied for first, best mean first; one of them where there is no tie."""
    return [variant for variant in by_position(found) if variant["tied_for_first"]]


def trained(variants: list[Found]) -> list[Found]:
    """Return those of them that were trained."""
    return [variant for variant in variants if variant["kind"] not in UNTRAINED]


def is_trivial(variant: Found) -> bool:
    """Return whether nobody would use it: a trivial baseline, or an untrained head."""
    return variant["name"] in TRIVIAL or variant["untrained_head"]


def clearly_below(found: Found, variant: Found) -> bool:
    """Whether something tied for first is better than a yardstick, or ahead of it with every seed.

    Two seeds may be too few for the test to tell even chance from the best.
    """
    others = (leader for leader in leaders(found) if leader is not variant)
    contrast = (pair(found, other["name"], variant["name"]) for other in others)
    return any(outcome(each) == BETTER or ahead(each) for each in contrast)


def unconfirmed(found: Found) -> list[Found]:
    """Return yardsticks that are not tied for first, and that no test tells from the best."""
    best, *rest = by_position(found)
    return [
        variant
        for variant in rest
        if not variant["tied_for_first"]
        and outcome(pair(found, best["name"], variant["name"])) == TIE
    ]


def chosen(found: Found) -> Found:
    """Return what to use.

    What costs no training and is tied for first, else the cheapest near the best.

    What a trained variant beats is not chosen, though it be tied with the best mean: a best mean of
    widely differing seeds is tied with much. The majority class and untrained heads are chosen only
    where nothing is shown to be better.
    """
    free = [v for v in leaders(found) if v["kind"] in UNTRAINED and not beaten_by(found, v)]
    useful = [variant for variant in free if not is_trivial(variant)]
    return next(iter([*useful, *free]), None) or worth_training(found) or leaders(found)[0]


def beaten_by(found: Found, variant: Found) -> list[Found]:
    """Return the variants that are significantly better.

    Of a yardstick all, else the trained ones.
    """
    those = found["variants"] if is_trivial(variant) else trained(found["variants"])
    others = [other for other in those if other["name"] != variant["name"]]
    return [v for v in others if outcome(pair(found, v["name"], variant["name"])) == BETTER]


def worth_training(found: Found) -> Found | None:
    """Return the cheapest of the trained variants tied for first; None where none is tied.

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
    """Return whether two variants are within one standard error of each other."""
    contrast = pair(found, best["name"], other["name"])
    return abs(contrast["difference"]) <= contrast["standard_error"]


def cost(variant: Found) -> tuple:
    """Return what to sort by: the parameters that are trained, the bytes saved, then the position.

    Not seconds: they differ from run to run, and with them the choice would.
    """
    costs = variant["costs"]
    return costs["trainable_parameters"] or 0, costs["file_bytes"] or 0, variant["position"]


def of_kind(found: Found, model: str | None, kind: str) -> Found | None:
    """Return the first variant of a kind on a model; None where there is none."""
    matching = (v for v in found["variants"] if (v["model"], v["kind"]) == (model, kind))
    return next(matching, None)


def pair(found: Found, a: str, b: str) -> Found:
    """Return the comparison of two variants, turned so that the difference is a less b."""
    for each in found["comparisons"]:
        if (each["a"], each["b"]) == (a, b):
            return each
        if (each["a"], each["b"]) == (b, a):
            turned = {"difference": -each["difference"], "low": -each["high"], "high": -each["low"]}
            return {**each, "a": a, "b": b, **turned}
    raise KeyError(f"{a} and {b} were not compared")


def outcome(comparison: Found) -> str:
    """Return what a comparison says of its first variant: better, worse, or a tie."""
    if not comparison["significant"]:
        return TIE
    lower = comparison["metric"] in LOWER_IS_BETTER
    return BETTER if (comparison["difference"] < 0) == lower else WORSE


def ahead(comparison: Found) -> bool:
    """Return whether its first variant is better with every seed, if only by the figures."""
    lower = comparison["metric"] in LOWER_IS_BETTER
    return comparison["each_seed"] and (comparison["difference"] < 0) == lower


def apart(comparison: Found) -> str:
    """Return the difference with its sign and the digits that its interval supports: +0.036."""
    return signed(comparison["difference"], Interval(comparison["low"], comparison["high"]))


FAR = 100  # times what there is, beyond which a number of rows or seeds says nothing


def sentences(found: Found, wanted: str) -> list[str]:
    """Return the verdict.

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
        return [*parts, *failed_trainings(found), *few_seeds(found)]
    return [
        *parts,
        headline(found),
        *tied(found),
        *too_few(found),
        *beaten(found),
        *cost_sentence(found),
        *adapters(found),
        *gaps(found),
        *power_sentence(found),
        *failed_trainings(found),
        *few_seeds(found),
    ]


def headline(found: Found) -> str:
    """Return what to use; of one seed each, it is said at once of what that holds."""
    contrast = choice(found)
    if fewest_seeds(found) != 1 or not trained(found["variants"]):
        return contrast
    return f"Of these trained models alone, one seed each: {contrast[0].lower()}{contrast[1:]}"


def fewest_seeds(found: Found) -> int | None:
    """Return the least number of seeds of a variant that draws something; None where none does."""
    drawn = [v for v in found["variants"] if v["kind"] not in UNTRAINED or v["untrained_head"]]
    return min((len(variant["seeds"]) for variant in drawn), default=None)


def too_few(found: Found) -> Iterator[str]:
    """Yield what should be far below the best, and cannot be shown to be with so few seeds."""
    if rest := unconfirmed(found):
        named = listed([f"{v['name']} at {v['metrics'][found['metric']]['shown']}" for v in rest])
        yield (
            f"With every seed, something tied for first is ahead of {named}; so few seeds are no "
            "proof of it by the test."
        )


def choice(found: Found) -> str:
    """Return what to use, and why."""
    use, train = chosen(found), worth_training(found)
    if not trained(found["variants"]):
        return f"Nothing was trained here; of what there is, {use['name']} {lead_sentence(found)}."
    if is_trivial(use):
        what = "gives every row the most frequent class"
        if use["untrained_head"]:
            what = "has a head that was never trained"
        lead = lead_sentence(found)
        return f"Nothing is shown to have been learned: {use['name']}, which {what}, {lead}."
    if use["kind"] in UNTRAINED:
        return no_reason(found, use, train)
    if len(leaders(found)) == 1:
        return f"Use {use['name']}: it {lead_sentence(found)}."
    return f"Use {use['name']}{why(found, use)}."


def no_reason(found: Found, use: Found, train: Found | None) -> str:
    """What to say where something untrained is tied for first, and nothing trained beats it."""
    if not train:
        return f"No reason to train: use {use['name']}, which {lead_sentence(found)}."
    for variant in trained(leaders(found)):
        contrast = pair(found, variant["name"], use["name"])
        if ahead(contrast) and not within_error(found, variant, use):
            return (
                f"Not settled: {variant['name']} is ahead of {use['name']} with every seed "
                f"({apart(contrast)}), but the test does not confirm it "
                f"({reversal_sentence(contrast)}); {use['name']} costs no training."
            )
    return (
        f"No reason to train is shown: {use['name']} is tied for first, and no trained variant "
        f"is significantly better. If you train, use {train['name']}{why(found, train)}."
    )


def reversal_sentence(contrast: Found) -> str:
    """Return the p-value of a comparison, alone and among the others of its family."""
    if contrast["family"] == 1:
        return f"p = {contrast['p']:.2g}"
    corrected = f"{contrast['p_holm']:.2g} among {contrast['family']} comparisons"
    return f"p = {contrast['p']:.2g} alone, {corrected}"


def lead_sentence(found: Found) -> str:
    """Return how a leader leads, as the rest of a sentence."""
    if len(leaders(found)) > 1:
        return "is tied for first"
    if unconfirmed(found):
        return "is ahead of every other variant, which so few seeds do not confirm of all"
    return "is better than every other variant"


def why(found: Found, use: Found) -> str:
    """Return why of those tied for first that one, as the rest of a sentence."""
    first = trained(leaders(found))
    if len(first) == 1:
        return ""
    if use is min(first, key=cost):
        return ": of those tied for first it trains the fewest parameters"
    near = near_best(found)
    if use is min(near, key=cost):
        return (
            ": of those tied for first, and within one standard error of the best, it trains the "
            "fewest parameters"
        )
    return (
        ": of those tied for first it trains the fewest parameters, if those are left out that "
        "collapsed with some seed or do not beat what others tied for first beat"
    )


def tied(found: Found) -> Iterator[str]:
    """Yield who is tied for first, and what the test rows could have shown."""
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
    """Return the difference that the test rows could have shown, as the rest of a sentence."""
    contrast = [each for each in pairs if each["detectable"] is not None]
    if not contrast:
        return ""
    least, most = (end(contrast, key=lambda each: each["detectable"]) for end in (min, max))
    if most["detectable"] <= 1.5 * least["detectable"]:
        return f"; it could show a difference of {format_effect(most['detectable'])}"
    small, large = format_effect(least["detectable"]), format_effect(most["detectable"])
    return (
        f"; it could show a difference of {small} between {least['a']} and {least['b']}, but only "
        f"one of {large} between {most['a']} and {most['b']}"
    )


def format_effect(difference: float) -> str:
    """Return a difference with one or two digits that count: 0.02, 0.16."""
    return f"{difference:.{decimals(difference)}f}"


def beaten(found: Found) -> Iterator[str]:
    """Yield all that the chosen one beats."""
    use = chosen(found)["name"]
    others = [variant["name"] for variant in by_position(found) if variant["name"] != use]
    worse = [name for name in others if outcome(pair(found, use, name)) == BETTER]
    if worse:
        named = [f"{name} ({apart(pair(found, use, name))})" for name in worse]
        yield f"{use} beats {', '.join(named)} by {found['metric']}."
    else:
        yield f"{use} beats nothing by {found['metric']}."


def cost_sentence(found: Found) -> Iterator[str]:
    """Yield what training costs.

    The one that is worth it, beside full fine-tuning of the same model.
    """
    use = worth_training(found)
    if not use:
        return
    full = of_kind(found, use["model"], "full")
    beside = f"; {full['name']} {spent(full)}" if full and full is not use else ""
    yield f"{use['name']} {spent(use)}{beside}."


def spent(variant: Found) -> str:
    """Return what is trained, as the rest of a sentence.

    Never seconds, which differ from run to run.
    """
    parameters = variant["costs"]["trainable_parameters"]
    counted = "an unknown number of" if parameters is None else f"{parameters:,}"
    return f"trains {counted} parameters"


def models(found: Found) -> list[str]:
    """Return those that adapters were trained on."""
    return list(dict.fromkeys(v["model"] for v in found["variants"] if v["kind"] == "adapter"))


def adapters(found: Found) -> Iterator[str]:
    """Of each model, whether its best adapter beats TF-IDF, the untrained base and the rest."""
    names = {variant["name"] for variant in found["variants"]}
    for model in models(found):
        best = next(v for v in by_position(found) if (v["model"], v["kind"]) == (model, "adapter"))
        base, full = of_kind(found, model, "base"), of_kind(found, model, "full")
        said = []
        if REFERENCE in names:
            said.append(compared(REFERENCE, pair(found, best["name"], REFERENCE)))
        said += [compared(head_of(base), pair(found, best["name"], base["name"]))] if base else []
        contrast = pair(found, best["name"], full["name"]) if full else None
        said += [compared("full fine-tuning", contrast)] if contrast else []
        if said:
            yield f"The best adapter of {model}, {best['variant']}, is {listed(said)}."
        for kind, what in (("head", "training its head alone"), ("full", "full fine-tuning")):
            if not of_kind(found, model, kind):
                yield f"What {what} of {model} gives was not measured."


def compared(word: str, comparison: Found) -> str:
    """Return one comparison as part of a sentence.

    A tie in which every seed is ahead is named as such.
    """
    if outcome(comparison) == TIE and ahead(comparison):
        return f"ahead of {word} with every seed ({apart(comparison)}, not confirmed by the test)"
    words = {BETTER: "better than", WORSE: "worse than", TIE: "not told apart from"}
    return f"{words[outcome(comparison)]} {word} ({apart(comparison)})"


def head_of(base: Found) -> str:
    """Return what to call a base."""
    return "the untrained base" if base["untrained_head"] else "the base with its own head"


def listed(parts: list[str]) -> str:
    """Return a; a and b; a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def gaps(found: Found) -> Iterator[str]:
    """Yield which share of the gap from head to full the adapters of each model close."""
    for model in models(found):
        contrast = [v for v in found["variants"] if v["model"] == model and v["share_of_gap"]]
        if not contrast:
            continue
        ends = contrast[0]["share_of_gap"]
        between = f"the gap from {ends['head']} to {ends['full']}"
        if shares := [v for v in contrast if v["share_of_gap"]["share"] is not None]:
            yield f"Of {between}, {listed([closes(variant) for variant in shares])}."
        reasons: dict[str, list[str]] = {}
        for variant in contrast:
            if reason := variant["share_of_gap"]["reason"]:
                reasons.setdefault(reason, []).append(variant["variant"])
        for reason, names in reasons.items():
            yield f"Of {between} no share of {listed(names)} can be given: {reason}."


def closes(variant: Found) -> str:
    """Return the share of the gap that an adapter closes, in per cent, with its interval."""
    ends = variant["share_of_gap"]
    # Adding 0 makes 0 of -0.
    value, low, high = (f"{round(100 * ends[key]) + 0}" for key in ("share", "low", "high"))
    return f"{variant['variant']} closes {value} % ({low} to {high} %)"


def power_sentence(found: Found) -> Iterator[str]:
    """Yield what it would take to tell the chosen one from the best that it is tied with."""
    use = chosen(found)
    pairs = [pair(found, v["name"], use["name"]) for v in leaders(found) if v is not use]
    contrast = next((each for each in pairs if outcome(each) == TIE), None)
    if contrast is None:
        return
    needed, several = contrast["needed"], max(len(use["seeds"]), 1)
    ways = [
        f"{format_share(needed['rows']):,} test rows with these seeds"
        if (needed["rows"] or math.inf) <= FAR * found["rows"]
        else "",
        f"{format_share(needed['seeds']):,} seeds on these rows"
        if (needed["seeds"] or math.inf) <= FAR * several
        else "",
    ]
    seen = f"{apart(contrast)}; {reversal_sentence(contrast)}"
    named = f"To tell {contrast['a']} from {contrast['b']} ({seen})"
    if took := " or ".join(way for way in ways if way):
        yield f"{named} would take about {took}, were that the true difference: {needed['why']}."
    elif needed["rows"] or needed["seeds"]:
        yield f"{named} would take over {FAR} times the rows or seeds at hand."
    else:
        yield f"{named}: {needed['why']}."


def format_share(number: int) -> int:
    """Return a number with two digits that count, rounded up: an estimate has no more."""
    unit = 10 ** max(0, len(str(number)) - 2)
    return -(-number // unit) * unit


def failed_trainings(found: Found) -> Iterator[str]:
    """Yield which variants learned nothing or collapsed, and with which seeds."""
    kinds = {
        "learned_nothing": ("learned nothing", "its training loss ended where guessing would"),
        "collapsed": ("collapsed", "it gave one class to nearly every row"),
    }
    for variant in found["variants"]:
        for key, (what, why) in kinds.items():
            if seeds := variant[key]:
                named = listed([str(seed) for seed in seeds])
                word = "seeds" if len(seeds) > 1 else "seed"
                yield (
                    f"{variant['name']} {what} with {word} {named} of {len(variant['seeds'])}: "
                    f"{why}. Its figures count that."
                )


def few_seeds(found: Found) -> Iterator[str]:
    """Yield how far one or two seeds can be trusted."""
    fewest = fewest_seeds(found)
    if fewest == 1:
        yield "Another seed may turn this: run three or more."
    elif fewest == 2:
        yield "Two seeds are weak evidence of how much seeds differ: run three or more."

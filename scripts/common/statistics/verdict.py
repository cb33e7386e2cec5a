"""The verdict on one dataset in a few plain sentences: whether to train, what, and what is open.

What is recommended is chosen by the loss on validation rows, and reported on test rows, which
choose nothing. The sentences are plain text in which names of the user stand unchanged, and they
follow from the figures of verdicts.json alone, none of which was measured by a clock: equal
predictions of equal models give equal sentences.
"""

import math
from collections.abc import Iterator
from statistics import fmean, stdev
from typing import Any

from common.baselines import TRIVIAL
from common.metrics import LOWER_IS_BETTER
from common.statistics.intervals import Interval, decimals, signed
from common.statistics.significance import (
    AT_LEAST,
    AT_MOST,
    BETTER,
    EQUIVALENT,
    OPEN,
    OUTCOMES,
    WORSE,
)

UNTRAINED = ("baseline", "base")  # kinds
FAR = 100  # times what there is, beyond which a number of rows or seeds says nothing
ENOUGH = 5  # seeds
MOST_NAMED = 6  # variants of one outcome that a sentence names
BESIDE = {  # how a sentence says what is shown of one variant beside another, which it names next
    BETTER: "better than", EQUIVALENT: "equivalent to", AT_LEAST: "at least as good as",
    AT_MOST: "at most as good as", WORSE: "worse than", OPEN: "undecided beside",
}  # fmt: skip

Found = dict[str, Any]


def by_position(found: Found) -> list[Found]:
    """Return the variants, best mean on the test rows first."""
    return sorted(found["variants"], key=lambda variant: variant["position"])


def is_trivial(variant: Found) -> bool:
    """Return whether nobody would use it.

    It is a trivial baseline, an untrained head, or a control with permuted labels.
    """
    return variant["name"] in TRIVIAL or variant["untrained_head"] or variant["control"]


def is_useful_baseline(variant: Found) -> bool:
    """Return whether no model is trained for it, and somebody might use it."""
    return variant["kind"] in UNTRAINED and not is_trivial(variant)


def free_baselines(found: Found) -> list[Found]:
    """Return what somebody might use without training a model."""
    return [variant for variant in found["variants"] if is_useful_baseline(variant)]


def is_candidate(variant: Found) -> bool:
    """Return whether it was trained, and is no control."""
    return variant["kind"] not in UNTRAINED and not variant["control"]


def candidates(found: Found) -> list[Found]:
    """Return the variants that were trained, but for controls."""
    return [variant for variant in found["variants"] if is_candidate(variant)]


def cost(variant: Found) -> tuple:
    """Return what to sort by: the parameters that are trained, then the bytes saved.

    Not seconds: they differ from run to run, and with them the choice would.
    """
    costs = variant["costs"]
    return costs["trainable_parameters"] or 0, costs["file_bytes"] or 0, variant["name"]


def validation_loss(variant: Found) -> float:
    """Return the mean loss on validation rows; inf where none is on record."""
    losses = variant["validation"]
    return fmean(each["loss"] for each in losses) if losses else math.inf


def best_trained(variants: list[Found]) -> Found | None:
    """Return the cheapest of the variants near the least validation loss; None of none.

    Near: the loss is larger by at most one standard error of the difference over seeds (Breiman,
    Friedman, Olshen and Stone 1984, "Classification and regression trees", section 3.4.3). Variants
    that failed with some seed are out where others did not; those that failed with all come last.
    """
    stable = [v for v in variants if not v["failed"]]
    working = stable or [v for v in variants if len(v["failed"]) < len(v["seeds"])] or variants
    if not working:
        return None
    best = min(working, key=lambda v: (validation_loss(v), *cost(v)))
    return min((v for v in working if v is best or is_near(v, best)), key=cost)


def is_near(variant: Found, best: Found) -> bool:
    """Return whether the validation losses of two are within one standard error of another."""
    own, other = ({each["seed"]: each["loss"] for each in v["validation"]} for v in (variant, best))
    apart = [own[seed] - other[seed] for seed in own.keys() & other.keys()]
    if len(apart) < 2:
        return False
    return fmean(apart) <= stdev(apart) / math.sqrt(len(apart))


def best_to_train(found: Found) -> Found | None:
    """Return the best trained variant of all; None where nothing was trained."""
    return best_trained(candidates(found))


def best_free(found: Found) -> Found | None:
    """Return the baseline with the least validation loss of those that somebody might use."""
    free = free_baselines(found)
    return min(free, key=lambda v: (validation_loss(v), v["position"]), default=None)


def recommend(found: Found) -> None:
    """Mark the variant that is recommended.

    The best trained variant where it is better than every baseline that trains no model, else the
    best of those.
    """
    use = recommended_of(found)
    for variant in found["variants"]:
        variant["recommended"] = variant is use


def recommended_of(found: Found) -> Found:
    """Return the variant to recommend."""
    train, free = best_to_train(found), best_free(found)
    if train and learned(found, train) and (free is None or pays(found, train)):
        return train
    return free or by_position(found)[0]


def pays(found: Found, variant: Found) -> bool:
    """Return whether a trained variant is shown to be better than every free baseline."""
    return found["beats_all_free"][variant["name"]]["significant"]


def learned(found: Found, variant: Found) -> bool:
    """Return whether a variant is shown to be better than all that is trivial."""
    rest = [v for v in found["variants"] if is_trivial(v) and v is not variant]
    return all(outcome(pair(found, variant["name"], v["name"])) == BETTER for v in rest)


def of_kind(found: Found, model: str | None, kind: str) -> Found | None:
    """Return the first variant of a kind on a model, but for controls; None where there is none."""
    matching = (v for v in found["variants"]
                if (v["model"], v["kind"]) == (model, kind) and not v["control"])  # fmt: skip
    return next(matching, None)


def pair(found: Found, a: str, b: str) -> Found:
    """Return the comparison of two variants, turned so that the difference is a less b."""
    for each in found["comparisons"]:
        if (each["a"], each["b"]) == (a, b):
            return each
        if (each["a"], each["b"]) == (b, a):
            turned = {"difference": -each["difference"], "low": -each["high"], "high": -each["low"],
                      "not_worse_p": each["not_better_p"], "not_better_p": each["not_worse_p"],
                      "outcome": OUTCOMES[each["outcome"]]}  # fmt: skip
            return {**each, "a": a, "b": b, **turned}
    raise KeyError(f"{a} and {b} were not compared")


def outcome(comparison: Found) -> str:
    """Return what a comparison shows of its first variant: one of OUTCOMES.

    Raises:
        KeyError: it is none.
    """
    return OUTCOMES[OUTCOMES[comparison["outcome"]]]


def gain(comparison: Found) -> float:
    """Return how much better the first variant is; below 0 where it is worse."""
    lower = comparison["metric"] in LOWER_IS_BETTER
    return -comparison["difference"] if lower else comparison["difference"]


def apart(comparison: Found) -> str:
    """Return the difference with its sign and the digits that its interval supports: +0.036."""
    return signed(comparison["difference"], Interval(comparison["low"], comparison["high"]))


def measured_apart(comparison: Found) -> str:
    """Return the difference with its interval: +0.036 (+0.012 to +0.060)."""
    low, high = ends(comparison)
    return f"{apart(comparison)} ({low} to {high})"


def ends(comparison: Found) -> tuple[str, str]:
    """Return the ends of the interval of a difference, with their signs."""
    digits = decimals((comparison["high"] - comparison["low"]) / 2)
    low, high = (f"{round(comparison[end], digits) + 0.0:+.{digits}f}" for end in ("low", "high"))
    return low, high


# The sentences.


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
        return [*parts, *failures(found), *few_seeds(found)]
    return [
        *parts,
        headline(found),
        *beside_free(found),
        *beside_full(found),
        *ranks_and_models(found),
        *failures(found),
        *controls(found),
        *plan(found),
        *few_seeds(found),
    ]


def headline(found: Found) -> str:
    """Return whether to train, and what; of one seed each, it says at once of what that holds."""
    said = decision(found)
    if fewest_seeds(found) != 1 or not candidates(found):
        return said
    return f"Of these trained models alone, one seed each: {said[0].lower()}{said[1:]}"


def decision(found: Found) -> str:
    """Return the recommendation with its reason."""
    train, free = best_to_train(found), best_free(found)
    if train and not learned(found, train):
        return nothing_learned(found, train, free)
    if train is None:
        use = free or by_position(found)[0]
        return f"Nothing was trained here; of what there is, use {shown(found, use)}."
    if free is None:
        return f"Use {shown(found, train)}: no baseline that one might use instead was measured."
    beside = pair(found, train["name"], free["name"])
    if pays(found, train):
        by = f"{every_free(found)}{barely(found, train)}"
        return f"Train {shown(found, train)}: it is better than {by}."
    name, margin = train["name"], found["margin"]
    low, high = ends(beside)
    said = {
        WORSE: f"Do not train: {name} is worse: {measured_apart(beside)}",
        EQUIVALENT: f"Training does not pay: {name} is equivalent within {margin:g}: "
        f"{measured_apart(beside)}",
        AT_MOST: f"Training does not pay: {name} is not better by {margin:g} or more: "
        f"{measured_apart(beside)}",
        AT_LEAST: f"Not decided: {name} is at least as good, {measured_apart(beside)}, but not "
        "shown to be better",
        OPEN: f"Not decided: {name} may differ by anything between {low} and {high}",
        BETTER: f"Not decided: {name} is better, {measured_apart(beside)}, but not shown to be "
        "better than every free baseline",
    }[outcome(beside)]
    return f"Use {shown(found, free)}. {said}."


def nothing_learned(found: Found, train: Found, free: Found | None) -> str:
    """Return what to say where the best trained variant is not better than trivial ones."""
    rest = [v["name"] for v in found["variants"] if is_trivial(v) and v is not train
            and outcome(pair(found, train["name"], v["name"])) != BETTER]  # fmt: skip
    use = f" Use {shown(found, free)}." if free else ""
    return (
        f"Nothing is shown to have been learned: {train['name']} is not shown to be better than "
        f"{listed(rest)}.{use}"
    )


def shown(found: Found, variant: Found) -> str:
    """Return a variant with its figure: tfidf (macro_f1 0.95, 0.93 to 0.96)."""
    figure = variant["metrics"][found["metric"]]["shown"].replace(" (", ", ").rstrip(")")
    return f"{variant['name']} ({found['metric']} {figure})"


def every_free(found: Found) -> str:
    """Return what to call the free baselines."""
    free = [variant["name"] for variant in free_baselines(found)]
    return f"every baseline that trains no model ({', '.join(free)})" if free[1:] else free[0]


def barely(found: Found, train: Found) -> str:
    """Return, as the rest of a sentence, a warning that the advantage is below the margin."""
    small = [v["name"] for v in free_baselines(found)
             if largest_gain(pair(found, train["name"], v["name"])) < found["margin"]]  # fmt: skip
    return f", though by less than {found['margin']:g} over {listed(small)}" if small else ""


def largest_gain(comparison: Found) -> float:
    """Return the end of the interval that speaks most for the first variant."""
    lower = comparison["metric"] in LOWER_IS_BETTER
    return -comparison["low"] if lower else comparison["high"]


def beside_free(found: Found) -> Iterator[str]:
    """Yield how the best trained variant stands beside each free baseline."""
    train, free = best_to_train(found), free_baselines(found)
    if train and free:
        said = [compared(pair(found, train["name"], v["name"]), v["name"]) for v in free]
        yield f"{train['name']}, chosen by validation loss, is {listed(said)}."


def compared(comparison: Found, name: str) -> str:
    """Return one comparison as part of a sentence."""
    return f"{BESIDE[outcome(comparison)]} {name}, {measured_apart(comparison)}"


def beside_full(found: Found) -> Iterator[str]:
    """Yield of each model how its best adapter stands beside full fine-tuning and the head."""
    for model in models(found):
        best = best_trained([v for v in candidates(found) if is_adapter(v, model)])
        if best is None:
            continue
        said = []
        for kind, what in (("full", "full fine-tuning"), ("head", "the head alone")):
            if other := of_kind(found, model, kind):
                costs = f" with {parameters(best)} of {parameters(other)} parameters trained"
                about = costs if kind == "full" else ""
                said.append(compared(pair(found, best["name"], other["name"]), what) + about)
        if said:
            yield f"{best['name']} is {listed(said)}."


def models(found: Found) -> list[str]:
    """Return those that adapters were trained on."""
    return list(dict.fromkeys(v["model"] for v in candidates(found) if v["kind"] == "adapter"))


def is_adapter(variant: Found, model: str) -> bool:
    """Return whether it is an adapter of the model."""
    return (variant["kind"], variant["model"]) == ("adapter", model)


def parameters(variant: Found) -> str:
    """Return how many parameters are trained. Never seconds, which differ from run to run."""
    number = variant["costs"]["trainable_parameters"]
    return "an unknown number" if number is None else f"{number:,}"


def ranks_and_models(found: Found) -> Iterator[str]:
    """Yield how the best adapter stands beside all other trained variants, by outcome."""
    best = best_trained([v for v in candidates(found) if v["kind"] == "adapter"])
    if best is None:
        return
    ends_of = {("full", best["model"]), ("head", best["model"])}  # said already
    rest = [v for v in candidates(found)
            if v is not best and (v["kind"], v["model"]) not in ends_of]  # fmt: skip
    groups: dict[str, list[str]] = {}
    for variant in rest:
        comparison = pair(found, best["name"], variant["name"])
        groups.setdefault(outcome(comparison), []).append(
            f"{variant['name']} ({measured_apart(comparison)})"
        )
    said = [f"{BESIDE[each]} {named(groups[each])}" for each in BESIDE if each in groups]
    if said:
        yield f"Ranks and models: {best['name']} is {'; '.join(said)}."


def named(names: list[str]) -> str:
    """Return names as a list; of very many the first, and how many there are more."""
    if len(names) <= MOST_NAMED:
        return listed(names)
    return f"{', '.join(names[:MOST_NAMED])} and {len(names) - MOST_NAMED} more"


def listed(parts: list[str]) -> str:
    """Return a; a and b; a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def failures(found: Found) -> Iterator[str]:
    """Yield how many trainings failed, of which variants and seeds, and who collapsed."""
    for each in found["trainings"]:
        low, high = (100 * each[end] for end in ("low", "high"))
        if each["failed"]:
            yield (
                f"{each['failed']} of {each['trainings']} trainings of {each['model']} failed, a "
                f"rate of {100 * each['failed'] / each['trainings']:.0f} % ({low:.0f} to "
                f"{high:.0f} %): their training loss ended where guessing would."
            )
    for variant in found["variants"]:
        if variant["failed"]:
            every = variant["metrics"][found["metric"]]["over_all_seeds"]
            left = len(variant["seeds"]) - len(variant["failed"])
            figures = "all failed" if not left else (
                f"its figures are of the other {left}, and {every:.3f} is the mean over all"
            )  # fmt: skip
            yield f"{variant['name']} failed with {seeds(variant['failed'])}: {figures}."
        rest = [seed for seed in variant["collapsed"] if seed not in variant["failed"]]
        if rest and not is_trivial(variant):
            yield (
                f"{variant['name']} collapsed with {seeds(rest)} of {len(variant['seeds'])}: it "
                "gave one class to nearly every row. Its figures count that."
            )


def seeds(numbers: list[int]) -> str:
    """Return seed 1; seeds 1 and 2."""
    return f"seed{'s' if len(numbers) > 1 else ''} {listed([str(each) for each in numbers])}"


def controls(found: Found) -> Iterator[str]:
    """Yield whether variants trained on permuted labels are as bad as they should be."""
    dull = next((v for v in found["variants"] if v["name"] in TRIVIAL), None)
    for variant in found["variants"]:
        if not variant["control"] or dull is None:
            continue
        comparison = pair(found, variant["name"], dull["name"])
        said = f"not better than {dull['name']}, as it should be"
        if outcome(comparison) == BETTER:
            said = f"{compared(comparison, dull['name'])}: look for a leak"
        yield f"The control {variant['name']}, trained on permuted labels, is {said}."


def plan(found: Found) -> Iterator[str]:
    """Yield what it would take to settle what is open between training and the free baselines.

    Of the baseline that is hardest to decide about; nothing where all is decided.
    """
    train = best_to_train(found)
    if train is None:
        return
    pairs = [pair(found, train["name"], v["name"]) for v in free_baselines(found)]
    undecided = [each for each in pairs if outcome(each) in (OPEN, AT_LEAST, AT_MOST)]
    if not undecided:
        return
    hardest = max(undecided, key=lambda each: each["needed"]["rows"] or math.inf)
    needed, several = hardest["needed"], max(len(train["seeds"]), 1)
    ways = [
        f"{round_up(needed['rows']):,} test rows"
        if found["rows"] < (needed["rows"] or math.inf) <= FAR * found["rows"]
        else "",
        f"{round_up(needed['seeds']):,} seeds"
        if several < (needed["seeds"] or math.inf) <= FAR * several
        else "",
    ]
    asked = (
        f"To find a difference of {found['margin']:g} between {hardest['a']} and {hardest['b']} "
        "in 80 of 100 runs"
    )
    if took := " or ".join(way for way in ways if way):
        yield f"{asked} takes about {took}; {needed['why']}."
    elif needed["rows"] and needed["rows"] <= found["rows"]:
        yield f"These rows and seeds find a difference of {found['margin']:g} in 80 of 100 runs."
    else:
        yield f"{asked}: {needed['why']}."


def crossings(sizes: list[Found]) -> Iterator[str]:
    """Yield from how many training rows on the best trained variant beats each free baseline.

    Args:
        sizes: one dataset with several numbers of training rows, each as in verdicts.json.
    """
    by_rows = {found["train_rows"]: found for found in sizes if found["train_rows"]}
    if len(by_rows) < 2 or not (train := best_to_train(most := by_rows[max(by_rows)])):
        return
    numbers = listed([f"{rows:,}" for rows in sorted(by_rows)])
    for other in (variant["name"] for variant in free_baselines(most)):
        start = better_from({
            rows: outcome(pair(found, train["name"], other)) for rows, found in by_rows.items()
        })  # fmt: skip
        said = f"not shown to be better than {other} with the most"
        if start is not None:
            said = f"better than {other} from about {start:,} on"
        yield f"Of {numbers} training rows, {train['name']} is {said}."


def better_from(outcomes: dict[int, str]) -> int | None:
    """Return the fewest training rows from which on a variant is better than another.

    It is better with so many and with all larger numbers that were compared; of those between them
    nothing is known.

    Args:
        outcomes: of the comparison of two variants, by number of training rows, in any order.

    Returns:
        One of these numbers; None where it is not better with the most.
    """
    found = None
    for rows in sorted(outcomes, reverse=True):
        if outcomes[rows] != BETTER:
            break
        found = rows
    return found


def round_up(number: int) -> int:
    """Return a number with two digits that count, rounded up: an estimate has no more."""
    unit = 10 ** max(0, len(str(number)) - 2)
    return -(-number // unit) * unit


def fewest_seeds(found: Found) -> int | None:
    """Return the least number of seeds of a trained variant; None where nothing was trained."""
    return min((len(variant["seeds"]) for variant in candidates(found)), default=None)


def few_seeds(found: Found) -> Iterator[str]:
    """Yield how far few seeds can be trusted."""
    fewest = fewest_seeds(found)
    if fewest == 1:
        yield f"Another seed may turn this: run {ENOUGH}."
    elif fewest is not None and fewest < ENOUGH:
        yield f"With {fewest} seeds a test finds little: {ENOUGH} make it sharp."

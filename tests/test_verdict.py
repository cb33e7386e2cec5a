"""The sentences of a verdict, for each case that a comparison may come to."""

from itertools import combinations

import pytest

from common.statistics import ranking, verdict


def variant(name: str, value: float, kind: str, cost: int | None = None, **more) -> dict:
    """Return a variant of two seeds, or a baseline."""
    model, _, own = name.rpartition("/")
    seeds = [] if kind == "baseline" else [0, 1]
    cells = [{"seed": seed, "value": value} for seed in (None, *seeds)[bool(seeds) :]]
    return {
        "name": name,
        "model": model or None,
        "variant": own,
        "kind": kind,
        "untrained_head": kind == "base",
        "seeds": seeds,
        "metrics": {"f1": {"value": value, "shown": f"{value:.2f}", "cells": cells}},
        "costs": {
            "trainable_parameters": cost,
            "train_seconds": cost and cost / 10,
            "file_bytes": cost and 4 * cost,
        },
        "collapsed": [],
        "learned_nothing": [],
        "share_of_gap": None,
        **more,
    }


def found(*variants: dict, ties: tuple[tuple[str, str], ...] = (), **pairs) -> dict:
    """A dataset of which all pairs differ significantly, but for some; best first by value."""
    order = sorted(variants, key=lambda each: -each["metrics"]["f1"]["value"])
    tied = {frozenset(names) for names in ties}
    for each in variants:
        each["position"] = 1 + order.index(each)
        each["tied_for_first"] = each is order[0] or {order[0]["name"], each["name"]} in tied
    comparisons = []
    for a, b in combinations(variants, 2):
        difference = a["metrics"]["f1"]["value"] - b["metrics"]["f1"]["value"]
        real = {a["name"], b["name"]} not in tied
        comparisons.append(
            {
                "a": a["name"], "b": b["name"], "metric": "f1", "difference": difference,
                "low": difference - 0.02, "high": difference + 0.02, "standard_error": 0.01,
                "p": 0.001 if real else 0.4, "p_holm": 0.01 if real else 1.0, "significant": real,
                "seeds_known": True, "caution": None, "detectable": 0.03,
                "each_seed": False, "family": 10,
                "needed": {"rows": 5000, "seeds": 40, "why": "more rows or more seeds would do"},
                **pairs,
            }
        )  # fmt: skip
    made = {"metric": "f1", "rows": 300, "variants": list(variants), "comparisons": comparisons}
    ranking.drop_references_from_top(made)
    return made


MAJORITY = ("majority", 0.4, "baseline")
TFIDF = ("tfidf", 0.7, "baseline")
BASE = ("m/base", 0.3, "base", 0)
LORA = ("m/lora-r4", 0.9, "adapter", 100)
BIGGER = ("m/lora-r16", 0.905, "adapter", 400)
FULL = ("m/full", 0.908, "full", 9000)


def test_a_winner():
    said = verdict.sentences(found(*(variant(*v) for v in (MAJORITY, TFIDF, BASE, LORA))), "f1")
    assert said == [
        "Use m/lora-r4: it is better than every other variant.",
        "m/lora-r4 beats tfidf (+0.200), majority (+0.500), m/base (+0.600) by f1.",
        "m/lora-r4 trains 100 parameters.",
        "The best adapter of m, lora-r4, is better than tfidf (+0.200) and better than the "
        "untrained base (+0.600).",
        "What training its head alone of m gives was not measured.",
        "What full fine-tuning of m gives was not measured.",
        "Two seeds are weak evidence of how much seeds differ: run three or more.",
    ]


THREE = (("m/lora-r4", "m/lora-r16"), ("m/lora-r4", "m/full"), ("m/lora-r16", "m/full"))


def test_a_tie_of_three():
    made = found(*(variant(*v) for v in (TFIDF, LORA, BIGGER, FULL)), ties=THREE)
    said = verdict.sentences(made, "f1")
    assert said[0] == ("Use m/lora-r4: of those tied for first it trains the fewest parameters.")
    assert said[1] == (
        "Tied for first: m/full, m/lora-r16, m/lora-r4: this test set of 300 rows cannot tell them "
        "apart; it could show a difference of 0.030."
    )
    assert "m/lora-r4 trains 100 parameters; m/full trains 9,000 parameters." in said
    assert (
        "To tell m/full from m/lora-r4 (+0.008; p = 0.4 alone, 1 among 10 comparisons) would take "
        "about 5,000 test rows with these seeds or 40 seeds on these rows, were that the true "
        "difference: more rows or more seeds would do."
    ) in said


def test_one_that_is_far_below_the_best_is_not_chosen_for_its_price():
    """Tied because little is known: more than a standard error away."""
    low = variant("m/head", 0.8, "head", 1)
    made = found(low, variant(*LORA), variant(*BIGGER),
                 ties=(("m/head", "m/lora-r16"), *THREE[:1]))  # fmt: skip
    assert verdict.chosen(made)["name"] == "m/lora-r4"
    assert verdict.choice(made).endswith(
        "within one standard error of the best, it trains the fewest parameters."
    )
    said = verdict.sentences(made, "f1")
    assert "though m/lora-r4 is better than m/head" in said[1]
    assert "cannot tell them from m/lora-r16" in said[1]


def test_of_equal_parameters_the_smaller_file_is_chosen():
    """Not the one that was trained in less time, which the load of the machine decides."""
    costs = {"trainable_parameters": 100, "file_bytes": 300, "train_seconds": 99.0}
    small = variant("m/lora-small", 0.9, "adapter", costs=costs)
    quick = variant(*LORA, costs=costs | {"file_bytes": 400, "train_seconds": 1.0})
    made = found(quick, small, ties=(("m/lora-r4", "m/lora-small"),))
    assert verdict.chosen(made)["name"] == "m/lora-small"


def test_one_that_collapsed_is_not_said_to_cost_more():
    cheap = variant(*LORA, collapsed=[1])
    made = found(cheap, variant(*BIGGER), variant(*FULL), ties=THREE)
    assert verdict.choice(made) == (
        "Use m/lora-r16: of those tied for first it trains the fewest parameters, if those are "
        "left out that collapsed with some seed or do not beat what others tied for first beat."
    )


@pytest.mark.parametrize(
    ("variants", "ties", "expected"),
    [
        (
            (MAJORITY, ("m/lora-r4", 0.39, "adapter", 100)),
            (("majority", "m/lora-r4"),),
            "Nothing is shown to have been learned: majority, which gives every row the most "
            "frequent class, is tied for first.",
        ),
        (
            (TFIDF, ("m/lora-r4", 0.71, "adapter", 100)),
            (("tfidf", "m/lora-r4"),),
            "No reason to train is shown: tfidf is tied for first, and no trained variant is "
            "significantly better. If you train, use m/lora-r4.",
        ),
        (
            (TFIDF, ("m/lora-r4", 0.6, "adapter", 100)),
            (),
            "No reason to train: use tfidf, which is better than every other variant.",
        ),
        (
            (MAJORITY, TFIDF, BASE),
            (),
            "Nothing was trained here; of what there is, tfidf is better than every other variant.",
        ),
    ],
)
def test_what_needs_no_training(variants, ties, expected):
    made = found(*(variant(*each) for each in variants), ties=ties)
    assert verdict.sentences(made, "f1")[0] == expected


def test_what_each_seed_beats_is_no_leader_however_little_is_known_of_it():
    """An untrained head, and the majority class."""
    made = found(variant(*BASE), variant(*MAJORITY), variant(*LORA), each_seed=True,
                 ties=(("m/base", "m/lora-r4"), ("majority", "m/lora-r4")))  # fmt: skip
    said = verdict.sentences(made, "f1")
    assert said[0] == (
        "Use m/lora-r4: it is ahead of every other variant, which so few seeds do not confirm of "
        "all."
    )
    assert said[1] == (
        "With every seed, something tied for first is ahead of majority at 0.40 and m/base at "
        "0.30; so few seeds are no proof of it by the test."
    )
    assert [v["name"] for v in verdict.leaders(made)] == ["m/lora-r4"]
    assert any("ahead of the untrained base with every seed (+0.600, not conf" in s for s in said)


def test_the_majority_class_is_not_chosen_where_something_beats_it():
    """m/lora-r4, the best, collapsed with one seed, and tfidf is better than the majority."""
    made = found(variant(*MAJORITY), variant(*TFIDF), variant(*LORA),
                 ties=(("majority", "m/lora-r4"), ("tfidf", "m/lora-r4")))  # fmt: skip
    said = verdict.sentences(made, "f1")
    assert said[0].startswith("No reason to train is shown: tfidf is tied for first")


def pick(made: dict, a: str, b: str) -> dict:
    """Return the comparison of two, to change it."""
    return next(each for each in made["comparisons"] if {each["a"], each["b"]} == {a, b})


def test_what_a_trained_variant_beats_is_not_chosen_for_its_price():
    """The best mean is of seeds that differ widely and so is tied with tfidf; another is not."""
    made = found(variant(*TFIDF), variant("m/lora-r16", 0.95, "adapter", 400, collapsed=[1]),
                 variant(*LORA), ties=(("tfidf", "m/lora-r16"), ("m/lora-r4", "m/lora-r16")),
                 standard_error=0.03)  # fmt: skip
    said = verdict.sentences(made, "f1")
    assert verdict.chosen(made)["name"] == "m/lora-r4"
    assert said[0].startswith("Use m/lora-r4: of those tied for first")
    assert not any(each.startswith(("Not settled", "No reason")) for each in said)


def test_the_majority_class_is_no_leader_where_any_leader_is_ahead_of_it_with_every_seed():
    made = found(variant(*MAJORITY), variant("m/lora-r16", 0.95, "adapter", 400), variant(*LORA),
                 ties=(("majority", "m/lora-r16"), ("majority", "m/lora-r4"),
                       ("m/lora-r4", "m/lora-r16")))  # fmt: skip
    assert verdict.sentences(made, "f1")[0].startswith("Nothing is shown to have been learned")
    pick(made, "majority", "m/lora-r4")["each_seed"] = True
    ranking.drop_references_from_top(made)
    assert verdict.sentences(made, "f1")[0].startswith("Use m/lora-r16")


def test_a_coin_is_not_recommended():
    made = found(variant(*BASE), variant(*LORA), ties=(("m/base", "m/lora-r4"),))
    assert verdict.sentences(made, "f1")[0] == (
        "Nothing is shown to have been learned: m/base, which has a head that was never trained, "
        "is tied for first."
    )


def test_any_trained_leader_that_is_ahead_with_every_seed_unsettles_a_baseline():
    """Not the cheapest alone."""
    made = found(variant(*TFIDF), variant(*LORA), variant(*BIGGER),
                 ties=(("tfidf", "m/lora-r4"), ("tfidf", "m/lora-r16"), *THREE))  # fmt: skip
    assert verdict.sentences(made, "f1")[0].startswith("No reason to train is shown")
    pick(made, "tfidf", "m/lora-r16")["each_seed"] = True
    assert verdict.sentences(made, "f1")[0].startswith("Not settled: m/lora-r16 is ahead of tfidf")


def test_one_seed_of_what_was_not_trained_is_no_warning():
    own = variant("m/base", 0.9, "base", 0, untrained_head=False, seeds=[0])
    said = verdict.sentences(found(variant(*TFIDF), own), "f1")
    assert said[0].startswith("Nothing was trained here; of what there is, m/base is better")
    assert not any("seed" in each for each in said)


def test_numbers_beyond_all_reach_are_not_told():
    needed = {"rows": 49_537_996, "seeds": 9_000, "why": "more rows or more seeds would do"}
    made = found(variant(*LORA), variant(*FULL), ties=THREE, needed=needed)
    assert any(each.endswith("would take over 100 times the rows or seeds at hand.")
               for each in verdict.sentences(made, "f1"))  # fmt: skip
    assert [verdict.format_share(number) for number in (7, 99, 101, 12_345)] == [7, 99, 110, 13_000]


def test_a_baseline_that_every_seed_beats_is_not_the_end_of_it():
    made = found(variant(*TFIDF), variant(*LORA), each_seed=True, ties=(("tfidf", "m/lora-r4"),))
    assert verdict.sentences(made, "f1")[0] == (
        "Not settled: m/lora-r4 is ahead of tfidf with every seed (+0.200), but the test does not "
        "confirm it (p = 0.4 alone, 1 among 10 comparisons); tfidf costs no training."
    )


def test_a_base_that_brings_its_head_may_lead():
    own = variant("m/base", 0.9, "base", 0, untrained_head=False)
    made = found(own, variant("m/lora-r4", 0.901, "adapter", 100), ties=(("m/base", "m/lora-r4"),))
    said = verdict.sentences(made, "f1")
    assert said[0].startswith("No reason to train is shown: m/base is tied for first")
    assert any("not told apart from the base with its own head (+0.001)" in s for s in said)


def test_one_seed():
    only = variant(*LORA, seeds=[0])
    said = verdict.sentences(found(variant(*TFIDF), only), "f1")
    assert said[0] == (
        "Of these trained models alone, one seed each: use m/lora-r4: it is better than every "
        "other variant."
    )
    assert said[-1] == "Another seed may turn this: run three or more."


def test_three_seeds_want_no_more():
    several = variant(*LORA, seeds=[0, 1, 2])
    assert "seed" not in " ".join(verdict.sentences(found(variant(*TFIDF), several), "f1"))


def test_one_variant():
    said = verdict.sentences(found(variant(*LORA)), "f1")
    assert said[0] == "m/lora-r4 alone was measured, so there is nothing to compare it with."


@pytest.mark.parametrize(
    ("parts", "said"),
    [("a", "a"), ("ab", "a and b"), ("abc", "a, b and c"), ("abcd", "a, b, c and d")],
)
def test_a_list_of_words(parts, said):
    assert verdict.listed(list(parts)) == said


def test_two_seeds_that_collapsed_are_two():
    made = found(variant(*LORA), variant(*TFIDF), variant(*BIGGER, collapsed=[0, 1]))
    said = "m/lora-r16 collapsed with seeds 0 and 1 of 2: it gave one class"
    assert any(sentence.startswith(said) for sentence in verdict.sentences(made, "f1"))


def test_trainings_that_learned_nothing_are_named():
    made = found(variant(*LORA), variant(*TFIDF), variant(*BIGGER, learned_nothing=[1]))
    why = "its training loss ended where guessing would. Its figures count that."
    said = f"m/lora-r16 learned nothing with seed 1 of 2: {why}"
    assert said in verdict.sentences(made, "f1")


def test_collapsed_cells_are_named_and_not_chosen():
    fallen = variant(*LORA, collapsed=[1])
    made = found(fallen, variant(*BIGGER), ties=THREE[:1])
    said = verdict.sentences(made, "f1")
    assert said[0].startswith("Use m/lora-r16")
    assert any("m/lora-r4 collapsed with seed 1 of 2: it gave one class" in s for s in said)


def test_a_metric_that_stands_in():
    said = verdict.sentences(found(variant(*LORA), variant(*TFIDF)), "recall")
    assert said[0] == "f1 stands in for recall, which is of two classes alone."


GAP = {"head": "m/head", "full": "m/full", "share": 0.97, "low": 0.9, "high": 1.03, "reason": None}


def test_shares_of_a_gap():
    closing = variant(*LORA, share_of_gap=GAP)
    said = verdict.sentences(found(closing, variant(*FULL)), "f1")
    assert "Of the gap from m/head to m/full, lora-r4 closes 97 % (90 to 103 %)." in said
    assert "What training its head alone of m gives was not measured." in said
    unknown = {**GAP, "share": None, "low": None, "high": None, "reason": "it is not significant"}
    said = verdict.sentences(found(variant(*LORA, share_of_gap=unknown), variant(*FULL)), "f1")
    assert (
        "Of the gap from m/head to m/full no share of lora-r4 can be given: it is not significant."
    ) in said


def test_what_no_number_of_rows_or_seeds_would_do():
    needed = {"rows": None, "seeds": None, "why": "it takes both"}
    made = found(variant(*LORA), variant(*FULL), ties=THREE, needed=needed, detectable=None)
    said = verdict.sentences(made, "f1")
    assert any(sentence.endswith("among 10 comparisons): it takes both.") for sentence in said)
    assert not any("it could show" in sentence for sentence in said)


def test_differences_that_can_be_shown_vary_by_pair():
    made = found(variant(*LORA), variant(*BIGGER), variant(*FULL), ties=THREE)
    made["comparisons"][0]["detectable"] = 0.1
    assert (
        "it could show a difference of 0.030 between m/full and m/lora-r16, but only one of 0.10 "
        "between m/lora-r16 and m/lora-r4."
    ) in verdict.sentences(made, "f1")[1]


def test_a_comparison_is_turned_with_its_interval():
    made = found(variant(*LORA), variant(*TFIDF))
    there, back = (verdict.pair(made, *names) for names in
                   (("tfidf", "m/lora-r4"), ("m/lora-r4", "tfidf")))  # fmt: skip
    assert [there["difference"], there["low"], there["high"]] == pytest.approx([-0.2, -0.22, -0.18])
    assert (verdict.outcome(there), verdict.outcome(back)) == ("worse", "better")
    with pytest.raises(KeyError, match="were not compared"):
        verdict.pair(made, "tfidf", "majority")


@pytest.mark.parametrize(("metric", "expected"), [("f1", "better"), ("loss", "worse")])
def test_of_a_loss_more_is_worse(metric, expected):
    made = found(variant(*LORA), variant(*TFIDF), metric=metric)
    assert verdict.outcome(made["comparisons"][0]) == expected

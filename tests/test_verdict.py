"""The sentences of a verdict, for each case that a comparison may come to."""

from itertools import combinations

import pytest

from common.statistics import verdict
from common.statistics.significance import (
    AT_LEAST,
    AT_MOST,
    BETTER,
    EQUIVALENT,
    OPEN,
    OUTCOMES,
    WORSE,
)


def variant(name: str, value: float, kind: str, cost: int | None = None, **more) -> dict:
    """Return a variant of five seeds, or a baseline; the better, the less its validation loss."""
    model, _, own = name.rpartition("/")
    seeds: list = [] if kind == "baseline" else [0, 1, 2, 3, 4]
    return {
        "name": name,
        "model": model or None,
        "variant": own,
        "kind": kind,
        "untrained_head": kind == "base",
        "control": False,
        "seeds": seeds,
        "metrics": {"f1": {"value": value, "shown": f"{value:.2f} ({value - 0.02:.2f} to "
                           f"{value + 0.02:.2f})", "over_all_seeds": value - 0.1}},
        "validation": [{"seed": seed, "loss": 1 - value} for seed in seeds or [None]],
        "costs": {"trainable_parameters": cost, "file_bytes": cost and 4 * cost},
        "collapsed": [],
        "failed": [],
        "share_of_gap": None,
        **more,
    }  # fmt: skip


Outcomes = dict[tuple[str, str], str]


def found(*variants: dict, outcomes: Outcomes | None = None, **pairs) -> dict:
    """A dataset of which all pairs differ significantly, but for those of other outcomes."""
    order = sorted(variants, key=lambda each: -each["metrics"]["f1"]["value"])
    for each in variants:
        each["position"] = 1 + order.index(each)
    comparisons = []
    for a, b in combinations(variants, 2):
        difference = a["metrics"]["f1"]["value"] - b["metrics"]["f1"]["value"]
        names, known = (a["name"], b["name"]), outcomes or {}
        said = known.get(names) or OUTCOMES.get(known.get(names[::-1], ""))
        said = said or (BETTER if difference > 0 else WORSE)
        comparisons.append(
            {
                "a": names[0], "b": names[1], "metric": "f1", "difference": difference,
                "low": difference - 0.02, "high": difference + 0.02, "outcome": said,
                "p": 0.001 if said in (BETTER, WORSE) else 0.4, "not_worse_p": 0.03,
                "not_better_p": 0.04, "significant": said in (BETTER, WORSE),
                "needed": {"rows": 5000, "seeds": 40, "why": "more rows or more seeds would do"},
                **pairs,
            }
        )  # fmt: skip
    made = {"metric": "f1", "margin": 0.02, "rows": 300, "variants": list(variants),
            "comparisons": comparisons, "trainings": []}  # fmt: skip
    free = [v["name"] for v in variants if verdict.is_useful_baseline(v)]
    made["beats_all_free"] = {
        v["name"]: {"p_holm": 0.01, "significant": all(
            verdict.outcome(verdict.pair(made, v["name"], name)) == BETTER for name in free)}
        for v in verdict.candidates(made)
    }  # fmt: skip
    verdict.recommend(made)
    return made


def said_of(*variants: dict, wanted: str = "f1", **options) -> list[str]:
    return verdict.sentences(found(*variants, **options), wanted)


def recommended(made: dict) -> str:
    (name,) = [each["name"] for each in made["variants"] if each["recommended"]]
    return name


MAJORITY = ("majority", 0.4, "baseline")
TFIDF = ("tfidf", 0.7, "baseline")
EMBEDDING = ("m/embedding", 0.8, "baseline")
BASE = ("m/base", 0.3, "base", 0)
LORA = ("m/lora-r4", 0.9, "adapter", 100)
BIGGER = ("m/lora-r16", 0.905, "adapter", 400)
FULL = ("m/full", 0.908, "full", 9000)


def test_training_pays():
    made = found(*(variant(*v) for v in (MAJORITY, TFIDF, EMBEDDING, BASE, LORA, FULL)),
                 outcomes={("m/full", "m/lora-r4"): EQUIVALENT})  # fmt: skip
    assert verdict.sentences(made, "f1") == [
        "Train m/full (f1 0.91, 0.89 to 0.93): it is better than every baseline that trains no "
        "model (tfidf, m/embedding).",
        "m/full, chosen by validation loss, is better than tfidf, +0.208 (+0.188 to +0.228) and "
        "better than m/embedding, +0.108 (+0.088 to +0.128).",
        "m/lora-r4 is equivalent to full fine-tuning, -0.008 (-0.028 to +0.012) with 100 of 9,000 "
        "parameters trained.",
    ]
    assert recommended(made) == "m/full"


def test_an_advantage_below_the_margin_is_told():
    made = said_of(variant(*TFIDF), variant("m/lora-r4", 0.705, "adapter", 100), low=0.002,
                   high=0.015)  # fmt: skip
    assert made[0].endswith("it is better than tfidf, though by less than 0.02 over tfidf.")


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (WORSE, "Do not train: m/lora-r4 is worse: +0.200 (+0.180 to +0.220)."),
        (EQUIVALENT, "Training does not pay: m/lora-r4 is equivalent within 0.02: +0.200 "),
        (AT_MOST, "Training does not pay: m/lora-r4 is not better by 0.02 or more: +0.200 "),
        (AT_LEAST, "Not decided: m/lora-r4 is at least as good, +0.200 "),
        (OPEN, "Not decided: m/lora-r4 may differ by anything between +0.180 and +0.220."),
    ],
)
def test_a_baseline_that_is_not_beaten_is_recommended(outcome, expected):
    made = found(variant(*MAJORITY), variant(*TFIDF), variant(*LORA),
                 outcomes={("m/lora-r4", "tfidf"): outcome})  # fmt: skip
    said = verdict.sentences(made, "f1")
    assert said[0].startswith("Use tfidf (f1 0.70, 0.68 to 0.72). ")
    assert expected in said[0]
    assert recommended(made) == "tfidf"


def test_one_of_two_baselines_that_is_not_beaten_is_enough():
    made = found(variant(*TFIDF), variant(*EMBEDDING), variant(*LORA),
                 outcomes={("m/lora-r4", "tfidf"): OPEN})  # fmt: skip
    assert recommended(made) == "m/embedding"
    said = verdict.sentences(made, "f1")[0]
    assert "m/lora-r4 is better, +0.100 (+0.080 to +0.120), but not shown to be better than" in said


def test_what_is_trained_is_chosen_by_validation_and_price():
    near = [{"seed": seed, "loss": loss} for seed, loss in enumerate((0.1, 0.12, 0.08, 0.1, 0.09))]
    other = [{"seed": seed, "loss": loss} for seed, loss in enumerate((0.1, 0.11, 0.1, 0.09, 0.1))]
    far = [{**each, "loss": each["loss"] + 0.05} for each in near]
    cheap, dear = variant(*LORA, validation=other), variant(*BIGGER, validation=near)
    assert verdict.best_trained([dear, cheap]) is cheap  # within one standard error
    cheap["validation"] = far
    assert verdict.best_trained([dear, cheap]) is dear
    dear["failed"] = [1]  # with one seed; the other with none, then with two, then with all
    assert verdict.best_trained([dear, cheap]) is cheap
    cheap["failed"] = [0, 2]
    assert verdict.best_trained([dear, cheap]) is dear
    dear["failed"] = dear["seeds"]
    assert verdict.best_trained([dear, cheap]) is cheap
    cheap["failed"] = dear["failed"] = []
    assert verdict.best_trained([]) is None
    for each in (cheap, dear):
        each["validation"] = []
    assert verdict.best_trained([dear, cheap]) is cheap  # none is known: the cheaper


def test_one_seed_is_near_nothing_else():
    one, two = (variant(*v, validation=[{"seed": 0, "loss": loss}])
                for v, loss in ((LORA, 0.11), (BIGGER, 0.1)))  # fmt: skip
    assert verdict.best_trained([one, two]) is two


def test_nothing_learned():
    made = found(variant(*MAJORITY), variant(*TFIDF), variant(*LORA),
                 outcomes={("m/lora-r4", "majority"): OPEN})  # fmt: skip
    assert verdict.sentences(made, "f1")[0] == (
        "Nothing is shown to have been learned: m/lora-r4 is not shown to be better than majority. "
        "Use tfidf (f1 0.70, 0.68 to 0.72)."
    )
    assert recommended(made) == "tfidf"
    alone = found(variant(*MAJORITY), variant(*LORA), outcomes={("m/lora-r4", "majority"): OPEN})
    assert verdict.sentences(alone, "f1")[0].endswith("better than majority.")


def test_nothing_trained():
    said = said_of(variant(*MAJORITY), variant(*TFIDF), variant(*BASE))
    assert said == [
        "Nothing was trained here; of what there is, use tfidf (f1 0.70, 0.68 to 0.72)."
    ]


def test_no_baseline():
    said = said_of(variant(*BASE), variant(*LORA))
    assert said[0] == (
        "Use m/lora-r4 (f1 0.90, 0.88 to 0.92): no baseline that one might use instead was "
        "measured."
    )


def test_ranks_and_models_by_outcome():
    said = said_of(
        variant(*TFIDF), variant(*LORA), variant(*BIGGER), variant("m/lora-r8", 0.85, "adapter", 9),
        variant("n/lora-r4", 0.6, "adapter", 9), variant(*FULL),
        outcomes={("m/lora-r16", "m/lora-r4"): EQUIVALENT, ("m/lora-r16", "m/lora-r8"): AT_LEAST},
    )  # fmt: skip
    (line,) = [each for each in said if each.startswith("Ranks and models")]
    assert line == (
        "Ranks and models: m/lora-r16 is better than n/lora-r4 (+0.305 (+0.285 to +0.325)); "
        "equivalent to m/lora-r4 (+0.005 (-0.015 to +0.025)); at least as good as m/lora-r8 "
        "(+0.055 (+0.035 to +0.075))."
    )


def test_very_many_variants_are_not_all_named():
    many = [variant(f"m/lora-r{rank}", 0.5, "adapter", rank) for rank in range(1, 10)]
    (line,) = [each for each in said_of(variant(*LORA), *many) if each.startswith("Ranks")]
    assert line.endswith("and 3 more.")


def test_failed_trainings_are_counted():
    made = found(variant(*TFIDF), variant(*LORA), variant(*BIGGER, failed=[1, 3]))
    made["trainings"] = [{"model": "m", "trainings": 10, "failed": 2, "low": 0.025, "high": 0.556}]
    said = verdict.sentences(made, "f1")
    assert (
        "2 of 10 trainings of m failed, a rate of 20 % (2 to 56 %): their training loss ended "
        "where guessing would."
    ) in said
    assert (
        "m/lora-r16 failed with seeds 1 and 3: its figures are of the other 3, and 0.805 is the "
        "mean over all."
    ) in said


def test_collapsed_cells_are_named():
    said = said_of(variant(*LORA), variant(*TFIDF), variant(*BIGGER, collapsed=[1]))
    assert any("m/lora-r16 collapsed with seed 1 of 5: it gave one class" in s for s in said)
    assert not any("collapsed" in s for s in said_of(variant(*LORA), variant(*BASE, collapsed=[0])))


@pytest.mark.parametrize(("outcome", "expected"), [(OPEN, "as it should be"), (BETTER, "a leak")])
def test_a_control_should_be_no_better_than_the_majority_class(outcome, expected):
    control = variant("m/shuffled", 0.41, "adapter", 1, control=True)
    made = found(variant(*MAJORITY), variant(*TFIDF), variant(*LORA), control,
                 outcomes={("m/shuffled", "majority"): outcome})  # fmt: skip
    said = [each for each in verdict.sentences(made, "f1") if "m/shuffled" in each]
    assert len(said) == 1
    assert expected in said[0]
    assert recommended(made) == "m/lora-r4"


def test_what_would_settle_it():
    tied = {("m/lora-r4", "tfidf"): OPEN}
    asked = "To find a difference of 0.02 between m/lora-r4 and tfidf in 80 of 100 runs"

    def planned(**needed) -> list[str]:
        options = {"rows": 5017, "seeds": 41, "why": "more rows or more seeds would do"} | needed
        said = said_of(variant(*TFIDF), variant(*LORA), outcomes=tied, needed=options)
        return [each for each in said if "80 of 100" in each]

    assert planned() == [
        f"{asked} takes about 5,100 test rows or 41 seeds; more rows or more seeds would do."
    ]
    assert planned(seeds=None, why="seeds would never do") == [
        f"{asked} takes about 5,100 test rows; seeds would never do."
    ]
    assert planned(rows=None, seeds=None, why="it takes both") == [f"{asked}: it takes both."]
    assert planned(rows=200, seeds=3) == [
        "These rows and seeds find a difference of 0.02 in 80 of 100 runs."
    ]
    assert planned(rows=10**8, seeds=9000) == [f"{asked}: more rows or more seeds would do."]
    assert not any("80 of 100" in s for s in said_of(variant(*TFIDF), variant(*LORA)))


def test_few_seeds():
    one = variant(*LORA, seeds=[0])
    said = said_of(variant(*TFIDF), one)
    assert said[0].startswith("Of these trained models alone, one seed each: train m/lora-r4")
    assert said[-1] == "Another seed may turn this: run 5."
    three = said_of(variant(*TFIDF), variant(*LORA, seeds=[0, 1, 2]))
    assert three[-1] == "With 3 seeds a test finds little: 5 make it sharp."
    assert "seeds" not in said_of(variant(*TFIDF), variant(*LORA))[-1]


def test_one_variant():
    assert said_of(variant(*LORA)) == [
        "m/lora-r4 alone was measured, so there is nothing to compare it with."
    ]


def test_a_metric_that_stands_in():
    said = said_of(variant(*LORA), variant(*TFIDF), wanted="recall")
    assert said[0] == "f1 stands in for recall, which is of two classes alone."


def test_a_comparison_is_turned_with_its_interval_and_outcome():
    made = found(variant(*LORA), variant(*TFIDF), outcomes={("m/lora-r4", "tfidf"): AT_LEAST})
    there, back = (verdict.pair(made, *names) for names in
                   (("tfidf", "m/lora-r4"), ("m/lora-r4", "tfidf")))  # fmt: skip
    assert [there["difference"], there["low"], there["high"]] == pytest.approx([-0.2, -0.22, -0.18])
    assert (there["not_worse_p"], there["not_better_p"]) == (0.04, 0.03)
    assert (verdict.outcome(there), verdict.outcome(back)) == (AT_MOST, AT_LEAST)
    with pytest.raises(KeyError, match="were not compared"):
        verdict.pair(made, "tfidf", "majority")


def test_of_a_loss_less_is_a_gain():
    made = found(variant(*LORA), variant(*TFIDF), metric="loss")
    assert verdict.gain(made["comparisons"][0]) == pytest.approx(-0.2)
    assert verdict.largest_gain(made["comparisons"][0]) == pytest.approx(-0.18)


SIZES = {
    (BETTER, BETTER, BETTER): 100,
    (OPEN, BETTER, BETTER): 300,
    (BETTER, OPEN, BETTER): 1000,
    (BETTER, BETTER, EQUIVALENT): None,
}


@pytest.mark.parametrize(("outcomes", "start"), SIZES.items())
def test_from_how_many_training_rows_on_training_pays(outcomes, start):
    sizes = dict(zip((1000, 300, 100), reversed(outcomes), strict=True))
    assert verdict.better_from(sizes) == start
    family = [
        found(variant(*TFIDF), variant(*LORA), outcomes={("m/lora-r4", "tfidf"): each})
        | {"train_rows": rows}
        for rows, each in sizes.items()
    ]
    (said,) = verdict.crossings(family)
    if start:
        expected = f"is better than tfidf from about {start:,} on."
    else:
        expected = "is not shown to be better than tfidf with the most."
    assert said == f"Of 100, 300 and 1,000 training rows, m/lora-r4 {expected}"
    assert list(verdict.crossings(family[:1])) == []

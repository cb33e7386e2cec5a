"""Tests of differences: worked examples, properties, and how often they are wrong.

Simulations have fixed seeds. The rates beside them in `significance.compare` come from the same
model of errors, with 2,000 to 10,000 runs each.
"""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from common.statistics import ranking
from common.statistics.intervals import Interval
from common.statistics.resampling import Measured, Variant, measure
from common.statistics.significance import (
    AT_LEAST,
    AT_MOST,
    BETTER,
    EQUIVALENT,
    OPEN,
    WORSE,
    Comparison,
    beyond_margin,
    by_merit,
    compare,
    compare_all,
    holm,
    least_p,
    mcnemar,
    paired_bootstrap,
)
from common.statistics.variance import Contrast
from tests.simulation import draw, labels_of

RUNS = 1000
BINOMIAL = 2.6 * math.sqrt(0.05 * 0.95 / RUNS)  # of a rate of 5 %, one-sided, in 1 of 200 tests


def right(*counts: tuple[bool, bool, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows on which two models are right or wrong, from counts of each pattern."""
    a, b, times = zip(*counts, strict=True)
    return np.repeat(a, times), np.repeat(b, times)


def variant(name: str, labels: np.ndarray, correct: np.ndarray, trained: bool = True) -> Variant:
    """Of answers that are right or wrong, shape (seeds, rows) or (rows,)."""
    return Variant(name, np.eye(2)[np.where(np.atleast_2d(correct), labels, 1 - labels)], trained)


def random_variants(count: int, seeds: int, rows: int = 200, **options) -> list[Variant]:
    generator = np.random.default_rng(4)
    settings = {"seed_effect": [0.05] * count, "quality": [1.5] * count} | options
    labels = labels_of(rows, 0.3)
    (found,) = draw(generator, labels, 1, [seeds] * count, **settings)
    return found


@pytest.mark.parametrize(
    ("both", "only_a", "only_b", "neither", "p"),
    [
        (1, 1, 7, 12, 0.0390625),  # Fagerland, Lydersen and Laake 2013, airway: 0.039
        (59, 6, 16, 80, 0.0347),  # there, complete response: 0.035
        (5, 0, 0, 5, 1.0),
        (5, 3, 3, 5, 1.0),
        (0, 5, 0, 0, 0.5**5),
    ],
)
def test_mcnemar_is_that_of_the_books(both, only_a, only_b, neither, p):
    a, b = right(
        (True, True, both), (True, False, only_a), (False, True, only_b), (False, False, neither)
    )
    assert mcnemar(a, b) == pytest.approx(p, rel=1e-3)
    assert mcnemar(b, a) == mcnemar(a, b)
    order = np.random.default_rng(0).permutation(len(a))
    assert mcnemar(a[order], b[order]) == mcnemar(a, b)


def test_mcnemar_wants_the_same_rows():
    with pytest.raises(ValueError, match="not the same rows"):
        mcnemar(np.ones(3, dtype=bool), np.ones(4, dtype=bool))


def test_holm_by_hand():
    """0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 x 1, which is raised to its predecessor."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_a_comparison_is_symmetrical():
    there, back = random_variants(2, 3)
    found = measure(labels_of(200, 0.3), [there, back], "macro_f1")
    a, b = found.values()
    one, other = compare(a, b), compare(b, a)
    assert one.p == pytest.approx(other.p)
    assert one.contrast.value == pytest.approx(-other.contrast.value)
    assert one.contrast.interval().low == pytest.approx(-other.contrast.interval().high)
    assert one.contrast.value == pytest.approx(a.mean - b.mean)


def test_the_order_of_the_rows_hardly_matters_and_the_seed_is_kept():
    labels = labels_of(200, 0.3)
    variants = random_variants(2, 3, quality=[1.5, 1.7])
    order = np.random.default_rng(0).permutation(200)
    shuffled = [Variant(each.name, each.probabilities[:, order]) for each in variants]
    first = compare(*measure(labels, variants, "mcc").values())
    assert first == compare(*measure(labels, variants, "mcc").values())
    # Other rows get other draws, so that the resamples differ, but not what they tell.
    other = compare(*measure(labels[order], shuffled, "mcc").values())
    assert other.contrast.value == pytest.approx(first.contrast.value)
    assert other.contrast.standard_error == pytest.approx(first.contrast.standard_error, rel=0.1)


def test_zero_disagreements_are_no_difference():
    labels = np.repeat([0, 1], 20)
    correct = np.arange(40) % 5 > 0
    same = [variant(name, labels, np.array([correct] * 2)) for name in "ab"]
    (found,) = compare_all(measure(labels, same, "macro_f1"))
    assert (found.p, found.p_holm, found.contrast.value) == (1.0, 1.0, 0.0)


def test_all_rows_differ():
    """Resamples do not vary, and yet n rows can say no more than (1/2)^(n - 1)."""
    labels = np.repeat([0, 1], 3)
    sides = [variant("a", labels, np.ones(6), False), variant("b", labels, np.zeros(6), False)]
    (found,) = compare_all(measure(labels, sides, "accuracy"))
    assert found.contrast.standard_error == 0
    assert found.p == pytest.approx(0.5**5)


def test_one_seed_says_so_and_the_baseline_does_not():
    labels = labels_of(200, 0.3)
    (one,), (two,) = random_variants(1, 1), random_variants(1, 2)
    fixed = variant("tfidf", labels, np.arange(200) % 4 > 0, trained=False)
    renamed = Variant("two", two.probabilities)
    found = compare_all(measure(labels, [one, renamed, fixed], "accuracy"))
    known = {(each.a, each.b): each.seeds_known for each in found}
    assert known == {("0-0", "two"): False, ("0-0", "tfidf"): False, ("two", "tfidf"): True}


def test_one_seed_of_each_is_the_paired_bootstrap():
    labels = labels_of(400, 0.5)
    a, b = random_variants(2, 1, rows=400, quality=[1.2, 1.6])
    one, two = measure(labels, [a, b], "accuracy").values()
    interval, p = paired_bootstrap(one, two)
    comparison = compare(one, two)
    student = comparison.contrast.interval()
    assert (interval.low, interval.high) == pytest.approx((student.low, student.high), abs=0.005)
    assert p == pytest.approx(comparison.p, abs=0.01)
    assert paired_bootstrap(two, one)[1] == p


def test_a_paired_bootstrap_of_equals_finds_nothing():
    (one,) = random_variants(1, 2)
    twin = Variant("twin", one.probabilities)
    a, b = measure(labels_of(200, 0.3), [one, twin], "f1", resamples=99).values()
    interval, p = paired_bootstrap(a, b)
    assert (interval.low, interval.high, p) == (0, 0, 1)


def test_two_that_lack_different_seeds_are_compared_on_those_that_both_have():
    generator, draws = np.random.default_rng(0), np.zeros((4, 20))
    values = generator.uniform(size=(2, 5))
    a = Measured("a", "f1", 100, values[0, :4], draws, True, (0, 1, 2, 3))
    b = Measured("b", "f1", 100, values[1, 1:], draws, True, (1, 2, 3, 4))
    found = compare(a, b).contrast
    apart = values[0, 1:4] - values[1, 1:4]
    assert found.value == pytest.approx(apart.mean())
    assert found.seeds_variance == pytest.approx(apart.var(ddof=1) / 3)
    assert [block.seeds for block in found.blocks] == [3]
    one = compare(a.of_seeds([0]), b).contrast  # none in common: as they are
    assert one.value == pytest.approx(values[0, 0] - values[1, 1:].mean())


def test_the_least_loss_is_first():
    draws = np.zeros((1, 2))
    measured = {
        name: Measured(name, "loss", 10, np.array([value]), draws, True)
        for name, value in {"a": 0.7, "b": 0.2, "c": 0.3}.items()
    }
    assert by_merit(measured) == ["b", "c", "a"]


def test_variants_of_different_datasets_are_refused():
    labels = labels_of(200, 0.3)
    one, two = random_variants(2, 1)
    here = measure(labels, [one], "f1")["0-0"]
    there = measure(labels, [two], "mcc")["1-0"]
    with pytest.raises(ValueError, match="not measured together"):
        compare(here, there)


def test_four_disagreements_prove_nothing_whatever_a_bootstrap_says():
    """Four rows that speak for one side: the sign test gives a mid-p of 0.5**4, McNemar's too."""
    labels = np.repeat([0, 1], 50)
    better = np.ones(100, dtype=bool)
    worse = np.arange(100) >= 4
    sides = [variant("a", labels, better, False), variant("b", labels, worse, False)]
    measured = measure(labels, sides, "macro_f1")
    limit = least_p(*(side.probabilities.argmax(axis=2) for side in sides))
    assert limit == pytest.approx(mcnemar(better, worse)) == 0.0625
    (loose,), (strict,) = compare_all(measured), compare_all(measured, least_p={("a", "b"): limit})
    assert loose.p < 0.05 < strict.p == 0.0625
    assert least_p(np.zeros((2, 3)), np.zeros((1, 3))) == 1.0


def test_each_question_is_corrected_for_itself():
    """Three variants beside each other and beside two baselines, and a pair that stands alone."""
    labels = labels_of(200, 0.3)
    dull = variant("majority", labels, labels == 0, trained=False)
    free = variant("tfidf", labels, np.arange(200) % 5 > 0, trained=False)
    measured = measure(labels, [*random_variants(3, 2), dull, free], "accuracy")

    def question(a: str, b: str) -> str | None:
        if "majority" in (a, b):
            return None
        return "free" if "tfidf" in (a, b) else "ranks"

    found = compare_all(measured, question)
    for asked, size in (("free", 3), ("ranks", 3)):
        among = [pair for pair in found if pair.question == asked]
        assert [pair.family for pair in among] == [size] * size
        assert [pair.p_holm for pair in among] == holm([pair.p for pair in among])
    alone = [pair for pair in found if pair.question is None]
    assert {(pair.family, pair.p_holm == pair.p) for pair in alone} == {(1, True)}
    assert {pair.family for pair in compare_all(measured)} == {10}


def difference(value: float, error: float = 0.01, metric: str = "accuracy", df: float = math.inf):
    """A comparison of a difference, of the given standard error and no p-value of its own."""
    found = Contrast(value, error**2, 0.0, df, True, 1000, ())
    gain = -value if metric == "loss" else value
    return Comparison("a", "b", metric, found, 0.5, 0.5, beyond_margin(gain, found, 0.02),
                      beyond_margin(-gain, found, 0.02))  # fmt: skip


@pytest.mark.parametrize(
    ("value", "error", "metric", "expected"),
    [
        (0.0, 0.005, "accuracy", EQUIVALENT),
        (0.0, 0.02, "accuracy", OPEN),
        (0.02, 0.01, "accuracy", AT_LEAST),
        (-0.02, 0.01, "accuracy", AT_MOST),
        (0.02, 0.01, "loss", AT_MOST),
        (-0.02, 0.01, "loss", AT_LEAST),
    ],
)
def test_what_a_margin_shows(value, error, metric, expected):
    assert difference(value, error, metric).outcome() == expected


def test_the_tests_of_a_margin_by_hand():
    """(0.01 + 0.02) / 0.01 and (-0.01 + 0.02) / 0.01 standard errors."""
    found = difference(0.01)
    assert found.not_worse_p == pytest.approx(stats.norm.sf(3))
    assert found.not_better_p == pytest.approx(stats.norm.sf(1))
    few = difference(0.01, df=4)
    assert few.not_worse_p == pytest.approx(stats.t.sf(3, 4))


def test_a_real_difference_comes_before_equivalence():
    assert replace(difference(0.005, 0.001), p_holm=0.01).outcome() == BETTER
    assert replace(difference(-0.005, 0.001), p_holm=0.01).outcome() == WORSE
    assert replace(difference(-0.005, 0.001, "loss"), p_holm=0.01).outcome() == BETTER


def test_few_rows_on_which_two_agree_are_no_equivalence():
    """That a share of rows as large as the margin was missed has a chance of 0.98**n."""
    for rows, p in ((100, 0.98**100), (300, 0.98**300)):
        found = Contrast(0.0, 0.0, 0.0, math.inf, True, rows, ())
        assert beyond_margin(0.0, found, 0.02) == pytest.approx(p)
    assert beyond_margin(-0.03, found, 0.02) == 1.0


def rates(rows, share, metric, seeds, effects, quality, runs=RUNS, baseline=False, shared=0.0):
    """How often two variants differ at 5 %: by the test, and by a bootstrap of the rows alone."""
    generator, labels = np.random.default_rng(8), labels_of(rows, share)
    families = draw(generator, labels, runs, seeds, effects, quality, shared)
    if baseline:
        families = [[Variant(a.name, a.probabilities, trained=False), b] for a, b in families]
    flat = [each for family in families for each in family]
    found = measure(labels, flat, metric, resamples=500)
    pairs = [(found[a.name], found[b.name]) for a, b in families]
    p = [compare(a, b).p for a, b in pairs]
    naive = [paired_bootstrap(a, b)[1] for a, b in pairs]
    return np.mean(np.array(p) <= 0.05), np.mean(np.array(naive) <= 0.05)


# With seed effects as large as what the rows leave open: 0.7 points of accuracy of 1,000 rows.
@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("rows", "share", "metric", "seeds", "effect"),
    [
        (300, 0.5, "accuracy", 2, 0.1),
        (1000, 0.13, "macro_f1", 3, 0.05),
        (300, 0.13, "macro_f1", 5, 0.05),
        (1000, 0.5, "accuracy", 5, 0.3),
    ],
)
@pytest.mark.parametrize("shared", [0.0, 0.7])
def test_of_equal_variants_few_differ(rows, share, metric, seeds, effect, shared):
    rate, naive = rates(rows, share, metric, [seeds] * 2, [effect] * 2, [1.5, 1.5], shared=shared)
    assert rate <= 0.05 + BINOMIAL
    assert naive > rate


def test_one_seed_without_seed_effects_keeps_the_level():
    rate, _ = rates(300, 0.13, "macro_f1", [1, 1], [0, 0], [1.5, 1.5])
    assert 0.02 <= rate <= 0.05 + BINOMIAL


def test_few_disagreements_keep_the_level():
    """Two models of 98.5 % accuracy, of whose 300 rows they disagree on four or so."""
    rate, _ = rates(300, 0.13, "accuracy", [1, 1], [0, 0], [2.17, 2.17])
    assert rate <= 0.05 + BINOMIAL


@pytest.mark.parametrize(
    ("rows", "share", "metric", "seeds", "effect"),
    [
        (300, 0.5, "accuracy", 3, 0.1),
        (1000, 0.5, "accuracy", 2, 0.3),  # a standard deviation of 4 points over seeds
        (1000, 0.5, "accuracy", 3, 0.3),
    ],
)
def test_against_a_baseline_few_seeds_keep_the_level(rows, share, metric, seeds, effect):
    """One side alone varies, so that all that is known of seeds comes from two or three."""
    rate, naive = rates(rows, share, metric, [1, seeds], [0, effect], [1.5, 1.5], baseline=True)
    assert 0.01 <= rate <= 0.05 + BINOMIAL
    assert naive > 2 * rate


def test_a_bootstrap_of_the_rows_alone_finds_differences_that_are_none():
    """Two seeds each, 1,000 rows, seeds that differ by two points: the naive test is worthless."""
    rate, naive = rates(1000, 0.13, "macro_f1", [2, 2], [0.15, 0.15], [1.5, 1.5], runs=400)
    assert rate <= 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / 400)
    assert naive > 0.4


@pytest.mark.parametrize(
    ("rows", "seeds", "least"), [(300, 5, 0.5), (1000, 3, 0.55), (1000, 5, 0.9)]
)
def test_a_difference_of_nearly_three_points_is_found(rows, seeds, least):
    rate, _ = rates(rows, 0.5, "accuracy", [seeds] * 2, [0.05] * 2, [1.5, 1.75], runs=300)
    assert rate >= least


@pytest.mark.full
def test_of_five_equal_variants_few_families_have_any_difference():
    generator, labels, runs = np.random.default_rng(9), labels_of(300, 0.13), 600
    families = draw(generator, labels, runs, [5] * 5, [0.1] * 5, [1.5] * 5)
    flat = [each for family in families for each in family]
    found = measure(labels, flat, "macro_f1", resamples=300)
    wrong = [
        any(pair.significant() for pair in compare_all({v.name: found[v.name] for v in family}))
        for family in families
    ]
    uncorrected = [
        any(pair.p <= 0.05 for pair in compare_all({v.name: found[v.name] for v in family}))
        for family in families
    ]
    assert np.mean(wrong) <= 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / runs)
    assert np.mean(uncorrected) > 0.08


def test_of_one_model_on_either_side_the_exact_test_of_accuracy_is_mcnemars():
    a, b = right((True, True, 40), (True, False, 9), (False, True, 2), (False, False, 9))
    labels = np.repeat([0, 1], 30)
    one, other = (np.where(each, labels, 1 - labels)[None] for each in (a, b))
    found = ranking.exact_limits({"a": one, "b": other}, labels, "accuracy")
    assert found == {("a", "b"): mcnemar(a, b)}
    least = least_p(one, other)
    assert least != mcnemar(a, b)
    for answered, metric in [
        ({"a": one, "b": other}, "macro_f1"),
        ({"a": np.repeat(one, 2, axis=0), "b": other}, "accuracy"),
        ({"a": one, "b": np.repeat(other, 2, axis=0)}, "accuracy"),
        ({"a": np.repeat(one, 2, axis=0), "b": np.repeat(other, 2, axis=0)}, "accuracy"),
    ]:
        assert ranking.exact_limits(answered, labels, metric) == {("a", "b"): least}
    assert ranking.exact_limits({"a": one, "b": other}, labels, "loss") == {}


def test_where_no_resample_moves_a_difference_its_interval_is_newcombes():
    """Method 10 of Newcombe 1998, by hand: distances from value to end, added in quadrature."""
    contrast = SimpleNamespace(value=0.3, standard_error=0.0, interval=lambda _: Interval(0.3, 0.3))
    pair = SimpleNamespace(contrast=contrast, a="a", b="b", metric="accuracy", p=0.01)
    told = [
        {"name": name, "metrics": {"accuracy": {"value": value, "low": low, "high": high}}}
        for name, value, low, high in [("a", 0.8, 0.7, 0.88), ("b", 0.5, 0.41, 0.6)]
    ]
    found = ranking.difference_interval(pair, told, 0.95)  # type: ignore[arg-type]
    assert found.low == pytest.approx(0.3 - math.hypot(0.1, 0.1))
    assert found.high == pytest.approx(0.3 + math.hypot(0.08, 0.09))
    pair.p = 0.2
    held = ranking.difference_interval(pair, told, 0.95)  # type: ignore[arg-type]
    assert held.low == pytest.approx(min(0, found.low))

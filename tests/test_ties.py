"""Groups of variants that cannot be told apart."""

import numpy as np
import pytest

from common.statistics.resampling import Measured, Variant, measure
from common.statistics.significance import (
    Comparison,
    by_merit,
    compare_all,
    letter,
    letters,
    tied_for_first,
)
from common.statistics.variance import contrast


def means(values: dict[str, float], metric: str = "accuracy") -> dict[str, Measured]:
    draws = np.random.default_rng(0).normal(size=(1, 50))
    return {
        name: Measured(name, metric, 100, np.array([value]), draws, True)
        for name, value in values.items()
    }


def verdicts(measured: dict[str, Measured], different: list[str]) -> list[Comparison]:
    """Return all pairs; those in `different`, written "ab", are significant."""
    names = list(measured)
    none = contrast([(measured[names[0]], 1.0)])
    return [
        Comparison(a, b, "accuracy", none, 0.5, 0.01 if a + b in different else 0.5)
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    ]


def test_ties_are_not_chained():
    """a and b are tied, b and c are, and yet a beats c: c is not tied for first."""
    measured = means({"c": 0.7, "b": 0.8, "a": 0.9})
    pairs = verdicts(measured, ["ca"])
    assert tied_for_first(measured, pairs) == ["a", "b"]
    assert letters(measured, pairs) == {"a": "a", "b": "ab", "c": "b"}


def test_the_least_loss_is_first():
    measured = means({"a": 0.7, "b": 0.2, "c": 0.3}, "loss")
    assert by_merit(measured) == ["b", "c", "a"]
    assert tied_for_first(measured, verdicts(measured, ["ab"])) == ["b", "c"]


def test_all_are_tied_and_all_differ():
    measured = means({"a": 0.9, "b": 0.8, "c": 0.7})
    assert letters(measured, verdicts(measured, [])) == {"a": "a", "b": "a", "c": "a"}
    apart = verdicts(measured, ["ab", "ac", "bc"])
    assert letters(measured, apart) == {"a": "a", "b": "b", "c": "c"}
    assert tied_for_first(measured, apart) == ["a"]


def test_the_level_decides():
    measured = means({"a": 0.9, "b": 0.8})
    pairs = verdicts(measured, ["ab"])
    assert tied_for_first(measured, pairs, alpha=0.001) == ["a", "b"]


@pytest.mark.parametrize("seed", range(20))
def test_two_share_a_letter_if_and_only_if_they_are_tied(seed):
    generator = np.random.default_rng(seed)
    names = "abcdefgh"
    measured = means({name: float(generator.uniform()) for name in names})
    pairs = [a + b for i, a in enumerate(names) for b in names[i + 1 :]]
    different = [pair for pair in pairs if generator.uniform() < 0.4]
    found = letters(measured, verdicts(measured, different))
    for pair in pairs:
        assert bool({*found[pair[0]]} & {*found[pair[1]]}) == (pair not in different), (pair, found)
    groups = {mark: {n for n in names if mark in found[n]} for mark in "".join(found.values())}
    assert not any(one < other for one in groups.values() for other in groups.values())


def test_one_variant_is_alone():
    measured = means({"a": 0.9})
    assert (tied_for_first(measured, []), letters(measured, [])) == (["a"], {"a": "a"})


def test_there_are_more_groups_than_letters():
    assert [letter(number) for number in (0, 25, 26)] == ["a", "z", "(26)"]


def test_from_answers_to_groups():
    """Two good models that err on the same rows but few, and one that guesses."""
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], 150)
    good = np.tile(generator.uniform(size=300) < 0.9, (3, 1))
    near = good ^ (generator.uniform(size=(3, 300)) < 0.02)
    guess = generator.uniform(size=(3, 300)) < 0.5
    named = {"full": good, "lora": near, "base": guess}
    variants = [
        Variant(name, np.eye(2)[np.where(correct, labels, 1 - labels)])
        for name, correct in named.items()
    ]
    measured = measure(labels, variants, "macro_f1")
    found = letters(measured, compare_all(measured))
    assert found == {"full": "a", "lora": "a", "base": "b"}

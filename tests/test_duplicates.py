"""Groups of duplicates: what is equal, what is similar, and the same answer in every process."""

import os
import random
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.data import duplicates

SCRIPTS = Path(__file__).parents[1] / "scripts"


def groups(texts: list[str], threshold: float | None) -> dict[str, np.ndarray]:
    """Return the group of every text, by kind."""
    keys = [duplicates.normalise(text) for text in texts]
    buckets = duplicates.banded(keys, threshold or 1)
    return duplicates.groups(
        duplicates.digests(texts), duplicates.digests(keys), buckets, at(keys), threshold
    )


def at(texts: list[str]) -> duplicates.At:
    return lambda places: [texts[place] for place in places]


def near(texts: list[str], threshold: float) -> np.ndarray:
    return duplicates.near(duplicates.banded(texts, threshold), at(texts), threshold)


def similarity(left: str, right: str) -> float:
    """Return the Jaccard similarity of the runs of five letters, by Python's sets."""
    ours, theirs = (
        {text[i : i + 5] for i in range(max(1, len(text) - 4))} for text in (left, right)
    )
    return len(ours & theirs) / len(ours | theirs)


def grouped(*texts: str, threshold: float | None = 0.8) -> dict[str, list[list[int]]]:
    """Return the groups of more than one text, by kind, as positions."""
    found = pd.DataFrame(groups(list(texts), threshold))
    return {
        str(kind): [
            list(rows) for rows in found.groupby(str(kind)).indices.values() if len(rows) > 1
        ]
        for kind in found
    }


def mutated(count: int, seed: int = 0) -> list[str]:
    """Texts of which half are another with one to three letters changed."""
    draw = random.Random(seed)
    texts: list[str] = []
    for _ in range(count):
        letters = draw.choices("abcdefghijklmnop", k=draw.randint(40, 150))
        if texts and draw.random() < 0.5:
            letters = list(draw.choice(texts))
            for _ in range(draw.randint(1, 3)):
                letters[draw.randrange(len(letters))] = draw.choice("qrstuvwxyz")
        texts.append("".join(letters))
    return list(dict.fromkeys(texts))


def test_equal_texts_are_one_group():
    assert grouped("a b", "c", "a b", "a  b")["exact"] == [[0, 2]]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Call 0800 169 now!", "CALL 0871 now"),
        ("ﬁne, ｆｉｎｅ", "fine fine"),
        ("Straße", "STRASSE"),
        ("a\tb\u00a0c", "abc"),
        ("cafe\u0301", "café"),
        ("£5 won", "$7 won"),
        ("12 ", "12"),
        ("< 3", "<3"),
        ("１２３", "123"),
    ],
)
def test_what_does_not_count(one, other):
    assert grouped(one, other, "something else")["normalised"] == [[0, 1]]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "2"),
        ("?", "!!"),
        ("great 😀", "great 😡"),
        ("की", "कि"),
        ("cafe", "café"),
    ],
)
def test_what_counts(one, other):
    assert grouped(one, other)["normalised"] == []


LONG = "you are a winner and have been specially selected to receive a holiday, call our office"


def test_a_changed_word_is_near():
    found = grouped(LONG, "see you at home tonight", LONG.replace("office", "desk"))
    assert found == {"exact": [], "normalised": [], "near": [[0, 2]]}


def test_groups_are_components():
    """The first and the last are linked by the one between them."""
    chain = [LONG, LONG.replace("office", "desk")]
    chain.append(chain[-1].replace("you are a", "be"))
    keys = [duplicates.normalise(text) for text in chain]
    assert similarity(keys[0], keys[2]) < 0.8 <= similarity(keys[0], keys[1])
    assert grouped(*chain)["near"] == [[0, 1, 2]]


def test_each_kind_holds_the_groups_of_the_one_before():
    found = grouped("Win cash 1", "win cash 2", "Win cash 1", "other words")
    assert found == {"exact": [[0, 2]], "normalised": [[0, 1, 2]], "near": [[0, 1, 2]]}


def test_near_duplicates_can_be_switched_off():
    assert list(grouped(LONG, LONG, threshold=None)) == ["exact", "normalised"]


@pytest.mark.quick(1)
@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9])
def test_hardly_a_similar_pair_is_missed_and_none_is_made_up(threshold):
    """Against all pairs, compared in full."""
    texts = mutated(400)
    found = near(texts, threshold)
    similar = [
        (i, j)
        for i, j in combinations(range(len(texts)), 2)
        if similarity(texts[i], texts[j]) >= threshold
    ]
    assert len(similar) > 20
    left, right = np.array(similar).T
    expected = duplicates.merged(np.arange(len(texts)), left, right)
    together, wanted = ({*pairs} for pairs in (linked(found), linked(expected)))
    assert together <= wanted
    assert len(together) >= 0.98 * len(wanted)


def linked(labels: np.ndarray) -> list[tuple[int, int]]:
    return [(i, j) for i, j in combinations(range(len(labels)), 2) if labels[i] == labels[j]]


def test_a_large_bucket_is_not_compared_pair_by_pair(monkeypatch):
    """A template filled in a thousand ways: one group, and far fewer than its 500,000 pairs."""
    compared: list[np.ndarray] = []
    jaccard = duplicates.jaccard

    def counted(left: np.ndarray, right: np.ndarray) -> float:
        compared.append(left)
        return jaccard(left, right)

    monkeypatch.setattr(duplicates, "jaccard", counted)
    draw = random.Random(0)
    names = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=3)) for _ in range(1000)]
    texts = list(dict.fromkeys(duplicates.normalise(f"{LONG} {name} {LONG}") for name in names))
    labels = near(texts, 0.8)
    assert len(set(labels)) == 1
    assert len(compared) < 20 * len(texts)


@pytest.mark.parametrize("texts", [[], ["a"], ["", "\ufffd"], ["x" * 200_000, "y"]])
def test_odd_tables(texts):
    for found in groups(texts, 0.8).values():
        assert len(found) == len(set(found)) == len(texts)


@pytest.mark.full
def test_groups_are_the_same_in_every_process():
    code = "from test_duplicates import groups, mutated; print(*groups(mutated(300), 0.7)['near'])"
    places = os.pathsep.join([str(SCRIPTS), str(Path(__file__).parent)])
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": places, "PYTHONHASHSEED": seed},
            check=True, capture_output=True, text=True,
        ).stdout
        for seed in ("0", "1")
    }  # fmt: skip
    assert len(answers) == 1
    assert len(answers.pop().split()) > 200


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 0.95, 1.0])
def test_bands_show_nearly_every_pair_at_the_threshold(threshold):
    rows = duplicates.rows_per_band(threshold)
    bands = duplicates.PERMUTATIONS // rows
    assert (1 - threshold**rows) ** bands <= duplicates.MISSED
    assert 1 <= rows <= duplicates.PERMUTATIONS


def test_groups_that_are_linked_go_together():
    found = duplicates.linked(np.array([0, 0, 1, 2, 3]), np.array([5, 1, 1, 0, 7]))
    assert len(set(found[:3])) == 1
    assert len(set(found)) == 3


def test_pairs_are_near_when_both_sides_are():
    """One premise with several hypotheses is no duplicate, though the texts share most letters."""
    keys = [duplicates.key(LONG, other) for other in ("it is true", "nobody knows", "it is true!")]
    keys += [duplicates.key(LONG.replace("office", "desk"), "it is true")]
    assert near(keys, 0.8).tolist() == [0, 1, 0, 0]


def test_the_sides_of_a_pair_stay_apart():
    assert duplicates.key("he is here", "not true") != duplicates.key("he is here not", "true")


def test_similarity_is_that_of_sets():
    texts = mutated(40)
    found = [
        duplicates.similarity(*map(duplicates.shingles, pair)) for pair in combinations(texts, 2)
    ]
    assert found == pytest.approx([similarity(*pair) for pair in combinations(texts, 2)])

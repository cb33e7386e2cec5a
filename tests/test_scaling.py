"""The benchmark of preparation: rows that are always the same, and figures of real runs."""

import csv
from collections import Counter

import pytest

from benchmarks import generate, scaling


def made(count: int, **options: int) -> list[tuple[str, str]]:
    return list(generate.rows(count, options.get("mean_words", 30), options.get("seed", 0)))


def test_rows_are_the_same_however_many_follow():
    assert made(1500)[:700] == made(700)
    assert made(50, seed=1) != made(50)


def test_a_tenth_of_the_rows_repeats_others():
    texts = [text for text, _ in made(5000)]
    letters = Counter(text.lower().rstrip("!") for text in texts)
    assert 0.04 < 1 - len(letters) / len(texts) < 0.09  # as they are, or in case and punctuation
    starts = Counter(text.lower().rstrip("!").rpartition(" ")[0] for text in texts)
    assert 0.07 < 1 - len(starts) / len(texts) < 0.13  # or but for the last word
    assert {label for _, label in made(100)} == {"negative", "positive"}


def test_texts_are_as_long_as_asked():
    words = [len(text.split()) for text, _ in made(1000, mean_words=60)]
    assert 55 < sum(words) / len(words) < 65


@pytest.mark.full
def test_both_stages_are_measured_and_drawn(tiny_models, tmp_path):
    table, figure = tmp_path / "scaling.csv", tmp_path / "scaling.svg"
    places = f"--model {tiny_models['bert']} --output {table} --figure {figure}"
    scaling.main([*places.split(), "--sizes", "200", "400"])
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["stage"], row["rows"]) for row in rows] == [
        ("prepare_data", "200"), ("tokenize", "200"), ("prepare_data", "400"), ("tokenize", "400")
    ]  # fmt: skip
    assert all(float(row["seconds"]) > 0.3 for row in rows)
    assert all(int(row["peak_memory_mib"]) > 50 for row in rows)
    assert figure.read_text().count("</svg>") == 1


def test_a_stage_that_fails_is_told(tmp_path):
    with pytest.raises(SystemExit, match=r"(?s)prepare_data\.py.* failed: .*does not exist"):
        scaling.measured(scaling.commands(tmp_path, tmp_path, 1, 1)["prepare_data"])

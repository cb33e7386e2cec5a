"""Training rows that each seed draws: one draw for all variants and baselines of the seed."""

import json
from collections import Counter
from pathlib import Path

import pytest

import eval_baseline
import eval_embedding
import train_lora
from common.cli import InputError
from common.data import datadict, draws, tokens
from common.data.draws import Draw


@pytest.fixture(scope="module")
def bert(make_tokens) -> Path:
    return make_tokens("bert")


@pytest.fixture(scope="module")
def data(bert) -> Path:
    return bert.with_name("data")


def ids(draw: Draw, directory: Path) -> list[str]:
    return list(loaded(directory, draw)["train"]["id"])


def loaded(directory: Path, draw: Draw = draws.ALL):
    return draws.drawn(datadict.load(directory), draw)


def test_draws_of_one_seed_are_nested_and_those_of_two_differ(data):
    few, more = ids(Draw(10, 0), data), ids(Draw(20, 0), data)
    assert (len(few), len(more)) == (10, 20)
    assert set(few) < set(more)
    assert ids(Draw(10, 0), data) == few
    assert set(ids(Draw(10, 1), data)) != set(few)


def test_a_draw_is_stratified_and_in_the_order_of_the_rows(data):
    whole = loaded(data)["train"]
    drawn = loaded(data, Draw(20, 3))["train"]
    shares = {label: count / len(whole) for label, count in Counter(whole["label"]).items()}
    counts = Counter(drawn["label"])
    assert {label: round(20 * share) for label, share in shares.items()} == dict(counts)
    places = {row: place for place, row in enumerate(whole["id"])}
    assert [places[row] for row in drawn["id"]] == sorted(places[row] for row in drawn["id"])


def test_texts_and_tokens_of_every_model_have_the_same_draw(data, bert, make_tokens):
    found = {tuple(tokens.load(place, Draw(12, 5)).splits["train"]["id"])
             for place in (bert, make_tokens("gpt2"))}  # fmt: skip
    assert found == {tuple(ids(Draw(12, 5), data))}


def test_other_splits_stay_and_without_a_number_all_rows(data):
    whole, drawn = loaded(data), loaded(data, Draw(10, 0))
    assert list(whole) == list(drawn)
    for name in ("validation", "test"):
        assert list(whole[name]["id"]) == list(drawn[name]["id"])
    assert ids(Draw(None, 3), data) == list(whole["train"]["id"])


def test_what_cannot_be_drawn_anew_is_refused(data):
    count = len(loaded(data)["train"])
    with pytest.raises(InputError, match=f"cannot draw {count} of {count} training rows anew"):
        loaded(data, Draw(count, 0))
    with pytest.raises(InputError, match="set --seed"):
        loaded(data, Draw(5))


def measured(script, tmp_path: Path, *more: object) -> dict:
    """Run a script that evaluates a baseline; returns its record."""
    places = ["--metrics", tmp_path / "m.json", "--predictions", tmp_path / "p.parquet"]
    script.main(list(map(str, [*more, *places])))
    return json.loads((tmp_path / "m.json").read_text())


@pytest.mark.parametrize("baseline", ["majority", "tfidf"])
def test_a_baseline_is_fitted_to_the_draw_of_its_seed(data, tmp_path, baseline):
    words = ["--data", data, "--baseline", baseline]
    whole = measured(eval_baseline, tmp_path, *words)
    drawn = measured(eval_baseline, tmp_path, *words, "--train-rows", 10, "--seed", 1)
    assert drawn["meta_info"]["dataset_info"]["train_rows"] == 10
    assert drawn["run_info"]["kind"] == whole["run_info"]["kind"] == "baseline"
    assert drawn["metrics"]["test"]["loss"] != whole["metrics"]["test"]["loss"]


def test_embeddings_are_fitted_to_the_draw_of_their_seed(bert, tiny_models, tmp_path, monkeypatch):
    fitted = []
    fit = eval_embedding.fit

    def noted(parts, labels):
        fitted.append(labels["train"])
        return fit(parts, labels)

    monkeypatch.setattr(eval_embedding, "fit", noted)
    record = measured(eval_embedding, tmp_path, "--model", tiny_models["bert"], "--tokens", bert,
                      "--train-rows", 10, "--seed", 1)  # fmt: skip
    assert record["meta_info"]["dataset_info"]["train_rows"] == 10
    assert list(fitted[0]) == list(tokens.load(bert, Draw(10, 1)).splits["train"]["label"])


def test_a_training_sees_the_draw_of_its_seed(bert, tiny_models, tmp_path):
    train_lora.main([
        *("--model", str(tiny_models["bert"]), "--tokens", str(bert), "--seed", "1"),
        *("--train-rows", "10", "--output", str(tmp_path / "adapter")),
        *("--record", str(tmp_path / "training.json")),
    ])  # fmt: skip
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["meta_info"]["dataset_info"]["train_rows"] == 10
    assert record["train_info"]["train_samples"] == 10  # one epoch

"""The baseline on embeddings: a frozen model, pooled, with logistic regression."""

import json
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
import transformers

import eval_embedding
from common.cli import InputError
from common.model.collator import Padding


@pytest.fixture(scope="module")
def tokens(make_tokens) -> dict[str, Path]:
    return {model: make_tokens(model) for model in ("bert", "gpt2")}


def words(tiny_models, tokens, output: Path, model: str, *more: object) -> list[str]:
    """Return the command line."""
    line = ["--model", tiny_models[model], "--tokens", tokens[model], *more]
    line += ["--metrics", output / "metrics.json", "--predictions", output / "rows.parquet"]
    return list(map(str, line))


@pytest.mark.parametrize("model", ["bert", "gpt2"])
def test_embeddings_are_those_of_each_text_alone(tokens, tiny_models, model):
    rows = datasets.load_from_disk(tokens[model])["test"]
    backbone = transformers.AutoModel.from_pretrained(tiny_models[model]).eval()
    found = eval_embedding.embed(backbone, rows, Padding(0), 64)
    for place, row in enumerate(rows):
        with torch.inference_mode():
            hidden = backbone(torch.tensor([row["input_ids"]])).last_hidden_state[0]
        for pooling, vector in (
            ("mean", hidden.mean(0)),
            ("first", hidden[0]),
            ("last", hidden[-1]),
        ):
            assert found[pooling][place] == pytest.approx(vector.numpy(), abs=1e-5)


@pytest.mark.parametrize("model", ["bert", "gpt2"])
def test_it_is_measured_like_every_cell(tokens, tiny_models, tmp_path, model):
    eval_embedding.main(words(tiny_models, tokens, tmp_path, model))
    record = json.loads((tmp_path / "metrics.json").read_text())
    frame = pd.read_parquet(tmp_path / "rows.parquet")
    right = (frame["label"] == frame["prediction"]).mean()
    assert record["metrics"]["test"]["accuracy"] == pytest.approx(right)
    info = record["train_info"]
    assert info["pooling"] in eval_embedding.POOLINGS
    assert info["num_trainable_params"] > 0
    assert info["status"] == "not trained"


def test_equal_calls_give_equal_files(tokens, tiny_models, tmp_path):
    for name in ("one", "two"):
        eval_embedding.main(words(tiny_models, tokens, tmp_path / name, "bert"))
    one, two = (tmp_path / name / "rows.parquet" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_pooling_and_strength_are_chosen_on_validation():
    """The classes differ in the mean alone; in the other poolings there is noise."""
    rng = np.random.default_rng(0)
    labels = {"train": [0, 1] * 100, "validation": [0, 1] * 50}
    parts = {
        split: {
            "first": rng.normal(size=(len(of), 4)),
            "last": rng.normal(size=(len(of), 4)),
            "mean": rng.normal(size=(len(of), 4)) + 3 * np.array(of)[:, None],
        }
        for split, of in labels.items()
    }
    pooling, fitted = eval_embedding.choose(parts, labels)
    assert pooling == "mean"
    assert fitted.score(parts["validation"]["mean"], labels["validation"]) > 0.95


def test_an_encoder_decoder_is_read_by_its_encoder(tmp_path):
    from tests.architectures import make

    directory = make("t5", tmp_path / "t5")
    backbone = transformers.AutoModel.from_pretrained(directory).eval()
    rows = [{"input_ids": [4, 5, 6], "length": 3}, {"input_ids": [7, 8], "length": 2}]
    found = eval_embedding.embed(backbone, datasets.Dataset.from_list(rows), Padding(0), 64)
    assert found["mean"].shape == (2, backbone.config.hidden_size)


def test_hidden_states_that_are_not_finite_end_the_job():
    def reader(**inputs):
        hidden = torch.full((*inputs["input_ids"].shape, 2), float("nan"))
        return SimpleNamespace(last_hidden_state=hidden)

    config = SimpleNamespace(is_encoder_decoder=False, model_type="toy")
    backbone = SimpleNamespace(config=config, device="cpu", eval=lambda: None)
    broken = type("Broken", (SimpleNamespace,), {"__call__": lambda _, **inputs: reader(**inputs)})
    rows = datasets.Dataset.from_list([{"input_ids": [1, 2], "length": 2}])
    with pytest.raises(InputError, match="hidden states of this toy are not finite"):
        eval_embedding.embed(broken(**vars(backbone)), rows, Padding(0), 8)

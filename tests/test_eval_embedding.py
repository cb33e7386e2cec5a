"""The baseline on embeddings: a frozen model, pooled, with logistic regression."""

import json
import logging
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
import transformers

import eval_embedding
from common import checksums, files
from common.cli import InputError
from common.model.collator import Padding
from eval_embedding import POOLINGS, Embedded, Pooling

EACH = [Pooling((name,)) for name in POOLINGS]
MEAN, FIRST, LAST, MAX = EACH


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
    joined = Pooling(("first", "max"), is_unit=True)
    found = eval_embedding.embed(backbone, rows, Padding(0), 64, [*EACH, joined]).vectors
    for place, row in enumerate(rows):
        with torch.inference_mode():
            hidden = backbone(torch.tensor([row["input_ids"]])).last_hidden_state[0]
        both = torch.cat([hidden[0], hidden.amax(0)])
        for pooling, vector in (
            (MEAN, hidden.mean(0)),
            (FIRST, hidden[0]),
            (LAST, hidden[-1]),
            (MAX, hidden.amax(0)),
            (joined, both / both.norm()),
        ):
            assert found[pooling][place] == pytest.approx(vector.numpy(), abs=1e-5)


@pytest.mark.parametrize(("model", "causal"), [("bert", False), ("gpt2", True)])
def test_a_decoder_is_told_by_what_its_tokens_see(tokens, tiny_models, model, causal):
    rows = datasets.load_from_disk(tokens[model])["train"]
    backbone = transformers.AutoModel.from_pretrained(tiny_models[model]).train()
    usual = [MEAN, LAST if causal else FIRST]
    assert eval_embedding.usual_poolings(backbone, rows, Padding(0)) == usual


@pytest.mark.parametrize("model", ["bert", "gpt2"])
def test_it_is_measured_like_every_cell(tokens, tiny_models, tmp_path, model):
    eval_embedding.main(words(tiny_models, tokens, tmp_path, model))
    record = json.loads((tmp_path / "metrics.json").read_text())
    frame = pd.read_parquet(tmp_path / "rows.parquet")
    right = (frame["label"] == frame["prediction"]).mean()
    assert record["metrics"]["test"]["accuracy"] == pytest.approx(right)
    info = record["train_info"]
    assert info["pooling"] in POOLINGS
    assert (info["pooling_origin"], info["unit_length"]) == ("validation", False)
    assert info["num_trainable_params"] > 0
    assert info["status"] == "not trained"


def test_equal_calls_give_equal_files(tokens, tiny_models, tmp_path):
    for name in ("one", "two"):
        eval_embedding.main(words(tiny_models, tokens, tmp_path / name, "bert"))
    one, two = (tmp_path / name / "rows.parquet" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_every_row_is_embedded_once(tokens, tiny_models, tmp_path, monkeypatch):
    embedded: Counter[str] = Counter()
    embed = eval_embedding.embed

    def counted(backbone, rows, *more):
        embedded.update(rows["id"])
        return embed(backbone, rows, *more)

    monkeypatch.setattr(eval_embedding, "embed", counted)
    eval_embedding.main(words(tiny_models, tokens, tmp_path, "bert"))
    splits = datasets.load_from_disk(tokens["bert"])
    assert embedded == Counter(name for split in splits.values() for name in split["id"])
    validation = json.loads((tmp_path / "metrics.json").read_text())["metrics"]["validation"]
    assert 0 < validation["eval_seconds"] < 60


def test_pooling_and_strength_are_chosen_on_validation():
    """The classes differ in the mean alone; in the other poolings there is noise."""
    rng = np.random.default_rng(0)
    labels = {"train": [0, 1] * 100, "validation": [0, 1] * 50}
    parts = {
        split: Embedded(
            {
                FIRST: rng.normal(size=(len(of), 4)),
                MEAN: rng.normal(size=(len(of), 4)) + 3 * np.array(of)[:, None],
            },
            1.0,
        )
        for split, of in labels.items()
    }
    losses, fitted = eval_embedding.fit(parts, labels)
    assert losses[MEAN] < 0.1 < losses[FIRST]
    vectors = parts["validation"].vectors[MEAN]
    assert fitted[MEAN].score(vectors, labels["validation"]) > 0.95
    said = eval_embedding.reason(None, {MEAN: 0.25, FIRST: 0.5})
    assert said == "the better one on the validation rows by log loss (mean 0.2500, first 0.5000)"


NEW = "sentence_transformers.sentence_transformer.modules.pooling.Pooling"
OLD = "sentence_transformers.models.Pooling"


def with_modules(model: Path, config: object, *more: str, pooling: str = OLD) -> Path:
    """Add the files of sentence-transformers to a model; returns its directory."""
    kinds = ["sentence_transformers.models.Transformer", pooling, *more]
    paths = ["", *(f"{n}_{kind.rpartition('.')[2]}" for n, kind in enumerate(kinds[1:], start=1))]
    modules = [{"path": path, "type": kind} for path, kind in zip(paths, kinds, strict=True)]
    (model / "modules.json").write_text(json.dumps(modules))
    (model / "1_Pooling").mkdir()
    (model / "1_Pooling/config.json").write_text(json.dumps(config))
    return model


NORMALIZE, DENSE = (f"sentence_transformers.models.{name}" for name in ("Normalize", "Dense"))


@pytest.mark.parametrize(
    ("config", "more", "expected"),
    [
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, (), MEAN),
        ({"pooling_mode_cls_token": True}, (NORMALIZE,), Pooling(("first",), is_unit=True)),
        ({"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}, (), LAST),
        (
            {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True},
            (DENSE,),
            Pooling(("max", "mean")),
        ),
        ({"pooling_mode": "cls"}, (), FIRST),
        ({"pooling_mode": ["mean", "lasttoken"]}, (), Pooling(("mean", "last"))),
        ({"word_embedding_dimension": 32}, (), MEAN),
    ],
)
def test_the_pooling_is_read_from_the_files_of_the_model(tmp_path, caplog, config, more, expected):
    kind = NEW if "pooling_mode" in config else OLD
    found = eval_embedding.own_pooling(with_modules(tmp_path, config, *more, pooling=kind))
    assert found == expected
    assert ("left out of the model are its modules Dense" in caplog.text) == (DENSE in more)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"pooling_mode_weightedmean_tokens": True}, "weightedmean"),
        ({"pooling_mode": ["mean", "mean_sqrt_len_tokens"]}, "mean_sqrt_len_tokens"),
        ([], "list"),
    ],
)
def test_a_pooling_that_is_not_supported_is_logged(tmp_path, caplog, config, named):
    assert eval_embedding.own_pooling(with_modules(tmp_path, config)) is None
    (line,) = caplog.messages
    assert "no pooling that is known here" in line
    assert named in line
    assert "\n" not in line


def test_files_that_say_nothing_or_are_damaged(tmp_path, caplog):
    assert eval_embedding.own_pooling(tmp_path) is None
    assert caplog.messages == []
    with_modules(tmp_path, {})
    (tmp_path / "modules.json").write_text("[{")
    assert eval_embedding.own_pooling(tmp_path) is None
    assert "is no whole JSON file" in caplog.text


def test_a_model_that_says_how_it_pools_is_pooled_so(tokens, tiny_models, tmp_path, caplog):
    """Whatever the validation rows say."""
    model = Path(shutil.copytree(tiny_models["bert"], tmp_path / "model"))
    with_modules(model, {"pooling_mode_max_tokens": True}, NORMALIZE)
    checksums.write(model)
    with caplog.at_level(logging.INFO):
        eval_embedding.main(words({"bert": model}, tokens, tmp_path, "bert"))
    info = files.read_json(tmp_path / "metrics.json")["train_info"]
    assert (info["pooling"], info["pooling_origin"], info["unit_length"]) == ("max", "model", True)
    assert "pooled by max, as the files of the model say; C = " in caplog.text


def test_an_encoder_decoder_is_read_by_its_encoder(tmp_path):
    from tests.architectures import make

    directory = make("t5", tmp_path / "t5")
    backbone = transformers.AutoModel.from_pretrained(directory).eval()
    rows = [{"input_ids": [4, 5, 6], "length": 3}, {"input_ids": [7, 8], "length": 2}]
    rows = datasets.Dataset.from_list(rows)
    found = eval_embedding.embed(backbone, rows, Padding(0), 64, [MEAN])
    assert found.vectors[MEAN].shape == (2, backbone.config.hidden_size)
    assert eval_embedding.usual_poolings(backbone, rows, Padding(0)) == [MEAN, FIRST]


def test_hidden_states_that_are_not_finite_end_the_job():
    def reader(**inputs):
        hidden = torch.full((*inputs["input_ids"].shape, 2), float("nan"))
        return SimpleNamespace(last_hidden_state=hidden)

    config = SimpleNamespace(is_encoder_decoder=False, model_type="toy")
    backbone = SimpleNamespace(config=config, device="cpu")
    methods = {"__call__": lambda _, **inputs: reader(**inputs), "eval": lambda self: self}
    broken = type("Broken", (SimpleNamespace,), methods)
    rows = datasets.Dataset.from_list([{"input_ids": [1, 2], "length": 2}])
    with pytest.raises(InputError, match="hidden states of this toy are not finite"):
        eval_embedding.embed(broken(**vars(backbone)), rows, Padding(0), 8, [MEAN])

"""Kinds of variants: what is trained, what is saved, what loads again."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from common import models, tokens, variants
from common.cli import InputError

torch.set_num_threads(1)


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def base(request, tiny_models, make_tokens) -> tuple[Path, tokens.Tokens]:
    return tiny_models[request.param], tokens.load(make_tokens(request.param))


@pytest.fixture
def classifier(base):
    model, data = base
    return models.load_classifier(model, data.labels, data.pad_token_id, 0)


def trained_names(model) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_a_head_trains_the_head_alone(classifier):
    model = variants.adapt(classifier, "head", {})
    assert trained_names(model) == set(variants.head_parameters(classifier))
    counts = variants.count_parameters(model, classifier, "head")
    assert counts["num_trainable_params"] == counts["num_head_params"] > 0
    assert counts["num_adapter_params"] == 0


def test_full_trains_everything(classifier):
    model = variants.adapt(classifier, "full", {})
    assert trained_names(model) == {name for name, _ in model.named_parameters()}
    counts = variants.count_parameters(model, classifier, "full")
    assert counts["num_trainable_params"] == counts["num_total_params"]
    assert 0 < counts["num_head_params"] < counts["num_total_params"]


def save(model, classifier, kind: str, base, directory: Path) -> None:
    tokenizer = models.load_tokenizer(base[0])
    variants.save(model, classifier, kind, tokenizer, {"name": "org/base"}, directory)


@pytest.mark.parametrize("kind", ["head", "full"])
def test_what_is_saved_loads_over_another_head(classifier, base, tmp_path, kind):
    path, data = base
    model = variants.adapt(classifier, kind, {}).eval()
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter.add_(0.01)
    save(model, classifier, kind, base, tmp_path / "adapter")
    args = (path, tmp_path / "adapter", kind, data.labels, data.pad_token_id)
    loaded = variants.load(*args, seed=1).eval()
    text = torch.tensor([data.splits["test"][0]["input_ids"]])
    assert torch.equal(loaded(text).logits, model(text).logits)
    config = json.loads((tmp_path / "adapter" / "config.json").read_text())
    assert config["id2label"] == {"0": "ham", "1": "spam"}
    assert (tmp_path / "adapter" / "tokenizer.json").exists()


def test_a_saved_head_is_small(classifier, base, tmp_path):
    model = variants.adapt(classifier, "head", {})
    save(model, classifier, "head", base, tmp_path)
    weights = load_file(tmp_path / variants.HEAD_WEIGHTS)
    assert set(weights) == set(variants.head_parameters(classifier))


@pytest.mark.parametrize("damage", ["missing", "lacking", "shape"])
def test_a_damaged_head_does_not_load(classifier, base, tmp_path, damage):
    path, data = base
    save(variants.adapt(classifier, "head", {}), classifier, "head", base, tmp_path)
    file = tmp_path / variants.HEAD_WEIGHTS
    weights = load_file(file)
    name = sorted(weights)[-1]
    if damage == "missing":
        file.unlink()
    elif damage == "lacking":
        save_file({k: v for k, v in weights.items() if k != name}, file)
    else:
        save_file(weights | {name: torch.zeros(7, 3)}, file)
    with pytest.raises(InputError, match="train the cell again"):
        variants.load(path, tmp_path, "head", data.labels, data.pad_token_id, seed=1)


def test_a_full_model_without_its_head_does_not_load(classifier, base, tmp_path):
    path, data = base
    save(variants.adapt(classifier, "full", {}), classifier, "full", base, tmp_path)
    file = tmp_path / "model.safetensors"
    head = set(variants.head_parameters(classifier))
    kept = {name: value for name, value in load_file(file).items() if name not in head}
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match="lacks"):
        variants.load(path, tmp_path, "full", data.labels, data.pad_token_id, seed=1)

"""Kinds of variants: what is trained, what is saved, what loads again."""

from pathlib import Path

import pytest
import torch
import transformers
import yaml
from safetensors.torch import load_file, save_file

from common import checksums, files
from common.cli import InputError
from common.data import encoding, tokens
from common.model import models, variants
from common.model.collator import Padding

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
    assert trained_names(model) == set(classifier.head_parameters())
    counts = variants.count_parameters(model, classifier, "head")
    assert counts["num_trainable_params"] == counts["num_head_params"] > 0
    assert counts["num_adapter_params"] == 0


def test_full_trains_everything(classifier):
    model = variants.adapt(classifier, "full", {})
    assert trained_names(model) == {name for name, _ in model.named_parameters()}
    counts = variants.count_parameters(model, classifier, "full")
    assert counts["num_trainable_params"] == counts["num_total_params"]
    assert 0 < counts["num_head_params"] < counts["num_total_params"]


def save(model, classifier: models.Classifier, kind: str, base, directory: Path) -> Path:
    """Save a cell as train_lora does, on whose tokens ``base`` it was trained."""
    head = list(classifier.head_parameters())
    record = variants.Record(kind, head, {"name": "org/base"}, "left", 16)
    variants.save(model, encoding.load_tokenizer(base[0]), record, directory)
    return directory


@pytest.mark.parametrize("kind", ["head", "full"])
def test_what_is_saved_loads_over_another_head(classifier, base, tmp_path, kind):
    path, data = base
    model = variants.adapt(classifier, kind, {}).eval()
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter.add_(0.01)
    loaded = variants.load(path, save(model, classifier, kind, base, tmp_path / "adapter")).eval()
    text = torch.tensor([data.splits["test"][0]["input_ids"]])
    assert torch.equal(loaded(text).logits, model(text).logits)
    assert variants.labels_of(tmp_path / "adapter") == ["ham", "spam"]


def test_the_tokenizer_cuts_pads_and_spells_as_in_training(classifier, base, tmp_path):
    """Whoever loads it with transformers alone gets the tokens of the training."""
    path, data = base
    save(variants.adapt(classifier, "head", {}), classifier, "head", base, tmp_path)
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert (loaded.model_max_length, loaded.padding_side) == (16, "left")
    assert variants.padding_of(tmp_path) == Padding(data.pad_token_id, "left")
    ours = encoding.load_tokenizer(path)
    text = f"win {loaded.pad_token} cash " * 20
    expected = encoding.Encoder(ours, 16)([text])["input_ids"]
    assert loaded([text], truncation=True)["input_ids"] == expected
    assert loaded.pad_token_id not in expected[0][:-1]


def test_a_saved_head_is_small(classifier, base, tmp_path):
    save(variants.adapt(classifier, "head", {}), classifier, "head", base, tmp_path)
    assert set(load_file(tmp_path / variants.HEAD_WEIGHTS)) == set(classifier.head_parameters())


@pytest.mark.parametrize("damage", ["missing", "lacking", "shape"])
def test_a_damaged_head_does_not_load(classifier, base, tmp_path, damage):
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
    checksums.write(tmp_path)
    with pytest.raises(InputError, match=f"delete {tmp_path} and run again"):
        variants.load(base[0], tmp_path)


def test_a_full_model_without_its_head_does_not_load(classifier, base, tmp_path):
    save(variants.adapt(classifier, "full", {}), classifier, "full", base, tmp_path)
    file = tmp_path / "model.safetensors"
    kept = {n: v for n, v in load_file(file).items() if n not in classifier.head_parameters()}
    save_file(kept, file, metadata={"format": "pt"})
    checksums.write(tmp_path)
    with pytest.raises(InputError, match="lacks"):
        variants.load(base[0], tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("classifier.json", None, "holds no trained model: name the adapter/ of a finished cell"),
        ("classifier.json", {"kind": "head"}, r"classifier\.json is of another version"),
        ("config.json", {"id2label": {"0": "a"}}, "has no pad_token_id: delete .* and run again"),
        ("config.json", {"pad_token_id": 0}, "has no id2label: delete .* and run again"),
    ],
)
def test_a_cell_without_its_records_does_not_load(
    classifier, base, tmp_path, file, content, complaint
):
    save(variants.adapt(classifier, "head", {}), classifier, "head", base, tmp_path)
    (tmp_path / file).unlink() if content is None else files.write_json(content, tmp_path / file)
    checksums.write(tmp_path)
    with pytest.raises(InputError, match=complaint):
        variants.load(base[0], tmp_path)


def test_no_cell_trains_with_the_seed_of_the_head_that_is_replaced():
    schema = yaml.safe_load((Path(__file__).parents[1] / "config/schema.yaml").read_text())
    assert schema["properties"]["seeds"]["items"]["maximum"] < variants.HEAD_SEED

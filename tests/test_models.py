"""Pretrained models as classifiers: heads, layers, what does not load."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from common import checksums
from common.cli import InputError
from common.model import collator, models
from common.model.collator import Padding
from tests.architectures import ARCHITECTURES, PAD, make, rows

LABELS = ["ham", "spam", "other"]


@pytest.fixture
def copied(tiny_models, tmp_path) -> Path:
    """A BERT to damage."""
    return Path(shutil.copytree(tiny_models["bert"], tmp_path / "bert"))


def parameters(classifier: models.Classifier) -> dict[str, torch.Tensor]:
    return dict(classifier.model.named_parameters())


@pytest.mark.parametrize(("name", "head"), [("bert", "classifier"), ("gpt2", "score")])
def test_the_head_is_what_is_not_pretrained(tiny_models, name, head):
    classifier = models.load_classifier(tiny_models[name], LABELS, 0, 0)
    assert classifier.head == [head]
    assert classifier.model.get_submodule(head).weight.shape == (3, 32)


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_equal_seeds_draw_equal_heads_only_the_head_differs(tiny_models, name):
    first, again, other = (
        parameters(models.load_classifier(tiny_models[name], LABELS, 0, seed)) for seed in (3, 3, 4)
    )
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    differing = [key for key, value in first.items() if not torch.equal(value, other[key])]
    assert differing == [{"bert": "classifier.weight", "gpt2": "score.weight"}[name]]


def test_config_carries_names_and_padding(tiny_models):
    config = models.load_classifier(tiny_models["gpt2"], LABELS, 5, 0).model.config
    assert config.id2label == dict(enumerate(LABELS))
    assert config.label2id == {"ham": 0, "spam": 1, "other": 2}
    assert (config.num_labels, config.pad_token_id) == (3, 5)


def test_a_pooler_that_the_checkpoint_lacks_is_part_of_the_head(tiny_models, tmp_path):
    bert = transformers.AutoModel.from_pretrained(tiny_models["bert"], add_pooling_layer=False)
    bert.save_pretrained(tmp_path)
    classifier = models.load_classifier(tmp_path, LABELS, 0, 0)
    assert classifier.head == ["classifier", "bert.pooler.dense"]


@pytest.fixture
def with_head(tmp_path) -> Callable[..., Path]:
    """A tiny model with a head for LABELS in their order, under these class names."""

    def save(architecture: str, names: list[str] = LABELS) -> Path:
        base = make(architecture, tmp_path / "base")
        model = models.load_classifier(base, LABELS, PAD, 0).model
        model.config.id2label = dict(enumerate(names))
        model.save_pretrained(tmp_path / "model")
        return tmp_path / "model"

    return save


@pytest.mark.parametrize(
    ("architecture", "declared"),
    [(name, name in ("bert", "gpt2")) for name in ARCHITECTURES],
)
def test_classes_of_a_head_that_came_with_the_model_go_by_name(with_head, architecture, declared):
    """A published financial classifier has positive, negative, neutral; datasets sort theirs."""
    names = ["LABEL_0", "LABEL_1", "LABEL_2"] if declared else [f" {n.upper()}" for n in LABELS]
    directory = with_head(architecture, names)
    first = models.load_classifier(directory, names, PAD, 1)
    sorted_labels = sorted(LABELS)
    assert sorted_labels != LABELS
    second = models.load_classifier(
        directory, sorted_labels, PAD, 2, classes=LABELS if declared else None
    )
    assert (first.pretrained_head, second.pretrained_head) == (True, True)
    assert second.head_origin == ("declared" if declared else "matched")
    assert second.own_classes == names
    assert list(second.model.config.id2label.values()) == sorted_labels
    by_name = [LABELS.index(label) for label in sorted_labels]
    batch = [rows(4, 3)[0]]
    found, expected = (collator.logits(each.model, batch, Padding(PAD)) for each in (second, first))
    assert torch.allclose(found, expected[:, by_name], rtol=0, atol=1e-5)
    assert not torch.allclose(found, expected, rtol=0, atol=1e-3)


def test_a_head_whose_classes_are_others_by_name_is_drawn_anew(with_head, caplog):
    directory = with_head("bert", ["LABEL_0", "LABEL_1", "LABEL_2"])
    first, again, other = (models.load_classifier(directory, LABELS, PAD, s) for s in (0, 0, 1))
    assert (first.pretrained_head, first.head_origin) == (False, "redrawn")
    assert first.drawn == ["classifier.bias", "classifier.weight"]
    weights = [parameters(each)["classifier.weight"] for each in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    own = load_file(directory / "model.safetensors")
    assert not torch.equal(weights[0], own["classifier.weight"])
    backbone = "bert.encoder.layer.0.output.dense.weight"
    assert torch.equal(parameters(first)[backbone], own[backbone])
    first.log_head(logging.getLogger("test"))
    (line,) = caplog.messages
    assert "a trained head for LABEL_0, LABEL_1, LABEL_2, which are not the classes" in line
    assert "set `head: {classes: [...]}`" in line


def test_classes_that_differ_by_case_alone_go_by_their_very_names():
    assert models.class_order(["a", "A"], ["A", "a"]) == [1, 0]
    assert models.class_order(["a", "A"], ["a", "b"]) is None
    assert models.class_order(["Pos", "neg "], ["neg", "pos"]) == [1, 0]


def test_declared_classes_that_are_not_those_of_the_dataset_are_refused(with_head, tiny_models):
    directory = with_head("bert")
    with pytest.raises(InputError, match=r"`head.classes` is a, b, c, and the classes of the data"):
        models.load_classifier(directory, LABELS, PAD, 0, classes=["a", "b", "c"])
    with pytest.raises(InputError, match=r"has no trained head for 3: take `classes` out"):
        models.load_classifier(tiny_models["bert"], LABELS, PAD, 0, classes=LABELS)


def test_a_head_for_other_classes_is_drawn_anew(tiny_models, tmp_path):
    two = models.load_classifier(tiny_models["bert"], LABELS[:2], 0, 0).model
    two.save_pretrained(tmp_path)
    three, other = (models.load_classifier(tmp_path, LABELS, 0, seed) for seed in (0, 1))
    assert three.head == ["classifier"]
    weights = [classifier.model.classifier.weight for classifier in (three, other)]
    assert weights[0].shape == (3, 32)
    assert not torch.equal(*weights)


@pytest.mark.parametrize(("name", "per_layer"), [("bert", 6), ("gpt2", 4)])
def test_linear_layers_are_those_of_the_backbone(tiny_models, name, per_layer):
    classifier = models.load_classifier(tiny_models[name], LABELS, 0, 0)
    layers = models.linear_layers(classifier.model)
    assert len(layers) == len(set(layers)) == 2 * per_layer
    assert not [layer for layer in layers if "pooler" in layer or layer in classifier.head]
    for layer in layers:
        assert classifier.model.get_submodule(layer).weight.ndim == 2


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("model.safetensors", cut),
        ("model.safetensors", Path.unlink),
        ("model.safetensors", lambda path: path.write_text("version https://git-lfs")),
        ("config.json", Path.unlink),
        ("config.json", lambda path: path.write_text('{"model_type": "bretr"}')),
        ("config.json", lambda path: path.write_text('{"model_type":')),
    ],
)
def test_a_damaged_model_is_refused_in_one_line(copied, file, damage):
    damage(copied / file)
    checksums.write(copied)
    with pytest.raises(
        InputError, match=r"no classifier that loads: .*; delete .*bert and run again, or choose"
    ) as e:
        models.load_classifier(copied, LABELS, 0, 0)
    assert "\n" not in str(e.value)


def test_a_checkpoint_without_all_of_its_backbone_is_refused(copied):
    """transformers would draw what is missing, and PEFT would train it in full."""
    weights = load_file(copied / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    checksums.write(copied)
    with pytest.raises(InputError, match=r"of 1 modules, such as bert\.encoder\.layer\.1\.output"):
        models.load_classifier(copied, LABELS, 0, 0)


def test_a_checkpoint_of_another_size_is_refused(copied):
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"vocab_size": 7}))
    checksums.write(copied)
    with pytest.raises(InputError, match=r"in other sizes .* such as bert\.embeddings"):
        models.load_classifier(copied, LABELS, 0, 0)


def test_pickled_weights_are_not_loaded(copied):
    weights = models.load_classifier(copied, LABELS, 0, 0).model.state_dict()
    (copied / "model.safetensors").unlink()
    torch.save(weights, copied / "pytorch_model.bin")
    checksums.write(copied)
    with pytest.raises(InputError, match="holds no classifier that loads"):
        models.load_classifier(copied, LABELS, 0, 0)


def test_a_missing_directory_is_not_taken_for_a_hub_id(tmp_path):
    with pytest.raises(InputError, match="is no directory: name one that `fetch_model` wrote"):
        models.load_classifier(tmp_path / "none", LABELS, 0, 0)

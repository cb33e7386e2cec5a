"""Adapters across methods and architectures: put on, counted, saved, loaded, refused."""

import json
import shutil
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from common import checksums, files
from common.cli import InputError
from common.data import encoding
from common.model import adapters, models, variants
from tests.architectures import make

LABELS = ["ham", "spam"]
# What the methods of the matrix (test_matrix.py) leave out.
SPECIAL: dict[str, dict] = {
    "biases": {"r": 4, "bias": "all"},
    "query and value": {"r": 4, "target_modules": ["query", "value"]},
    "PEFT's choice": {"r": 4, "target_modules": None},
    "the pooler too": {"r": 4, "modules_to_save": ["pooler"]},
    "lower case": {"peft_type": "loha", "r": 2},
}


@pytest.fixture(scope="module")
def load_model(tiny_models):
    """The tiny BERT or GPT-2 as a classifier."""

    def load(name: str = "bert") -> models.Classifier:
        return models.load_classifier(tiny_models[name], LABELS, 0, 0)

    return load


@pytest.fixture(scope="module")
def save(tiny_models):
    """Save a classifier's adapter, as train_lora does."""
    tokenizer = encoding.load_tokenizer(tiny_models["bert"])

    def to(directory: Path, model, head: list[str], **source: str) -> Path:
        record = variants.Record("adapter", head, {"name": "bert"} | source, "right", 16)
        variants.save(model, tokenizer, record, directory)
        return directory

    return to


@pytest.fixture(scope="module")
def saved(tmp_path_factory, load_model, save) -> Path:
    """A saved LoRA of BERT. Copy it before you damage it."""
    classifier = load_model()
    head = list(classifier.head_parameters())
    model = moved(adapters.attach(classifier, {"r": 4}))
    return save(tmp_path_factory.mktemp("saved") / "adapter", model, head)


@pytest.fixture
def copied(saved, tmp_path) -> Path:
    """An adapter to change, and then to seal anew: else the seal would tell of it first."""
    return Path(shutil.copytree(saved, tmp_path / "adapter"))


def moved(model):
    """The model with all that is trainable moved at random, as training would."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)
    return model


def logits(model) -> torch.Tensor:
    """Return what the model says about two texts, the second of them padded."""
    texts = torch.tensor([[3, 9, 12, 20, 33, 1], [3, 7, 30, 1, 0, 0]])
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    with torch.inference_mode():
        return model.eval()(input_ids=texts, attention_mask=mask).logits


@pytest.mark.parametrize("settings", SPECIAL.values(), ids=SPECIAL)
def test_special_settings_reload_bit_by_bit(load_model, save, tiny_models, tmp_path, settings):
    fresh = load_model()
    untouched, head = logits(fresh.model), list(fresh.head_parameters())
    model = moved(adapters.attach(fresh, settings))
    again = variants.load(tiny_models["bert"], save(tmp_path / "adapter", model, head))
    assert torch.equal(logits(again), logits(model))
    assert not torch.allclose(logits(again), untouched, atol=1e-3)


def test_only_adapter_and_head_can_be_trained(load_model):
    model = adapters.attach(load_model(), {"r": 4})
    trainable = [name for name, value in model.named_parameters() if value.requires_grad]
    heads = [name for name in trainable if "classifier.modules_to_save" in name]
    assert len(heads) == 2
    assert all("lora_" in name for name in set(trainable) - set(heads))


def test_a_fresh_adapter_changes_nothing(load_model):
    plain = logits(load_model().model)
    assert torch.equal(logits(adapters.attach(load_model(), {"r": 4})), plain)


def test_settings_and_head_are_left_as_they_are(load_model):
    classifier, settings = load_model(), {"r": 4, "modules_to_save": ["pooler"]}
    adapters.attach(classifier, settings)
    assert settings == {"r": 4, "modules_to_save": ["pooler"]}
    assert classifier.head == ["classifier"]


def test_parameters_by_hand(load_model):
    """Rank 2 on query and value: 2 layers of 2 matrices of 32 times 32."""
    bare = sum(value.numel() for value in load_model().model.parameters())
    model = adapters.attach(load_model(), {"r": 2, "target_modules": ["query", "value"]})
    adapter, head = 2 * 2 * 2 * (32 + 32), 32 * 2 + 2
    assert adapters.count_parameters(model) == {
        "num_trainable_params": adapter + head,
        "num_adapter_params": adapter,
        "num_head_params": head,
        "num_total_params": bare + adapter,
    }


def test_dora_counts_its_magnitudes(load_model):
    counts = [
        adapters.count_parameters(adapters.attach(load_model(), {"r": 4, "use_dora": dora}))
        for dora in (False, True)
    ]
    magnitudes = 2 * (5 * 32 + 64)  # one per output of each layer
    assert counts[1]["num_adapter_params"] - counts[0]["num_adapter_params"] == magnitudes


def test_an_adapter_of_nothing_is_refused(load_model):
    """OSF knows no Conv1D and says nothing: only the head would be trained."""
    with pytest.raises(InputError, match="PEFT refuses this OSF config: it adapts nothing"):
        adapters.attach(load_model("gpt2"), {"peft_type": "OSF"})


def test_saved_config_names_each_module_once_in_order(saved):
    config = json.loads((saved / "adapter_config.json").read_text())
    for key in ("target_modules", "modules_to_save"):
        assert config[key] == sorted(set(config[key]))
    assert len(config["target_modules"]) == 12


@pytest.mark.parametrize(
    ("source", "name", "revision"),
    [
        ({"name": "owner/model", "revision": "abc123"}, "owner/model", "abc123"),
        ({"name": "gt-model", "version": "gt-model==1.2"}, "gt-model==1.2", None),
    ],
)
def test_saved_config_names_where_the_base_came_from(
    load_model, save, tmp_path, source, name, revision
):
    """No path of this machine: the directory travels."""
    adapter = save(tmp_path, adapters.attach(load_model(), {"r": 4}), [], **source)
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == (name, revision)
    texts = [file.read_text() for file in adapter.glob("*.json")]
    assert not any(str(tmp_path.parents[1]) in text for text in texts)


def test_size_is_that_of_the_weights(saved):
    numbers = sum(value.numel() for value in load_file(saved / adapters.WEIGHTS).values())
    assert 4 * numbers < files.weights_bytes(saved) < 4 * numbers + 10_000


@pytest.mark.parametrize("part", ["classifier.weight", "classifier.bias", "lora_B"])
def test_missing_weights_do_not_pass_silently(tiny_models, copied, part):
    kept = {k: v for k, v in load_file(copied / adapters.WEIGHTS).items() if part not in k}
    save_file(kept, copied / adapters.WEIGHTS)
    checksums.write(copied)
    with pytest.raises(InputError, match=f"lacks .* weights of this model, such as .*{part}"):
        variants.load(tiny_models["bert"], copied)


def test_a_head_that_peft_does_not_know_of_is_missed(save, tmp_path):
    """An adapter made without our list of heads: PEFT looks for "classifier" and no more."""
    base = make("deberta-v2", tmp_path / "model")
    first = models.load_classifier(base, LABELS, 0, 0)
    head = list(first.head_parameters())
    lora = peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query_proj"])
    adapter = save(tmp_path / "adapter", peft.get_peft_model(first.model, lora), head)
    with pytest.raises(InputError, match=r"lacks 2 weights of this model, such as pooler\."):
        variants.load(base, adapter)


def test_adapter_of_another_model_is_refused(tiny_models, saved):
    with pytest.raises(
        InputError, match=r"does not load on this model: .*; delete .* and run again"
    ):
        variants.load(tiny_models["gpt2"], saved)


def test_adapter_for_other_classes_is_refused(tiny_models, copied):
    """PEFT drops weights of other shapes with a warning."""
    config = json.loads((copied / "config.json").read_text())
    names = {"0": "a", "1": "b", "2": "c"}
    (copied / "config.json").write_text(json.dumps(config | {"id2label": names}))
    checksums.write(copied)
    with pytest.raises(InputError, match=r"lacks 2 weights of this model, such as .*classifier"):
        variants.load(tiny_models["bert"], copied)


@pytest.mark.parametrize("file", ["adapter_config.json", adapters.WEIGHTS])
@pytest.mark.parametrize("damage", ["gone", "cut", "empty"])
def test_damaged_adapter_is_refused(tiny_models, copied, file, damage):
    path = copied / file
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    checksums.write(copied)
    with pytest.raises(InputError, match="does not load on this model") as caught:
        variants.load(tiny_models["bert"], copied)
    assert "\n" not in str(caught.value)

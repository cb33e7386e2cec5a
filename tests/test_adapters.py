"""Adapters across methods and architectures: put on, counted, saved, loaded, refused."""

import json
import shutil
from pathlib import Path

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from common import adapters, files, models
from common.cli import InputError

LABELS = ["ham", "spam"]
OTHER_SEED = 99
SIZE = {
    "vocab_size": 80,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
SHORT = {"vocab_size": 80, "pad_token_id": 0}
# Architectures whose heads and layers have other names than BERT's: configs, and what is the head.
ARCHITECTURES: dict[str, tuple[dict, list[str]]] = {
    "distilbert": (
        {**SHORT, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
        ["pre_classifier", "classifier"],
    ),
    "roberta": (SIZE, ["classifier"]),
    "albert": ({**SIZE, "embedding_size": 16}, ["classifier"]),
    "electra": ({**SIZE, "embedding_size": 16}, ["classifier"]),
    "deberta-v2": (SIZE, ["pooler", "classifier"]),
    "modernbert": (
        {**SIZE, **dict.fromkeys(("bos_token_id", "eos_token_id"), 1)}
        | dict.fromkeys(("cls_token_id", "sep_token_id"), 1),
        ["head", "classifier"],
    ),
    "mpnet": (SIZE, ["classifier"]),
    "llama": (SIZE, ["score"]),
    "qwen2": ({**SIZE, "num_key_value_heads": 2}, ["score"]),
    "opt": ({**SIZE, "ffn_dim": 64, "word_embed_proj_dim": 32}, ["score"]),
    "t5": (
        {**SHORT, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2,
         "eos_token_id": 1, "decoder_start_token_id": 0},
        ["classification_head"],
    ),
}  # fmt: skip
# Methods of PEFT that differ in where they sit and in how they are saved.
METHODS: dict[str, dict] = {
    "lora": {"r": 4},
    "dora": {"r": 4, "use_dora": True},
    "rslora": {"r": 4, "use_rslora": True},
    "biases": {"r": 4, "bias": "all"},
    "query-value": {"r": 4, "target_modules": ["query", "value"]},
    "peft-choice": {"r": 4, "target_modules": None},
    "pooler-too": {"r": 4, "modules_to_save": ["pooler"]},
    "ia3": {"peft_type": "IA3"},
    "vera": {"peft_type": "VERA", "r": 8},
    "loha": {"peft_type": "loha", "r": 2},
    "oft": {"peft_type": "OFT", "oft_block_size": 8},
    "prefix": {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4},
    "prompt": {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4},
}


@pytest.fixture(scope="module")
def load_model(tiny_models):
    """The tiny BERT or GPT-2 as a classifier."""

    def load(name: str = "bert", seed: int = 0, labels: list[str] = LABELS) -> models.Classifier:
        return models.load_classifier(tiny_models[name], labels, 0, seed)

    return load


@pytest.fixture(scope="module")
def tokenizer(tiny_models):
    return models.load_tokenizer(tiny_models["bert"])


@pytest.fixture(scope="module")
def saved(tmp_path_factory, load_model, tokenizer) -> Path:
    """A saved LoRA of BERT. Copy it before you damage it."""
    directory = tmp_path_factory.mktemp("saved") / "adapter"
    model = moved(adapters.attach(load_model(), {"r": 4}))
    adapters.save(model, tokenizer, {"name": "bert"}, directory)
    return directory


@pytest.fixture
def copied(saved, tmp_path) -> Path:
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
    """What the model says about two texts, the second of them padded."""
    texts = torch.tensor([[3, 9, 12, 20, 33, 1], [3, 7, 30, 1, 0, 0]])
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    with torch.inference_mode():
        return model.eval()(input_ids=texts, attention_mask=mask).logits


@pytest.mark.parametrize("method", METHODS)
def test_every_method_reloads_bit_by_bit(load_model, tokenizer, tmp_path, method):
    fresh = load_model()
    untouched = logits(fresh.model)
    model = moved(adapters.attach(fresh, METHODS[method]))
    adapters.save(model, tokenizer, {"name": "bert"}, tmp_path / "adapter")
    again = adapters.load(load_model(seed=OTHER_SEED), tmp_path / "adapter")
    assert torch.equal(logits(again), logits(model))
    assert not torch.allclose(logits(again), untouched, atol=1e-3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_reloads_bit_by_bit(tokenizer, tmp_path, architecture):
    values, head = ARCHITECTURES[architecture]
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(architecture, **values)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "model")
    fresh, other = (
        models.load_classifier(tmp_path / "model", LABELS, 0, seed) for seed in (0, OTHER_SEED)
    )
    assert fresh.head == head
    model = moved(adapters.attach(fresh, {"r": 4}))
    adapters.save(model, tokenizer, {"name": architecture}, tmp_path / "adapter")
    assert torch.equal(logits(adapters.load(other, tmp_path / "adapter")), logits(model))


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


def test_saved_config_names_the_commit_of_a_hub_model(load_model, tokenizer, tmp_path):
    source = {"name": "owner/model", "revision": "abc123"}
    adapters.save(adapters.attach(load_model(), {"r": 4}), tokenizer, source, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("owner/model", "abc123")
    assert not (tmp_path / "README.md").exists()  # a card is written once there are figures


def test_saved_config_names_the_version_of_a_package(load_model, tokenizer, tmp_path):
    source = {"name": "gt-model", "version": "gt-model==1.2"}
    adapters.save(adapters.attach(load_model(), {"r": 4}), tokenizer, source, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "gt-model==1.2"


def test_size_is_that_of_the_weights(saved):
    numbers = sum(value.numel() for value in load_file(saved / adapters.WEIGHTS).values())
    assert 4 * numbers < files.weights_bytes(saved) < 4 * numbers + 10_000


@pytest.mark.parametrize("part", ["classifier.weight", "classifier.bias", "lora_B"])
def test_missing_weights_do_not_pass_silently(load_model, copied, part):
    kept = {k: v for k, v in load_file(copied / adapters.WEIGHTS).items() if part not in k}
    save_file(kept, copied / adapters.WEIGHTS)
    with pytest.raises(InputError, match=f"lacks .* weights of this model, such as .*{part}"):
        adapters.load(load_model(seed=OTHER_SEED), copied)


def test_a_head_that_peft_does_not_know_of_is_missed(tmp_path):
    """An adapter made without our list of heads: PEFT looks for "classifier" and no more."""
    config = transformers.AutoConfig.for_model("deberta-v2", **SIZE)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "model")
    first, second = (models.load_classifier(tmp_path / "model", LABELS, 0, s) for s in (0, 1))
    lora = peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query_proj"])
    peft.get_peft_model(first.model, lora).save_pretrained(tmp_path / "adapter")
    with pytest.raises(InputError, match=r"lacks 2 weights of this model, such as pooler\."):
        adapters.load(second, tmp_path / "adapter")


def test_adapter_of_another_model_is_refused(load_model, saved):
    with pytest.raises(InputError, match=r"lacks 1 weights of this model, such as score"):
        adapters.load(load_model("gpt2"), saved)


def test_adapter_for_other_classes_is_refused(load_model, saved):
    with pytest.raises(InputError, match=r"does not load on this model: .*size mismatch") as caught:
        adapters.load(load_model(labels=["a", "b", "c"]), saved)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["adapter_config.json", adapters.WEIGHTS])
@pytest.mark.parametrize("damage", ["gone", "cut", "empty"])
def test_damaged_adapter_is_refused(load_model, copied, file, damage):
    path = copied / file
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    with pytest.raises(InputError, match="does not load on this model") as caught:
        adapters.load(load_model(), copied)
    assert "\n" not in str(caught.value)

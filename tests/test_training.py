"""The training loop: what it moves, which dropout acts, what it reports."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from common import adapters, models, tokens, training
from common.cli import InputError

torch.set_num_threads(1)  # more of them wait for each other where other jobs run

SETTINGS = training.Settings(
    learning_rate=1e-2,
    epochs=1,
    max_steps=None,
    batch_size=8,
    weight_decay=0.0,
    warmup=0.0,
    scheduler="linear",
    max_grad_norm=1.0,
    backbone_dropout=False,
)


@pytest.fixture(scope="module")
def data(make_tokens) -> dict[str, tokens.Tokens]:
    return {model: tokens.load(make_tokens(model, count=120)) for model in ("bert", "gpt2")}


@pytest.fixture(scope="module")
def make_model(data, tiny_models):
    """A classifier with a fresh adapter."""

    def make(name: str, **peft):
        some = data[name]
        classifier = models.load_classifier(tiny_models[name], some.labels, some.pad_token_id, 0)
        return adapters.attach(classifier, {"r": 4, **peft})

    return make


def train(model, some: tokens.Tokens, **changes):
    return training.train(model, some.splits, some.pad_token_id, replace(SETTINGS, **changes), 0)


def test_a_model_learns(data, make_model):
    result = train(make_model("gpt2"), data["gpt2"], epochs=8)
    losses = [entry["eval_loss"] for entry in result["metrics"] if "eval_loss" in entry]
    assert len(losses) == 8
    assert losses[-1] < 0.2  # a coin's is log 2, 0.69


def test_only_adapter_and_head_move(data, make_model):
    model = make_model("bert")
    before = {name: value.clone() for name, value in model.named_parameters()}
    train(model, data["bert"])
    moved = {n for n, value in model.named_parameters() if not torch.equal(value, before[n])}
    assert moved == {name for name, value in model.named_parameters() if value.requires_grad}
    assert {("lora_" in name, "modules_to_save" in name) for name in moved} == {(1, 0), (0, 1)}


def modes_in_training(model, data: tokens.Tokens, backbone_dropout: bool) -> dict[str, set[bool]]:
    """Whether each module was in training mode in the steps, evaluations left out."""
    seen: dict[str, set[bool]] = {}

    def note(name):
        def hook(module, _):
            if model.training:
                seen.setdefault(name, set()).add(module.training)

        return hook

    hooks = [m.register_forward_pre_hook(note(name)) for name, m in model.named_modules()]
    train(model, data, max_steps=2, backbone_dropout=backbone_dropout)
    for hook in hooks:
        hook.remove()
    return seen


def test_backbone_dropout_off_leaves_that_of_the_adapter(data, make_model):
    modes = modes_in_training(make_model("bert", lora_dropout=0.1), data["bert"], False)
    adapter = {name: mode for name, mode in modes.items() if "lora_dropout" in name}
    backbone = {n: mode for n, mode in modes.items() if ".bert." in n and "lora_" not in n}
    dropouts = {name: mode for name, mode in backbone.items() if name.endswith("dropout")}
    assert len(adapter) == 12
    assert all(mode == {True} for mode in adapter.values())
    assert len(dropouts) == 5  # of the embeddings, and two in each layer
    assert all(mode == {False} for mode in dropouts.values())
    assert modes["base_model.model.bert.encoder.layer.0.attention.self"] == {False}
    assert modes["base_model.model.dropout"] == {True}  # of the head
    assert modes["base_model.model.classifier.modules_to_save.default"] == {True}


def test_backbone_dropout_on(data, make_model):
    modes = modes_in_training(make_model("bert", lora_dropout=0.1), data["bert"], True)
    assert all(mode == {True} for mode in modes.values())


def test_a_pooler_that_is_trained_keeps_its_mode(make_model):
    model = make_model("bert", modules_to_save=["pooler"])
    training.without_backbone_dropout(model)
    model.train()
    bert = model.get_base_model().bert
    assert bert.pooler.modules_to_save["default"].training
    assert not bert.encoder.training
    model.eval()
    assert not any(module.training for module in model.modules())


def test_max_steps_end_training_early(data, make_model):
    result = train(make_model("bert"), data["bert"], max_steps=3, epochs=5)
    assert result["steps"] == 3
    rows = len(data["bert"].splits["train"])
    assert result["epochs"] == pytest.approx(3 / math.ceil(rows / 8), abs=1e-3)


def test_speed_counts_rows_and_real_tokens(data, make_model):
    result = train(make_model("bert"), data["bert"])
    train_rows = data["bert"].splits["train"]
    ratio = result["train_tokens_per_second"] / result["train_samples_per_second"]
    assert ratio == pytest.approx(sum(train_rows["length"]) / len(train_rows), rel=0.01)
    speed = len(train_rows) / result["train_time"]
    assert result["train_samples_per_second"] == pytest.approx(speed, rel=0.01)


def test_nothing_but_train_and_validation_is_asked_for(data, make_model):
    splits = {name: data["bert"].splits[name] for name in ("train", "validation")}
    training.train(make_model("bert"), splits, 0, replace(SETTINGS, max_steps=1), 0)


def test_weights_do_not_depend_on_what_was_drawn_before(data, make_model):
    states = []
    for draws in (0, 17):
        model = make_model("bert", lora_dropout=0.1)
        torch.rand(draws)
        train(model, data["bert"], max_steps=3)
        states.append(model.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_refused(loss):
    log = [{"loss": 0.7, "step": 10}, {"eval_loss": loss, "step": 20}]
    with pytest.raises(InputError, match="not finite at step 20; lower `learning_rate`"):
        training.require_finite(log)
    training.require_finite(log[:1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("epochs", 0.0),
        ("warmup", -0.1),
        ("weight_decay", -1.0),
        ("max_grad_norm", math.nan),
    ],
)
def test_settings_out_of_range(name, value):
    with pytest.raises(InputError, match=f"`{name}` is {value}: set it"):
        replace(SETTINGS, **{name: value})


def test_settings_reach_the_trainer(tmp_path: Path):
    settings = replace(SETTINGS, warmup=0.2, weight_decay=0.5, scheduler="cosine", batch_size=3)
    made = training.arguments(settings, seed=7, folder=str(tmp_path))
    assert (made.warmup_steps, made.weight_decay) == (0.2, 0.5)
    assert (made.lr_scheduler_type, made.per_device_train_batch_size) == ("cosine", 3)
    assert (made.seed, made.data_seed, made.max_steps) == (7, 7, -1)
    assert made.save_strategy == "no"
    assert made.report_to == []

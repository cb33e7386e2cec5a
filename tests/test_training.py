"""The training loop: what it moves, which dropout acts, what it reports."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from common.cli import InputError
from common.data import tokens
from common.model import adapters, collator, models, training
from common.model.collator import Padding
from common.model.trainer import AcceleratorMemory, BestEpoch, RequireFiniteLoss
from tests.architectures import make

torch.set_num_threads(1)  # more of them wait for each other where other jobs run

ROWS = 86  # for training, of 120

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
    padding = Padding(some.pad_token_id)
    return training.train(model, some.splits, padding, replace(SETTINGS, **changes), 0)


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
    """Return whether each module was in training mode in the steps, evaluations left out."""
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
    models.without_backbone_dropout(model)
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
    training.train(make_model("bert"), splits, Padding(0), replace(SETTINGS, max_steps=1), 0)


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
    watch, state = RequireFiniteLoss(), SimpleNamespace(global_step=20)
    # In fp16 gradients overflow now and then, and the step is left out.
    watch.on_log(None, state, None, {"loss": 0.7, "grad_norm": math.inf})
    with pytest.raises(InputError, match=r"`eval_loss` is -?(nan|inf) at step 20; lower `learning"):
        watch.on_log(None, state, None, {"eval_loss": loss})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("epochs", 0.0),
        ("warmup", -0.1),
        ("weight_decay", -1.0),
        ("max_grad_norm", math.nan),
        ("failed_above", 0.0),
        ("failed_above", 1.1),
        ("retries", 6),
        ("retries", -1),
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


def trained(model, some: tokens.Tokens, **changes) -> dict[str, torch.Tensor]:
    """Return the trainable parameters after a training."""
    train(model, some, **changes)
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def largest_difference(one: dict, other: dict) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_accumulated_gradients_are_those_of_one_large_batch(data, make_model, name):
    def first_log(**changes) -> dict[str, float]:
        # Adam would hide a gradient of another scale; the log shows loss and gradient as they are.
        changes |= {"max_steps": 10, "learning_rate": 1e-5}
        return train(make_model(name), data[name], **changes)["metrics"][0]

    whole = first_log(batch_size=8)
    parts = first_log(batch_size=4, gradient_accumulation_steps=2)
    assert parts["loss"] == pytest.approx(whole["loss"], rel=1e-3)
    assert parts["grad_norm"] == pytest.approx(whole["grad_norm"], rel=1e-2)


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_checkpointing_computes_twice_and_gives_the_same(data, make_model, name):
    calls = {True: 0, False: 0}
    weights = {}
    for checkpointing in calls:
        model = make_model(name)
        linear = next(m for m in model.modules() if hasattr(m, "lora_A"))

        def count(module, *_, checkpointing=checkpointing):
            calls[checkpointing] += module.training and torch.is_grad_enabled()

        linear.register_forward_hook(count)
        weights[checkpointing] = trained(
            model, data[name], gradient_checkpointing=checkpointing, max_steps=2
        )
    assert calls[True] > calls[False] > 0
    assert largest_difference(weights[True], weights[False]) < 1e-5


def test_the_best_epoch_is_kept():
    model = torch.nn.Linear(1, 1)
    best = BestEpoch(model, patience=None)
    for epoch, loss in enumerate([0.5, 0.3, 0.4], start=1):
        torch.nn.init.constant_(model.weight, epoch)
        best.on_evaluate(None, SimpleNamespace(epoch=epoch), None, {"eval_loss": loss})
    best.restore()
    assert (best.epoch, float(model.weight)) == (2, 2.0)


@pytest.mark.full
def test_patience_ends_the_training(data, make_model):
    # Nothing moves at this rate, so no epoch is better than the first.
    result = train(make_model("bert"), data["bert"], epochs=9, patience=2, learning_rate=1e-30)
    assert (result["epochs"], result["kept_epoch"]) == (3, 1)


def test_the_last_epoch_is_kept_unless_told_otherwise(data, make_model):
    result = train(make_model("bert"), data["bert"], epochs=2, learning_rate=1e-30)
    assert (result["epochs"], result["kept_epoch"]) == (2, 2)


def test_balanced_classes_count_alike(make_model):
    labels = [0] * 90 + [1] * 10
    model = make_model("bert")
    loss = training.loss_function(model, replace(SETTINGS, class_weights="balanced"), labels)
    assert loss is not None

    def outputs(rows: int) -> SimpleNamespace:
        return SimpleNamespace(logits=torch.zeros(rows, 2))

    rows = torch.tensor(labels)
    assert float(loss(outputs(100), rows)) == pytest.approx(math.log(2), rel=1e-6)
    rare = float(loss(outputs(10), rows[-10:], 100))
    assert rare == pytest.approx(math.log(2) / 2, rel=1e-6)
    plain = training.loss_function(model, SETTINGS, labels)
    assert plain is not None
    assert float(plain(outputs(10), rows[-10:], 100)) == pytest.approx(math.log(2) / 10, rel=1e-6)


def test_a_training_minimises_the_loss_that_its_class_weights_ask_for(data, make_model):
    """Of 40 rows, 8 are of one class: the logged loss is that of scikit-learn with its weights."""
    some = data["gpt2"]  # without dropout in what is trained
    labels = np.array(some.splits["train"]["label"])
    chosen = [*np.flatnonzero(labels == 0)[:32], *np.flatnonzero(labels == 1)[:8]]
    splits = {**some.splits, "train": some.splits["train"].select(chosen)}
    model = make_model("gpt2")
    for name, value in model.named_parameters():
        if "score.modules_to_save" in name:
            value.data *= 30  # else all answers are near one half, and weights change little
    padding = Padding(some.pad_token_id)
    given = collator.logits(model, [splits["train"][row] for row in range(40)], padding)
    truth = labels[chosen]
    logged, expected = {}, {}
    for weights, each in (("none", [1, 1]), ("balanced", [40 / (2 * 32), 40 / (2 * 8)])):
        # Nothing moves at this rate; one step has all rows.
        settings = replace(SETTINGS, class_weights=weights, batch_size=40, learning_rate=1e-30,
                           epochs=10)  # fmt: skip
        log = training.train(model, splits, padding, settings, 0)["metrics"]
        logged[weights] = next(entry["loss"] for entry in log if "loss" in entry)
        expected[weights] = log_loss(
            truth, given.double().softmax(dim=1).numpy(), sample_weight=np.array(each)[truth]
        )
    assert abs(expected["none"] - expected["balanced"]) > 0.01
    assert logged == pytest.approx(expected, abs=1e-4)


def test_lora_plus_moves_b_faster(data, make_model):
    plain = trained(make_model("bert"), data["bert"], max_steps=1, learning_rate=1e-4)
    model = make_model("bert")
    faster = trained(model, data["bert"], max_steps=1, learning_rate=1e-4, lora_plus_ratio=16.0)
    b = next(name for name in plain if "lora_B" in name)
    assert float(faster[b].abs().max()) > 10 * float(plain[b].abs().max())


def test_lora_plus_wants_lora(data, tiny_models):
    some = data["bert"]
    classifier = models.load_classifier(tiny_models["bert"], some.labels, some.pad_token_id, 0)
    model = adapters.attach(classifier, {"peft_type": "IA3"})
    with pytest.raises(InputError, match="`lora_plus_ratio` is for LORA"):
        train(model, data["bert"], lora_plus_ratio=16.0)


def test_adalora_takes_ranks_away(data, tiny_models):
    some = data["bert"]
    classifier = models.load_classifier(tiny_models["bert"], some.labels, some.pad_token_id, 0)
    config = {"peft_type": "ADALORA", "init_r": 4, "target_r": 1, "deltaT": 1}
    model = adapters.attach(classifier, config, steps=20)
    train(model, some, max_steps=20)
    ranks = model.peft_config["default"].rank_pattern
    kept = sum(sum(mask) for mask in ranks.values())
    assert 0 < kept < 4 * len(ranks)


@pytest.mark.skipif(torch.cuda.is_available(), reason="refused only where there is no GPU")
def test_half_precision_is_refused_without_a_gpu(data, make_model):
    with pytest.raises(InputError, match="`precision: fp16` needs a GPU"):
        train(make_model("bert"), data["bert"], precision="fp16")


@pytest.mark.parametrize(
    ("precision", "gpu", "has_bf16", "wanted"),
    [
        ("auto", False, True, "fp32"),
        ("auto", True, True, "bf16"),
        ("auto", True, False, "fp32"),
        ("fp32", True, True, "fp32"),
        ("bf16", False, False, "bf16"),
    ],
)
def test_auto_is_bf16_on_a_gpu_that_has_it(monkeypatch, precision, gpu, has_bf16, wanted):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has_bf16)
    assert training.resolved_precision(precision) == wanted


def test_bfloat16_trains(data, make_model):
    result = train(make_model("bert"), data["bert"], precision="bf16", max_steps=2)
    assert result["status"] == "success"


@pytest.mark.parametrize(
    ("changes", "samples"),
    [
        ({"epochs": 2}, 2 * ROWS),
        ({"max_steps": 3}, 3 * 8),
        ({"max_steps": 3, "gradient_accumulation_steps": 2}, 3 * 16),
    ],
)
def test_rows_and_tokens_are_counted_as_often_as_they_were_trained_on(
    data, make_model, changes, samples
):
    rows = data["bert"].splits["train"]
    assert len(rows) == ROWS
    result = train(make_model("bert"), data["bert"], **changes)
    assert result["train_samples"] == samples
    expected = samples * sum(rows["length"]) / ROWS
    # Of an epoch that is cut short, it depends on which rows were drawn.
    assert result["train_tokens"] == pytest.approx(expected, rel=0 if "epochs" in changes else 0.3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU holds memory")
def test_no_memory_of_an_accelerator_is_held_without_one(data, make_model):
    result = train(make_model("bert"), data["bert"], max_steps=2)
    names = ("reserved_avg", "max", "reserved_99th")
    assert [result[f"accelerator_memory_{name}"] for name in names] == [0, 0, 0]


def test_the_memory_of_an_accelerator_is_noted_after_every_step(monkeypatch):
    memory, held = AcceleratorMemory(), iter(range(100, 300, 2))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: next(held))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 400)
    for _ in range(100):
        memory.on_step_end(None, None, None)
    assert memory.summary() == {
        "accelerator_memory_reserved_avg": 199,
        "accelerator_memory_max": 400,
        "accelerator_memory_reserved_99th": 296,
    }


@pytest.mark.parametrize(
    "changes", [{"class_weights": "balanced"}, {"gradient_accumulation_steps": 2}]
)
def test_adalora_keeps_its_own_loss(data, tiny_models, changes):
    some = data["bert"]
    classifier = models.load_classifier(tiny_models["bert"], some.labels, some.pad_token_id, 0)
    model = adapters.attach(classifier, {"peft_type": "ADALORA"}, steps=20)
    assert training.loss_function(model, SETTINGS, [0, 1]) is None
    with pytest.raises(InputError, match="cannot be used with ADALORA"):
        train(model, some, **changes)


def test_the_best_epoch_keeps_the_ranks_that_it_had(data, tiny_models):
    """AdaLoRA takes ranks away later: what it masks then, the best epoch still had."""
    some = data["bert"]
    classifier = models.load_classifier(tiny_models["bert"], some.labels, some.pad_token_id, 0)
    config = {"peft_type": "ADALORA", "init_r": 4, "target_r": 1, "deltaT": 1, "tinit": 8}
    model = adapters.attach(classifier, config, steps=20)
    best = BestEpoch(model, None)
    control = SimpleNamespace(should_training_stop=False)
    best.on_evaluate(None, SimpleNamespace(epoch=1.0), control, {"eval_loss": 0.5})
    model.peft_config["default"].rank_pattern = {"layer": [True, False]}
    best.restore()
    assert model.peft_config["default"].rank_pattern is None


def test_prefixes_are_not_checkpointed(data, tiny_models):
    some = data["bert"]
    classifier = models.load_classifier(tiny_models["bert"], some.labels, some.pad_token_id, 0)
    prefix = {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4}
    with pytest.raises(InputError, match="`gradient_checkpointing` drops what PREFIX_TUNING"):
        train(adapters.attach(classifier, prefix), some, gradient_checkpointing=True)


def test_checkpointing_drops_nothing_out_of_a_frozen_layer(tmp_path):
    """OPT's layers call dropout themselves, and a checkpointed layer stays in training mode."""
    base = make("opt", tmp_path, dropout=0.5)
    model = adapters.attach(models.load_classifier(base, ["a", "b"], 0, 0), {"r": 4})
    models.base_model(model).gradient_checkpointing_enable({"use_reentrant": False})
    models.without_backbone_dropout(model)
    model.train()
    first, second = (model(torch.tensor([[5, 6, 7]])).logits for _ in range(2))
    assert torch.equal(first, second)


def progress(losses: list[float], **changes) -> dict:
    """Three quarters of one class: answering the shares of the classes costs 0.562 nats."""
    log = [{"loss": loss} for loss in losses]
    return training.progress(log, [0, 0, 0, 1] * 5, replace(SETTINGS, **changes))


@pytest.mark.parametrize(
    ("losses", "changes", "failed"),
    [
        ([0.90, 0.70, 0.57, 0.53, 0.52], {}, True),  # 0.54, and 0.95 of the entropy are 0.534
        ([0.90, 0.70, 0.55, 0.53, 0.52], {}, False),
        ([0.90, 0.70, 0.55, 0.53, 0.52], {"failed_above": 0.94}, True),
        ([0.90, 0.70, 0.57, 0.53, 0.52], {"failed_above": 0.97}, False),
        ([0.90, 0.70, 0.67, 0.66, 0.65], {"class_weights": "balanced"}, True),
        ([0.90, 0.70, 0.66, 0.65, 0.65], {"class_weights": "balanced"}, False),
    ],
)
def test_a_training_that_ends_at_the_loss_of_guessing_has_failed(losses, changes, failed):
    found = progress(losses, **changes)
    entropy = math.log(2) if "class_weights" in changes else 0.5623351
    assert found["class_entropy"] == pytest.approx(entropy)
    assert found["final_loss"] == pytest.approx(np.mean(losses[-3:]))
    assert found["learned_nothing"] is failed


def test_of_a_long_training_the_last_fifth_counts():
    losses = [0.5] * 16 + [0.4, 0.1, 0.1, 0.2]
    assert progress(losses)["final_loss"] == pytest.approx(0.2)
    assert progress([0.3])["final_loss"] == 0.3
    found = training.progress([{"train_loss": 0.2}], [0, 1], SETTINGS)
    assert found["final_loss"] == 0.2


def test_no_attempt_has_the_seed_of_another_or_of_a_cell():
    of_config = 2**31 - 2  # the highest
    seeds = [training.seed_of_attempt(seed, attempt)
             for seed in (*range(100), 399_999_999) for attempt in range(1, 6)]  # fmt: skip
    assert len(set(seeds)) == len(seeds)
    assert of_config < min(seeds)
    highest = [training.seed_of_attempt(of_config, attempt) for attempt in range(6)]
    assert highest[0] == of_config
    assert all(of_config < seed < 2**32 for seed in highest[1:])
    assert training.seed_of_attempt(0, 1) == 2**31 - 1  # as the documentation says
    assert training.seed_of_attempt(1, 2) == 2**31 + 5


def test_a_control_is_not_tried_again():
    with pytest.raises(InputError, match="`permute_labels` with `retries` of 1: a control"):
        replace(SETTINGS, permute_labels=True, retries=1)


def test_a_training_that_learns_is_told_from_one_that_cannot(data, make_model):
    learned = train(make_model("bert"), data["bert"], max_steps=60, learning_rate=1e-2)
    still = train(make_model("bert"), data["bert"], max_steps=20, learning_rate=1e-9)
    assert (learned["learned_nothing"], still["learned_nothing"]) == (False, True)

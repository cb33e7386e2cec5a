"""The round-trip check: a cell whose saved model is not the trained one fails without figures."""

import json
import math
import shutil
from pathlib import Path

import datasets
import pytest
import torch

import eval_lora
import train_lora
from common import checksums
from common.cli import InputError
from common.data import tokens
from common.model import adapters, models, roundtrip
from common.model.collator import Padding
from tests.architectures import PAD, make, rows

torch.set_num_threads(1)


def train(root: Path, model: Path, data: Path, *more: str) -> Path:
    """Train a cell; returns its directory."""
    words = ["--model", model, "--tokens", data, "--max-steps", "4", "--learning-rate", "1e-2"]
    words += ["--output", root / "adapter", "--record", root / "training.json", *more]
    train_lora.main([str(word) for word in words])
    return root


def evaluate(cell: Path, model: Path, data: Path, *more: str) -> dict:
    """Evaluate a cell; returns its metrics.json."""
    words = ["--model", model, "--tokens", data, "--adapter", cell / "adapter"]
    words += ["--training", cell / "training.json", "--metrics", cell / "metrics.json"]
    words += ["--predictions", cell / "predictions.parquet", *more]
    eval_lora.main([str(word) for word in words])
    return json.loads((cell / "metrics.json").read_text())


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def inputs(request, make_tokens, tiny_models) -> tuple[Path, Path]:
    return tiny_models[request.param], make_tokens(request.param, ("ham", "spam", "other"), 90)


KINDS = {
    "adapter": ["--peft", '{"r": 4, "lora_dropout": 0.1}'],
    "bf16": ["--peft", '{"r": 4}', "--precision", "bf16"],
    "head": ["--kind", "head"],
    "full": ["--kind", "full"],
}


@pytest.mark.quick(3)
@pytest.mark.parametrize("words", KINDS.values(), ids=KINDS)
def test_every_kind_passes_bit_for_bit(inputs, tmp_path, words):
    cell = train(tmp_path, *inputs, *words)
    record = evaluate(cell, *inputs)
    assert record["round_trip"]["reload_difference"] == 0
    assert record["round_trip"]["tolerance"] < 1e-4
    assert record["round_trip"]["padding_difference"] < 1e-5


@pytest.fixture
def deberta(make_tokens, tiny_models, tmp_path) -> tuple[Path, Path]:
    """A model whose pooler is drawn with the head; PEFT knows of its classifier alone."""
    directory = make("deberta-v2", tmp_path / "deberta")
    for name in ("tokenizer.json", "tokenizer_config.json", "source.json"):
        shutil.copy(tiny_models["bert"] / name, directory)
    checksums.write(directory)
    return directory, make_tokens("bert", count=60)


@pytest.mark.parametrize("guard", ["by its names", "by its logits"])
def test_a_head_left_out_on_purpose_is_caught(deberta, tmp_path, monkeypatch, guard):
    """A part of the head is not in `modules_to_save`; PEFT saves and loads without a word."""
    complete = adapters.add_classifier_fields
    monkeypatch.setattr(
        adapters, "add_classifier_fields", lambda *args: complete(*args) | {"modules_to_save": None}
    )
    if guard == "by its logits":
        monkeypatch.setattr(adapters, "require_head", lambda *_: None)
    cell = train(tmp_path, *deberta, "--peft", '{"r": 4}')
    lines = {"by its names": "lacks 2 weights of this model, such as pooler"}
    with pytest.raises(InputError, match=lines.get(guard, "is not the trained one")):
        evaluate(cell, *deberta)
    assert not (cell / "metrics.json").exists()
    monkeypatch.undo()
    assert evaluate(train(tmp_path, *deberta), *deberta)["round_trip"]["reload_difference"] == 0


def test_an_adapter_without_its_task_is_caught(inputs, tmp_path, monkeypatch):
    """The mistake of the published notebooks: no task type, so the head is not trained either."""
    complete = adapters.add_classifier_fields
    without = {"task_type": None, "modules_to_save": None}
    monkeypatch.setattr(adapters, "add_classifier_fields", lambda *args: complete(*args) | without)
    cell = train(tmp_path, *inputs, "--peft", '{"r": 4}')
    with pytest.raises(InputError, match=r"lacks \d weights of this model, such as"):
        evaluate(cell, *inputs)


def test_another_head_in_the_files_is_caught(inputs, tmp_path):
    """All weights are there, and they are not those that were trained."""
    from safetensors.torch import load_file, save_file

    cell = train(tmp_path, *inputs, "--peft", '{"r": 4}')
    file = cell / "adapter" / "adapter_model.safetensors"
    weights = load_file(file)
    name = next(key for key in weights if "lora" not in key and key.endswith("weight"))
    weights[name] = weights[name] * 1.001
    save_file(weights, file)
    checksums.write(cell / "adapter")
    with pytest.raises(InputError, match="the saved model is not the trained one"):
        evaluate(cell, *inputs)
    assert not (cell / "metrics.json").exists()
    assert not (cell / "predictions.parquet").exists()


@pytest.mark.quick(1)
def test_another_number_of_threads_is_allowed_its_rounding(inputs, tmp_path):
    cell = train(tmp_path, *inputs, "--kind", "head")
    record = evaluate(cell, *inputs, "--threads", "2")
    assert record["round_trip"]["tolerance"] >= roundtrip.ROUNDING
    assert record["round_trip"]["reload_difference"] <= roundtrip.ROUNDING


def test_no_number_does_not_pass():
    with pytest.raises(InputError, match="differ by nan"):
        roundtrip.check([[math.nan, 0.0]], [[0.0, 0.0]], tolerance=1.0)


def test_a_difference_within_rounding_passes_on_another_machine_alone():
    found, recorded = [[0.5, 0.0]], [[0.50001, 0.0]]
    assert roundtrip.check(found, recorded, roundtrip.ROUNDING)["reload_difference"] > 0
    with pytest.raises(InputError):
        roundtrip.check(found, recorded, 0.0)


def test_the_check_reads_a_few_rows_only(inputs):
    _, data = inputs
    assert len(roundtrip.rows(tokens.load(data).splits["train"])) == roundtrip.ROWS


def classifier(architecture: str, directory: Path, **changes: object) -> models.Classifier:
    return models.load_classifier(make(architecture, directory, **changes), ["a", "b"], PAD, 0)


def test_a_decoder_is_padded_on_the_right(tmp_path):
    """On the left, GPT-2 gives other logits and no error."""
    model = classifier("gpt2", tmp_path).model
    chosen, gap = roundtrip.choose_padding(model, rows(20, 2), PAD)
    assert chosen == Padding(PAD, "right")
    assert gap < 1e-6
    short_and_long = roundtrip.probe(rows(20, 2))
    assert roundtrip.difference(model, short_and_long, Padding(PAD, "left")) > 0.01


def test_xlnet_is_padded_on_the_left(tmp_path):
    """It classifies by the last position, padding or not."""
    chosen, gap = roundtrip.choose_padding(classifier("xlnet", tmp_path).model, rows(20, 2), PAD)
    assert chosen.side == "left"
    assert gap < 1e-6


def test_a_tuned_prompt_of_gpt2_has_no_right_side(tmp_path):
    prompt = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4}
    model = adapters.attach(classifier("gpt2", tmp_path), prompt)
    with pytest.raises(InputError, match=r"moves .* this gpt2, by .* on the right and .* chance"):
        roundtrip.choose_padding(model, rows(20, 2), PAD)


def test_rows_of_one_length_are_probed_too(tmp_path):
    """The rows to come may be of others."""
    alike = datasets.Dataset.from_dict(
        {"input_ids": [[9, 8, 7, 1], [5, 5, 5, 1]], "label": [0, 1], "length": [4, 4]}
    )
    assert [row["input_ids"] for row in roundtrip.probe(alike)] == [[9, 7, 1], [9, 8, 7, 1]]
    chosen, _ = roundtrip.choose_padding(classifier("xlnet", tmp_path).model, alike, PAD)
    assert chosen.side == "left"


def test_a_variant_that_does_not_run_is_refused_in_one_line(tmp_path):
    prefix = {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4}
    model = adapters.attach(classifier("albert", tmp_path), prefix)
    with pytest.raises(InputError, match="this albert does not run on texts of ") as caught:
        roundtrip.choose_padding(model, rows(20, 2), PAD)
    assert "\n" not in str(caught.value)


def test_texts_beyond_the_positions_of_a_model_are_refused_in_one_line(tmp_path):
    model = classifier("gpt2", tmp_path, n_positions=8).model
    with pytest.raises(InputError, match=r"texts of 12 tokens: .* lower `max_length`") as caught:
        roundtrip.choose_padding(model, rows(20, 2), PAD)
    assert "\n" not in str(caught.value)


def test_rounding_of_the_same_program_is_allowed_and_on_record():
    """GPT-Neo and GPT-J: 1.49e-8, where memory lies otherwise."""
    found = roundtrip.check([[0.5, 1.49e-8]], [[0.5, 0.0]], roundtrip.SAME_PROGRAM_ROUNDING)
    assert found == {"reload_difference": 1.49e-8, "tolerance": roundtrip.SAME_PROGRAM_ROUNDING}
    with pytest.raises(InputError, match="its logits differ by 1e-06"):
        roundtrip.check([[0.5, 1e-6]], [[0.5, 0.0]], roundtrip.SAME_PROGRAM_ROUNDING)

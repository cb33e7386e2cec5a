"""QLoRA: a backbone held in 4 or 8 bits, trained on, saved, loaded anew."""

import importlib
import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch

from common import checksums
from common.cli import InputError
from common.model import adapters, models, quantization, variants
from tests.architectures import make
from tests.test_roundtrip import evaluate, train

torch.set_num_threads(1)


WIDE = {  # bitsandbytes on a CPU wants rows of 64 weights
    "bert": {"hidden_size": 64, "intermediate_size": 128},
    "gpt2": {"n_embd": 64},
}


@pytest.fixture(scope="module", params=WIDE)
def base(request, tiny_models, make_tokens, tmp_path_factory) -> tuple[Path, Path]:
    """A model and its tokens."""
    name = request.param
    directory = tmp_path_factory.mktemp("wide")
    for file in ("tokenizer.json", "tokenizer_config.json", "source.json"):
        shutil.copy(tiny_models[name] / file, directory)
    make(name, directory, **WIDE[name])
    checksums.write(directory)
    return directory, make_tokens(name, ("ham", "spam", "other"), 90)


@pytest.mark.quick(2)
@pytest.mark.parametrize("bits", quantization.BITS)
@pytest.mark.parametrize("peft", ['{"r": 4}', '{"peft_type": "IA3"}'])
def test_a_quantized_cell_passes_the_round_trip_check(base, tmp_path, bits, peft):
    cell = train(tmp_path, *base, "--quantization", bits, "--peft", peft)
    record = evaluate(cell, *base)
    assert record["round_trip"]["reload_difference"] == 0
    assert record["run_info"]["quantization"] == bits


@pytest.mark.parametrize(("bits", "kind"), [("4bit", "Linear4bit"), ("8bit", "Linear8bitLt")])
def test_the_backbone_is_held_in_few_bits_and_the_head_is_not(base, bits, kind):
    held = quantization.options(bits, "fp32", base[0])
    classifier = models.load_classifier(base[0], ["a", "b"], 0, 0, held)
    model = classifier.model
    layers = models.linear_layers(model)
    assert {type(model.get_submodule(name)).__name__ for name in layers} == {kind}
    head = model.get_submodule(classifier.head[0])
    assert type(head) is torch.nn.Linear
    assert head.weight.dtype == torch.float32


@pytest.mark.quick(1)
def test_parameters_are_counted_as_if_they_were_whole(base, tmp_path):
    counts = []
    for name, more in {"whole": [], "4bit": ["--quantization", "4bit"]}.items():
        cell = train(tmp_path / name, *base, "--peft", '{"r": 4}', *more)
        info = json.loads((cell / "training.json").read_text())["train_info"]
        counts.append([info[f"num_{part}_params"] for part in ("trainable", "adapter", "total")])
    assert counts[0] == counts[1]


def test_layers_below_a_quantized_one_are_trained(base):
    """Also after an evaluation, in which bitsandbytes would pack the weights on some CPUs."""
    held = quantization.options("4bit", "fp32", base[0])
    model = adapters.attach(models.load_classifier(base[0], ["a", "b"], 0, 0, held), {"r": 4})
    text = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.fill_(0.1)  # at 0, as it begins, A has no gradient
        model.eval()(text)
    model(text, labels=torch.tensor([1])).loss.backward()
    trained = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    assert [name for name, grad in trained.items() if grad is None or not grad.any()] == []


def test_the_arithmetic_is_in_the_precision_of_the_training(tiny_models):
    options = quantization.options("4bit", "bf16", tiny_models["bert"])
    assert options is not None
    assert options["bnb_4bit_compute_dtype"] == "bfloat16"
    assert json.loads(json.dumps(options)) == options
    assert quantization.options(None, "bf16", tiny_models["bert"]) is None


def without_package(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)


def without_kernels(monkeypatch) -> None:
    def fails(_: str) -> None:
        raise OSError("libcudart.so.12: cannot open shared object file\nmore")

    monkeypatch.setattr(importlib, "import_module", fails)


@pytest.mark.parametrize(
    ("missing", "complaint"),
    [
        (without_package, "needs a package that is not installed: pip install .bitsandbytes>=0.50"),
        (without_kernels, "bitsandbytes does not work on this machine: libcudart.so.12"),
    ],
)
def test_where_it_cannot_be_done_it_is_refused(base, tmp_path, monkeypatch, missing, complaint):
    missing(monkeypatch)
    with pytest.raises(InputError, match=complaint) as caught:
        train(tmp_path, *base, "--quantization", "4bit")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_quantized_cell_is_not_loaded_without_the_package(base, tmp_path, monkeypatch):
    cell = train(tmp_path, *base, "--quantization", "4bit")
    without_package(monkeypatch)
    with pytest.raises(InputError, match="pip install"):
        variants.load(base[0], cell / "adapter")


@pytest.mark.parametrize("kind", ["head", "full"])
def test_only_adapters_are_trained_on_a_quantized_model(base, tmp_path, kind):
    with pytest.raises(InputError, match=f"`quantization` is for adapters, not for `{kind}`"):
        train(tmp_path, *base, "--quantization", "8bit", "--kind", kind)


def test_what_a_method_cannot_do_is_refused_in_one_line(base, tmp_path):
    with pytest.raises(InputError, match="does not run on texts of") as caught:
        train(tmp_path, *base, "--quantization", "4bit", "--peft", '{"peft_type": "LOHA"}')
    assert "\n" not in str(caught.value)

"""Every PEFT method on every architecture: trained, saved, loaded anew, padded; or refused.

`make test` takes the diagonals: each architecture with a few methods, and each method on a few
architectures. `make test-all` takes the whole matrix.

There is no third case. What rules/compatibility.py refuses when the config is read cannot be
right: it fails here too, and what it does not refuse passes the round-trip check bit for bit.
"""

from dataclasses import replace
from pathlib import Path

import datasets
import peft
import pytest
import torch

from common.cli import InputError
from common.data import encoding
from common.model import collator, models, roundtrip, training, variants
from rules import compatibility
from rules.compatibility import why_not
from tests.architectures import (
    ARCHITECTURES,
    END,
    METHODS,
    MORE,
    PAD,
    TRAINING,
    UNFIT,
    make,
    rows,
)  # fmt: skip

torch.set_num_threads(1)

SETTINGS = training.Settings(
    learning_rate=1e-2, epochs=1, max_steps=None, batch_size=4, weight_decay=0.0, warmup=0.0,
    scheduler="constant", max_grad_norm=1.0, backbone_dropout=False,
)  # fmt: skip
STEPS = 3
CASES = [(name, method) for name in ARCHITECTURES for method in METHODS]
POSSIBLE = [case for case in CASES if why_not(case[0], METHODS[case[1]]) is None]
REFUSED = [case for case in CASES if case not in POSSIBLE]


def diagonal(cases: list[tuple]) -> list:
    """Return the cases, those off the diagonal of rows (first value) and columns marked `full`."""
    rows, columns = (list(dict.fromkeys(values)) for values in list(zip(*cases, strict=True))[:2])

    def quick(row: str, column: str, *_: object) -> bool:
        return (rows.index(row) - columns.index(column)) % len(columns) == 0

    return [pytest.param(*case, marks=() if quick(*case) else pytest.mark.full) for case in cases]


# How it shows that the reason given is the true one.
FAILS = {
    compatibility.NO_PAST: "does not run .*past key values",
    compatibility.NO_MASK: "does not run .*The size of tensor a .* must match",
    compatibility.NO_EMBEDDINGS: "does not run .*input embeddings",
    compatibility.NO_SIDE: "padding moves the probabilities",
    compatibility.NO_CONV1D: "Conv1D|shapes cannot be multiplied",
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bases")
    return {name: make(name, root / name) for name in (*ARCHITECTURES, *MORE, *UNFIT)}


@pytest.fixture(scope="module")
def tokenizer(tiny_models):
    return encoding.load_tokenizer(tiny_models["bert"])


def splits(classes: int) -> datasets.DatasetDict:
    return datasets.DatasetDict(train=rows(4 * STEPS, classes), validation=rows(9, classes))


def load(base: Path, classes: int) -> models.Classifier:
    return models.load_classifier(base, [f"c{number}" for number in range(classes)], PAD, 0)


# Heads differ with the architecture and not with the method: two classes with LoRA alone.
TWO_CLASSES = [pytest.param(name, "lora", 2, marks=pytest.mark.full) for name in ARCHITECTURES]
FIVE_CLASSES = [(*case, 5) for case in POSSIBLE]


@pytest.mark.parametrize(
    ("architecture", "method", "classes"), diagonal(FIVE_CLASSES) + TWO_CLASSES
)
def test_a_trained_adapter_passes_the_round_trip_check(go_through, architecture, method, classes):
    go_through(architecture, classes, "adapter", METHODS[method], TRAINING.get(method, {}))


@pytest.mark.parametrize(
    ("architecture", "kind"),
    diagonal([(name, kind) for name in ARCHITECTURES for kind in ("head", "full")]),
)
def test_what_is_no_adapter_passes_the_round_trip_check(go_through, architecture, kind):
    go_through(architecture, 3, kind, {}, {})


@pytest.fixture
def go_through(bases, tokenizer, tmp_path):
    """Train, save, load anew, compare."""

    def run(architecture: str, classes: int, kind: str, peft: dict, keys: dict) -> None:
        data, classifier = splits(classes), load(bases[architecture], classes)
        assert classifier.head == (ARCHITECTURES | MORE)[architecture][1]
        names = list(classifier.head_parameters())
        model = variants.adapt(classifier, kind, peft, STEPS)
        padded, _ = roundtrip.choose_padding(model, data["train"], PAD)
        batch = roundtrip.rows(data["validation"])
        untrained = collator.logits(model, batch, padded)
        training.train(model, data, padded, replace(SETTINGS, **keys), 0)
        trained = collator.logits(model, batch, padded)
        record = variants.Record(kind, names, {"name": "org/base"}, padded.side, 16)
        variants.save(model, tokenizer, record, tmp_path)

        loaded = variants.load(bases[architecture], tmp_path)
        found = collator.logits(loaded, batch, padded)
        gap = roundtrip.check(found, trained.tolist(), roundtrip.SAME_PROGRAM_ROUNDING)[
            "reload_difference"
        ]
        assert gap == 0 or architecture in MORE
        assert roundtrip.check_padding(loaded, batch, padded)["padding_side"] == padded.side
        assert loaded.config.num_labels == classes
        assert not torch.equal(untrained, trained)

    return run


@pytest.mark.parametrize(("architecture", "method"), diagonal(REFUSED))
def test_what_is_refused_cannot_be_right(bases, architecture, method):
    """The table must not forbid what works."""
    with pytest.raises(InputError, match=FAILS[str(why_not(architecture, METHODS[method]))]):
        model = variants.adapt(load(bases[architecture], 2), "adapter", METHODS[method], STEPS)
        roundtrip.choose_padding(model, splits(2)["train"], PAD)


@pytest.mark.parametrize("method", compatibility.WITHOUT_CONV1D)
def test_what_does_not_know_conv1d_is_refused(bases, method):
    with pytest.raises(InputError, match=f"PEFT refuses this {method} config"):
        variants.adapt(load(bases["gpt2"], 2), "adapter", {"peft_type": method}, STEPS)


@pytest.mark.parametrize("method", compatibility.NOT_HERE)
def test_what_is_not_for_here_fails(bases, method):
    with pytest.raises(InputError):
        model = variants.adapt(load(bases["bert"], 2), "adapter", {"peft_type": method}, STEPS)
        roundtrip.choose_padding(model, splits(2)["train"], PAD)


def test_the_methods_are_those_of_peft():
    assert set(compatibility.methods()) == {method.value for method in peft.PeftType}


@pytest.mark.parametrize(
    "architecture",
    [name if name in ("ctrl", "gpt_neo") else pytest.param(name, marks=pytest.mark.full)
     for name in MORE],
)  # fmt: skip
def test_lora_passes_the_round_trip_check_on_more_architectures(go_through, architecture):
    go_through(architecture, 2, "adapter", METHODS["lora"], {})


@pytest.mark.parametrize(
    ("architecture", "peft", "said"),
    [
        ("squeezebert", METHODS["lora"], "No modules were targeted"),
        ("nystromformer", METHODS["lora"], "padding moves the probabilities"),
    ],
)
def test_architectures_that_are_unfit_are_refused(bases, architecture, peft, said):
    """When the config is read, if they are known by then; else in one line when a cell begins."""
    assert why_not(architecture, peft) or architecture in compatibility.UNFIT
    with pytest.raises(InputError, match=said) as refused:
        model = variants.adapt(load(bases[architecture], 2), "adapter", peft, STEPS)
        roundtrip.choose_padding(model, splits(2)["train"], PAD)
    assert "\n" not in str(refused.value)


def test_padding_goes_where_each_model_wants_it(bases):
    def side(architecture: str, method: str | None = None) -> str:
        classifier = load(bases[architecture], 2)
        kind = "adapter" if method else "full"
        model = variants.adapt(classifier, kind, METHODS.get(method or "", {}), STEPS)
        return roundtrip.choose_padding(model, splits(2)["train"], PAD)[0].side

    assert {name: side(name) for name in ARCHITECTURES if side(name) == "left"} == {"xlnet": "left"}
    assert side("opt", "prompt-tuning") == side("bloom", "p-tuning") == "left"
    assert side("opt", "prefix-tuning") == side("bert", "prompt-tuning") == "right"


def test_rows_end_as_every_architecture_wants():
    assert all(row["input_ids"].count(END) == 1 for row in rows(20, 5))

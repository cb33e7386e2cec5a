"""A finished cell that is moved: used elsewhere with nothing but PEFT and transformers."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard

import eval_lora
import prepare_data
import tokenize_data
import train_lora
from common import checksums, files
from common.data import encoding
from common.model import variants
from tests.test_card import COMMIT, HOSTILE, HUB, PACKAGE, PATH, TWO


@pytest.fixture
def make_cell(tmp_path, tiny_models, make_rows):
    """Train and evaluate a small cell; returns its adapter directory and that of its base."""

    def make(model: str, kind: str, source: dict, labels: list[str]) -> tuple[Path, Path]:
        base = Path(shutil.copytree(tiny_models[model], tmp_path / "base"))
        files.write_json(source, base / "source.json")
        checksums.write(base)
        names = dict(zip(("ham", "spam", "other"), labels, strict=False))
        rows = make_rows(90, tuple(names))
        frame = pd.DataFrame({"text": [t for t, _ in rows], "label": [names[n] for _, n in rows]})
        frame.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
        data, tokens, cell = tmp_path / "data", tmp_path / "tokens", tmp_path / "cell"
        prepare_data.main(
            f"--source {tmp_path}/rows.jsonl --output {data} --labels".split() + labels
        )
        inputs = f"--model {base} --tokens {tokens}".split()
        tokenize_data.main(
            f"--data {data} --model {base} --max-length 16 --output {tokens}".split()
        )
        peft = ["--peft", '{"r": 4}'] if kind == "adapter" else []
        words = f"--kind {kind} --learning-rate 1e-2 --epochs 2 --output {cell}/adapter"
        training = f"{cell}/training.json"
        train_lora.main([*inputs, *peft, *words.split(), "--record", training])
        places = f"--metrics {cell}/metrics.json --predictions {cell}/predictions.parquet"
        words = f"--adapter {cell}/adapter --training {training} {places}"
        eval_lora.main([*inputs, *words.split()])
        return cell / "adapter", base

    return make


def fill_hub_cache(home: Path, base: Path) -> None:
    """Put a model into a hub cache at COMMIT: no branch leads there, only the revision does."""
    snapshot = home / "hub" / "models--org--tiny" / "snapshots" / COMMIT
    shutil.copytree(base, snapshot, ignore=shutil.ignore_patterns("source.json"))


def run_code(code: str, cwd: Path, home: Path) -> str:
    """Run Python in a process of its own that knows nothing of this repository."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "PYTHON"))}
    env |= {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


TEXT = "win free cash prize claim now"


def answer(adapter: Path, base: Path) -> tuple[str, float]:
    """Return what the cell itself says of TEXT: label and probability."""
    import torch

    labels, model = variants.labels_of(adapter), variants.load(base, adapter).eval()
    inputs = encoding.load_tokenizer(adapter)(TEXT, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        probabilities = model(**inputs).logits.softmax(-1)[0]
    return labels[int(probabilities.argmax())], float(probabilities.max())


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("model", "kind", "source", "labels"),
    [
        ("bert", "adapter", HUB, HOSTILE),
        ("gpt2", "adapter", HUB, TWO),
        ("gpt2", "adapter", PACKAGE, HOSTILE),
        ("bert", "adapter", PATH, TWO),
        ("bert", "head", HUB, TWO),
        ("gpt2", "head", PATH, HOSTILE),
        ("gpt2", "full", HUB, TWO),
        ("bert", "full", PATH, HOSTILE),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else str(len(value)),
)
def test_the_code_of_the_card_answers_as_the_cell(make_cell, tmp_path, model, kind, source, labels):
    adapter, base = make_cell(model, kind, source, labels)
    label, probability = answer(adapter, base)
    moved = Path(shutil.move(adapter, tmp_path / "elsewhere"))
    fill_hub_cache(tmp_path / "home", base)
    text = ModelCard.load(moved / "README.md").text
    (code,) = re.findall(r"^```python\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)
    modules = set(re.findall(r"^(?:from|import) (\w+)", code, re.MULTILINE))
    assert modules <= {"peft", "transformers"} | ({"safetensors"} if kind == "head" else set())
    assert ("path/to/the/base" in code) == (source != HUB and kind != "full")
    elsewhere = Path(shutil.move(base, tmp_path / "moved-base"))
    code = code.replace("path/to/the/base", str(elsewhere)).replace("Put your text here.", TEXT)
    printed = run_code(code, moved, tmp_path / "home").rpartition(" ")
    assert printed[0] == label
    assert float(printed[2]) == pytest.approx(probability, abs=1e-4)


# What someone writes who was handed the directory: texts in, probabilities out, a row at a time.
BY_A_STRANGER = """
import json, sys, torch
from peft import AutoPeftModelForSequenceClassification
from transformers import AutoTokenizer
torch.set_num_threads(1)
names = json.load(open("adapter/config.json"))["id2label"]
names = {int(number): name for number, name in names.items()}
tokenizer = AutoTokenizer.from_pretrained("adapter")
model = AutoPeftModelForSequenceClassification.from_pretrained(
    "adapter", num_labels=len(names), id2label=names, pad_token_id=tokenizer.pad_token_id,
    dtype="float32",
).eval()
rows = []
with torch.inference_mode():
    for text in json.load(open("texts.json")):
        inputs = tokenizer(text, truncation=True, return_tensors="pt")
        rows.append(model(**inputs).logits.double().softmax(dim=1)[0].tolist())
assert model.base_model.model.config.id2label == names
assert not any(name.startswith("common") for name in sys.modules)
json.dump(rows, open("rows.json", "w"))
"""


@pytest.mark.full
@pytest.mark.parametrize(
    ("model", "labels"),
    [
        ("gpt2", HOSTILE),
        ("gpt2", TWO),
        ("bert", HOSTILE),
        ("bert", TWO),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} classes",
)
def test_a_moved_adapter_gives_the_stored_predictions(make_cell, tmp_path, model, labels):
    adapter, base = make_cell(model, "adapter", HUB, labels)
    stored = pd.read_parquet(adapter.parent / "predictions.parquet")
    fill_hub_cache(tmp_path / "home", base)
    shutil.rmtree(base)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(adapter, elsewhere / "adapter")
    texts = list(datasets.load_from_disk(tmp_path / "data")["test"]["text"])
    files.write_json(texts, elsewhere / "texts.json")
    run_code(BY_A_STRANGER, elsewhere, tmp_path / "home")
    columns = [f"probability_{label}" for label in labels]
    found = np.array(files.read_json(elsewhere / "rows.json"))
    np.testing.assert_allclose(found, stored[columns].to_numpy(), rtol=0, atol=1e-6)
    assert len(stored) == len(texts) > 15

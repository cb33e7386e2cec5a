"""Evaluation of a trained cell, loaded anew."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file

import eval_lora
import train_lora
from common import checksums, files
from common.cli import InputError
from common.data import tokens
from common.model import evaluation, variants
from common.model.collator import Padding


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def cell(request, tmp_path_factory, make_tokens, tiny_models):
    """A trained cell: its directory, its inputs, and what the model in memory says of test."""
    model, root = request.param, tmp_path_factory.mktemp(request.param)
    inputs = ["--model", str(tiny_models[model]), "--tokens", str(make_tokens(model, count=90))]
    words = ["--peft", '{"r": 4, "lora_dropout": 0.1}', "--learning-rate", "1e-2", "--epochs", "8"]
    out = ["--output", str(root / "adapter"), "--record", str(root / "training.json")]
    kept: dict = {}
    train = train_lora.train

    def train_and_keep(*args):
        kept["trained"] = train(*args)
        return kept["trained"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_lora, "train", train_and_keep)
        train_lora.main([*inputs, *words, *out])
    data = tokens.load(Path(inputs[-1]))
    padding = Padding(data.pad_token_id)
    with evaluation.Predictor(kept["trained"].model, padding, 32) as predict:
        return root, inputs, predict(data.splits["test"])["probabilities"]


@pytest.fixture
def command(cell, tmp_path):
    """The command line; later words override earlier ones."""
    root, inputs, _ = cell

    def words(*more: object) -> list[str]:
        line = ["--adapter", root / "adapter", "--training", root / "training.json"]
        line += ["--metrics", tmp_path / "metrics.json", "--predictions", tmp_path / "rows.parquet"]
        return [*inputs, *map(str, [*line, *more])]

    return words


def probabilities(root: Path) -> np.ndarray:
    return pd.read_parquet(root / "rows.parquet").filter(like="probability_").to_numpy()


def test_a_new_process_gives_the_trained_models_predictions(cell, command, run_script, tmp_path):
    """Whatever was trained and not saved would show here."""
    done = run_script("eval_lora", *command())
    assert done.returncode == 0, done.stderr
    *_, in_memory = cell
    np.testing.assert_allclose(probabilities(tmp_path), in_memory, rtol=0, atol=1e-6)
    assert np.ptp(in_memory[:, 0]) > 0.01  # the rows do differ


def test_record_tells_of_training_and_evaluation(cell, command, tmp_path):
    eval_lora.main(command())
    training = files.read_json(cell[0] / "training.json")
    record = files.read_json(tmp_path / "metrics.json")
    blocks = ["run_info", "train_info", "meta_info", "round_trip", "metrics"]
    assert list(record) == [*blocks, checksums.OF_PREDICTIONS]
    assert record["train_info"] == training["train_info"] | {
        "metrics": record["train_info"]["metrics"]  # with the outcome: tests/test_formats.py
    }
    assert record["run_info"]["peft_config"] == training["run_info"]["peft_config"]
    assert list(record["metrics"]) == ["validation", "test"]
    assert record["meta_info"]["dataset_info"] == {
        "labels": ["ham", "spam"],
        "source": {"kind": "path", "name": "rows.csv"},
        "train_rows": 65,
    }


def test_a_cell_that_passed_has_its_card(cell, command, tmp_path):
    adapter = Path(shutil.copytree(cell[0] / "adapter", tmp_path / "adapter"))
    eval_lora.main(command("--adapter", adapter))
    record = json.loads((tmp_path / "metrics.json").read_text())
    written = ModelCard.load(adapter / "README.md")
    found = {result.metric_name: result.metric_value for result in written.data.eval_results}
    assert found["Accuracy"] == record["metrics"]["test"]["accuracy"]
    assert "- Seed: 0\n" in written.text
    assert "- Rows: 65 training, 7 validation, 18 test\n" in written.text
    assert "- Texts: cut after 16 tokens\n" in written.text
    assert "| peft: lora_dropout | 0.1 |" in written.text
    assert str(tmp_path) not in written.content


def test_a_cell_that_fails_the_check_has_no_card(cell, command, tmp_path):
    """Nor that of an evaluation that it passed before."""
    adapter = Path(shutil.copytree(cell[0] / "adapter", tmp_path / "adapter"))
    (adapter / "README.md").write_text("an older card")
    training = files.read_json(cell[0] / "training.json")
    training["round_trip"]["logits"][0][0] += 1
    files.write_json(training, tmp_path / "training.json")
    words = command("--adapter", adapter, "--training", tmp_path / "training.json")
    with pytest.raises(InputError, match="the saved model is not the trained one"):
        eval_lora.main(words)
    assert not (adapter / "README.md").exists()


def test_an_adapter_without_its_head_does_not_pass(cell, command, tmp_path):
    """The head drawn in its place would give figures, those of chance."""
    copy = Path(shutil.copytree(cell[0] / "adapter", tmp_path / "adapter"))
    weights = load_file(copy / "adapter_model.safetensors")
    kept = {k: v for k, v in weights.items() if "classifier" not in k and "score" not in k}
    assert 0 < len(kept) < len(weights)
    save_file(kept, copy / "adapter_model.safetensors")
    checksums.write(copy)
    with pytest.raises(InputError, match=r"lacks \d weights of this model, such as"):
        eval_lora.main(command("--adapter", copy))
    assert not (tmp_path / "metrics.json").exists()


def test_the_head_drawn_before_loading_does_not_count(cell, command, tmp_path, monkeypatch):
    monkeypatch.setattr(variants, "HEAD_SEED", 12)
    eval_lora.main(command())
    np.testing.assert_allclose(probabilities(tmp_path), cell[-1], rtol=0, atol=1e-6)


def test_training_json_is_read_before_anything_slow(command, tmp_path):
    began = time.perf_counter()
    with pytest.raises(InputError, match=r"none\.json cannot be read"):
        eval_lora.main(command("--training", tmp_path / "none.json"))
    assert time.perf_counter() - began < 1


def test_mistake_ends_in_one_line(run_script, tmp_path):
    options = ("model", "tokens", "adapter", "training", "metrics", "predictions")
    words = [word for name in options for word in (f"--{name}", tmp_path / name)]
    done = run_script("eval_lora", *words)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path}/model/source.json cannot")
    assert "Traceback" not in done.stderr

"""Evaluation of a model with an untrained head."""

import json
import shutil
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
import transformers

import eval_base
import eval_lora
import prepare_data
import tokenize_data
import train_lora
from common import checksums, files
from common.cli import InputError
from common.model import scoring

SAME = 1e-6  # of a probability


@pytest.fixture(scope="module")
def tokens(make_tokens) -> dict[str, Path]:
    return {model: make_tokens(model) for model in ("bert", "gpt2")}


@pytest.fixture(scope="module")
def command(tokens, tiny_models):
    """The command line; later words override earlier ones."""

    def words(output: Path, *more: object, model: str = "bert") -> list[str]:
        line = ["--model", tiny_models[model], "--tokens", tokens[model]]
        line += ["--metrics", output / "metrics.json", "--predictions", output / "rows.parquet"]
        return list(map(str, [*line, *more]))

    return words


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, command) -> dict[str, Path]:
    roots = {model: tmp_path_factory.mktemp(model) for model in ("bert", "gpt2")}
    for model, root in roots.items():
        eval_base.main(command(root, "--seed", 3, model=model))
    return roots


def predictions(root: Path) -> pd.DataFrame:
    return pd.read_parquet(root / "rows.parquet")


def probabilities(root: Path) -> np.ndarray:
    return predictions(root).filter(like="probability_").to_numpy()


@pytest.mark.parametrize("model", ["bert", "gpt2"])
def test_figures_are_those_of_a_model_loaded_by_hand(evaluated, tokens, tiny_models, model):
    rows = datasets.load_from_disk(tokens[model])["test"]
    transformers.set_seed(3)
    by_hand = transformers.AutoModelForSequenceClassification.from_pretrained(
        tiny_models[model], num_labels=2, pad_token_id=0
    ).eval()
    with torch.inference_mode():
        logits = [by_hand(input_ids=torch.tensor([ids])).logits for ids in rows["input_ids"]]
    expected = torch.cat(logits).double().softmax(dim=1).numpy()
    np.testing.assert_allclose(probabilities(evaluated[model]), expected, rtol=0, atol=SAME)
    found = json.loads((evaluated[model] / "metrics.json").read_text())["metrics"]["test"]
    by_hand_metrics = scoring.classification_metrics(expected, list(rows["label"]), positive=1)
    for name in ("accuracy", "macro_f1", "f1", "mcc", "loss"):
        assert found[name] == pytest.approx(by_hand_metrics[name], abs=1e-5), name


@pytest.mark.parametrize("model", ["bert", "gpt2"])
def test_base_is_where_training_starts(evaluated, command, tiny_models, tokens, tmp_path, model):
    """A step of almost no length leaves the cell as it was drawn."""
    adapter, record = tmp_path / "adapter", tmp_path / "training.json"
    words = ["--model", tiny_models[model], "--tokens", tokens[model], "--peft", '{"r": 4}']
    words += ["--seed", 3, "--learning-rate", 1e-30, "--max-steps", 1]
    train_lora.main([*map(str, words), "--output", str(adapter), "--record", str(record)])
    trained = ["--adapter", adapter, "--training", record]
    eval_lora.main(command(tmp_path, *trained, model=model))
    base = probabilities(evaluated[model])
    np.testing.assert_allclose(probabilities(tmp_path), base, rtol=0, atol=1e-9)


def test_another_seed_is_another_coin(evaluated, command, tmp_path):
    eval_base.main(command(tmp_path, "--seed", 4))
    assert np.abs(probabilities(tmp_path) - probabilities(evaluated["bert"])).max() > 1e-3


def test_predictions_are_the_test_rows_in_order(evaluated, tokens):
    frame, rows = predictions(evaluated["bert"]), datasets.load_from_disk(tokens["bert"])["test"]
    columns = ["id", "label", "prediction", "probability_ham", "probability_spam"]
    assert list(frame.columns) == columns
    assert list(frame["id"]) == list(rows["id"])
    names = rows.features["label"].names
    assert list(frame["label"]) == [names[number] for number in rows["label"]]
    largest = np.where(frame["probability_spam"] > frame["probability_ham"], "spam", "ham")
    assert list(frame["prediction"]) == list(largest)


def test_metrics_agree_with_predictions(evaluated):
    frame = predictions(evaluated["bert"])
    found = json.loads((evaluated["bert"] / "metrics.json").read_text())["metrics"]
    assert found["test"]["accuracy"] == (frame["label"] == frame["prediction"]).mean()
    assert found["test"]["rows"] == len(frame)
    assert list(found) == ["validation", "test"]


def test_record_has_the_three_blocks(evaluated, tiny_models):
    record = json.loads((evaluated["gpt2"] / "metrics.json").read_text())
    blocks = ["run_info", "train_info", "meta_info", "round_trip", "metrics"]
    assert list(record) == [*blocks, checksums.OF_PREDICTIONS, files.DIGEST]
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        tiny_models["gpt2"], num_labels=2
    )
    total = sum(parameter.numel() for parameter in model.parameters())
    assert record["train_info"] == {
        "num_trainable_params": 0,
        "num_total_params": total,
        "pretrained_head": False,
        "head_origin": "drawn",
        "head_own_classes": [],
        "status": "not trained",
    }
    assert record["run_info"]["options"]["seed"] == 3
    assert record["meta_info"]["model_info"]["name"] == "gpt2"
    assert record["meta_info"]["dataset_info"]["source"] == {"kind": "path", "name": "rows.csv"}


def test_marked_rows_give_every_metric_twice(evaluated, command, tokens, tmp_path):
    splits = datasets.load_from_disk(tokens["bert"])
    marked = {
        s: rows.add_column("clean", [n > 2 for n in range(len(rows))]) for s, rows in splits.items()
    }
    datasets.DatasetDict(marked).save_to_disk(tmp_path / "marked")
    shutil.copy(tokens["bert"] / "statistics.json", tmp_path / "marked")
    checksums.write(tmp_path / "marked")
    eval_base.main(command(tmp_path, "--seed", 3, "--tokens", tmp_path / "marked"))
    found = json.loads((tmp_path / "metrics.json").read_text())["metrics"]["test"]
    frame = predictions(tmp_path).iloc[3:]
    assert found["clean"]["rows"] == len(frame) == found["rows"] - 3
    assert found["clean"]["accuracy"] == (frame["label"] == frame["prediction"]).mean()
    np.testing.assert_array_equal(probabilities(tmp_path), probabilities(evaluated["bert"]))


def test_batch_size_changes_nothing(evaluated, command, tmp_path):
    eval_base.main(command(tmp_path, "--seed", 3, "--batch-tokens", 1))
    base = probabilities(evaluated["bert"])
    np.testing.assert_allclose(probabilities(tmp_path), base, rtol=0, atol=SAME)


def test_positive_label_is_the_one_named(command, tmp_path):
    eval_base.main(command(tmp_path, "--seed", 3, "--positive-label", "ham"))
    found = json.loads((tmp_path / "metrics.json").read_text())["metrics"]["test"]
    (ham, ham_as_spam), _ = found["confusion_matrix"]
    assert found["recall"] == pytest.approx(ham / (ham + ham_as_spam))


def test_unknown_positive_label(command, tmp_path):
    message = "no class 'eggs': set `positive_label` to one of ham, spam"
    with pytest.raises(InputError, match=message):
        eval_base.main(command(tmp_path, "--positive-label", "eggs"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda tokens: (tokens / "statistics.json").unlink(), r"statistics\.json cannot be read"),
        (lambda tokens: (tokens / "statistics.json").write_text('{"pad'), "no whole JSON file"),
        (shutil.rmtree, "tokens .*no saved dataset"),
    ],
)
def test_damaged_tokens(command, tokens, tmp_path, damage, complaint):
    copy = Path(shutil.copytree(tokens["bert"], tmp_path / "tokens"))
    damage(copy)
    if copy.exists():
        checksums.write(copy)  # as if it had been written so
    with pytest.raises(InputError, match=complaint):
        eval_base.main(command(tmp_path / "out", "--tokens", copy))


def test_mistake_ends_in_one_line(command, run_script, tmp_path):
    done = run_script("eval_base", *command(tmp_path, "--model", tmp_path / "none"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path}/none")
    assert "Traceback" not in done.stderr


@pytest.mark.quick(1)
@pytest.mark.parametrize("labels", [("ham", "spam"), ("spam", "ham")])
def test_a_model_with_a_head_of_its_own_is_right_by_the_names_of_its_classes(
    make_tokens, tiny_models, tmp_path, write_csv, labels
):
    """Trained where ham comes first, it is as good, and is trained on, where spam does."""
    first = make_tokens("bert", count=200)
    words = f"--model {tiny_models['bert']} --tokens {first} --kind full --learning-rate 1e-2"
    places = f"--output {tmp_path}/model --record {tmp_path}/training.json --epochs 3"
    train_lora.main(f"{words} {places}".split())
    shutil.copy(tiny_models["bert"] / files.SOURCE, tmp_path / "model")
    checksums.write(tmp_path / "model")
    source = write_csv(tmp_path / "rows.csv", 200)
    prepare_data.main(
        ["--source", str(source), "--output", f"{tmp_path}/data", "--labels", *labels]
    )
    inputs = f"--model {tmp_path}/model --tokens {tmp_path}/tokens"
    tokenize_data.main(
        f"--data {tmp_path}/data --model {tmp_path}/model --max-length 16 "
        f"--output {tmp_path}/tokens".split()
    )
    made = f"--metrics {tmp_path}/base.json --predictions {tmp_path}/base.parquet"
    eval_base.main(f"{inputs} {made}".split())
    base = json.loads((tmp_path / "base.json").read_text())
    assert base["metrics"]["test"]["accuracy"] > 0.9
    assert base["train_info"]["head_origin"] == "matched"
    cell = f"--output {tmp_path}/cell --record {tmp_path}/cell.json"
    train_lora.main([*f"{inputs} {cell} --max-steps 1 --learning-rate 1e-6".split(),
                     "--peft", '{"r": 2}'])  # fmt: skip
    made = f"--metrics {tmp_path}/lora.json --predictions {tmp_path}/lora.parquet"
    eval_lora.main(
        f"{inputs} --adapter {tmp_path}/cell --training {tmp_path}/cell.json {made}".split()
    )
    found, expected = (pd.read_parquet(tmp_path / f"{n}.parquet") for n in ("lora", "base"))
    pd.testing.assert_frame_equal(found, expected, rtol=0, atol=1e-3)

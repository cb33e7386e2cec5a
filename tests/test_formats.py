"""Results in formats that other programs know: PEFT's suite, Parquet, ``evaluate``."""

import json
import math
import shutil
import socket
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import datasets
import evaluate
import numpy as np
import pytest
from pyarrow import parquet

import eval_base
import eval_baseline
import eval_lora
import train_lora
from common import cells
from common.model import scoring

# What the suite's reader takes out of a result, and as what: `int` and `float` columns have no
# empty places, a text may be null. Its task "MetaMathQA" is the one that has a test accuracy.
IN_RESULT: dict[tuple[str, ...], type] = {
    ("run_info", "experiment_name"): str,
    ("run_info", "train_config", "model_id"): str,
    ("run_info", "total_time"): float,
    ("run_info", "peft_branch"): str,
    ("run_info", "created_at"): datetime,
    ("train_info", "accelerator_memory_reserved_avg"): int,
    ("train_info", "accelerator_memory_max"): int,
    ("train_info", "accelerator_memory_reserved_99th"): int,
    ("train_info", "train_time"): float,
    ("train_info", "file_size"): int,
    ("train_info", "num_trainable_params"): int,
    ("meta_info", "package_info", "peft-version"): str,
    ("meta_info", "package_info", "transformers-version"): str,
    ("meta_info", "package_info", "datasets-version"): str,
    ("meta_info", "package_info", "torch-version"): str,
    ("meta_info", "package_info", "bitsandbytes-version"): str,
    ("meta_info", "system_info", "system"): str,
}
IN_OUTCOME = {"test accuracy": float, "train loss": float, "train samples": int,
              "train total tokens": int}  # fmt: skip


def read_as_the_suite(result: dict[str, Any]) -> dict[str, Any] | None:
    """One row of the suite's table, read as its reader does; None where it skips the result.

    It asks for the PEFT method first, of every result, and for the status; an entry that is missing
    is a KeyError, and one of the wrong kind a failed conversion.
    """
    peft = result["run_info"]["peft_config"]
    row: dict[str, Any] = {"peft_type": peft["peft_type"] if peft else "full-finetuning"}
    if result["train_info"]["status"] != "success":
        return None
    for path, kind in IN_RESULT.items():
        found: Any = result
        for key in path:
            found = found[key]
        row[path[-1]] = as_kind(found, kind)
    outcome = result["train_info"]["metrics"][-1]
    return row | {key: as_kind(outcome[key], kind) for key, kind in IN_OUTCOME.items()}


def as_kind(value: Any, kind: type) -> Any:
    """Return a value as a column of a kind takes it."""
    if kind is str:
        assert value is None or isinstance(value, str)
        return value
    return datetime.fromisoformat(value) if kind is datetime else kind(value)


@pytest.fixture(scope="module")
def inputs(make_tokens, tiny_models) -> list[str]:
    return ["--model", str(tiny_models["bert"]), "--tokens", str(make_tokens("bert"))]


@pytest.fixture(scope="module")
def results(inputs, tmp_path_factory) -> Path:
    """A results directory with a cell of each kind, by the scripts themselves."""
    root = tmp_path_factory.mktemp("formats") / "results"
    kinds = {"lora": ["--peft", '{"r": 2}'], "full": ["--kind", "full"], "head": ["--kind", "head"]}
    for variant, words in kinds.items():
        cell = root / "sms" / "bert" / variant / "seed0"
        train = ["--output", cell / "adapter", "--record", cell / "training.json", "--max-steps", 3]
        train_lora.main([*inputs, *words, *map(str, train)])
        given = ["--adapter", cell / "adapter", "--training", cell / "training.json"]
        eval_lora.main([*inputs, *map(str, given), *written(cell)])
    eval_base.main([*inputs, *written(root / "sms/bert/base/seed0")])
    data = Path(inputs[-1]).with_name("data")
    words = ["--data", str(data), "--baseline", "tfidf"]
    eval_baseline.main([*words, *written(root / "sms/baselines/tfidf")])
    return root


def written(cell: Path) -> list[str]:
    """Return the options that tell what an evaluation writes."""
    return ["--metrics", f"{cell}/metrics.json", "--predictions", f"{cell}/predictions.parquet"]


@pytest.fixture
def read(results) -> Callable[[str], dict[str, Any]]:
    return lambda cell: json.loads((results / "sms" / cell / "metrics.json").read_text())


def numbers_in(row: dict[str, Any]) -> Iterator[float]:
    """Yield all numbers in a row."""
    yield from (value for value in row.values() if isinstance(value, int | float))


@pytest.mark.parametrize(("variant", "peft_type"), [("lora", "LORA"), ("full", "full-finetuning")])
def test_the_readers_of_the_suite_load_a_trained_cell(read, variant, peft_type):
    result = read(f"bert/{variant}/seed0")
    row = read_as_the_suite(result)
    assert row is not None
    assert row["peft_type"] == peft_type
    assert row["experiment_name"] == f"sms/bert/{variant}/seed0"
    assert row["model_id"] == "bert"
    assert row["test accuracy"] == result["metrics"]["test"]["accuracy"]
    assert row["train samples"] == 3 * 8
    assert row["train total tokens"] > row["train samples"]
    assert row["total_time"] > row["train_time"] > 0
    assert row["created_at"].tzinfo is not None
    assert all(math.isfinite(number) for number in numbers_in(row))


@pytest.mark.parametrize("cell", ["bert/base/seed0", "baselines/tfidf"])
def test_the_readers_of_the_suite_skip_what_was_not_trained(read, cell):
    assert read_as_the_suite(read(cell)) is None


def test_a_reader_notices_what_is_missing(read):
    """The test's own reader can fail: each entry that it takes counts."""
    for path in IN_RESULT:
        result = read("bert/lora/seed0")
        place = result
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]
        with pytest.raises(KeyError):
            read_as_the_suite(result)


def test_the_log_of_the_training_stays_before_its_outcome(results, read):
    training = json.loads((results / "sms/bert/lora/seed0/training.json").read_text())
    found = read("bert/lora/seed0")["train_info"]
    assert found["metrics"][:-1] == training["train_info"]["metrics"]
    assert found["metrics"][-1]["step"] == 3


def test_the_loss_of_a_short_training_is_its_mean():
    log = [{"loss": 0.9, "step": 10}, {"loss": 0.5, "step": 20}, {"eval_loss": 0.1}]
    assert cells.last_loss([*log, {"train_loss": 0.7}]) == 0.5
    assert cells.last_loss([{"eval_loss": 0.1}, {"train_loss": 0.7}]) == 0.7


def test_a_result_names_the_settings_that_the_suite_names(read):
    settings = read("bert/lora/seed0")["run_info"]["train_config"]
    assert (settings["model_id"], settings["max_seq_length"], settings["seed"]) == ("bert", 16, 0)
    assert settings["max_steps"] == 3


def test_predictions_are_parquet_that_any_reader_takes(results, read, inputs):
    """By pyarrow alone: names and types of the columns, one row per test row, in order."""
    table = parquet.read_table(results / "sms/bert/lora/seed0/predictions.parquet")
    assert {field.name: str(field.type).removeprefix("large_") for field in table.schema} == {
        "id": "string",
        "label": "string",
        "prediction": "string",
        "probability_ham": "double",
        "probability_spam": "double",
    }
    rows = datasets.load_from_disk(inputs[-1])["test"]
    assert table["id"].to_pylist() == list(rows["id"])
    right = np.array(table["label"]) == np.array(table["prediction"])
    assert right.mean() == read("bert/lora/seed0")["metrics"]["test"]["accuracy"]


def test_metrics_are_a_module_of_evaluate_that_needs_no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    metric = scoring.metric_type()(keep_in_memory=True)
    assert isinstance(metric, evaluate.Metric)
    assert list(metric.features) == ["predictions", "references"]
    metric.add_batch(predictions=[[0.9, 0.1], [0.2, 0.8]], references=[0, 1])
    metric.add_batch(predictions=[[0.6, 0.4], [0.3, 0.7]], references=[1, 1])
    found = metric.compute(positive=1)
    assert found["accuracy"] == 0.75
    assert found["confusion_matrix"] == [[1, 0], [1, 2]]


def test_results_gather_in_one_folder_for_the_suite(results, tmp_path):
    """Its reader takes the JSON files of one folder: named as its own, "/" is "--"."""
    for file in results.glob("*/*/*/seed*/metrics.json"):
        name = "--".join(file.relative_to(results).parent.parts)
        shutil.copy(file, tmp_path / f"{name}.json")
    read = [read_as_the_suite(json.loads(file.read_text())) for file in tmp_path.iterdir()]
    names = sorted(row["experiment_name"] for row in read if row)
    assert names == [f"sms/bert/{variant}/seed0" for variant in ("full", "head", "lora")]

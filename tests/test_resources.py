"""What jobs ask for: derived from the model, overridden by the config, more at each attempt."""

import os
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from rules import resources
from rules.explain import ConfigError

ROOT = Path(__file__).parents[1]

MB = 1_000_000


@pytest.fixture
def model(tmp_path) -> str:
    """The directory of a model whose weights take 100 MB."""
    with open(tmp_path / "model.safetensors", "wb") as file:
        file.truncate(100 * MB)
    (tmp_path / "tokenizer.json").write_text("no weights")
    return str(tmp_path)


def test_memory_and_time_follow_from_the_weights(model):
    assert resources.memory_mb(model, None, 1) == 2000 + 8 * 100
    assert resources.minutes(model, None, 1) == 30 + 100 / 5


def test_the_config_overrides_them(model):
    assert resources.memory_mb(model, 5000, 1) == 5000
    assert resources.minutes(model, 7, 1) == 7


def test_each_attempt_gets_more(model):
    assert [resources.memory_mb(model, 5000, attempt) for attempt in (1, 2, 3)] == [
        5000, 10_000, 15_000
    ]  # fmt: skip
    assert resources.minutes(model, None, 2) == 100


def test_of_a_model_that_is_not_fetched_nothing_is_known_yet(tmp_path):
    place = str(tmp_path / "none")
    for _ in range(2):
        with pytest.raises(FileNotFoundError) as missing:
            resources.memory_mb(place, None, 1)
        assert missing.value.filename == place  # by which Snakemake knows that it is an input
    assert resources.memory_mb(place, 5000, 1) == 5000


@pytest.mark.parametrize(
    ("chosen", "count"), [("", 0), ("-1", 0), ("0", 1), ("0,1", 2), ("GPU-x, GPU-y", 2)]
)
def test_gpus_are_those_that_cuda_is_told_of(monkeypatch, chosen, count):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert resources.gpus_here() == count


@pytest.mark.parametrize(("status", "count"), [(0, 2), (9, 0)])
def test_else_those_that_the_driver_shows(monkeypatch, status, count):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    shown = SimpleNamespace(returncode=status, stdout="GPU-a\nGPU-b\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: shown)
    assert resources.gpus_here() == count


@pytest.mark.parametrize(("count", "share", "asked"), [(1, 1, 1), (1, 4, 1), (2, 1, 2), (2, 4, 8)])
def test_a_training_on_several_gpus_asks_for_each_as_a_whole(count, share, asked):
    """Else the scheduler starts more of them than can lease their GPUs, and they hold cores."""
    assert resources.gpu_share(count, share) == asked


def test_without_a_driver_there_is_none(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(resources.gpus, "DEVICES", ())
    assert resources.gpus_here() == 0


PREDICTIONS = """
predictions: {{new: {{input: data/news.csv, dataset: news, cell: {cell}}}}}
execution: {{jobs_per_gpu: 2}}
"""


@pytest.mark.quick(1)
@pytest.mark.parametrize(("cell", "megabytes"), [("bert/lora-r2/seed0", 2001), ("null", 5000)])
def test_a_prediction_asks_for_what_its_model_needs(work, snakemake, cell, megabytes):
    config = work / "config/config.yaml"
    text = config.read_text().replace("tiny/gpt2}", "tiny/gpt2}\n    resources: {mem_mb: 5000}")
    best = cell if cell != "null" else "null, best: accuracy"
    config.write_text(text + PREDICTIONS.format(cell=best))
    plan = snakemake("-n", cwd=work).stdout
    ((asked),) = re.findall(r"^rule predict:.*?mem_mb=(\d+)", plan, re.MULTILINE | re.DOTALL)
    assert int(asked) == megabytes
    assert re.search(r"^rule predict:.*?runtime=\d+", plan, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ([], {"tmpdir"}),
        (["--jobs", "3"], {"tmpdir", "mem_mb", "runtime"}),
        (["--resources", "mem_mb=9000"], {"tmpdir", "mem_mb", "runtime"}),
        (["--default-resources", "tmpdir='/elsewhere'"], {"tmpdir", "mem_mb", "runtime"}),
    ],
)
def test_memory_and_time_are_asked_for_where_something_limits_them(work, snakemake, words, asked):
    plan = snakemake("-n", *words, "--forcerun", "train_lora", cwd=work).stdout
    resources = re.findall(r"^rule train_lora:.*?resources: (.*?)$", plan, re.M | re.S)
    assert len(resources) == 8
    for line in resources:
        found = dict(word.split("=") for word in line.split(", "))
        assert asked <= found.keys()
        assert ("runtime" in found) == ("runtime" in asked)
        assert ("/elsewhere" in found["tmpdir"]) == ("--default-resources" in words)


def test_several_gpus_are_asked_for_as_parts_of_the_pool(work, snakemake, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b")
    (work / "config/config.yaml").open("a").write(
        "  gpus: 2\nexecution: {jobs_per_gpu: 3, cells_per_process: 4}\n"
    )
    plan = snakemake("-n", cwd=work).stdout
    asked = re.findall(r"^rule train_lora:.*?gpu=(\d+)", plan, re.MULTILINE | re.DOTALL)
    assert set(asked) == {"24"}


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("visible", "words", "provided"),
    [
        ("a,b", [], ["64"]),
        ("a,b", ["--config", "execution={jobs_per_gpu: 3}"], ["192"]),
        ("a,b", ["--config", "execution={cells_per_process: 1}"], ["2"]),
        ("a,b", ["--config", "execution={cells_per_process: 4}"], ["8"]),
        ("a,b", ["--resources", "gpu=1"], ["1"]),
        ("", [], []),
    ],
)
def test_no_more_jobs_compute_on_gpus_than_there_is_room_for(
    tiny_workflow, warm, tmp_path, visible, words, provided
):
    place = tiny_workflow(tmp_path / "workflow")
    env = os.environ | {"CUDA_VISIBLE_DEVICES": visible}
    command = ["-m", "snakemake", "resources/models/bert", *words]
    done = warm.run(command, cwd=place, env=env, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^Provided resources: .*gpu\D+(\d+)", done.stderr, re.MULTILINE) == provided


@pytest.mark.parametrize(("visible", "cores", "fits"), [("a,b", 1, 2), ("", 4, 2), ("", 1, 1)])
def test_more_gpus_than_there_are_are_refused(monkeypatch, visible, cores, fits):
    """Without a GPU, a training in several processes takes the cores."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(resources.os, "cpu_count", lambda: cores)
    threads = 2 if cores == 4 else 1
    resources.check_gpus(threads, {"sms/bert/lora": fits})
    with pytest.raises(ConfigError, match="sms/bert/lora takes 24, and this machine has"):
        resources.check_gpus(threads, {"sms/bert/lora": 24})


def test_every_rule_that_computes_on_a_gpu_goes_to_that_partition():
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    named = profile["set-resources"]
    for file in sorted((ROOT / "rules").glob("*.smk")):
        for rule in re.findall(r"^rule (\w+):(.*?)(?=^rule |\Z)", file.read_text(), re.M | re.S):
            on_gpu = re.search(r"^        gpu=", rule[1], re.MULTILINE) is not None
            assert on_gpu == (rule[0] in named), rule[0]

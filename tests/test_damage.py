"""Whatever happens to a file or a disk, it is named in one line, and never becomes a figure."""

import importlib
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

import diff
import partial
from common import cells, checksums, cli, files
from common.cli import InputError
from common.statistics import predictions

ROOT = Path(__file__).parents[1]
CELL = "news/bert/lora-r2/seed0"


@pytest.fixture
def results(finished, tmp_path) -> Path:
    """A directory with results/ and resources/ of a finished run, to damage."""
    for name in ("results", "resources"):
        shutil.copytree(finished / name, tmp_path / name)
    return tmp_path


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def alter(path: Path) -> None:
    """One bit, as a memory turns it; where text is, it stays text."""
    content = bytearray(path.read_bytes())
    place = len(content) // 2
    while path.suffix == ".json" and not chr(content[place]).isdigit():
        place += 1
    content[place] ^= 1
    path.write_bytes(content)


def alter_weights(path: Path) -> None:
    """Weights that load, and are others."""
    save_file({name: tensor + 0.01 for name, tensor in load_file(path).items()}, path)


def alter_probabilities(path: Path) -> None:
    """Predictions that can be read, with the same answers and other probabilities."""
    frame = pd.read_parquet(path)
    shares = frame.columns[frame.columns.str.startswith("probability_")]
    frame[shares] = frame[shares] * 0.98 + 0.01
    frame.to_parquet(path, index=False)


def delete(path: Path) -> None:
    path.unlink()


MODEL, TOKENS, DATA = "resources/models/bert", "results/news/bert/tokens", "results/news/data"
ADAPTER, TRAINING = f"results/{CELL}/adapter", f"results/{CELL}/training.json"
METRICS, PREDICTIONS = f"results/{CELL}/metrics.json", f"results/{CELL}/predictions.parquet"
NEW = ["--metrics", "new/metrics.json", "--predictions", "new/predictions.parquet"]
STAGES = {
    "tokenize_data": ["--data", DATA, "--model", MODEL, "--output", "new/tokens"],
    "eval_baseline": ["--data", DATA, "--baseline", "majority", *NEW],
    "eval_base": ["--model", MODEL, "--tokens", TOKENS, *NEW],
    "train_lora": ["--model", MODEL, "--tokens", TOKENS, "--max-steps", "1",
                   "--output", "new/adapter", "--record", "new/training.json"],
    "eval_lora": ["--model", MODEL, "--tokens", TOKENS, "--adapter", ADAPTER,
                  "--training", TRAINING, *NEW],
    "predict": ["--input", "new.txt", "--model", MODEL, "--adapter", ADAPTER,
                "--output", "new/new.csv"],
    "verdicts": ["--results", "results", "--cells", "news/bert/lora-r2,lora-r4/0",
                 "--metric", "macro_f1", "--output", "new/verdicts.json"],
}  # fmt: skip

ARROW = "train/data-00000-of-00001.arrow"
CASES = {
    "tokenize_data": [
        (f"{DATA}/{ARROW}", alter),
        (f"{DATA}/dataset_dict.json", delete),
        (f"{DATA}/digests.json", delete),
        (f"{MODEL}/tokenizer.json", alter),
        (f"{MODEL}/digests.json", delete),
    ],
    "eval_baseline": [(f"{DATA}/{ARROW}", alter), (f"{DATA}/{ARROW}", truncate)],
    "eval_base": [
        (f"{MODEL}/model.safetensors", alter_weights),
        (f"{MODEL}/config.json", alter),
        (f"{MODEL}/digests.json", delete),
        (f"{TOKENS}/{ARROW}", alter),
        (f"{TOKENS}/digests.json", delete),
    ],
    "train_lora": [
        (f"{TOKENS}/{ARROW}", alter),
        (f"{TOKENS}/{ARROW}", truncate),
        (f"{TOKENS}/{ARROW}", empty),
        (f"{TOKENS}/{ARROW}", delete),
        (f"{TOKENS}/statistics.json", alter),
        (f"{MODEL}/model.safetensors", truncate),
        (f"{MODEL}/tokenizer.json", alter),
        (f"{TOKENS}/digests.json", delete),
    ],
    "eval_lora": [
        (f"{MODEL}/model.safetensors", alter),
        (f"{MODEL}/model.safetensors", alter_weights),
        (f"{MODEL}/digests.json", delete),
        (f"{TOKENS}/{ARROW}", alter),
        (f"{ADAPTER}/digests.json", delete),
        (f"{ADAPTER}/adapter_model.safetensors", alter),
        (f"{ADAPTER}/adapter_model.safetensors", alter_weights),
        (f"{ADAPTER}/adapter_model.safetensors", truncate),
        (f"{ADAPTER}/classifier.json", alter),
        (f"{ADAPTER}/digests.json", truncate),
        (TRAINING, alter),
        (TRAINING, truncate),
    ],
    "predict": [
        (f"{MODEL}/model.safetensors", alter),
        (f"{MODEL}/model.safetensors", alter_weights),
        (f"{MODEL}/digests.json", delete),
        (f"{ADAPTER}/digests.json", delete),
        (f"{ADAPTER}/adapter_model.safetensors", alter_weights),
        (f"{ADAPTER}/tokenizer.json", alter),
        (f"{ADAPTER}/adapter_config.json", alter),
    ],
    "verdicts": [
        (METRICS, alter),
        (METRICS, truncate),
        (METRICS, empty),
        (PREDICTIONS, alter),
        (PREDICTIONS, alter_probabilities),
        (PREDICTIONS, truncate),
        (PREDICTIONS, delete),
    ],
}


def run(stage: str, place: Path, monkeypatch) -> None:
    """Run a stage by hand, from the directory that holds results/ and resources/."""
    (place / "new.txt").write_text("win a prize\n")
    (place / "new").mkdir(exist_ok=True)
    monkeypatch.chdir(place)
    importlib.import_module(stage).main(STAGES[stage])


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_whole_is_used(results, stage, monkeypatch):
    run(stage, results, monkeypatch)
    assert list((results / "new").iterdir())


@pytest.mark.parametrize(
    ("stage", "name", "damage"),
    [
        pytest.param(stage, *case, id=f"{stage}-{Path(case[0]).name}-{case[1].__name__}")
        for stage, cases in CASES.items()
        for case in cases
    ],
)
def test_damage_is_named_and_nothing_is_made_of_it(
    results, stage, name, damage: Callable[[Path], None], monkeypatch
):
    damage(results / name)
    with pytest.raises(InputError) as raised:
        run(stage, results, monkeypatch)
    assert not list((results / "new").iterdir())
    said = str(raised.value)
    assert "\n" not in said
    assert (name if Path(name).name != checksums.MANIFEST else output_of(name)) in said
    # The remedy: what it says to delete is an output of a rule, whose absence starts a job.
    if (results / output_of(name)).exists():
        assert f"delete {output_of(name)} and run again" in said


def output_of(name: str) -> str:
    """Return the output of a rule that a file belongs to."""
    return next((each for each in (MODEL, TOKENS, DATA, ADAPTER) if name.startswith(each)), name)


@pytest.fixture(scope="module")
def place(finished, tmp_path_factory) -> Path:
    """A finished workflow, whose outputs are moved away and put back."""
    return Path(shutil.copytree(finished, tmp_path_factory.mktemp("damage") / "workflow"))


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("name", "rule", "needed_by"),
    [
        (MODEL, "fetch_model", METRICS),
        (TOKENS, "tokenize", METRICS),
        (ADAPTER, "train_lora", METRICS),
        (TRAINING, "train_lora", METRICS),
        (METRICS, "eval_lora", None),
        (PREDICTIONS, "eval_lora", None),
        (DATA, "prepare_data", "results/news/baselines/majority/metrics.json"),
        ("resources/datasets/messages", "fetch_dataset", "results/messages/passport.json"),
        ("results/comparison.csv", "report", None),
    ],
)
def test_what_a_remedy_deletes_is_made_again(place, snakemake, name, rule, needed_by):
    """A file inside of a directory is no output of a rule: without it nothing would be done.

    What a failed job has not written is missing: here, of the job that found the damage.
    """
    moved = [name] + ([needed_by] if needed_by else [])
    moved += ["results/messages/data"] * name.endswith("datasets/messages")
    for number, each in enumerate(moved):
        (place / each).rename(place / f"aside{number}")
    try:
        assert f"rule {rule}:" in snakemake("-n", cwd=place).stdout
    finally:
        for number, each in enumerate(moved):
            (place / f"aside{number}").rename(place / each)


@pytest.mark.full
def test_a_remedy_is_followed_to_the_end(work, snakemake):
    alter(work / MODEL / "model.safetensors")
    (work / METRICS).unlink()
    snakemake("--cores", "2", cwd=work, status=1)
    log = (work / f"results/{CELL}/eval_lora.log").read_text()
    assert log.splitlines()[-1].endswith(f"delete {MODEL} and run again")
    shutil.rmtree(work / MODEL)
    snakemake("--cores", "2", cwd=work)
    assert (work / METRICS).exists()


@pytest.mark.parametrize("stage", ["train_lora", "eval_lora", "predict"])
def test_what_a_job_reads_is_read_once_to_check_it(results, stage, monkeypatch):
    read: list[Path] = []
    digest = checksums.digest

    def counted(path: Path) -> str:
        read.append(Path(path).resolve())
        return digest(path)

    monkeypatch.setattr(checksums, "_verified", {})
    monkeypatch.setattr(checksums, "digest", counted)
    run(stage, results, monkeypatch)
    inputs = [path for path in read if not path.is_relative_to(results / "new")]
    assert results / MODEL / "model.safetensors" in inputs
    assert len(inputs) == len(set(inputs))


def test_a_file_that_is_damaged_after_it_was_checked_is_found(tmp_path):
    (tmp_path / "a").write_text("1")
    checksums.write(tmp_path)
    checksums.verify(tmp_path)
    (tmp_path / "a").write_text("2")
    with pytest.raises(InputError, match="it is not what was written"):
        checksums.verify(tmp_path)


def test_make_partial_sees_damaged_predictions(results, monkeypatch):
    alter_probabilities(results / PREDICTIONS)
    monkeypatch.chdir(results)
    partial.main(["--cells", "news/bert/lora-r2/0", "--results", "results", "--output", "new.md"])
    assert f"{PREDICTIONS} is damaged" in Path("new.md").read_text()


def test_make_diff_sees_damaged_predictions(results, monkeypatch):
    monkeypatch.chdir(results)
    shutil.copytree("results", "before")
    alter_probabilities(results / PREDICTIONS)
    with pytest.raises(InputError, match=r"predictions\.parquet is damaged"):
        diff.main(["--a", "before", "--b", "results"])


PREDICT = (
    "--input new.txt --best macro_f1 --dataset news --comparison results/comparison.csv "
    "--results results --models-dir resources/models --output new/new.csv"
)


def test_no_cell_is_chosen_by_an_altered_comparison(results, monkeypatch):
    table = results / "results/comparison.csv"
    table.write_text(table.read_text().replace(",0.", ",0.9", 1))
    monkeypatch.setitem(STAGES, "predict", PREDICT.split())
    remedy = "delete results/comparison.csv and run again"
    with pytest.raises(InputError, match=f"results/comparison.csv is damaged.*{remedy}"):
        run("predict", results, monkeypatch)
    assert not list((results / "new").iterdir())


def test_weights_that_give_no_numbers_give_no_labels(results, monkeypatch):
    """A model that was damaged before it was sealed: 2 MB of noise in the weights, say."""
    weights = results / MODEL / "model.safetensors"
    tensors = load_file(weights)
    save_file({name: tensor * float("nan") for name, tensor in tensors.items()}, weights,
              metadata={"format": "pt"})  # fmt: skip
    checksums.write(results / MODEL)
    for stage in ("eval_base", "train_lora", "predict"):
        with pytest.raises(InputError, match=r"the logits of this bert are not finite"):
            run(stage, results, monkeypatch)
        assert not list((results / "new").iterdir()), stage


@pytest.mark.parametrize(
    ("row", "problem"),
    [([math.nan, 1.0], "are not finite"), ([math.inf, 0.0], "are not finite"),
     ([1.2, -0.2], "lie outside of 0 to 1"), ([0.2, 0.3], "do not sum to 1"), ([0.4, 0.6], "")],
)  # fmt: skip
def test_probabilities_are_finite_shares(tmp_path, row, problem):
    assert cells.improper(np.array([[0.5, 0.5], row])) == problem
    path = tmp_path / "predictions.parquet"
    shares = pd.DataFrame([[0.5, 0.5], row], columns=["probability_a", "probability_b"])
    shares.assign(id=["0", "1"], label="a").to_parquet(path)
    if problem and not math.isnan(row[0]):
        with pytest.raises(InputError, match=f"has probabilities that {problem}: delete {path}"):
            predictions.read_predictions(path, ["a", "b"])
    elif not problem:
        assert len(predictions.read_predictions(path, ["a", "b"])) == 2


def test_a_seal_holds_every_file_and_no_later_one(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a").write_text("1")
    checksums.write(tmp_path)
    (tmp_path / "card.md").write_text("later")
    checksums.verify(tmp_path)
    checksums.write(tmp_path)  # anew, with the card
    (tmp_path / "deep/a").write_text("2")
    with pytest.raises(InputError, match="deep/a is damaged: it is not what was written"):
        checksums.verify(tmp_path)


def test_a_directory_of_others_has_no_seal_and_passes(tmp_path):
    (tmp_path / "a").write_text("1")
    checksums.verify(tmp_path)


@pytest.mark.parametrize("marker", files.MARKERS)
def test_a_directory_of_ours_that_lost_its_seal_is_refused(tmp_path, marker):
    (tmp_path / "a").write_text("1")
    files.write_json({}, tmp_path / marker)
    with pytest.raises(InputError, match=f"and no digests.json.*delete {tmp_path} and run again"):
        checksums.verify(tmp_path)


def test_no_remedy_deletes_the_directory_that_one_works_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.write_json({}, Path("source.json"))
    Path("metrics.json").write_text("{}")
    assert files.remedy(Path("metrics.json")) == "delete metrics.json and run again"


@pytest.fixture
def mount(tmp_path):
    """Mount a small file system in memory; only root may."""
    mounted = []

    def make(options: str) -> Path:
        place = tmp_path / "mounted"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("file systems cannot be mounted here")
        mounted.append(place)
        return place

    yield make
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def train_into(warm, make_tokens, tiny_models):
    """Train a cell into a directory, in a process of its own."""

    def train(place: Path) -> subprocess.CompletedProcess[str]:
        inputs = ["--model", tiny_models["bert"], "--tokens", make_tokens("bert")]
        words = [*inputs, "--max-steps", "3", "--checkpoint-seconds", "0"]
        words += ["--output", place / "adapter", "--record", place / "training.json"]
        return warm.run([ROOT / "scripts/train_lora.py", *words], capture_output=True)

    return train


def test_a_full_disk_is_told_and_leaves_nothing_half_written(mount, train_into):
    """Checkpoints that have no room are told too, and training goes on."""
    place = mount("size=16k")
    done = train_into(place)
    assert done.returncode == 1
    assert "no checkpoint at step 1" in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "No space left on device; make room there, and run again" in last
    assert not (place / "adapter").exists()
    assert not (place / "training.json").exists()


def test_results_that_are_mounted_read_only_are_told(mount, train_into):
    place = mount("ro")
    done = train_into(place)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: {place}")
    assert "Read-only file system; write elsewhere, or have it mounted for writing" in last


def test_a_file_in_the_place_of_a_directory_is_told(tmp_path, train_into):
    (tmp_path / "results").write_text("")
    done = train_into(tmp_path / "results")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "move away the file that stands where a directory is needed, and run again" in last


def test_a_file_in_the_place_of_an_output_directory_is_replaced(tmp_path, train_into):
    (tmp_path / "adapter").write_text("")
    done = train_into(tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "adapter").is_dir()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            OSError(28, "No space left on device", "/x/a"),
            "/x/a: No space left on device; make room",
        ),
        (ValueError("I/O error: No space left on device (os error 28)"), "No space left on device"),
        (ValueError("anything else"), ""),
    ],
)
def test_what_the_system_refuses_is_found_in_any_error(error, line):
    assert line in cli.os_error_hint(error)
    assert bool(cli.os_error_hint(error)) == bool(line)
    try:
        raise RuntimeError("a library says so") from error
    except RuntimeError as passed_on:
        assert cli.os_error_hint(passed_on) == cli.os_error_hint(error)


def test_a_mistake_of_this_project_is_no_refusal(tmp_path):
    script = tmp_path / "broken.py"
    script.write_text("from common import cli\ncli.run(lambda: 1 / 0)\n")
    env = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=env)
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError" in done.stderr

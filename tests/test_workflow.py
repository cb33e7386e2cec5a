"""The workflow as a user meets it: it runs to the end, stands still, and says what is wrong."""

import json
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

STAGES = ["prepare_data", "tokenize", "eval_base", "train_lora", "eval_lora", "report"]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory, copy_workflow, snakemake) -> Path:
    """config/smoke.yaml, run to the end on real texts and weights from the package index."""
    root = copy_workflow(tmp_path_factory.mktemp("smoke") / "workflow")
    snakemake("--configfile", "config/smoke.yaml", "--cores", "2", cwd=root)
    return root


@pytest.mark.full
def test_the_smoke_run_compares_real_weights_on_real_texts(smoke):
    table = pd.read_csv(smoke / "results/comparison.csv")
    test = table[table["split"] == "test"]
    assert list(test["variant"]) == [
        "majority", "tfidf", "embedding", "base", "lora-r2", "lora-r4"
    ]  # fmt: skip
    assert set(test["rows"]) == {64}
    lora = test[test["variant"] == "lora-r4"].iloc[0]
    # 6 layers of width 384: r (in + out) for query, key, value, output and the two of the MLP.
    assert lora["adapter_parameters"] == 6 * 4 * (4 * 2 * 384 + 2 * (384 + 1536))
    assert lora["head_parameters"] == 2 * 384 + 2


def test_the_comparison_holds_every_cell_of_the_config(finished):
    table = pd.read_csv(finished / "results/comparison.csv", keep_default_na=False)
    cells = set(
        map(tuple, table[["dataset", "model", "variant", "seed", "split"]].astype(str).values)
    )
    expected = {
        (dataset, model, variant, seed, split)
        for dataset in ("messages", "news")
        for model, variant, seed in [
            ("", "majority", ""),
            ("", "tfidf", ""),
            *((m, "embedding", "") for m in ("bert", "gpt2")),
            *((m, v, "0") for m in ("bert", "gpt2") for v in ("base", "lora-r2", "lora-r4")),
        ]
        for split in ("validation", "test")
    }
    assert cells == expected
    text = (finished / "results/comparison.md").read_text()
    assert all(name in text for name in ("messages", "news", "bert", "gpt2", "lora-r2", "majority"))


def test_cells_that_wait_together_give_what_they_give_alone(work, finished, snakemake):
    """Trained in one pass, evaluated in one process; equal but for rounding."""
    for adapter in work.glob("results/*/*/lora-*"):
        shutil.rmtree(adapter)
    words = ("--config", "execution={cells_per_process: 8}")
    snakemake("--cores", "16", *words, cwd=work)
    trainings = {path: json.loads(path.read_text()) for path in work.rglob("training.json")}
    packs = [each["train_info"]["pack"] for each in trainings.values()]
    assert len(packs) == 8
    assert sum(pack["cells"] == 2 for pack in packs) >= 2  # whoever came too late was alone
    for path, training in trainings.items():
        alone = json.loads((finished / path.relative_to(work)).read_text())
        pairs = zip(training["round_trip"]["logits"], alone["round_trip"]["logits"], strict=True)
        for found, wanted in pairs:
            assert found == pytest.approx(wanted, abs=1e-5)
    assert "Nothing to be done" in snakemake("-n", *words, cwd=work).stdout


@pytest.mark.full
def test_a_stage_that_writes_the_same_bytes_again_makes_nothing_stale(work, snakemake):
    """In the same call Snakemake plans what follows before it knows the bytes; in the next not."""
    script = work / "scripts/prepare_data.py"
    script.write_text(script.read_text().replace("    empty = True\n", "    empty = bool(1)\n"))
    assert "rule train_lora:" in snakemake("-n", cwd=work).stdout
    snakemake("--cores", "2", "--until", "prepare_data", cwd=work)
    assert "Nothing to be done" in snakemake("-n", cwd=work).stdout
    seal = "        checksums.write(aside)\n"
    more = seal.replace("checksums.write(aside)", 'files.write_json({}, aside / "more.json")')
    script.write_text(script.read_text().replace(seal, more + seal))
    snakemake("--cores", "2", "--until", "prepare_data", cwd=work)
    assert "rule train_lora:" in snakemake("-n", cwd=work).stdout


def test_every_dataset_has_a_passport_with_every_model_that_is_compared_on_it(finished):
    for dataset in ("messages", "news"):
        made = json.loads((finished / "results" / dataset / "passport.json").read_text())
        assert list(made["models"]) == ["bert", "gpt2"]
        text = (finished / "results" / dataset / "passport.md").read_text()
        assert all(f"| {model} | test |" in text for model in made["models"])
        assert "](classes.svg)" in text
        assert "](lengths.svg)" in text
        assert (finished / "results" / dataset / "classes.svg").exists()
        assert (finished / "results" / dataset / "lengths.svg").exists()


@pytest.mark.full
def test_on_one_core_the_passports_come_before_any_training(tiny_workflow, snakemake, tmp_path):
    work = tiny_workflow(tmp_path / "workflow")
    config = work / "config/config.yaml"
    config.write_text(config.read_text().replace("r: [2, 4]", "r: 2"))
    snakemake("--cores", "1", "--until", "train_lora", "passport", cwd=work)
    passports = [file.stat().st_mtime_ns for file in work.glob("results/*/passport.json")]
    trained = [file.stat().st_mtime_ns for file in work.glob("results/*/*/*/*/training.json")]
    assert (len(passports), len(trained)) == (2, 4)
    assert max(passports) < min(trained)


@pytest.mark.full
def test_a_licence_in_the_config_is_in_the_passport_and_the_data_stay(work, snakemake):
    config = work / "config/config.yaml"
    config.write_text(
        config.read_text().replace("news.csv}", "news.csv}\n    about: {license: CC BY 4.0}")
    )
    record = work / "results/news/data/preparation.json"
    before = record.stat().st_mtime_ns
    snakemake("--cores", "1", cwd=work)
    assert record.stat().st_mtime_ns == before
    text = (work / "results/news/passport.md").read_text()
    assert "- licence: CC BY 4.0 (as configured)\n" in text


DRAWN = """
datasets:
  news:
    train_rows: [12, 24]
    draw_train_rows: per_seed
  messages:
    train_rows: [16, 32]
models: {bert: {datasets: [news, messages-n16]}, gpt2: {datasets: [messages]}}
seeds: [0, 1]
"""


@pytest.mark.full
def test_datasets_of_several_sizes_of_which_each_seed_draws_the_rows(work, snakemake):
    (work / "more.yaml").write_text(DRAWN)
    files = ("--configfile", "config/config.yaml", "more.yaml")
    said = snakemake("--cores", "2", *files, cwd=work).stdout
    assert "fetch_dataset" not in said  # the download is that of the dataset of one size
    results = work / "results"
    verdicts = json.loads((results / "verdicts.json").read_text())
    assert verdicts["sizes"] == {
        "messages": ["messages-n16", "messages-n32"], "news": ["news-n12", "news-n24"],
    }  # fmt: skip
    datasets = verdicts["datasets"]
    assert {name: found["train_rows"] for name, found in datasets.items()} == {
        "messages-n16": 16, "messages-n32": 32, "news-n12": 12, "news-n24": 24,
    }  # fmt: skip
    seeds = {
        name: {v["name"]: v["seeds"] for v in found["variants"] if v["kind"] == "baseline"}
        for name, found in datasets.items()
    }
    assert seeds["news-n12"] == {key: [0, 1] for key in ("majority", "tfidf", "bert/embedding")}
    assert seeds["messages-n32"] == {key: [] for key in ("majority", "tfidf", "gpt2/embedding")}
    cell = json.loads((results / "news-n12/baselines/tfidf/seed1/metrics.json").read_text())
    assert cell["run_info"]["experiment_name"] == "news-n12/baselines/tfidf/seed1"
    passport = (results / "news-n24/passport.md").read_text()
    assert "rows are a pool: each seed draws 24 of them anew**" in passport
    assert "are a pool" not in (results / "messages-n32/passport.md").read_text()
    assert "each seed drew 12, stratified" in (results / "methods.md").read_text()
    figure = (results / "training_rows.svg").read_text()
    assert ">news<" in figure
    assert ">messages<" in figure
    card = (results / "news-n12/bert/lora-r2/seed1/adapter/README.md").read_text()
    assert "12 training" in card
    table = pd.read_csv(results / "comparison.csv", keep_default_na=False)
    assert set(table.loc[table["variant"] == "tfidf", "kind"]) == {"baseline"}
    again = snakemake("-n", "--cores", "2", *files, cwd=work).stdout
    assert "Nothing to be done" in again


def test_every_stage_leaves_its_log(finished):
    cell = finished / "results/news/bert/lora-r2/seed0"
    assert {path.name for path in cell.iterdir()} == {
        "adapter", "training.json", "metrics.json", "predictions.parquet",
        "train_lora.log", "eval_lora.log",
    }  # fmt: skip


def test_no_result_names_a_path_of_this_machine(finished):
    kinds = ("*.json", "*.md", "*.csv", "report.html", "config.yaml")
    files = [file for kind in kinds for file in (finished / "results").rglob(kind)]
    assert len(files) > 50
    assert not [file for file in files if str(finished) in file.read_text()]


@pytest.mark.full
def test_the_record_of_the_run_is_a_config_that_runs_it_again(work, snakemake):
    record = yaml.safe_load((work / "results/config.yaml").read_text())
    assert record["training"]["max_steps"] == 2
    assert record["training"]["batch_size"] == 8
    said = snakemake("-n", "--configfile", "results/config.yaml", cwd=work).stdout
    assert "Nothing to be done" in said


def test_a_second_run_finds_nothing_to_do(work, snakemake):
    started = time.perf_counter()
    said = snakemake(cwd=work).stdout
    assert "Nothing to be done" in said
    assert time.perf_counter() - started < 10


def test_the_rules_have_the_names_that_were_asked_for(work, snakemake):
    said = snakemake("--list-rules", cwd=work).stdout
    assert [stage for stage in STAGES if stage not in said] == []


@pytest.mark.full
def test_the_report_of_snakemake_shows_the_results(work, snakemake):
    snakemake("--report", "report.html", cwd=work)
    page = (work / "report.html").read_text()
    assert "comparison.md" in page
    assert page.count("Rows of each class in train, validation and test") == 2
    assert "the model with an untrained head" in page


@pytest.mark.full
def test_adding_a_rank_trains_the_new_cells_alone(work, snakemake):
    config = work / "config/config.yaml"
    config.write_text(config.read_text().replace("r: [2, 4]", "r: [2, 3, 4]"))
    old = work / "results/news/bert/lora-r2/seed0/training.json"
    before = old.stat().st_mtime_ns
    said = snakemake("--cores", "2", cwd=work).stdout
    lines = [line for line in said.splitlines() if "cells and baselines done: " in line]
    assert ["24 of 24" in line for line in lines] == [False] * 3 + [True]
    assert sum("news/bert/lora-r3/seed0, validation macro_f1 0." in line for line in lines) == 1
    assert (
        sum(line.endswith(" train_lora news/bert/lora-r3/seed0") for line in said.splitlines()) == 1
    )
    assert "jobid" not in said
    assert old.stat().st_mtime_ns == before
    table = pd.read_csv(work / "results/comparison.csv")
    assert sorted(table["rank"].dropna().unique()) == [2, 3, 4]


def test_a_missing_column_is_one_line_and_leaves_nothing(tiny_workflow, snakemake, tmp_path):
    work = tiny_workflow(tmp_path / "workflow")
    config = work / "config/config.yaml"
    config.write_text(config.read_text().replace("news.csv}", "news.csv}\n    text: body"))
    said = snakemake("--cores", "2", "--until", "prepare_data", cwd=work, status=1).stdout
    problem = "data/news.csv has no column 'body': set `text` to one of 'text', 'label'"
    assert f"error: {problem}" in said
    assert f" prepare_data failed: {problem} (results/news/prepare_data.log)\n" in said
    assert "Traceback" not in said
    assert not (work / "results/news/data").exists()
    assert not (work / "results/news/leakage.csv").exists()


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("config/config.yaml", "seeds: [1]\n", "error: config: top level: `datasets` is missing"),
        ("config/config.yaml", "", "error: config: config/config.yaml is empty"),
        ("config/config.yaml", "models: [\n", "error: config: config/config.yaml is not YAML"),
    ],
)
def test_a_bad_config_ends_before_anything_starts(
    tiny_workflow, snakemake, tmp_path, file, content, expected
):
    work = tiny_workflow(tmp_path / "workflow")
    (work / file).write_text(content)
    said = snakemake("--cores", "1", cwd=work, status=1).stdout
    assert expected in said
    assert "Traceback" not in said
    assert not (work / "results").exists()


def test_a_recipe_on_the_command_line_takes_the_place_of_the_default(work, snakemake):
    said = snakemake("-n", "--configfile", "config/smoke.yaml", cwd=work).stdout
    assert "sms-smoke" in said
    assert "results/news" not in said


def test_metrics_name_the_options_and_versions_they_rest_on(finished):
    record = json.loads((finished / "results/news/gpt2/lora-r4/seed0/metrics.json").read_text())
    assert record["run_info"]["experiment_name"] == "news/gpt2/lora-r4/seed0"
    assert record["run_info"]["peft_config"]["r"] == 4
    assert record["train_info"]["steps"] == 2
    assert record["meta_info"]["package_info"]["peft-version"]

"""The recipes: published setups that are complete, pinned, and run where the hub can be reached.

No hub is reached here. Its cache is filled by hand with models of the same architectures, but of
tiny size and random weights, and with a few rows in the layout of the real datasets.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.conftest import save_tokenizer

ROOT = Path(__file__).parents[1]
RECIPES = {file.stem: file for file in sorted((ROOT / "config" / "recipes").glob("*.yaml"))}
PUBLISHED = {"gpt2-imdb", "distilbert-imdb", "gpt2-imdb-1000", "opt-sms-spam"}
# A ref that may move: no commit is known to have this model as safetensors.
COLD = ("fetch_model.py", "fetch_dataset.py")  # libraries read where the cache is on import
UNPINNED = {"facebook/opt-350m": "refs/pr/33"}
COMMIT = "c" * 40


def read(recipe: str) -> dict:
    return yaml.safe_load(RECIPES[recipe].read_text(encoding="utf-8"))


def hub_sources(recipe: dict, kind: str) -> Iterator[dict]:
    return (body["source"] for body in recipe[kind].values() if "hub" in body["source"])


def test_every_published_setup_has_its_recipe():
    assert PUBLISHED | {"good-settings", "offline", "rows"} == set(RECIPES)


@pytest.mark.parametrize("recipe", RECIPES)
def test_revisions_are_commits(recipe):
    content = read(recipe)
    for kind in ("datasets", "models"):
        for source in hub_sources(content, kind):
            expected = UNPINNED.get(source["hub"], "[0-9a-f]{40}")
            assert re.fullmatch(expected, source["revision"]), source["hub"]


@pytest.mark.parametrize("recipe", sorted(PUBLISHED))
def test_a_published_setup_comes_with_its_figures(recipe):
    content = read(recipe)
    figures = content["published"]
    assert any(row["variant"] == "base" for row in figures)
    assert all("accuracy" in row["metrics"] for row in figures)
    assert content["training"]["backbone_dropout"] is True


@pytest.mark.quick(2)
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_plans_its_cells(copy_workflow, snakemake, tmp_path, recipe):
    work = copy_workflow(tmp_path / "workflow")
    plan = snakemake("-n", "--configfile", f"config/recipes/{recipe}.yaml", cwd=work).stdout
    assert re.search(rf"^train_lora +{trainings(read(recipe))}$", plan, re.MULTILINE), plan


def trainings(recipe: dict) -> int:
    """Return how many cells a recipe trains."""
    ranks = {name: body.get("r") for name, body in recipe["variants"].items()}
    counts = {name: len(r) if isinstance(r, list) else 1 for name, r in ranks.items()}
    rows = {name: body.get("train_rows") for name, body in recipe["datasets"].items()}
    sizes = {name: len(n) if isinstance(n, list) else 1 for name, n in rows.items()}
    pairs = sum(
        sum(sizes[name] for name in model.get("datasets", sizes))
        * sum(counts.get(name, 1) for name in model.get("variants", counts))
        for model in recipe["models"].values()
    )
    return pairs * len(recipe["seeds"])


def test_each_model_of_a_publication_is_trained_as_it_was_there(copy_workflow, snakemake, tmp_path):
    work = copy_workflow(tmp_path / "workflow")
    plan = snakemake("-n", "--configfile", "config/recipes/opt-sms-spam.yaml", cwd=work).stdout
    trained = re.findall(r"results/sms-spam/(\S+)/seed42/training.json", plan)
    evaluated = re.findall(r"^    output: results/sms-spam/(\S+)/seed42/metrics.json", plan, re.M)
    assert set(trained) == {"opt-350m/lora-r8", "distilbert/full"}
    assert set(evaluated) == {"opt-350m/base", "distilbert/base", *trained}


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Callable[[str, str, str], Path]:
    """An empty cache of the hub; returns how to add a repository: the directory of its files."""
    for name in [name for name in os.environ if name.startswith("HF_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))

    def add(kind: str, name: str, revision: str) -> Path:
        """`kind` is models or datasets; a revision that is no commit is a ref to one."""
        root = tmp_path / "hf" / "hub" / f"{kind}--{name.replace('/', '--')}"
        commit = revision if re.fullmatch("[0-9a-f]{40}", revision) else COMMIT
        ref = root / "refs" / revision
        ref.parent.mkdir(parents=True)
        ref.write_text(commit)
        files = root / "snapshots" / commit
        files.mkdir(parents=True)
        return files

    return add


def tiny_config(name: str, size: int):
    """The configuration of a tiny model of the same architecture as one on the hub."""
    import transformers

    if name == "facebook/opt-350m":
        # Of all OPT models it alone has embeddings of another width, and norms after each layer.
        return transformers.OPTConfig(
            vocab_size=size, hidden_size=32, word_embed_proj_dim=16, ffn_dim=64, pad_token_id=0,
            num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=64,
            bos_token_id=1, eos_token_id=1, do_layer_norm_before=False,
        )  # fmt: skip
    assert name == "distilbert/distilbert-base-uncased"
    return transformers.DistilBertConfig(
        vocab_size=size, dim=32, hidden_dim=64, n_layers=2, n_heads=2, max_position_embeddings=64
    )


def save_model(name: str, directory: Path, vocabulary: list[str]) -> None:
    """Save a tiny random model with its tokenizer, in the place of one on the hub."""
    import torch
    import transformers

    special = {"pad_token": "<pad>", "eos_token": "</s>"}
    if name.startswith("distilbert"):
        special = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    size = save_tokenizer(directory, vocabulary, special)
    torch.manual_seed(0)
    transformers.AutoModel.from_config(tiny_config(name, size)).save_pretrained(directory)


def save_dataset(name: str, directory: Path, make_rows: Callable) -> None:
    """Save a few rows as Parquet, with the columns, splits and subset of a dataset on the hub."""
    import datasets

    columns, classes, splits = {
        "ucirvine/sms_spam": (("sms", "label"), ("ham", "spam"), {"train": 80}),
        "stanfordnlp/imdb": (
            ("text", "label"),
            ("neg", "pos"),
            {"train": 60, "test": 30, "unsupervised": 10},
        ),
    }[name]
    features = datasets.Features(
        {columns[0]: datasets.Value("string"), columns[1]: datasets.ClassLabel(names=list(classes))}
    )
    lines = ["---", "configs:", "- config_name: plain_text", "  data_files:"]
    for number, (split, count) in enumerate(splits.items()):
        texts, labels = zip(*make_rows(count, seed=number), strict=True)
        # The reviews without a label have the class -1.
        numbers = [-1 if split == "unsupervised" else int(label == "spam") for label in labels]
        rows = {columns[0]: [f"{text} {split}" for text in texts], columns[1]: numbers}
        (directory / "plain_text").mkdir(exist_ok=True)
        datasets.Dataset.from_dict(rows, features=features).to_parquet(
            directory / "plain_text" / f"{split}-00000-of-00001.parquet"
        )
        lines.append(f"  - {{split: {split}, path: plain_text/{split}-*}}")
    (directory / "README.md").write_text("\n".join([*lines, "---", ""]))


# Laid over a recipe: as much of it as tiny models and a few rows can bear.
SHRUNK = """
datasets: {%s: {validation: 10, test_rows: 16}}
tokenization: {max_length: 16, max_unknown_share: 1}
training: {max_steps: 2}
baselines: [majority]
seeds: [42]
"""


@pytest.mark.full
@pytest.mark.parametrize("recipe", ["opt-sms-spam", "distilbert-imdb"])
def test_a_recipe_runs_to_the_end(
    hub, copy_workflow, snakemake, make_rows, vocabulary, tmp_path, recipe
):
    content = read(recipe)
    for source in hub_sources(content, "models"):
        directory = hub("models", source["hub"], source["revision"])
        save_model(source["hub"], directory, vocabulary)
    for source in hub_sources(content, "datasets"):
        directory = hub("datasets", source["hub"], source["revision"])
        save_dataset(source["hub"], directory, make_rows)
    work = copy_workflow(tmp_path / "workflow")
    (dataset,) = content["datasets"]
    (work / "shrunk.yaml").write_text(SHRUNK % dataset)
    files = [f"config/recipes/{recipe}.yaml", "shrunk.yaml"]
    snakemake("--cores", "2", "--configfile", *files, cwd=work, cold=COLD)
    check_comparison(work / "results", content["published"], dataset)


def check_comparison(results: Path, published: list[dict], dataset: str) -> None:
    """The comparison holds cells that ran, and beside them the published figures as they are."""
    table = pd.read_csv(results / "comparison.csv")
    ours, theirs = table[~table["published"]], table[table["published"]]
    assert {"majority", "base"} < set(ours["variant"])
    assert ours[["accuracy", "loss"]].notna().all(axis=None)
    assert set(ours["dataset"]) == {dataset}
    assert theirs[["model", "variant", "accuracy", "source"]].to_numpy().tolist() == [
        [row["model"], row["variant"], row["metrics"]["accuracy"], row["source"]]
        for row in published
    ]
    assert theirs[["seed", "rows", "confusion_matrix"]].isna().all(axis=None)
    text = (results / "comparison.md").read_text()
    assert text.count("(published)") == 2 * len(published)  # in both tables
    assert published[0]["source"] in text
    assert (results / "comparison.svg").exists()

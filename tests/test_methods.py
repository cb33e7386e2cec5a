"""The methods section of a run tells its own figures."""

import copy
from typing import Any

import pytest

from common.report import methods

META = {
    "dataset_info": {"labels": ["a", "b"], "source": {
        "kind": "hub", "name": "org/rows", "revision": "abc1"}},
    "model_info": {"kind": "package", "version": "toy==1.0", "member": "toy/model"},
    "package_info": {"python-version": "3.11.7", "peft-version": "0.21.2", "bitsandbytes-version":
                     None},
    "system_info": {"system": "Linux", "machine": "x86_64", "processor": "CPU", "accelerator":
                    None},
}  # fmt: skip
CONFIG = {"model_id": "toy", "max_seq_length": 128, "learning_rate": 0.001, "epochs": 1.0,
          "max_steps": None, "weight_decay": 0.0, "backbone_dropout": False,
          "keep": "best"}  # fmt: skip


def record(dataset: str, variant: str, seed: int | None, **run) -> dict:
    cell = {"dataset": dataset, "model": "" if seed is None else "m", "variant": variant}
    info = {"num_trainable_params": 1234}
    return {"cell": cell | {"seed": seed}, "run_info": run, "train_info": info, "meta_info": META}


PREPARATION: dict[str, Any] = {
    "settings": {"leakage": "drop", "near_duplicates": 0.8, "conflicting_labels": "drop",
                 "group": "author", "split_by": "hash", "split_seed": 7},
    "found": {"train": {"rows": 1000}, "test": {"rows": 234}},
    "rows_dropped": {"bad": 2, "exact": 30, "near": 0},
    "rows_marked": {"exact": 0},
    "rows": {"not_drawn": {"train": 0, "test": 1700}},
    "splits": {"train": {"rows": 1000, "classes": {"a": 600, "b": 400}},
               "test": {"rows": 300, "classes": {"a": 200, "b": 100}}},
}  # fmt: skip
VERDICTS: dict[str, Any] = {
    "metric": "macro_f1", "level": 0.9, "alpha": 0.1, "margin": 0.02, "resamples": 500,
    "datasets": {
        "x": {"metric": "macro_f1", "comparisons": [
            *[{"mcnemar_p": None, "family": 3, "question": "ranks and models"}] * 3,
            {"mcnemar_p": None, "family": 1, "question": None},
        ]},
    },
}  # fmt: skip
LORA = {
    "peft_type": "LORA",
    "r": 8,
    "lora_alpha": 16,
    "lora_dropout": 0.0,
    "use_rslora": False,
    "target_modules": ["k", "v"],
    "eva": None,
}
RECORDS = [
    record("x", "majority", None),
    record("x", "base", 0),
    *(record("x", "lora", seed, kind="adapter", peft_config=LORA,
             train_config=CONFIG | {"seed": seed})
      for seed in (0, 2)),
]  # fmt: skip


@pytest.mark.parametrize(
    "expected",
    [
        "x (org/rows, revision abc1): of 1,234 usable rows, 32 (bad 2, exact 30) were dropped and "
        "0 marked; duplicates were dropped, near ones where they would straddle splits",
        "by hash sampling with seed 7, rows of one author together: train 1,000 (a 600, b 400); "
        "test 300 of 2,000 (a 200, b 100).",
        "Model m: toy==1.0, toy/model.",
        "- On x: m/lora, adapter (peft_type LORA, r 8, lora_alpha 16, lora_dropout 0, "
        "target_modules k, v): AdamW, max_length 128, learning_rate 0.001, epochs 1, "
        "weight_decay 0, keep best; 1,234 trainable parameters.\n",
        "Seeds: 0, 2. Baselines: majority gives every row the most frequent class",
        "measured on the test rows (x: 300), which nothing was fitted to or chosen by; what to "
        "recommend is chosen by the loss on validation rows. The epoch that was best on "
        "validation was kept.\n",
        "Intervals are at 90 %",
        "(500 resamples, stratified by class; Rubin 1981)",
        "Holm's (1979) method within each question (x: ranks and models 3) at 10 %;",
        "Equivalence is within 0.02, by two one-sided tests of 10 % each",
        "\npython 3.11.7, peft 0.21.2; CPU, Linux, x86_64.\n",
    ],
)
def test_the_figures_of_the_run_stand_there(expected):
    assert expected in methods.text(VERDICTS, {"x": PREPARATION}, RECORDS)


def test_rows_that_each_seed_drew_are_told():
    def text(rows: int) -> str:
        meta = META | {"dataset_info": {"labels": ["a", "b"], "train_rows": rows}}
        records = [each | {"meta_info": meta} for each in RECORDS]
        return methods.text(VERDICTS, {"x": PREPARATION}, records)

    assert (
        "Of these 1,000 training rows, each seed drew 100, stratified by class; variants and "
        "baselines of one seed share the draw.\n"
    ) in text(100)
    assert "each seed drew" not in text(1000)


def test_baselines_that_have_seeds_are_described():
    text = methods.text(VERDICTS, {"x": PREPARATION}, [record("x", "embedding", 3), *RECORDS])
    assert "Seeds: 0, 2, 3. Baselines: embedding is logistic regression" in text


def test_a_setting_that_seeds_share_stands_once():
    text = methods.text(VERDICTS, {"x": PREPARATION}, RECORDS)
    assert text.count("- On ") == text.count("python 3.11.7") == 1


@pytest.mark.parametrize("early", [{"keep": "best"}, {"keep": "last", "patience": 2}])
def test_the_best_epoch_is_told_of_those_that_kept_it(early):
    mixed = [
        record("x", "head", 0, kind="head", train_config={"keep": "last", "patience": None}),
        record("x", "lora", 0, kind="adapter", train_config=early),
    ]
    text = methods.text(VERDICTS, {"x": PREPARATION}, mixed)
    kept = "The epoch that was best on validation was kept of m/lora on x; of others, the last.\n"
    assert kept in text
    assert "that was best on validation" not in methods.text(
        VERDICTS, {"x": PREPARATION}, mixed[:1]
    )


def test_mcnemar_is_named_where_it_was_used():
    assert "McNemar" not in methods.text(VERDICTS, {"x": PREPARATION}, RECORDS)
    used = copy.deepcopy(VERDICTS)
    used["datasets"]["x"]["comparisons"][0]["mcnemar_p"] = 0.5
    assert "McNemar's (1947) test with mid-p" in methods.text(used, {"x": PREPARATION}, RECORDS)


def test_names_mark_nothing():
    odd = {**PREPARATION, "splits": {"test": {"rows": 1, "classes": {"<b>*x*|": 1}}}}
    assert r"&lt;b&gt;\*x\*\|" in methods.text(VERDICTS, {"x": odd}, RECORDS)


def test_without_training_no_settings():
    text = methods.text(VERDICTS, {"x": PREPARATION}, RECORDS[:2])
    assert "- On " not in text
    assert "that was best on validation" not in text

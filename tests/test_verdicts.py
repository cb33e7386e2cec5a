"""Which differences are real, told from made-up predictions of known quality."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import verdicts
from common.cli import InputError
from common.metrics import METRICS, Metric
from common.model.scoring import classification_metrics
from common.statistics import ranking, verdict
from common.statistics.intervals import wilson
from common.statistics.predictions import Cell, Predictions
from common.statistics.resampling import Variant
from common.statistics.significance import mcnemar

ROWS = 300
COSTS = {"lora-r4": 1_000, "lora-r16": 4_000, "full": 90_000, "head": 10, "base": 0}


@pytest.fixture
def make(tmp_path):
    """Write a cell or baseline that is right on some rows; returns its directory."""

    def write(path: str, right: np.ndarray, classes=("ham", "spam"), order=None, **train) -> Path:
        folder = tmp_path / "results" / path
        folder.mkdir(parents=True, exist_ok=True)
        labels = np.arange(len(right)) % len(classes)
        given = np.where(right, labels, (labels + 1) % len(classes))
        probabilities = np.full((len(right), len(classes)), 0.2 / (len(classes) - 1))
        probabilities[np.arange(len(right)), given] = 0.8
        variant = path.split("/")[2]
        kind = variant if variant in ("base", "head", "full") else "adapter"
        info = {"num_trainable_params": COSTS.get(variant), "train_time": 5.0} | train
        record = {
            "run_info": {} if "baselines" in path else {"kind": kind},
            "train_info": {} if "baselines" in path else info,
            "meta_info": {"dataset_info": {"labels": list(classes)}},
            "metrics": {
                "test": classification_metrics(probabilities, labels.tolist(), 1),
                "validation": classification_metrics(probabilities, labels.tolist(), 1),
            },
        }
        (folder / "metrics.json").write_text(json.dumps(record))
        frame = pd.DataFrame({"id": [f"test/{row}" for row in range(len(right))]})
        frame["label"] = [classes[number] for number in labels]
        for number, name in enumerate(classes):
            frame[f"probability_{name}"] = probabilities[:, number]
        if order is not None:
            frame = frame.iloc[order]
        frame.to_parquet(folder / "predictions.parquet", index=False)
        return folder

    return write


@pytest.fixture
def several(make):
    """Write all seeds of variants of given accuracy, whose mistakes are drawn apart."""

    def write(seeds: int = 3, **accuracies: float) -> None:
        draw = np.random.default_rng(0)
        for name, accuracy in accuracies.items():
            variant = name.replace("_", "-")
            for seed in range(1 if variant in ("majority", "tfidf") else seeds):
                right = draw.permutation(ROWS) < round(accuracy * ROWS)
                if variant == "majority":
                    right = np.arange(ROWS) % 2 == 0
                place = "baselines" if variant in ("majority", "tfidf") else "bert"
                last = "" if place == "baselines" else f"/seed{seed}"
                make(f"sms/{place}/{variant}{last}", right)

    return write


@pytest.fixture
def judge(tmp_path):
    """Run the stage on variants of one model; returns the dataset's verdicts."""

    def run(variants: str, seeds: str = "0,1,2", baselines=("majority", "tfidf"), **options):
        words = ["--results", tmp_path / "results", "--output", tmp_path / "v.json"]
        words += ["--cells", f"sms/bert/{variants}/{seeds}", "--baselines", *baselines]
        words += [word for key, value in options.items() for word in (f"--{key}", value)]
        verdicts.main(list(map(str, words)))
        made = json.loads((tmp_path / "v.json").read_text())
        return made["datasets"]["sms"]

    return run


def test_sizes_of_a_dataset_are_named_with_their_training_rows(make, tmp_path):
    for dataset, rows in (("sms-n9", 9), ("sms-n20", 20)):
        path = make(f"{dataset}/baselines/tfidf", np.arange(ROWS) % 3 > 0) / "metrics.json"
        record = json.loads(path.read_text())
        record["meta_info"]["dataset_info"]["train_rows"] = rows
        path.write_text(json.dumps(record))
        make(f"{dataset}/bert/base/seed0", np.arange(ROWS) % 2 > 0)
    words = ["--results", tmp_path / "results", "--output", tmp_path / "v.json"]
    words += ["--cells", "sms-n9/bert/base/0", "sms-n20/bert/base/0", "--baselines", "tfidf"]
    verdicts.main([*map(str, words), "--sizes", "sms=sms-n9,sms-n20,sms-n99"])
    made = json.loads((tmp_path / "v.json").read_text())
    assert made["sizes"] == {"sms": ["sms-n9", "sms-n20"]}  # of sms-n99 there is no cell
    assert {name: found["train_rows"] for name, found in made["datasets"].items()} == {
        "sms-n9": 9, "sms-n20": 20,
    }  # fmt: skip


def test_training_rows_that_are_on_no_record_are_none(several, judge):
    several(seeds=1, base=0.5)
    assert judge("base", "0", ())["train_rows"] is None


@pytest.mark.parametrize("word", ["sms", "=a,b", "sms="])
def test_sizes_that_are_not_written_so(word, capsys):
    with pytest.raises(SystemExit):
        verdicts.parse(["--results", "r", "--output", "o", "--cells", "c", "--sizes", word])
    assert "is not NAME=DATASET,DATASET" in capsys.readouterr().err


def named(found: dict) -> dict[str, dict]:
    return {variant["name"]: variant for variant in found["variants"]}


def told(found: dict, a: str, b: str) -> dict:
    return next(pair for pair in found["comparisons"] if {pair["a"], pair["b"]} == {a, b})


def test_a_clear_winner(several, judge):
    several(majority=0.5, tfidf=0.7, base=0.5, lora_r4=0.8, full=0.95)
    found = judge("base,lora-r4,full")
    assert [v["name"] for v in found["variants"] if v["recommended"]] == ["bert/full"]
    assert found["verdict"][0].startswith("Train bert/full (macro_f1 0.950")
    assert found["verdict"][0].endswith("it is better than tfidf.")
    assert found["beats_all_free"]["bert/full"]["significant"]
    assert len(found["comparisons"]) == 10
    pair = told(found, "bert/full", "tfidf")
    assert pair["significant"]
    assert abs(pair["difference"]) == pytest.approx(0.25, abs=1e-3)
    assert all(each["p_holm"] >= each["p"] for each in found["comparisons"])
    assert named(found)["bert/full"]["position"] == 1


def test_each_question_is_a_family(several, judge):
    several(majority=0.5, tfidf=0.7, base=0.5, head=0.6, lora_r4=0.9, lora_r16=0.91, full=0.905)
    found = judge("base,head,lora-r4,lora-r16,full")
    asked = {frozenset((each["a"], each["b"])): (each["question"], each["family"])
             for each in found["comparisons"]}  # fmt: skip
    assert asked[frozenset(("tfidf", "bert/lora-r4"))] == ("free baselines: tfidf", 4)
    assert asked[frozenset(("bert/full", "bert/lora-r4"))] == ("full fine-tuning and the head", 5)
    assert asked[frozenset(("bert/lora-r16", "bert/lora-r4"))] == ("ranks and models", 1)
    assert asked[frozenset(("majority", "bert/lora-r4"))] == (None, 1)
    assert asked[frozenset(("bert/base", "tfidf"))] == (None, 1)


def test_of_three_alike_the_cheapest_is_recommended(several, judge):
    several(seeds=5, tfidf=0.7, head=0.6, lora_r4=0.906, lora_r16=0.905, full=0.905)
    found = judge("head,lora-r4,lora-r16,full", "0,1,2,3,4", ["tfidf"])
    assert [v["name"] for v in found["variants"] if v["recommended"]] == ["bert/lora-r4"]
    text = " ".join(found["verdict"])
    assert "with 1,000 of 90,000 parameters trained" in text
    share = named(found)["bert/lora-r4"]["share_of_gap"]
    assert share["low"] < share["share"] < share["high"]
    assert share["share"] == pytest.approx(0.3 / 0.305, abs=0.02)
    assert named(found)["bert/full"]["share_of_gap"] is None


@pytest.mark.parametrize(
    ("accuracy", "outcome"), [(0.7, "worse"), (0.95, "open"), (0.999, "better")]
)
def test_a_baseline_that_is_hard_to_beat(several, judge, accuracy, outcome):
    several(seeds=5, majority=0.5, tfidf=0.95, base=0.5, lora_r4=accuracy)
    found = judge("base,lora-r4", "0,1,2,3,4", margin=0.005)
    assert verdict.outcome(verdict.pair(found, "bert/lora-r4", "tfidf")) == outcome
    (use,) = [v["name"] for v in found["variants"] if v["recommended"]]
    assert use == ("bert/lora-r4" if outcome == "better" else "tfidf")


def test_equivalence_is_within_the_margin(make, judge):
    """Of 300 rows, two in each seed differ: within 2 points that is shown, within half no."""
    rows = np.arange(ROWS)
    make("sms/baselines/tfidf", rows % 10 != 0)
    for seed in range(5):
        make(f"sms/bert/lora-r4/seed{seed}", (rows % 10 != 0) ^ (rows == seed) ^ (rows == 10))
    for margin, outcome in ((0.03, "equivalent"), (0.001, "open")):
        found = judge("lora-r4", "0,1,2,3,4", ["tfidf"], margin=margin)
        pair = told(found, "bert/lora-r4", "tfidf")
        assert (found["margin"], pair["outcome"]) == (margin, outcome)


def test_a_failed_training_is_counted_and_not_averaged(several, make, judge):
    several(seeds=5, majority=0.5, tfidf=0.7, lora_r4=0.9)
    make("sms/bert/lora-r4/seed2", np.arange(ROWS) % 2 == 0, learned_nothing=True)
    found = judge("lora-r4", "0,1,2,3,4")
    lora = named(found)["bert/lora-r4"]
    figure = lora["metrics"]["accuracy"]
    assert lora["failed"] == [2]
    assert figure["value"] == pytest.approx(0.9, abs=0.001)
    assert figure["over_all_seeds"] == pytest.approx((4 * 0.9 + 0.5) / 5, abs=0.001)
    assert figure["spread"]["seeds"] == 4
    assert [cell["seed"] for cell in figure["cells"]] == [0, 1, 2, 3, 4]
    (rate,) = found["trainings"]
    assert (rate["model"], rate["trainings"], rate["failed"]) == ("bert", 5, 1)
    assert (rate["low"], rate["high"]) == pytest.approx((0.00505, 0.7164), rel=1e-3)
    assert any("1 of 5 trainings of bert failed" in each for each in found["verdict"])
    assert told(found, "tfidf", "bert/lora-r4")["significant"]


def test_a_control_that_learns_nothing_has_not_failed(several, judge, tmp_path):
    several(seeds=5, majority=0.5, tfidf=0.7, lora_r4=0.9, lora_r16=0.5)
    for seed in range(5):
        path = tmp_path / f"results/sms/bert/lora-r16/seed{seed}/metrics.json"
        record = json.loads(path.read_text())
        record["run_info"]["train_config"] = {"permute_labels": True}
        record["train_info"]["learned_nothing"] = seed < 4
        path.write_text(json.dumps(record))
    found = judge("lora-r4,lora-r16", "0,1,2,3,4")
    control = named(found)["bert/lora-r16"]
    assert (control["control"], control["failed"]) == (True, [])
    assert control["metrics"]["accuracy"]["spread"]["seeds"] == 5
    assert [each["trainings"] for each in found["trainings"]] == [5]
    assert told(found, "bert/lora-r4", "bert/lora-r16")["question"] is None
    assert "bert/lora-r16" not in found["beats_all_free"]
    assert "The control bert/lora-r16, trained on" in " ".join(found["verdict"])


def test_attempts_count_as_trainings(make, judge):
    attempts = [{"learned_nothing": True}, {"learned_nothing": False}]
    make("sms/baselines/tfidf", np.arange(ROWS) % 3 != 0)
    make("sms/bert/lora-r4/seed0", np.arange(ROWS) % 9 != 0, attempts=attempts)
    (rate,) = judge("lora-r4", "0", ["tfidf"])["trainings"]
    assert (rate["trainings"], rate["failed"]) == (2, 1)


def test_where_all_seeds_failed_all_count(make, judge):
    make("sms/baselines/tfidf", np.arange(ROWS) % 3 != 0)
    for seed in range(3):
        make(f"sms/bert/lora-r4/seed{seed}", np.arange(ROWS) % 2 == 0, learned_nothing=True)
    found = judge("lora-r4", baselines=["tfidf"])
    figure = named(found)["bert/lora-r4"]["metrics"]["accuracy"]
    assert (figure["value"], figure["spread"]["seeds"]) == (0.5, 3)
    assert any("bert/lora-r4 failed with seeds 0, 1 and 2: all failed" in each
               for each in found["verdict"])  # fmt: skip


def test_a_mean_over_datasets_is_told_from_six_on(several, judge, tmp_path):
    several(tfidf=0.7, lora_r4=0.9)
    judge("lora-r4", baselines=["tfidf"])
    (one,) = json.loads((tmp_path / "v.json").read_text())["datasets"].values()
    assert ranking.over_datasets(dict.fromkeys("abcde", one), 0.95) == []
    datasets = {}
    for number, name in enumerate("abcdef"):
        datasets[name] = json.loads(json.dumps(one))
        pair = datasets[name]["comparisons"][0]
        pair["difference"] = -0.1 - 0.01 * number  # tfidf less lora-r4
    (mean,) = ranking.over_datasets(datasets, 0.95)
    apart = 0.1 + 0.01 * np.arange(6)
    half = stats.t.ppf(0.975, 5) * apart.std(ddof=1) / np.sqrt(6)
    assert (mean["a"], mean["b"], mean["datasets"]) == ("bert/lora-r4", "tfidf", 6)
    assert (mean["difference"], mean["low"], mean["high"]) == pytest.approx(
        (apart.mean(), apart.mean() - half, apart.mean() + half)
    )


def test_one_seed_is_told_of_as_one(several, judge, tmp_path):
    several(seeds=1, majority=0.5, tfidf=0.7, lora_r4=0.9, base=0.5)
    found = judge("base,lora-r4", seeds="0")
    pair = told(found, "tfidf", "bert/lora-r4")
    assert pair["seeds_known"] is False
    assert pair["caution"].startswith("one seed")
    answers = [
        pd.read_parquet(tmp_path / f"results/sms/{path}/predictions.parquet")
        for path in ("baselines/tfidf", "bert/lora-r4/seed0")
    ]
    a, b = (
        frame[["probability_ham", "probability_spam"]].to_numpy().argmax(1) == np.arange(ROWS) % 2
        for frame in answers
    )
    assert pair["mcnemar_p"] == pytest.approx(mcnemar(a, b))
    assert told(found, "majority", "tfidf")["seeds_known"]
    assert told(found, "majority", "tfidf")["caution"] is None
    said = "Of these trained models alone, one seed each: train bert"
    assert found["verdict"][0].startswith(said)
    assert found["verdict"][-1].startswith("Another seed may turn this")


def test_mcnemar_is_of_single_models(several, judge):
    several(seeds=2, tfidf=0.7, lora_r4=0.9)
    found = judge("lora-r4", seeds="0,1", baselines=["tfidf"])
    assert told(found, "tfidf", "bert/lora-r4")["mcnemar_p"] is None
    assert "With 2 seeds a test finds little: 5 make it sharp." in found["verdict"]


def test_two_seeds_that_differ_more_than_rows_do_prove_nothing_beside_a_baseline(make, judge):
    """Nearly six points on average, of seeds that are 28 apart: one degree of freedom."""
    rows = np.arange(ROWS)
    make("sms/baselines/tfidf", rows % 4 != 0)
    make("sms/bert/lora-r4/seed0", rows % 3 != 0)
    make("sms/bert/lora-r4/seed1", rows % 20 != 0)
    pair = told(judge("lora-r4", "0,1", ["tfidf"]), "tfidf", "bert/lora-r4")
    assert pair["seeds_known"] and not pair["significant"]
    assert pair["bootstrap"]["p"] < 0.05 < pair["p"]
    assert pair["low"] < 0 < pair["high"] <= 1
    assert pair["detectable"] is None


def test_accuracy_has_the_interval_of_wilson(several, judge):
    several(majority=0.5, tfidf=0.9, lora_r4=0.9)
    found = named(judge("lora-r4"))
    figures = found["tfidf"]["metrics"]["accuracy"]
    expected = wilson(270, ROWS)
    assert (figures["low"], figures["high"]) == pytest.approx((expected.low, expected.high))
    (cell, *_) = found["bert/lora-r4"]["metrics"]["accuracy"]["cells"]
    assert (cell["low"], cell["high"]) == pytest.approx((expected.low, expected.high))


def test_four_disagreements_are_no_difference(make, judge):
    """By accuracy the test of two single models is McNemar's, and no interval contradicts it."""
    rows = np.arange(ROWS)
    make("sms/baselines/tfidf", rows > 3)
    make("sms/bert/lora-r4/seed0", rows >= 0)
    for metric in ("accuracy", "macro_f1"):
        pair = told(judge("lora-r4", "0", ["tfidf"], metric=metric), "tfidf", "bert/lora-r4")
        assert pair["p"] == pair["mcnemar_p"] == 0.0625
        assert pair["low"] <= 0 <= pair["high"]


def test_a_gap_that_is_not_significant_has_no_shares(several, judge):
    several(majority=0.5, head=0.90, lora_r4=0.905, full=0.91)
    found = judge("head,lora-r4,full", baselines=["majority"])
    assert told(found, "bert/head", "bert/full")["significant"] is False
    share = named(found)["bert/lora-r4"]["share_of_gap"]
    assert (share["share"], share["reason"]) == (None, "the gap is not significant")


def test_a_gap_the_wrong_way_that_is_not_significant_is_none(several, judge):
    several(majority=0.5, head=0.91, lora_r4=0.905, full=0.90)
    share = named(judge("head,lora-r4,full", baselines=["majority"]))["bert/lora-r4"][
        "share_of_gap"
    ]
    assert (share["share"], share["reason"]) == (None, "the gap is not significant")


def test_seeds_that_answer_alike_are_no_evidence_of_how_much_seeds_differ(make, several, judge):
    """Beside a variant that collapsed with all seeds a test is no bolder than beside a baseline."""
    several(seeds=2, lora_r16=0.6)
    dull = np.arange(ROWS) % 2 == 0
    make("sms/baselines/majority", dull)
    for seed in (0, 1):
        make(f"sms/bert/lora-r4/seed{seed}", dull)
    found = judge("lora-r4,lora-r16", "0,1", ["majority"])
    beside, alone = (told(found, name, "bert/lora-r16") for name in ("bert/lora-r4", "majority"))
    assert beside["p"] == pytest.approx(alone["p"])


def test_what_can_be_shown_is_what_the_corrected_test_asks_for(several, judge):
    """Among more comparisons a difference must be larger."""
    several(majority=0.5, tfidf=0.8, lora_r4=0.85, lora_r16=0.86, full=0.87)
    alone = told(judge("lora-r4", baselines=["tfidf"]), "tfidf", "bert/lora-r4")
    among = told(judge("lora-r4,lora-r16,full"), "tfidf", "bert/lora-r4")
    assert (alone["family"], among["family"]) == (1, 3)
    assert among["p"] == alone["p"]
    assert among["detectable"] > alone["detectable"]
    assert among["needed"]["rows"] > alone["needed"]["rows"]


def test_a_collapsed_cell_is_named(several, make, judge):
    several(majority=0.5, tfidf=0.7, base=0.5, lora_r4=0.9, lora_r16=0.9)
    make("sms/bert/lora-r4/seed1", np.arange(ROWS) % 2 == 0)
    found = judge("base,lora-r4,lora-r16")
    assert named(found)["bert/lora-r4"]["collapsed"] == [1]
    assert named(found)["majority"]["collapsed"] == []
    assert any("bert/lora-r4 collapsed with seed 1 of 3" in each for each in found["verdict"])


def test_seeds_that_failed_are_listed():
    cells = [
        Cell({"dataset": "d", "model": "m", "variant": "v", "seed": seed},
             {"train_info": info}, np.ones((2, 2)) / 2)
        for seed, info in enumerate(({}, {"learned_nothing": True}, {"learned_nothing": False}))
    ]  # fmt: skip
    assert ranking.seeds_of(cells, ranking.failed) == [1]


def test_figures_are_those_of_the_evaluation(several, judge, tmp_path):
    several(majority=0.5, tfidf=0.7, lora_r4=0.9)
    found = named(judge("lora-r4"))["bert/lora-r4"]
    assert found["metrics"].keys() == set(METRICS)
    for metric, told_of in found["metrics"].items():
        values = [
            json.loads((tmp_path / f"results/sms/bert/lora-r4/seed{s}/metrics.json").read_text())[
                "metrics"
            ]["test"][metric]
            for s in range(3)
        ]
        assert [cell["value"] for cell in told_of["cells"]] == pytest.approx(values)
        assert told_of["value"] == pytest.approx(np.mean(values))
        assert told_of["low"] <= told_of["value"] <= told_of["high"]
        assert told_of["spread"]["seeds"] == 3
        assert told_of["seeds_known"]
    assert found["costs"]["trainable_parameters"] == 1_000
    assert found["costs"]["peak_memory_bytes"] is None
    assert sum(point["rows"] for point in found["calibration"]["reliability"]) == 3 * ROWS
    assert found["calibration"]["ece"] == pytest.approx(0.1)


def test_an_interval_has_a_width_where_all_rows_are_right_and_stays_within_the_metric(make, judge):
    for seed in (0, 1):
        make(f"sms/bert/lora-r4/seed{seed}", np.ones(ROWS, dtype=bool))
    found = named(judge("lora-r4", "0,1", baselines=[]))["bert/lora-r4"]["metrics"]
    for metric in set(METRICS) - {"loss"}:
        assert 0.9 < found[metric]["low"] < 0.999, metric
        assert found[metric]["high"] == found[metric]["value"] == 1
        assert all(cell["high"] == 1 for cell in found[metric]["cells"])


def test_a_difference_that_no_resample_moves_has_an_interval_all_the_same(make, judge):
    make("sms/baselines/tfidf", np.ones(12, dtype=bool))
    make("sms/bert/lora-r4/seed0", np.arange(12) % 2 == 0)
    make("sms/bert/lora-r16/seed0", np.arange(12) % 2 == 0)
    found = judge("lora-r4,lora-r16", "0", ["tfidf"])
    apart = told(found, "tfidf", "bert/lora-r4")
    assert apart["standard_error"] == pytest.approx(0, abs=1e-12)
    assert apart["high"] - apart["low"] > 0.2
    assert apart["low"] < apart["difference"] == pytest.approx(2 / 3)
    equal = told(found, "bert/lora-r4", "bert/lora-r16")
    assert equal["low"] == equal["difference"] == 0 == equal["high"]  # both answer one class
    assert not equal["significant"]


def test_one_variant_alone(several, judge):
    several(seeds=5, lora_r4=0.9)
    found = judge("lora-r4", "0,1,2,3,4", baselines=[])
    assert found["comparisons"] == []
    assert found["verdict"] == [
        "bert/lora-r4 alone was measured, so there is nothing to compare it with."
    ]


def test_three_classes_have_no_f1_and_no_positive_class(make, judge):
    classes = ("a", "b", "c")
    make("sms/baselines/tfidf", np.arange(ROWS) % 7 != 0, classes)
    make("sms/bert/lora-r4/seed0", np.arange(ROWS) % 9 != 0, classes)
    found = judge("lora-r4", "0", ["tfidf"], metric="f1")
    assert found["metric"] == "macro_f1"
    assert found["positive_label"] is None
    assert found["classes"] == list(classes)
    assert set(METRICS) - named(found)["tfidf"]["metrics"].keys() == {"f1", "precision", "recall"}
    assert found["verdict"][0].startswith("macro_f1 stands in for f1")


def test_of_a_loss_less_is_better(several, judge):
    several(majority=0.5, tfidf=0.7, base=0.5, lora_r4=0.95)
    found = judge("base,lora-r4", metric="loss")
    assert found["verdict"][0].startswith("Train bert/lora-r4 (loss 0.")
    assert told(found, "tfidf", "bert/lora-r4")["difference"] > 0


def test_a_base_with_a_head_of_its_own_is_one_model_whatever_the_seed(make, judge):
    right = np.arange(ROWS) % 10 != 0
    for seed in (0, 1):
        make(f"sms/bert/base/seed{seed}", right, pretrained_head=True)
        make(f"sms/bert/lora-r4/seed{seed}", np.arange(ROWS) % 11 != seed)
    found = judge("base,lora-r4", "0,1", baselines=[])
    base = named(found)["bert/base"]
    assert base["untrained_head"] is False
    assert base["metrics"]["accuracy"]["spread"]["sd_seeds"] == 0
    assert [cell["seed"] for cell in base["metrics"]["accuracy"]["cells"]] == [0, 1]


def test_rows_in_another_order_and_another_run_give_the_same_bytes(several, judge, tmp_path):
    several(majority=0.5, tfidf=0.7, lora_r4=0.9)
    judge("lora-r4")
    first = (tmp_path / "v.json").read_bytes()
    judge("lora-r4")
    assert (tmp_path / "v.json").read_bytes() == first
    path = tmp_path / "results/sms/bert/lora-r4/seed1/predictions.parquet"
    pd.read_parquet(path).iloc[::-1].to_parquet(path, index=False)
    judge("lora-r4")
    assert (tmp_path / "v.json").read_bytes() == first


def shown(variant: dict) -> dict:
    return {metric: told["shown"] for metric, told in variant["metrics"].items()}


def test_a_variant_more_changes_no_figure_of_the_others(several, judge):
    several(majority=0.5, tfidf=0.7, lora_r4=0.9, lora_r16=0.8)
    alone, beside = judge("lora-r4"), judge("lora-r4,lora-r16")
    for name in ("tfidf", "bert/lora-r4"):
        assert shown(named(alone)[name]) == shown(named(beside)[name])


def test_level_and_resamples(several, judge, tmp_path):
    several(majority=0.5, tfidf=0.7, lora_r4=0.9)
    narrow = named(judge("lora-r4", level=0.5))["tfidf"]["metrics"]["macro_f1"]
    wide = named(judge("lora-r4", level=0.99, resamples=300))["tfidf"]["metrics"]["macro_f1"]
    assert wide["low"] < narrow["low"] < narrow["high"] < wide["high"]
    made = json.loads((tmp_path / "v.json").read_text())
    assert [made[key] for key in ("level", "alpha", "resamples")] == [0.99, 0.01, 300]


def drop_a_row(path: Path) -> None:
    pd.read_parquet(path).iloc[1:].to_parquet(path, index=False)


def rename_a_row(path: Path) -> None:
    frame = pd.read_parquet(path)
    frame.loc[5, "id"] = "test/elsewhere"
    frame.to_parquet(path, index=False)


def repeat_a_row(path: Path) -> None:
    frame = pd.read_parquet(path)
    frame.loc[5, "id"] = "test/6"
    frame.to_parquet(path, index=False)


def relabel_a_row(path: Path) -> None:
    frame = pd.read_parquet(path)
    frame.loc[5, "label"] = "ham" if frame.loc[5, "label"] == "spam" else "spam"
    frame.to_parquet(path, index=False)


def turn_an_answer(path: Path) -> None:
    frame = pd.read_parquet(path)
    turned = 1 - frame[["probability_ham", "probability_spam"]]
    frame.loc[5, turned.columns] = turned.loc[5]
    frame.to_parquet(path, index=False)


def lose_a_class(path: Path) -> None:
    pd.read_parquet(path).drop(columns="probability_spam").to_parquet(path, index=False)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (drop_a_row, "have not the same test rows .*id 'test/0' is in one alone.*delete the older"),
        (rename_a_row, "have not the same test rows .*delete the older one and run again"),
        (repeat_a_row, "has the row 'test/6' twice: delete .* and run again"),
        (relabel_a_row, "give the row 'test/5' different labels: delete the older"),
        (
            turn_an_answer,
            r"metrics\.json is not of the rows in predictions\.parquet: delete",
        ),
        (lose_a_class, "has no predictions of these classes"),
        (Path.unlink, "is not there: run the stage that writes it"),
        (lambda path: path.write_bytes(b"PAR1"), "has no predictions of these classes"),
        (lambda path: (path.parent / "metrics.json").unlink(), "metrics.json cannot be read"),
        (lambda path: (path.parent / "metrics.json").write_text("{}"), "lacks figures"),
    ],
)
def test_predictions_that_do_not_fit_are_one_line(several, judge, tmp_path, damage, complaint):
    several(majority=0.5, tfidf=0.7, lora_r4=0.9)
    damage(tmp_path / "results/sms/bert/lora-r4/seed1/predictions.parquet")
    with pytest.raises(InputError, match=complaint) as caught:
        judge("lora-r4")
    assert "\n" not in str(caught.value)
    assert "lora-r4/seed1" in str(caught.value)
    assert not (tmp_path / "v.json").exists()


@pytest.mark.parametrize(
    ("keys", "value", "complaint"),
    [
        (["train_info"], None, "train_info is no mapping"),
        (["train_info", "train_time"], "long", "train_time 'long' is no number"),
        (["train_info", "metrics"], [{"step": "x", "loss": 0.5}], "step 'x' is no number"),
        (["train_info", "metrics"], [{"step": 1, "eval_loss": None}], "eval_loss None is no num"),
        (["train_info", "metrics"], [{"loss": 0.5}], "'step'"),
        (["train_info", "metrics"], 3, "metrics of train_info are no list"),
        (["run_info", "options"], None, "options is no mapping"),
        (["run_info", "options"], {"positive_label": "eggs"}, "positive_label is 'eggs', no class"),
        (["run_info", "peft_config"], 3, "peft_config is no mapping"),
        (["meta_info", "package_info"], None, "package_info is no mapping"),
        (["meta_info", "system_info"], {"processor": []}, "processor of system_info is no text"),
        (["meta_info", "dataset_info", "labels"], [], "labels are none"),
        (["metrics", "test"], [], "test is no mapping"),
        (["metrics", "test", "macro_f1"], None, "macro_f1 of test None is no number"),
        (["metrics", "test", "mcc"], 10**400, "mcc of test 1000"),
        (["metrics", "test", "collapsed"], "no", "collapsed of test is 'no'"),
        (["metrics", "test", "confusion_matrix"], [[1.5, 0], [0, 1]], "holds 1.5, no count"),
        (["metrics", "test", "clean"], {"rows": "many"}, "rows of clean of test 'many' is no num"),
        (["metrics", "test", "clean"], {"classes": {"ham": None}}, "None is no number"),
    ],
)
def test_a_record_of_another_shape_is_one_line(several, judge, tmp_path, keys, value, complaint):
    several(seeds=2, majority=0.5, lora_r4=0.9)
    path = tmp_path / "results/sms/bert/lora-r4/seed1/metrics.json"
    record = json.loads(path.read_text())
    inner = record
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=re.escape(complaint)) as caught:
        judge("lora-r4", seeds="0,1", baselines=["majority"])
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path} lacks figures (")
    assert not (tmp_path / "v.json").exists()


def test_what_need_not_be_there_is_no_damage(several, judge, tmp_path):
    several(seeds=1, majority=0.5, lora_r4=0.9)
    path = tmp_path / "results/sms/bert/lora-r4/seed0/metrics.json"
    record = json.loads(path.read_text())
    record["run_info"] |= {"options": {"positive_label": "ham"}, "peft_config": None}
    record["train_info"] |= {"metrics": [{"step": 1, "loss": 0.5}, {"train_loss": 0.5}]}
    record["meta_info"] |= {"model_info": None, "system_info": {"accelerator": None}}
    record["metrics"]["test"] |= {"clean": {"rows": 9, "classes": {"confusion_matrix": 9}}}
    path.write_text(json.dumps(record))
    assert judge("lora-r4", seeds="0", baselines=["majority"])["verdict"]


@pytest.mark.parametrize(
    "words",
    [
        ["--level", "1"],
        ["--level", "x"],
        ["--resamples", "10"],
        ["--margin", "0"],
        ["--margin", "nan"],
    ],
)
def test_options_out_of_range(words, capsys):
    with pytest.raises(SystemExit) as end:
        verdicts.parse(["--results", "r", "--cells", "a/b/c/0", "--output", "o", *words])
    assert end.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_the_options_have_the_defaults_of_the_config():
    from rules.config import load_schema

    report = load_schema()["properties"]["report"]["properties"]
    parsed = vars(verdicts.parse(["--results", "r", "--cells", "a/b/c/0", "--output", "o"]))
    keys = report["verdicts"]["properties"]
    assert {key: parsed[key] for key in keys} == {key: keys[key]["default"] for key in keys}
    assert parsed["metric"] == report["metrics"]["default"][0]
    assert set(verdicts.METRICS) == set(METRICS)


CLOCK = ("train_time", "train_samples_per_second", "train_tokens_per_second", "peak_memory_bytes")


def test_no_word_and_no_choice_depends_on_the_clock(several, judge, tmp_path):
    """Two variants of equal parameters are tied: what decides between them is no time."""
    several(majority=0.5, tfidf=0.7, lora_r4=0.9, dora_r4=0.905, full=0.905)
    made = []
    for seed in range(3):
        draw = np.random.default_rng(seed)
        for path in sorted((tmp_path / "results").rglob("seed*/metrics.json")):
            record = json.loads(path.read_text())
            record["train_info"] |= {key: int(draw.integers(1, 10**6)) for key in CLOCK}
            record["train_info"] |= {"num_trainable_params": 1000, "file_size": 4096}
            path.write_text(json.dumps(record))
        made.append(judge("lora-r4,dora-r4,full"))
    seconds = [[v["costs"].pop("train_seconds") for v in each["variants"]] for each in made]
    assert seconds[0] != seconds[1]
    for each in made:
        for variant in each["variants"]:
            del variant["costs"]["peak_memory_bytes"]
    assert made[0] == made[1] == made[2]


def auroc(labels: np.ndarray, probabilities: np.ndarray, positive: int, weights: np.ndarray):
    """The area under the ROC curve by its definition: how often a positive row is ranked higher."""
    above, below = labels == positive, labels != positive
    found = []
    for given in probabilities[..., positive]:
        wins = placements(given, above)
        pairs = np.einsum("wi,ij,wj->w", weights[:, above], wins, weights[:, below], optimize=True)
        found.append(pairs / (weights[:, above].sum(axis=1) * weights[:, below].sum(axis=1)))
    return np.array(found)


def placements(given: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Return whether each positive row is ranked above each other row, shape (positive, other)."""
    one, other = given[above][:, None], given[~above]
    return (one > other) + 0.5 * (one == other)


def covariance_of_areas(one: np.ndarray, other: np.ndarray, above: np.ndarray) -> np.ndarray:
    """DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44, 837-845, equation 5."""
    wins = [placements(given, above) for given in (one, other)]
    by_positive = np.cov([each.mean(axis=1) for each in wins])
    by_other = np.cov([each.mean(axis=0) for each in wins])
    return by_positive / above.sum() + by_other / (~above).sum()


def test_a_metric_of_probabilities_is_not_bounded_by_the_predicted_classes(monkeypatch):
    """Both models predict one class for all rows, and rank them differently well."""
    never = lambda *_: math.nan  # noqa: E731 (the records hold its figures already)
    monkeypatch.setitem(METRICS, "auroc", Metric("AUROC", never, of_probabilities=auroc))
    draw = np.random.default_rng(0)
    labels = np.arange(ROWS) % 2
    shared = labels + draw.normal(size=ROWS)
    # Scores below 1/2, so that the predicted class is always the first.
    scores = [0.4 / (1 + np.exp(-shared - spread * draw.normal(size=ROWS))) for spread in (0, 1.2)]
    above = labels == 1
    areas = [placements(each, above).mean() for each in scores]
    covariance = covariance_of_areas(scores[0], scores[1], above)
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])

    record = {
        "run_info": {"kind": "adapter"}, "train_info": {},
        "metrics": {"test": dict.fromkeys(("accuracy", "macro_f1", "auroc"), 0.5)},
    }  # fmt: skip
    cells = [
        Cell({"dataset": "d", "model": "m", "variant": name, "seed": 0}, record,
             np.stack([1 - each, each], axis=1))
        for name, each in zip("ab", scores, strict=True)
    ]  # fmt: skip
    ids = [str(row) for row in range(ROWS)]
    found = ranking.compare_variants(
        Predictions(["no", "yes"], 1, ids, labels, cells), "auroc", 0.95, 2000
    )
    (pair,) = found["comparisons"]
    assert found["metric"] == "auroc"
    assert pair["difference"] == pytest.approx(areas[0] - areas[1])
    assert pair["standard_error"] == pytest.approx(error, rel=0.05)
    z = (areas[0] - areas[1]) / error
    assert stats.norm.isf(pair["p"] / 2) == pytest.approx(z, rel=0.06)
    assert pair["significant"]
    for variant, area, variance in zip(
        found["variants"], areas, covariance.diagonal(), strict=True
    ):
        figure = variant["metrics"]["auroc"]
        assert figure["value"] == pytest.approx(area)
        half = stats.norm.ppf(0.975) * np.sqrt(variance)
        assert (figure["high"] - figure["low"]) / 2 == pytest.approx(half, rel=0.08)


def test_three_seeds_of_one_and_the_same_model_are_one_that_was_not_trained():
    """A base with a head of its own has nothing for a seed to draw."""
    same = np.tile([[[0.2, 0.8], [0.6, 0.4]]], (3, 1, 1))

    def measured(probabilities: np.ndarray, kind: str) -> Variant:
        cells = [
            Cell({"dataset": "d", "model": "m", "variant": "v", "seed": seed},
                 {"run_info": {"kind": kind}, "train_info": {"pretrained_head": True}}, each)
            for seed, each in enumerate(probabilities)
        ]  # fmt: skip
        return ranking.as_variant("m/v", cells)

    found = measured(same, "base")
    assert (found.probabilities.shape, found.trained) == ((1, 2, 2), False)
    found = measured(same, "adapter")
    assert (found.probabilities.shape, found.trained) == ((3, 2, 2), True)
    same[2, 0] = [0.3, 0.7]
    found = measured(same, "base")
    assert (found.probabilities.shape, found.trained) == ((3, 2, 2), True)

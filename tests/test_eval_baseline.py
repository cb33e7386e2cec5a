"""Baselines: what a classifier without the model reaches, and what it may look at."""

import json
import shutil
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest

import eval_baseline
from common import baselines, checksums, files
from common.baselines import OF_TEXTS
from common.cli import InputError
from common.data import datadict

LABELS = ("ham", "spam", "other")


@pytest.fixture(scope="module")
def data(tmp_path_factory, write_csv) -> Path:
    """Learnable rows, of which 5 in 8 are ham."""
    import prepare_data

    root = tmp_path_factory.mktemp("data")
    source = write_csv(
        root / "rows.csv", 200, ("ham", "spam", "ham", "ham", "ham", "spam", "ham", "spam")
    )
    prepare_data.main(f"--source {source} --output {root}/data".split())
    return root / "data"


@pytest.fixture
def evaluate(data, tmp_path):
    """Evaluate a baseline; returns its record and its predictions."""

    def run(baseline: str, *more: object, rows: Path = data):
        metrics, predictions = tmp_path / f"{baseline}.json", tmp_path / f"{baseline}.parquet"
        words = ["--data", rows, "--baseline", baseline, *more]
        words += ["--metrics", metrics, "--predictions", predictions]
        eval_baseline.main(list(map(str, words)))
        return json.loads(metrics.read_text()), pd.read_parquet(predictions)

    return run


def shares(data: Path, split: str) -> np.ndarray:
    """Return the share of each class in a split."""
    return np.bincount(datasets.load_from_disk(data)[split]["label"]) / len(
        datasets.load_from_disk(data)[split]
    )


def test_majority_is_the_share_of_the_most_frequent_class(data, evaluate):
    record, frame = evaluate("majority")
    assert set(frame["prediction"]) == {"ham"}
    for split in ("validation", "test"):
        assert record["metrics"][split]["accuracy"] == shares(data, split).max()
    test = record["metrics"]["test"]
    assert (test["mcc"], test["f1"], test["balanced_accuracy"]) == (0, 0, 0.5)


def test_majority_gives_the_training_shares_as_probabilities(data, evaluate):
    _, frame = evaluate("majority")
    found = frame[["probability_ham", "probability_spam"]].to_numpy()
    np.testing.assert_allclose(found, np.tile(shares(data, "train"), (len(frame), 1)))


def test_tfidf_beats_majority_where_words_tell(evaluate):
    majority, tfidf = (evaluate(name)[0]["metrics"]["test"] for name in OF_TEXTS)
    assert tfidf["accuracy"] > 0.95 > majority["accuracy"]
    assert tfidf["loss"] < majority["loss"]


@pytest.mark.full
def test_equal_runs_give_equal_predictions(evaluate):
    first, second = (evaluate("tfidf")[1] for _ in range(2))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


@pytest.mark.parametrize("baseline", OF_TEXTS)
def test_nothing_is_fitted_to_test_rows(data, evaluate, tmp_path, baseline):
    """With all test rows replaced but for their number, the model judges validation as before."""
    before, _ = evaluate(baseline)
    splits = datasets.load_from_disk(data)
    other = splits["test"].map(
        lambda row: {"text": "zyx zyx " + row["text"][::-1], "label": 1 - row["label"]}
    )
    datadict.save(datasets.DatasetDict({**splits, "test": other}), tmp_path / "other")
    shutil.copy(data / "source.json", tmp_path / "other")
    checksums.write(tmp_path / "other")
    after, _ = evaluate(baseline, rows=tmp_path / "other")
    timings = ("eval_seconds", "eval_samples_per_second")
    old, new = (
        {key: value for key, value in record["metrics"]["validation"].items() if key not in timings}
        for record in (before, after)
    )
    assert new == old
    assert after["metrics"]["test"]["accuracy"] != before["metrics"]["test"]["accuracy"]


def test_test_rows_are_not_seen_by_fit(data):
    splits = datasets.load_from_disk(data)
    seen = {name: splits[name] for name in ("train", "validation")}
    for baseline in OF_TEXTS:
        fitted, info = eval_baseline.fit(baseline, seen)
        assert info["status"] == "not trained"
        assert fitted.predict_proba(["win cash"]).shape == (1, 2)


def test_vocabulary_is_that_of_the_training_rows(data):
    splits = datasets.load_from_disk(data)
    fitted, _ = eval_baseline.fit("tfidf", splits)
    training_words = {word for text in splits["train"]["text"] for word in text.split()}
    vocabulary = set(fitted[0].vocabulary_)
    assert {word for word in vocabulary if " " not in word} == training_words


def test_regularisation_is_chosen_on_validation(data):
    splits = datasets.load_from_disk(data)
    fitted, _ = eval_baseline.fit("tfidf", splits)
    train, validation = (
        (list(splits[name]["text"]), list(splits[name]["label"]))
        for name in ("train", "validation")
    )
    losses = {
        candidate[-1].C: baselines.best_candidate([candidate], train, validation)[0]
        for candidate in baselines.tfidf(["word"])
    }
    assert min(losses, key=lambda strength: losses[strength]) == fitted[-1].C
    assert len(set(losses.values())) == len(baselines.INVERSE_REGULARISATION)


def test_marked_rows_give_every_metric_twice(data, evaluate, tmp_path):
    """The clean block is what the clean rows alone would give."""
    splits = datasets.load_from_disk(data)
    marked = datasets.DatasetDict(
        {
            split: rows.add_column("clean", [number % 3 > 0 for number in range(len(rows))])
            for split, rows in splits.items()
        }
    )
    alone = {
        split: rows if split == "train" else rows.filter(lambda row: row["clean"])
        for split, rows in marked.items()
    }
    for name, content in (("marked", marked), ("alone", datasets.DatasetDict(alone))):
        datadict.save(content.remove_columns([] if name == "marked" else "clean"), tmp_path / name)
        shutil.copy(data / "source.json", tmp_path / name)
        checksums.write(tmp_path / name)
    both, expected = (evaluate("majority", rows=tmp_path / n)[0] for n in ("marked", "alone"))
    plain = evaluate("majority")[0]["metrics"]["test"]
    found = both["metrics"]["test"]
    assert "clean" not in plain
    assert found["accuracy"] == plain["accuracy"]
    assert found["clean"]["rows"] == len(alone["test"])
    timings = {"eval_seconds", "eval_samples_per_second"}
    wanted = {k: v for k, v in expected["metrics"]["test"].items() if k not in timings}
    assert found["clean"] == wanted


def test_a_split_without_a_clean_row_says_so(data, evaluate, tmp_path):
    splits = datasets.load_from_disk(data)
    marked = {
        split: rows.add_column("clean", [False] * len(rows)) for split, rows in splits.items()
    }
    datadict.save(datasets.DatasetDict(marked), tmp_path / "none")
    shutil.copy(data / "source.json", tmp_path / "none")
    checksums.write(tmp_path / "none")
    assert evaluate("majority", rows=tmp_path / "none")[0]["metrics"]["test"]["clean"] == {
        "rows": 0,
        "classes": {"ham": 0, "spam": 0},
    }


def test_clean_rows_that_lack_a_class_have_no_metrics(data, evaluate, tmp_path):
    """A perfect classifier would have a macro-F1 of 0.5 there."""
    splits = datasets.load_from_disk(data)
    ham = splits["train"].features["label"].str2int("ham")
    marked = {
        split: rows.add_column("clean", [label == ham for label in rows["label"]])
        for split, rows in splits.items()
    }
    datadict.save(datasets.DatasetDict(marked), tmp_path / "ham")
    shutil.copy(data / "source.json", tmp_path / "ham")
    checksums.write(tmp_path / "ham")
    count = list(splits["test"]["label"]).count(ham)
    found = evaluate("tfidf", rows=tmp_path / "ham")[0]["metrics"]["test"]
    assert found["clean"] == {"rows": count, "classes": {"ham": count, "spam": 0}}
    assert found["macro_f1"] > 0.95


def of_texts(root: Path, train: list[str]) -> Path:
    """Return a dataset of given texts whose labels alternate, as prepare_data leaves it."""
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["ham", "spam"]),
        }
    )
    content = {
        "id": [str(number) for number in range(len(train))],
        "text": train,
        "label": [number % 2 for number in range(len(train))],
    }
    rows = datasets.Dataset.from_dict(content, features=features)
    parts = dict.fromkeys(("train", "validation", "test"), rows)
    datadict.save(datasets.DatasetDict(parts), root / "texts")
    (root / "texts" / "source.json").write_text('{"kind": "path", "name": "texts.csv"}')
    return root / "texts"


def test_texts_without_words_are_told_apart_by_their_characters(evaluate, tmp_path, caplog):
    texts = [":)", ":(", "\U0001f600 :)", "\U0001f622 :("] * 5
    record, _ = evaluate("tfidf", rows=of_texts(tmp_path, texts))
    assert record["metrics"]["test"]["accuracy"] == 1
    assert "no training text has a word: TF-IDF counts characters" in caplog.messages


def test_one_text_with_a_word_is_enough_to_count_words(evaluate, tmp_path, caplog):
    record, _ = evaluate("tfidf", rows=of_texts(tmp_path, [":)", ":(", "win", ":)"] * 5))
    assert record["metrics"]["test"]["accuracy"] < 1
    assert "no training text has a word: TF-IDF counts characters" not in caplog.messages


@pytest.mark.parametrize("baseline", OF_TEXTS)
def test_three_classes(make_tokens, evaluate, baseline):
    record, frame = evaluate(baseline, rows=make_tokens("bert", LABELS).parent / "data")
    assert record["metrics"]["test"]["f1"] is None
    assert len(record["metrics"]["test"]["confusion_matrix"]) == 3
    assert {f"probability_{label}" for label in LABELS} < set(frame.columns)


def test_record_has_the_three_blocks(evaluate, data):
    record, frame = evaluate("tfidf")
    blocks = ["run_info", "train_info", "meta_info", "metrics"]
    assert list(record) == [*blocks, checksums.OF_PREDICTIONS, files.DIGEST]
    assert record["meta_info"]["dataset_info"] == {
        "labels": ["ham", "spam"],
        "source": {"kind": "path", "name": "rows.csv"},
        "train_rows": len(datasets.load_from_disk(data)["train"]),
    }
    assert record["meta_info"]["model_info"] is None
    assert record["train_info"]["train_time"] > 0
    assert list(frame.columns) == [
        "id", "label", "prediction", "probability_ham", "probability_spam"
    ]  # fmt: skip


def test_unknown_positive_label(evaluate):
    with pytest.raises(InputError, match="no class 'eggs': set `positive_label` to one of ham"):
        evaluate("majority", "--positive-label", "eggs")


def test_baselines_are_those_of_the_config():
    import yaml

    schema = yaml.safe_load((Path(__file__).parents[1] / "config/schema.yaml").read_text())
    known = schema["properties"]["baselines"]["items"]["enum"]
    assert list(baselines.BASELINES) == known


def test_mistake_ends_in_one_line(run_script, data, tmp_path):
    broken = Path(shutil.copytree(data, tmp_path / "broken"))
    shutil.rmtree(broken / "test")
    words = ["--data", broken, "--baseline", "majority"]
    words += ["--metrics", tmp_path / "m.json", "--predictions", tmp_path / "p.parquet"]
    done = run_script("eval_baseline", *words)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert str(broken) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.json"))

"""Results as the stages leave them, made up: for tests of what reads a whole comparison.

Predictions are drawn with a chance of being right that grows with the variant; everything else
follows from them. Verdicts are in the form of the stage `verdicts`, with plain intervals.
"""

import json
import math
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.markdown import shown, table

KINDS = {"base": "base", "head": "head", "full": "full"}
BASELINES = {"majority": 0.0, "tfidf": 0.86}  # chance of being right
WORDS = ["the", "plot", "was", "slow", "but", "its", "cast", "made", "it", "worth", "two", "hours"]
METRICS = ("macro_f1", "accuracy", "f1", "loss")


@dataclass(frozen=True)
class Comparison:
    """What to make up: by dataset its classes; models, variants and seeds of all of them."""

    datasets: dict[str, list[str]]
    models: tuple[str, ...] = ("minilm",)
    variants: tuple[str, ...] = ("base", "head", "lora-r4", "lora-r16", "full")
    seeds: tuple[int, ...] = (0, 1)
    rows: int = 120
    words: int = 14  # of a text
    extra_texts: list[str] = field(default_factory=list)  # the first texts of every dataset
    metric: str = "macro_f1"


def make(root: Path, plan: Comparison) -> Path:
    """Write results/ with everything that a page reads; returns it."""
    results = root / "results"
    datasets = {}
    for number, (name, classes) in enumerate(plan.datasets.items()):
        rng = np.random.default_rng(number)
        labels = rng.integers(0, len(classes), plan.rows)
        save_rows(results / name, plan, classes, labels, rng)
        save_passport(results / name, name, classes)
        variants = list(make_variants(results / name, plan, classes, labels, rng))
        metric = plan.metric if plan.metric in variants[0]["metrics"] else "macro_f1"
        datasets[name] = verdict(name, classes, plan.rows, variants, metric)
    verdicts = {"metric": plan.metric, "level": 0.95, "alpha": 0.05, "resamples": 2000,
                "datasets": datasets}  # fmt: skip
    (results / "verdicts.json").write_text(json.dumps(verdicts))
    (results / "config.yaml").write_text("seeds: [0, 1]\ntraining: {learning_rate: 0.001}\n")
    return results


def save_rows(directory: Path, plan: Comparison, classes: list[str], labels, rng) -> None:
    """The test rows in Arrow."""
    import datasets

    texts = [" ".join(rng.choice(WORDS, plan.words)) + f" {row}" for row in range(plan.rows)]
    texts[: len(plan.extra_texts)] = plan.extra_texts
    features = {"id": datasets.Value("string"), "text": datasets.Value("string"),
                "label": datasets.ClassLabel(names=classes)}  # fmt: skip
    columns = {"id": [f"test/{row}" for row in range(plan.rows)], "text": texts,
               "label": labels.tolist()}  # fmt: skip
    rows = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    datasets.DatasetDict(test=rows).save_to_disk(directory / "data")


def save_passport(directory: Path, name: str, classes: list[str]) -> None:
    """A passport with a table and both pictures."""
    rows = table(["", "test"], [[f"class {label}", 60] for label in classes])
    (directory / "passport.md").write_text(
        f"# Data passport\n\n- name: {shown(name)}\n\n## Rows out\n\n{rows}\n\n"
        "![Rows of each class, by split](classes.svg)\n\n![Lengths in tokens](lengths.svg)\n"
    )
    for picture in ("classes.svg", "lengths.svg"):
        (directory / picture).write_text(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 40" width="200" height="40">'
            '<rect width="120" height="20" fill="#0a6ebd"/></svg>'
        )


def make_variants(directory: Path, plan: Comparison, classes, labels, rng):
    """Write metrics.json and predictions.parquet of all cells; yields the variants' verdicts."""
    for baseline, chance in BASELINES.items():
        answers = draw(labels, chance, len(classes), rng)
        record = save_cell(directory / "baselines" / baseline, classes, labels, answers, {})
        yield variant(None, baseline, "baseline", [None], [record], plan.rows)
    for model in plan.models:
        for place, name in enumerate(plan.variants):
            kind = KINDS.get(name, "adapter")
            chance = 0.0 if kind == "base" else 0.8 + 0.16 * place / len(plan.variants)
            records = []
            for seed in plan.seeds:
                answers = draw(labels, chance, len(classes), rng)
                cell = directory / model / name / f"seed{seed}"
                training = of_training(kind, name, place, seed)
                records.append(save_cell(cell, classes, labels, answers, training))
            yield variant(model, name, kind, list(plan.seeds), records, plan.rows)


def draw(labels, chance: float, classes: int, rng):
    """Answers that are right with some chance; with none, the first class for all."""
    if not chance:
        return np.zeros_like(labels)
    others = rng.integers(0, classes, len(labels))
    return np.where(rng.random(len(labels)) < chance, labels, others)


def of_training(kind: str, name: str, place: int, seed: int) -> dict[str, Any]:
    """The record of a training; that of `base` is empty."""
    if kind == "base":
        return {}
    history = [{"loss": 0.7 * 0.8**i + 0.02 * seed, "step": 10 * i, "epoch": i / 10}
               for i in range(1, 11)]  # fmt: skip
    ranked = {"r": int(name.rpartition("-r")[2])} if "-r" in name else None
    return {
        "metrics": [*history, {"eval_loss": 0.2 + 0.03 * seed, "step": 100, "epoch": 1.0}],
        "num_trainable_params": 1000 * 6**place, "train_time": 10.0 + 7 * place + seed,
        "peak_memory_bytes": 2**28 + 2**26 * place, "file_size": 4000 * 6**place,
        "peft_config": ranked,
    }  # fmt: skip


def save_cell(directory: Path, classes, labels, answers, training) -> dict[str, Any]:
    """Write one cell; returns its metrics.json."""
    matrix = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(matrix, (labels, answers), 1)
    right = float((labels == answers).mean())
    names = np.asarray(classes, dtype=object)
    collapsed = bool(len(set(answers.tolist())) == 1)
    record = {
        "run_info": {"kind": "adapter", "peft_config": training.pop("peft_config", None)},
        "train_info": {**training, "status": "success"},
        "meta_info": {
            "dataset_info": {"labels": classes},
            "package_info": {"python-version": "3.11.7", "torch-version": "2.13.0"},
            "system_info": {"processor": "AMD EPYC", "accelerator": None},
        },
        "metrics": {"test": {"macro_f1": right, "accuracy": right, "loss": 1 - right,
                             "f1": right if len(classes) == 2 else None,
                             "collapsed": collapsed, "confusion_matrix": matrix.tolist()}},
    }  # fmt: skip
    directory.mkdir(parents=True)
    (directory / "metrics.json").write_text(json.dumps(record))
    frame = {"id": [f"test/{row}" for row in range(len(labels))],
             "label": names[labels], "prediction": names[answers]}  # fmt: skip
    for number, name in enumerate(classes):
        frame[f"probability_{name}"] = np.where(answers == number, 0.8, 0.2 / (len(classes) - 1))
    pd.DataFrame(frame).to_parquet(directory / "predictions.parquet", index=False)
    return record


def variant(model, name: str, kind: str, seeds: list, records: list, rows: int) -> dict[str, Any]:
    """One variant of verdicts.json, from the records of its cells."""
    test = [record["metrics"]["test"] for record in records]
    train = records[0]["train_info"]
    collapsed = [seed for seed, found in zip(seeds, test, strict=True) if found["collapsed"]]
    return {
        "name": f"{model}/{name}" if model else name,
        "model": model, "variant": name, "kind": kind,
        "seeds": [] if kind == "baseline" else seeds,
        "metrics": {m: measure([t[m] for t in test], seeds, rows) for m in METRICS
                    if test[0][m] is not None},
        "calibration": calibration(float(np.mean([t["accuracy"] for t in test]))),
        "costs": {
            "trainable_parameters": train.get("num_trainable_params"),
            "train_seconds": train.get("train_time"),
            "peak_memory_bytes": train.get("peak_memory_bytes"),
            "file_bytes": train.get("file_size"),
        },
        "collapsed": [] if kind == "baseline" else collapsed,
        "letters": "", "tied_for_first": False, "rank": 0, "share_of_gap": None,
        "untrained_head": kind == "base",
    }  # fmt: skip


def measure(values: list[float], seeds: list, rows: int) -> dict[str, Any]:
    """One metric of a variant, with an interval as for a share."""
    half = [1.96 * math.sqrt(max(v * (1 - v), 0.002) / rows) for v in values]
    mean, wide = float(np.mean(values)), float(np.mean(half))
    low, high = max(mean - wide, 0), min(mean + wide, 1)
    cells = [{"seed": s, "value": v, "low": max(v - h, 0), "high": min(v + h, 1)}
             for s, v, h in zip(seeds, values, half, strict=True)]  # fmt: skip
    return {"value": mean, "low": low, "high": high, "seeds_known": len(values) > 1,
            "shown": f"{mean:.3f} ({low:.3f} to {high:.3f})", "cells": cells}  # fmt: skip


def calibration(accuracy: float) -> dict[str, Any]:
    """Points of a reliability diagram around an accuracy; the first bins are empty."""
    bins = [{"low": i / 10, "high": (i + 1) / 10, "confidence": i / 10 + 0.05,
             "accuracy": min(i / 10 + 0.1, 1.0), "rows": 10 * i * (i > 4)}
            for i in range(10)]  # fmt: skip
    return {"ece": 0.05, "brier": round(1 - accuracy, 3), "reliability": bins}


def verdict(name: str, classes: list[str], rows: int, variants: list, metric: str) -> dict:
    """One dataset of verdicts.json; the best and all whose intervals hold its value are tied."""
    values = {each["name"]: each["metrics"][metric]["value"] for each in variants}
    order = sorted(values, key=lambda each: values[each] * (1 if metric == "loss" else -1))
    best = next(each for each in variants if each["name"] == order[0])
    top = best["metrics"][metric]
    for each in variants:
        found = each["metrics"][metric]
        each["rank"] = 1 + order.index(each["name"])
        each["tied_for_first"] = found["low"] <= top["value"] <= found["high"]
        each["letters"] = "a" if each["tied_for_first"] else "b"
    tied = [each["name"] for each in variants if each["tied_for_first"]]
    return {
        "metric": metric,
        "rows": rows, "classes": classes, "positive_label": classes[-1], "variants": variants,
        "comparisons": [comparison(a, b, rows, metric) for a, b in combinations(variants, 2)],
        "verdict": [f"Use {best['name']} on {name}: it reaches {top['shown']} and beats tfidf.",
                    f"Tied for first: {', '.join(tied)}."],
    }  # fmt: skip


def comparison(a: dict[str, Any], b: dict[str, Any], rows: int, metric: str) -> dict[str, Any]:
    """One comparison of verdicts.json, the first minus the second."""
    difference = a["metrics"][metric]["value"] - b["metrics"][metric]["value"]
    half = 2 / math.sqrt(rows) / 2
    return {
        "a": a["name"], "b": b["name"], "metric": metric, "difference": difference,
        "low": difference - half, "high": difference + half, "p": 0.01, "p_holm": 0.03,
        "significant": abs(difference) > half, "seeds_known": True, "mcnemar_p": 0.02,
        "caution": None, "each_seed": False, "family": 10, "detectable": half,
        "needed": {"rows": 900, "seeds": 3, "why": "rows"},
    }  # fmt: skip

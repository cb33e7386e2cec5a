"""Results as the stages leave them, made up: for tests of what reads a whole comparison.

Predictions are drawn with a chance of being right that grows with the variant; everything else
follows from them. The verdicts are those of the stage `verdicts`, of few resamples.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import verdicts
from common import files
from common.markdown import shown, table

KINDS = {"base": "base", "head": "head", "full": "full"}
BASELINES = {"majority": 0.0, "tfidf": 0.86}  # chance of being right
WORDS = ["the", "plot", "was", "slow", "but", "its", "cast", "made", "it", "worth", "two", "hours"]
VERDICTS: dict[str, str] = {}  # by plan: equal plans have equal verdicts


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
    # Datasets that differ in their training rows: how many each has, by the name in common.
    sizes: dict[str, dict[str, int]] = field(default_factory=dict)

    def train_rows(self, dataset: str) -> int:
        """Return how many rows the cells of a dataset were trained on."""
        return {name: n for own in self.sizes.values() for name, n in own.items()}.get(dataset, 80)


def make(root: Path, plan: Comparison) -> Path:
    """Write results/ with everything that a page reads; returns it."""
    results = root / "results"
    for number, (name, classes) in enumerate(plan.datasets.items()):
        rng = np.random.default_rng(number)
        labels = rng.integers(0, len(classes), plan.rows)
        save_rows(results / name, plan, classes, labels, rng)
        save_passport(results / name, name, classes)
        save_cells(results / name, plan, classes, labels, rng)
    (results / "config.yaml").write_text("seeds: [0, 1]\ntraining: {learning_rate: 0.001}\n")
    if (key := repr(plan)) not in VERDICTS:
        VERDICTS[key] = judged(results, plan)
    (results / "verdicts.json").write_text(VERDICTS[key])
    return results


def judged(results: Path, plan: Comparison) -> str:
    """Return what the stage `verdicts` writes of all cells, without its digest: tests edit it."""
    variants, seeds = ",".join(plan.variants), ",".join(map(str, plan.seeds))
    cells = [
        f"{name}/{model}/{variants}/{seeds}" for name in plan.datasets for model in plan.models
    ]
    output = results / "verdicts.json"
    sizes = [f"{name}={','.join(own)}" for name, own in plan.sizes.items()]
    words = ["--results", results, "--cells", *cells, "--baselines", *BASELINES,
             "--sizes", *sizes, "--metric", plan.metric, "--resamples", 200,
             "--output", output]  # fmt: skip
    verdicts.main([str(word) for word in words])
    return json.dumps(files.read_json(output))


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


def save_cells(directory: Path, plan: Comparison, classes, labels, rng) -> None:
    """Write metrics.json and predictions.parquet of all cells and baselines."""
    rows = plan.train_rows(directory.name)
    for baseline, chance in BASELINES.items():
        answers = draw(labels, chance, len(classes), rng)
        save_cell(directory / "baselines" / baseline, rows, "base", classes, labels, answers, {})
    for model in plan.models:
        for place, name in enumerate(plan.variants):
            kind = KINDS.get(name, "adapter")
            chance = 0.0 if kind == "base" else 0.8 + 0.16 * place / len(plan.variants)
            for seed in plan.seeds:
                answers = draw(labels, chance, len(classes), rng)
                cell = directory / model / name / f"seed{seed}"
                training = of_training(kind, name, place, seed)
                save_cell(cell, rows, kind, classes, labels, answers, training)


def draw(labels, chance: float, classes: int, rng):
    """Answers that are right with some chance; with none, the first class for all."""
    if not chance:
        return np.zeros_like(labels)
    others = rng.integers(0, classes, len(labels))
    return np.where(rng.random(len(labels)) < chance, labels, others)


def of_training(kind: str, name: str, place: int, seed: int) -> dict[str, Any]:
    """Return the record of a training; that of `base` is empty."""
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


def save_cell(directory: Path, rows: int, kind: str, classes, labels, answers, training) -> None:
    """Write one cell."""
    matrix = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(matrix, (labels, answers), 1)
    right = float((labels == answers).mean())
    names = np.asarray(classes, dtype=object)
    collapsed = bool(len(set(answers.tolist())) == 1)
    record = {
        "run_info": {"kind": kind, "peft_config": training.pop("peft_config", None)},
        "train_info": {**training, "status": "success"},
        "meta_info": {
            "dataset_info": {"labels": classes, "train_rows": rows},
            "package_info": {"python-version": "3.11.7", "torch-version": "2.13.0"},
            "system_info": {"processor": "AMD EPYC", "accelerator": None},
        },
        "metrics": {"test": {"macro_f1": right, "accuracy": right, "loss": 1 - right,
                             "f1": right if len(classes) == 2 else None,
                             "collapsed": collapsed, "confusion_matrix": matrix.tolist()},
                    "validation": {"accuracy": right, "loss": 1 - right}},
    }  # fmt: skip
    directory.mkdir(parents=True)
    (directory / "metrics.json").write_text(json.dumps(record))
    frame = {"id": [f"test/{row}" for row in range(len(labels))],
             "label": names[labels], "prediction": names[answers]}  # fmt: skip
    confidence = 0.55 + 0.1 * (np.arange(len(labels)) % 5)
    for number, name in enumerate(classes):
        rest = (1 - confidence) / (len(classes) - 1)
        frame[f"probability_{name}"] = np.where(answers == number, confidence, rest)
    pd.DataFrame(frame).to_parquet(directory / "predictions.parquet", index=False)

"""Evaluate a baseline on one dataset: what a classifier without the model reaches.

    python scripts/eval_baseline.py --data results/sms-spam/data --baseline tfidf \\
        --positive-label spam --predictions results/sms-spam/baselines/tfidf/predictions.parquet \\
        --metrics results/sms-spam/baselines/tfidf/metrics.json

``majority`` answers the most frequent class of the training rows, with the training shares as
probabilities. ``tfidf`` is logistic regression on TF-IDF of words and word pairs, its
regularisation chosen on validation by log loss; where no training text has a word (emoji, ":)"), of
characters and pairs of them.
"""

import logging
import time
from pathlib import Path
from typing import Any

from common import cells, cli, files, warm
from common.baselines import BASELINES, OF_TEXTS, best_candidate
from common.data import datadict, draws
from common.model import evaluation

log = logging.getLogger("eval_baseline")


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--data", required=True, type=Path, help="Arrow directory of the splits")
    parser.add_argument("--baseline", choices=OF_TEXTS, required=True, help="which one")
    parser.add_argument("--positive-label", help="class of F1, precision, recall; else the last")
    draws.add_option(parser)
    parser.add_argument("--seed", type=cli.int_at_least(0), help="that draws --train-rows")
    parser.add_argument("--metrics", required=True, type=Path, help="JSON file to write")
    parser.add_argument("--predictions", required=True, type=Path, help="Parquet file to write")
    args = parser.parse_args(argv)
    cli.go_offline()
    clock = cells.Clock()
    draw = draws.Draw(args.train_rows, args.seed)
    splits = draws.drawn(datadict.load(args.data), draw)
    source = files.read_source(args.data)
    names = datadict.class_names(splits)
    positive = cells.class_number(args.positive_label, names)
    classifier, train_info = fit(args.baseline, splits)

    def predict(rows) -> dict[str, Any]:
        started = time.perf_counter()
        probabilities = classifier.predict_proba(datadict.texts(rows))
        return {"probabilities": probabilities, "seconds": time.perf_counter() - started}

    results, predictions = evaluation.evaluate(predict, splits, names, positive)
    record = {
        "run_info": {
            **clock.run_info(args.metrics.parent, vars(args), seeded=args.seed is not None),
            "kind": "baseline",
            "peft_config": None,
        },
        "train_info": train_info,
        "meta_info": cells.meta_info(names, dataset=source, train_rows=len(splits["train"])),
        "metrics": results,
    }
    cells.write_results(record, predictions, args.metrics, args.predictions)
    log.info("test accuracy %.4f", results["test"]["accuracy"])


def fit(baseline: str, splits) -> tuple[Any, dict[str, Any]]:
    """Return a fitted scikit-learn classifier of texts, and what fitting took."""
    started = time.perf_counter()
    train, validation = splits["train"], splits["validation"]
    candidates = BASELINES[baseline].candidates(datadict.texts(train))
    seen, unseen = ((datadict.texts(rows), list(rows["label"])) for rows in (train, validation))
    _, best = best_candidate(candidates, seen, unseen)
    return best, {
        "train_time": round(time.perf_counter() - started, 3),
        "peak_memory_bytes": cells.peak_memory_bytes(),
        "status": cells.NOT_TRAINED,  # of a model, which a baseline does without
    }


if __name__ == "__main__":
    warm.run(
        main, "datasets", "evaluate", "sklearn.linear_model", "sklearn.feature_extraction.text"
    )

"""Metrics of a classifier's predictions, through ``evaluate`` and scikit-learn, without the hub.

``evaluate.load("accuracy")`` downloads a script even when it is cached; a subclass needs none.
"""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from sklearn import metrics

from common import files

DESCRIPTION = """Accuracy hides a collapsed model where one class is frequent, hence its company:
balanced accuracy (the macro-averaged recall), macro-averaged precision and F1, Matthews'
correlation, log loss, and for two classes the F1, precision and recall of the positive one."""

COLLAPSED_SHARE = 0.99  # of the rows that get one and the same class


class Classification(evaluate.Metric):
    """All metrics of one split, computed by scikit-learn from class numbers and probabilities."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            features=datasets.Features(
                predictions=datasets.Sequence(datasets.Value("float64")),
                references=datasets.Value("int64"),
            ),
        )

    def _compute(
        self, predictions: Sequence[Sequence[float]], references: Sequence[int], positive: int
    ) -> dict[str, Any]:
        probabilities, labels = np.asarray(predictions), np.asarray(references)
        classes = list(range(probabilities.shape[1]))
        predicted = probabilities.argmax(axis=1)
        macro = {"labels": classes, "average": "macro", "zero_division": 0}
        return {
            "accuracy": metrics.accuracy_score(labels, predicted),
            "balanced_accuracy": metrics.recall_score(labels, predicted, **macro),
            "macro_precision": metrics.precision_score(labels, predicted, **macro),
            "macro_f1": metrics.f1_score(labels, predicted, **macro),
            **positive_class(labels, predicted, positive if len(classes) == 2 else None),
            # One class for nearly every row: learned nothing, whatever the accuracy says.
            "collapsed": bool(np.bincount(predicted).max() > COLLAPSED_SHARE * len(predicted)),
            "mcc": metrics.matthews_corrcoef(labels, predicted),
            "loss": metrics.log_loss(labels, probabilities, labels=classes),
            "confusion_matrix": metrics.confusion_matrix(
                labels, predicted, labels=classes
            ).tolist(),
        }


def positive_class(
    labels: np.ndarray, predicted: np.ndarray, positive: int | None
) -> dict[str, float | None]:
    """F1, precision and recall of the positive class; None where there are more than two."""
    if positive is None:
        return {"f1": None, "precision": None, "recall": None}
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels, predicted, labels=[positive], zero_division=0
    )
    return {"f1": f1[0], "precision": precision[0], "recall": recall[0]}


def classification_metrics(
    probabilities: np.ndarray, labels: Sequence[int], positive: int
) -> dict[str, Any]:
    """The metrics of one split as plain numbers.

    Args:
        probabilities: shape (rows, classes), float64; each row sums to 1.
        labels: the true class numbers, one per row.
        positive: number of the positive class, used where there are two classes.

    Returns:
        accuracy, balanced_accuracy, macro_f1, f1 (of the positive class; None for more than two
        classes), mcc, loss (mean negative log-likelihood in nats) ..., and confusion_matrix, with a
        row per true class and a column per predicted one.
    """
    with files.workspace() as cache:  # the home directory may be read-only
        metric = Classification(keep_in_memory=True, cache_dir=str(cache))
        result = metric.compute(predictions=probabilities, references=labels, positive=positive)
    return {
        name: value if value is None or isinstance(value, bool | list) else float(value)
        for name, value in result.items()
    }

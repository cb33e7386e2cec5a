"""Metrics of a classifier's predictions, through ``evaluate`` and scikit-learn, without the hub.

``evaluate.load("accuracy")`` downloads a script even when it is cached; a subclass needs none.
"""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from sklearn.metrics import confusion_matrix

from common import files
from common.metrics import METRICS

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
        scored = {
            name: metric.score(labels, predicted, probabilities, positive)
            if len(classes) == 2 or not metric.two_classes
            else None
            for name, metric in METRICS.items()
        }
        return {
            **scored,
            # One class for nearly every row: learned nothing, whatever the accuracy says.
            "collapsed": bool(np.bincount(predicted).max() > COLLAPSED_SHARE * len(predicted)),
            "confusion_matrix": confusion_matrix(labels, predicted, labels=classes).tolist(),
        }


def classification_metrics(
    probabilities: np.ndarray, labels: Sequence[int], positive: int
) -> dict[str, Any]:
    """Return the metrics of one split as plain numbers.

    Args:
        probabilities: shape (rows, classes), float64; each row sums to 1.
        labels: the true class numbers, one per row.
        positive: number of the positive class, used where there are two classes.

    Returns:
        each of METRICS, None for one of two classes where there are more; collapsed; and
        confusion_matrix, with a row per true class and a column per predicted one.
    """
    with files.workspace() as cache:  # the home directory may be read-only
        metric = Classification(keep_in_memory=True, cache_dir=str(cache))
        result = metric.compute(predictions=probabilities, references=labels, positive=positive)
    return {
        name: value if value is None or isinstance(value, bool | list) else float(value)
        for name, value in result.items()
    }

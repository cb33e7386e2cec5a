"""Metrics and predictions of one split, by task, through ``evaluate`` and scikit-learn."""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from common import files, task
from common.metrics import METRICS
from common.task import SINGLE_LABEL

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

DESCRIPTION = """Accuracy hides a collapsed model where one class is frequent, hence its company:
balanced accuracy (the macro-averaged recall), macro-averaged precision and F1, Matthews'
correlation, log loss, and for two classes the F1, precision and recall of the positive one."""

COLLAPSED_SHARE = 0.99  # of the rows that get one and the same class


@functools.cache
def metric_type() -> type:
    """Return the class that computes all metrics of one split.

    ``evaluate.load("accuracy")`` downloads a script even when it is cached; a subclass needs none.
    """
    import datasets
    import evaluate
    import numpy as np
    from sklearn.metrics import confusion_matrix

    class Classification(evaluate.Metric):
        """All metrics of one split, computed from class numbers and probabilities."""

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

    return Classification


def classification_metrics(
    probabilities: "np.ndarray", labels: Sequence[int], positive: int
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
        metric = metric_type()(keep_in_memory=True, cache_dir=str(cache))
        result = metric.compute(predictions=probabilities, references=labels, positive=positive)
    return {
        name: value if value is None or isinstance(value, bool | list) else float(value)
        for name, value in result.items()
    }


def tabulate(rows: Any, probabilities: "np.ndarray", names: list[str]) -> "pd.DataFrame":
    """Return predictions for people: id, label and prediction by name, and probabilities."""
    import numpy as np
    import pandas as pd

    classes = np.asarray(names, dtype=object)
    return pd.DataFrame(
        {
            "id": list(rows["id"]),
            "label": classes[list(rows["label"])],
            "prediction": classes[task.of_splits({"rows": rows}).decode(probabilities)],
            **{f"probability_{name}": probabilities[:, i] for i, name in enumerate(names)},
        }
    )


# By the problem type of a task: probabilities, labels, number of the positive class -> metrics.
SCORERS: dict[str, Callable[..., dict[str, Any]]] = {
    SINGLE_LABEL.problem_type: classification_metrics
}


def scorer(splits: Any) -> Callable[..., dict[str, Any]]:
    """Return what computes the metrics of a dataset."""
    return SCORERS[task.of_splits(splits).problem_type]

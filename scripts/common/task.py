"""Tasks: what the kind of labels decides, from the label column to the metrics.

Stages ask the task of their data or model, and know no kind of labels themselves. Single-label
classification is the only task so far. A new one is a class with the methods of ``SingleLabel`` and
an entry of TASKS; transformers' ``problem_type`` and the Arrow type of the label column say which
one data and models are of.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from common import files
from common.cli import InputError
from common.metrics import METRICS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

Tables = dict[str, "pd.DataFrame"]

MISSING_SHOWN = 5
DESCRIPTION = """Accuracy hides a collapsed model where one class is frequent, hence its company:
balanced accuracy (the macro-averaged recall), macro-averaged precision and F1, Matthews'
correlation, log loss, and for two classes the F1, precision and recall of the positive one."""

COLLAPSED_SHARE = 0.99  # of the rows that get one and the same class


class SingleLabel:
    """One of several classes for each row.

    Attributes:
        problem_type: the name that the config of a model of transformers has for it.
        arrow_type: of the label column: the name of a feature of ``datasets``.
    """

    problem_type = "single_label_classification"
    arrow_type = "ClassLabel"

    def encode(self, tables: Tables, names: Sequence[str] | None) -> tuple[Tables, list[str]]:
        """Return tables with class numbers for labels, and the class names; see encode_labels."""
        return encode_labels(tables, names)

    def feature(self, names: list[str]) -> Any:
        """Return the type of the label column in Arrow."""
        import datasets

        return datasets.ClassLabel(names=names)

    def strata(self, labels: "pd.Series") -> "pd.Series":
        """Return what a split is stratified by, a value for each row."""
        return labels

    def weights(self, labels: list[int]) -> "torch.Tensor":
        """Return a weight per class, the rarer the heavier; see balanced_weights."""
        return balanced_weights(labels)

    def loss(
        self, logits: "torch.Tensor", labels: "torch.Tensor", weights: "torch.Tensor | None"
    ) -> "torch.Tensor":
        """Return the cross-entropy in nats, summed over rows.

        Args:
            logits: shape (rows, classes).
            labels: class numbers, shape (rows,).
            weights: of the classes, shape (classes,).
        """
        import torch

        weights = None if weights is None else weights.to(logits.device)
        return torch.nn.functional.cross_entropy(logits, labels, weights, reduction="sum")

    def activation(self, logits: "torch.Tensor") -> "torch.Tensor":
        """Return the probabilities of the classes, of the same shape (rows, classes)."""
        return logits.softmax(dim=1)

    def decode(self, probabilities: "np.ndarray") -> "np.ndarray":
        """Return the class numbers of the largest probabilities, without the last axis."""
        return probabilities.argmax(axis=-1)

    def score(
        self, probabilities: "np.ndarray", labels: Sequence[int], positive: int
    ) -> dict[str, Any]:
        """Return the metrics of one split; see classification_metrics."""
        return classification_metrics(probabilities, labels, positive)

    def tabulate(self, rows: Any, probabilities: "np.ndarray", names: list[str]) -> "pd.DataFrame":
        """Return predictions for people: id, label and prediction by name, and probabilities."""
        import numpy as np
        import pandas as pd

        classes = np.asarray(names, dtype=object)
        return pd.DataFrame(
            {
                "id": list(rows["id"]),
                "label": classes[list(rows["label"])],
                "prediction": classes[self.decode(probabilities)],
                **{f"probability_{name}": probabilities[:, i] for i, name in enumerate(names)},
            }
        )


SINGLE_LABEL = SingleLabel()
TASKS = (SINGLE_LABEL,)


def of_model(model: Any) -> SingleLabel:
    """Return the task of a model, by the ``problem_type`` of its config.

    Raises:
        ValueError: there is no such task.
    """
    return find("problem_type", model.config.problem_type)


def of_splits(splits: Mapping[str, Any]) -> SingleLabel:
    """Return the task of a dataset, by the type of its label column.

    Raises:
        ValueError: there is no such task.
    """
    feature = next(iter(splits.values())).features["label"]
    return find("arrow_type", type(feature).__name__)


def find(attribute: str, value: str) -> SingleLabel:
    """Return the task that has a value for an attribute."""
    for task in TASKS:
        if getattr(task, attribute) == value:
            return task
    raise ValueError(f"no task has the {attribute} {value!r}")


def encode_labels(tables: Tables, names: Sequence[str] | None) -> tuple[Tables, list[str]]:
    """Return the tables with class numbers for labels, and the class names in order.

    Args:
        tables: labels are strings.
        names: the classes in order. Where the labels are the integers from 0, the i-th name stands
            for integer i. None: the labels found, sorted (as numbers if they all are).

    Raises:
        InputError: a label has no name, a name stands for two, or there are fewer than two classes.
    """
    found = sorted({label for table in tables.values() for label in table["label"]}, key=as_number)
    if len(found) < 2:
        raise InputError(f"the label column holds one class, {found}: a classifier needs two")
    names = list(names or found)
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"`labels` names {twice[0]!r} twice: name each class once")
    numbers = {name: number for number, name in enumerate(names)}
    if not set(found) <= numbers.keys() and all(label.isdecimal() for label in found):
        numbers = {str(number): number for number in range(len(names))}
    if unknown := [label for label in found if label not in numbers]:
        shown = ", ".join(map(repr, unknown[:MISSING_SHOWN]))
        raise InputError(f"labels without a name: {shown}; add them to `labels`, now {names}")
    return {s: t.assign(label=t["label"].map(numbers)) for s, t in tables.items()}, names


def as_number(label: str) -> tuple[float, str]:
    """Return a sort key that puts numbers first, by value, and other labels after them, by name."""
    try:
        number = float(label)
    except ValueError:
        number = math.inf
    return number if math.isfinite(number) else math.inf, label  # "nan" may be a name, too


def balanced_weights(labels: list[int]) -> Any:
    """Return a weight per class, the rarer the heavier, as a tensor of shape (classes,)."""
    import numpy as np
    import torch
    from sklearn.utils.class_weight import compute_class_weight

    classes = np.unique(labels)  # every class is in every split
    weights = compute_class_weight("balanced", classes=classes, y=np.asarray(labels))
    return torch.tensor(weights, dtype=torch.float32)


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

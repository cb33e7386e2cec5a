"""Tasks: what the kind of labels decides, from the label column to the metrics.

Training and evaluation ask the task of their data or model. Single-label classification is the only
task so far, and splits, statistics and predict know no other. A new one is a class with the methods
of ``SingleLabel``, an entry of TASKS, and one of ``common.model.scoring.SCORERS``: metrics stand
apart, since an edit of them trains nothing anew. transformers' ``problem_type`` and the Arrow type
of the label column say which task data and models are of.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from common.cli import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

Tables = dict[str, "pd.DataFrame"]

MISSING_SHOWN = 5


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

    def row_losses(
        self, logits: "torch.Tensor", labels: "torch.Tensor", weights: "torch.Tensor"
    ) -> "torch.Tensor":
        """Return what each row adds to the loss, shape (rows,).

        Args:
            logits: shape (rows, classes).
            labels: class numbers, shape (rows,); -100 for a row that is none, and adds 0.
            weights: of the classes for each row, shape (rows, classes).
        """
        import torch

        losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        return losses * weights.gather(1, labels.clamp(min=0)[:, None])[:, 0]

    def activation(self, logits: "torch.Tensor") -> "torch.Tensor":
        """Return the probabilities of the classes, of the same shape (rows, classes)."""
        return logits.softmax(dim=1)

    def decode(self, probabilities: "np.ndarray") -> "np.ndarray":
        """Return the class numbers of the largest probabilities, without the last axis."""
        return probabilities.argmax(axis=-1)


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

"""The metrics of a comparison: what each can be, and how it is computed.

A new metric is an entry of METRICS and a row of tests/test_metrics.py; `make docs` puts its name
into config/schema.yaml. Columns, intervals, tests, the report and the page read this table.

Each metric is computed twice, by functions that a test holds to each other: for the record of a
cell by scikit-learn, and for the bootstrap over many weightings of the rows at once. Libraries are
imported in the functions, so that scripts read the names before they start.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        about: what it is, for config/README.md.
        score: Compute it for the record of a cell, from the class numbers of the rows, shape
            (rows,), those that were predicted, probabilities of shape (rows, classes), and the
            number of the positive class.
        of_counts: Compute it under many weightings of the rows from ``hits``, ``given`` and
            ``true``, each of shape (cells, classes, weightings), and the number of the positive
            class; returns shape (cells, weightings). ``hits`` are the rows of a class that are
            given it, ``given`` the rows that are given a class, ``true`` the rows of a class.
        of_probabilities: Likewise from the class numbers, probabilities of shape (cells, rows,
            classes), the number of the positive class and weights of shape (weightings, rows). A
            metric has the one or the other. Two models may differ in a metric of probabilities
            though they predict the same class of each row, so that no exact test of the predicted
            classes bounds its p-value; and a row that is made up cannot be added to its bootstrap,
            since there is no probability that it should have.
        least: the least value that it can have.
        most: the largest.
        lower_is_better: whether less of it is better.
        two_classes: whether it is of the positive class of two, and None where there are more.
    """

    about: str
    score: Callable[["np.ndarray", "np.ndarray", "np.ndarray", int], float]
    of_counts: Callable[["np.ndarray", "np.ndarray", "np.ndarray", int], "np.ndarray"] | None = None
    of_probabilities: (
        Callable[["np.ndarray", "np.ndarray", int, "np.ndarray"], "np.ndarray"] | None
    ) = None
    least: float = 0.0
    most: float = 1.0
    lower_is_better: bool = False
    two_classes: bool = False


def macro(name: str) -> Callable[..., float]:
    """Return how scikit-learn computes the mean over the classes of f1, precision or recall."""

    def score(
        labels: "np.ndarray", predicted: "np.ndarray", probabilities: "np.ndarray", _: int
    ) -> float:
        from sklearn import metrics

        classes = list(range(probabilities.shape[1]))
        function: Any = getattr(metrics, f"{name}_score")
        return function(labels, predicted, labels=classes, average="macro", zero_division=0)

    return score


def positive(place: int) -> Callable[..., float]:
    """Return how scikit-learn computes precision (0), recall (1) or F1 (2) of a class."""

    def score(labels: "np.ndarray", predicted: "np.ndarray", _: "np.ndarray", number: int) -> float:
        from sklearn.metrics import precision_recall_fscore_support

        return precision_recall_fscore_support(labels, predicted, labels=[number], zero_division=0)[
            place
        ][0]

    return score


def accuracy(labels: "np.ndarray", predicted: "np.ndarray", _: "np.ndarray", __: int) -> float:
    """Compute the share of right predictions."""
    from sklearn.metrics import accuracy_score

    return accuracy_score(labels, predicted)


def mcc(labels: "np.ndarray", predicted: "np.ndarray", _: "np.ndarray", __: int) -> float:
    """Compute Matthews' correlation coefficient."""
    from sklearn.metrics import matthews_corrcoef

    return matthews_corrcoef(labels, predicted)


def loss(labels: "np.ndarray", _: "np.ndarray", probabilities: "np.ndarray", __: int) -> float:
    """Compute the mean negative log-likelihood in nats."""
    from sklearn.metrics import log_loss

    return log_loss(labels, probabilities, labels=list(range(probabilities.shape[1])))


def recalls(hits: "np.ndarray", _: "np.ndarray", true: "np.ndarray") -> "np.ndarray":
    """Compute the recall of each class."""
    import numpy as np

    return ratio(hits, np.broadcast_to(true, hits.shape))


def precisions(hits: "np.ndarray", given: "np.ndarray", _: "np.ndarray") -> "np.ndarray":
    """Compute the precision of each class."""
    return ratio(hits, given)


def f1s(hits: "np.ndarray", given: "np.ndarray", true: "np.ndarray") -> "np.ndarray":
    """Compute the F1 of each class."""
    return ratio(2 * hits, given + true)


def mean_of(per_class: Callable[..., "np.ndarray"]) -> Callable[..., "np.ndarray"]:
    """Return the mean over the classes of what is computed of each."""
    return lambda hits, given, true, _: per_class(hits, given, true).mean(axis=1)


def positive_of(per_class: Callable[..., "np.ndarray"]) -> Callable[..., "np.ndarray"]:
    """Return what is computed of the positive class."""
    return lambda hits, given, true, number: per_class(hits, given, true)[:, number]


def accuracy_of_counts(
    hits: "np.ndarray", _: "np.ndarray", true: "np.ndarray", __: int
) -> "np.ndarray":
    """Compute the share of right predictions."""
    return hits.sum(axis=1) / true.sum(axis=1)


def mcc_of_counts(
    hits: "np.ndarray", given: "np.ndarray", true: "np.ndarray", _: int
) -> "np.ndarray":
    """Compute Matthews' correlation for any number of classes.

    That of Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation
    coefficient", Comput. Biol. Chem. 28, 367-374, as in scikit-learn.
    """
    import numpy as np

    total = true.sum(axis=1)
    covariance = hits.sum(axis=1) * total - (given * true).sum(axis=1)
    spread = (total**2 - (given**2).sum(axis=1)) * (total**2 - (true**2).sum(axis=1))
    return ratio(covariance, np.sqrt(np.maximum(spread, 0)))


def loss_of_probabilities(
    labels: "np.ndarray", probabilities: "np.ndarray", _: int, weights: "np.ndarray"
) -> "np.ndarray":
    """Compute the mean log loss of the rows in nats, each clipped as scikit-learn clips it."""
    import numpy as np

    own = probabilities[:, np.arange(len(labels)), labels]
    smallest = np.finfo(own.dtype).eps
    losses = -np.log(np.clip(own, smallest, 1 - smallest))
    return losses @ weights.T / weights.sum(axis=1)


def ratio(above: "np.ndarray", below: "np.ndarray") -> "np.ndarray":
    """Return the quotient, 0 where it would divide by zero."""
    import numpy as np

    return np.divide(above, below, out=np.zeros_like(above, dtype=float), where=below > 1e-9)


METRICS = {
    "macro_f1": Metric("Mean of the F1 of all classes.", macro("f1"), mean_of(f1s)),
    "accuracy": Metric("Share of right predictions.", accuracy, accuracy_of_counts),
    "balanced_accuracy": Metric(
        "Mean of the recalls of all classes.", macro("recall"), mean_of(recalls)
    ),
    "macro_precision": Metric(
        "Mean of the precisions of all classes.", macro("precision"), mean_of(precisions)
    ),
    "f1": Metric("F1 of the positive class.", positive(2), positive_of(f1s), two_classes=True),
    "precision": Metric(
        "Precision of the positive class.", positive(0), positive_of(precisions), two_classes=True
    ),
    "recall": Metric(
        "Recall of the positive class.", positive(1), positive_of(recalls), two_classes=True
    ),
    "mcc": Metric("Matthews' correlation coefficient.", mcc, mcc_of_counts, least=-1.0),
    "loss": Metric(
        "Mean cross-entropy in nats.", loss, of_probabilities=loss_of_probabilities,
        most=math.inf, lower_is_better=True,
    ),
}  # fmt: skip
LOWER_IS_BETTER = tuple(name for name, metric in METRICS.items() if metric.lower_is_better)

"""The metrics that a comparison can be made by, and what their statistics have to know of each.

Nothing is imported here but what is in Python, so that scripts read the names before they start.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """What tests and intervals have to know of a metric.

    Attributes:
        least: the least value that it can have.
        most: the largest.
        lower_is_better: whether less of it is better.
        of_probabilities: whether probabilities decide it, not the predicted classes alone. Two
            models may then differ though they predict the same class of each row, so that no exact
            test of the predicted classes bounds a p-value; and a row that is made up cannot be
            added to its bootstrap, since there is no probability that it should have.
    """

    least: float = 0.0
    most: float = 1.0
    lower_is_better: bool = False
    of_probabilities: bool = False


METRICS = {
    "macro_f1": Metric(),
    "accuracy": Metric(),
    "balanced_accuracy": Metric(),
    "macro_precision": Metric(),
    "f1": Metric(),
    "precision": Metric(),
    "recall": Metric(),
    "mcc": Metric(least=-1.0),
    "loss": Metric(most=math.inf, lower_is_better=True, of_probabilities=True),
}
LOWER_IS_BETTER = tuple(name for name, metric in METRICS.items() if metric.lower_is_better)

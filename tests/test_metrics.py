"""Metrics against values worked out by hand, and where they are undefined."""

import math
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics

from common import metrics
from common.model.scoring import classification_metrics
from common.statistics import resampling

SCRIPTS = Path(__file__).parents[1] / "scripts"


def sure(predicted: list[int], classes: int = 2, confidence: float = 0.9) -> np.ndarray:
    """Probabilities that put `confidence` on the predicted class."""
    probabilities = np.full((len(predicted), classes), (1 - confidence) / (classes - 1))
    probabilities[range(len(predicted)), predicted] = confidence
    return probabilities


def test_two_classes_by_hand():
    """3 true positives, 1 false positive, 2 false negatives, 4 true negatives."""
    labels = [1, 1, 1, 0, 1, 1, 0, 0, 0, 0]
    predicted = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    result = classification_metrics(sure(predicted), labels, positive=1)
    assert result["confusion_matrix"] == [[4, 1], [2, 3]]
    assert result["accuracy"] == pytest.approx(0.7)
    assert result["precision"] == pytest.approx(3 / 4)
    assert result["recall"] == pytest.approx(3 / 5)
    assert result["f1"] == pytest.approx(2 / 3)
    f1_of_negatives = 2 * 4 / (2 * 4 + 1 + 2)
    assert result["macro_f1"] == pytest.approx((2 / 3 + f1_of_negatives) / 2)
    assert result["balanced_accuracy"] == pytest.approx((3 / 5 + 4 / 5) / 2)
    assert result["macro_precision"] == pytest.approx((3 / 4 + 4 / 6) / 2)
    assert result["mcc"] == pytest.approx((3 * 4 - 1 * 2) / math.sqrt(4 * 5 * 5 * 6))
    assert result["loss"] == pytest.approx(-(7 * math.log(0.9) + 3 * math.log(0.1)) / 10)


def test_the_other_class_may_be_positive():
    labels, predicted = [1, 1, 1, 0, 0], [1, 1, 0, 0, 1]
    first = classification_metrics(sure(predicted), labels, positive=0)
    assert (first["precision"], first["recall"]) == (1 / 2, 1 / 2)
    second = classification_metrics(sure(predicted), labels, positive=1)
    assert (second["precision"], second["recall"]) == (2 / 3, 2 / 3)
    assert first["macro_f1"] == second["macro_f1"]


def test_three_classes_by_hand():
    labels, predicted = [0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 2, 0]
    result = classification_metrics(sure(predicted, classes=3), labels, positive=2)
    assert result["confusion_matrix"] == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    assert (result["f1"], result["precision"], result["recall"]) == (None, None, None)
    assert result["accuracy"] == pytest.approx(4 / 6)
    assert result["balanced_accuracy"] == pytest.approx((1 / 2 + 1 + 1 / 2) / 3)
    assert result["macro_f1"] == pytest.approx((1 / 2 + 4 / 5 + 2 / 3) / 3)


def test_a_perfect_model():
    result = classification_metrics(sure([0, 1, 1], confidence=1.0), [0, 1, 1], positive=1)
    assert {result[name] for name in ("accuracy", "macro_f1", "f1", "mcc")} == {1.0}
    assert result["loss"] == pytest.approx(0, abs=1e-12)


def test_a_collapsed_model_has_good_accuracy_and_nothing_else():
    labels = [0] * 9 + [1]
    result = classification_metrics(sure([0] * 10), labels, positive=1)
    assert result["accuracy"] == 0.9
    assert result["macro_f1"] == pytest.approx((2 * 9 / (2 * 9 + 1)) / 2)
    assert result["balanced_accuracy"] == 0.5
    zero = ("mcc", "f1", "precision", "recall")
    assert {name: result[name] for name in zero} == dict.fromkeys(zero, 0.0)


def test_a_class_that_no_row_has_keeps_its_place():
    result = classification_metrics(sure([0, 1, 1], classes=3), [0, 1, 0], positive=2)
    assert result["confusion_matrix"] == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert result["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)


def test_loss_of_an_impossible_row_is_finite():
    result = classification_metrics(np.array([[1.0, 0.0], [0.0, 1.0]]), [1, 1], positive=1)
    assert 10 < result["loss"] < 1000


def test_a_tie_goes_to_the_first_class():
    result = classification_metrics(np.full((2, 2), 0.5), [0, 1], positive=1)
    assert result["confusion_matrix"] == [[1, 0], [1, 0]]
    assert result["loss"] == pytest.approx(math.log(2))


def test_results_are_plain_numbers():
    result = classification_metrics(sure([0, 1]), [0, 1], positive=1)
    for name, value in result.items():
        expected = {"confusion_matrix": list, "collapsed": bool}.get(name, float)
        assert type(value) is expected, name
    assert type(result["confusion_matrix"][0][0]) is int


@pytest.mark.full
def test_neither_network_nor_home_is_needed():
    """A home inside a device file can be made by nobody, root included."""
    program = (
        "import socket\n"
        "def refuse(*_, **__): raise SystemExit('the network was asked')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from common.model.scoring import classification_metrics as metrics\n"
        "print(metrics([[0.2, 0.8], [0.7, 0.3]], [1, 0], 1)['accuracy'])\n"
    )
    env = {"PATH": "/usr/bin:/bin", "HOME": "/dev/null/home", "PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=env, check=False
    )
    assert (done.returncode, done.stdout) == (0, "1.0\n"), done.stderr


def test_the_metric_of_contributing_is_computed_both_ways(monkeypatch):
    """The worked example is read from CONTRIBUTING.md, as somebody would type it."""
    guide = (SCRIPTS.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    (code,) = (block for block in blocks if '"kappa"' in block)
    given: dict[str, Any] = {"Metric": metrics.Metric, "ratio": metrics.ratio}
    exec(textwrap.dedent(code.replace("      ...\n", "")), given)
    monkeypatch.setitem(metrics.METRICS, "kappa", given["METRICS"]["kappa"])
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, 90)
    probabilities = draw.dirichlet([1, 1, 1], 90)
    expected = sklearn.metrics.cohen_kappa_score(labels, probabilities.argmax(axis=1))
    record = classification_metrics(probabilities, labels.tolist(), positive=2)
    assert record["kappa"] == pytest.approx(expected)
    found = resampling.scores(labels, probabilities[None], ["kappa"])["kappa"]
    assert found == pytest.approx(np.array([[expected]]))

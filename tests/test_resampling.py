"""Vectorised metrics against scikit-learn, and the resamples they are computed on."""

import time

import numpy as np
import pytest
from sklearn import metrics

from common.metrics import METRICS
from common.model.scoring import classification_metrics
from common.statistics.resampling import Variant, bootstrap_weights, measure, scores

DRAW = np.random.default_rng(3)
LABELS = DRAW.integers(3, size=60)
PROBABILITIES = DRAW.dirichlet([1, 1, 1], size=(4, 60))


def one_hot(*predictions: list[int], classes: int = 2) -> np.ndarray:
    return np.eye(classes)[np.array(predictions)]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("classes", [2, 3])
def test_a_metric_is_that_of_the_evaluation(metric, classes):
    labels, probabilities = LABELS % classes, DRAW.dirichlet(np.ones(classes), size=(3, 60))
    found = scores(labels, probabilities, [metric], 0)[metric][:, 0]
    for value, cell in zip(found, probabilities, strict=True):
        expected = classification_metrics(cell, labels.tolist(), 0)[metric]
        if expected is None:  # of more than two classes
            which = getattr(metrics, f"{metric}_score")
            expected = which(labels, cell.argmax(axis=1), labels=[0], average="macro")
        assert value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_a_weighted_metric_is_that_of_the_repeated_rows(metric):
    times = DRAW.integers(4, size=(2, 60))
    found = scores(LABELS, PROBABILITIES, [metric], 1, times.astype(float))[metric]
    for column, repeats in enumerate(times):
        rows = np.repeat(np.arange(60), repeats)
        expected = scores(LABELS[rows], PROBABILITIES[:, rows], [metric], 1)[metric][:, 0]
        assert found[:, column] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "metric", [name for name, known in METRICS.items() if not known.of_probabilities]
)
@pytest.mark.parametrize(
    ("labels", "predicted"),
    [
        ([0, 0, 0, 1], [0, 0, 0, 0]),  # one class predicted
        ([0, 0, 1, 1], [0, 0, 1, 1]),  # perfect
        ([0, 0, 0, 0], [0, 1, 0, 0]),  # a class without rows
        ([1, 1, 1, 1], [1, 1, 1, 1]),  # one class in all
    ],
)
def test_degenerate_answers_are_as_in_the_evaluation(metric, labels, predicted):
    probabilities = one_hot(predicted)
    expected = classification_metrics(probabilities[0], labels, 1)[metric]
    assert scores(np.array(labels), probabilities, [metric])[metric][0, 0] == pytest.approx(
        expected
    )


def test_the_standard_error_of_a_share_is_that_of_the_binomial():
    """40 of 50 right in one class and 25 of 50 in the other, so the variances add."""
    labels = np.repeat([0, 1], 50)
    predicted = [*[0] * 40, *[1] * 10, *[1] * 25, *[0] * 25]
    (found,) = measure(labels, [Variant("a", one_hot(predicted))], "accuracy").values()
    unbiased = (0.8 * 0.2 / 49 + 0.5 * 0.5 / 49) / 4
    assert found.replicates.var() == pytest.approx(unbiased, rel=0.1)


def test_two_rows_of_a_class_vary_as_much_as_they_tell():
    """Of one right and one wrong the unbiased variance of the mean is 1/4, not 1/8."""
    labels = np.array([0] * 10 + [1] * 2)
    (weights,) = bootstrap_weights(labels, 4000, 0)
    assert (weights[:, 10:].sum(axis=1) == 2).all()
    assert weights[:, :10].sum(axis=1) == pytest.approx(np.full(4000, 10))
    assert (weights[:, 10] / 2).var() == pytest.approx(1 / 4, rel=0.05)


def test_a_single_row_of_a_class_is_in_every_resample():
    (weights,) = bootstrap_weights(np.array([0, 0, 1]), 5, 0)
    assert (weights[:, 2] == 1).all()


def test_the_seed_alone_decides_and_variants_do_not_move_each_other():
    one, two = Variant("one", PROBABILITIES[:2]), Variant("two", PROBABILITIES[2:])
    together = measure(LABELS, [two, one], "macro_f1", resamples=50)
    alone = measure(LABELS, [one], "macro_f1", resamples=50)
    other = measure(LABELS, [one], "macro_f1", resamples=50, seed=1)
    assert together["one"].replicates == pytest.approx(alone["one"].replicates, abs=1e-12)
    assert not np.allclose(alone["one"].replicates, other["one"].replicates)


def test_blocks_of_resamples_are_as_many_as_asked(monkeypatch):
    monkeypatch.setattr("common.statistics.resampling.ELEMENTS", 150)
    found = measure(LABELS, [Variant("a", PROBABILITIES)], "mcc", resamples=7)["a"]
    assert found.replicates.shape == (4, 7)
    assert len({*found.replicates[0]}) == 7


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ([Variant("a", PROBABILITIES[0])], "shape"),
        ([Variant("a", PROBABILITIES[:, :5])], "shape"),
        ([Variant("a", PROBABILITIES), Variant("b", PROBABILITIES[..., :2])], "shape"),
        ([Variant("a", PROBABILITIES, trained=False)], "deterministic"),
        ([Variant("a", PROBABILITIES), Variant("a", PROBABILITIES)], "same name"),
    ],
)
def test_what_was_not_measured_together_is_refused(variants, message):
    with pytest.raises(ValueError, match=message):
        measure(LABELS, variants, "accuracy")


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValueError, match="no metric 'auc'"):
        scores(LABELS, PROBABILITIES, ["auc"])


def test_many_cells_take_seconds():
    """200 cells of 5,000 rows, 2,000 resamples: two seconds where this was written."""
    labels = DRAW.integers(2, size=5000)
    probabilities = DRAW.dirichlet([1, 1], size=(200, 5000))
    start = time.process_time()
    measure(labels, [Variant("a", probabilities)], "macro_f1")
    assert time.process_time() - start < 60

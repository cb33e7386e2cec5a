"""The task: what the kind of labels decides, and who asks it."""

import datasets
import numpy as np
import pytest
import torch

from common import task
from common.task import SINGLE_LABEL


def test_data_and_models_name_their_task():
    rows = datasets.Dataset.from_dict(
        {"label": [0]}, features=datasets.Features(label=datasets.ClassLabel(names=["a", "b"]))
    )
    assert task.of_splits({"train": rows}) is SINGLE_LABEL
    numbers = datasets.Dataset.from_dict({"label": [0.5]})
    with pytest.raises(ValueError, match="no task has the arrow_type 'Value'"):
        task.of_splits({"train": numbers})


def test_activation_and_decoding_agree():
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]], dtype=torch.float64)
    probabilities = SINGLE_LABEL.activation(logits).numpy()
    assert probabilities.sum(axis=1) == pytest.approx([1, 1])
    assert SINGLE_LABEL.decode(probabilities).tolist() == [1, 0]
    assert SINGLE_LABEL.decode(np.stack([probabilities] * 2)).shape == (2, 2)


def test_the_loss_is_a_sum_over_rows_and_weights_classes():
    logits, labels = torch.zeros(3, 2), torch.tensor([0, 0, 1])
    plain = SINGLE_LABEL.loss(logits, labels, None)
    assert plain.item() == pytest.approx(3 * np.log(2))
    weights = SINGLE_LABEL.weights(labels.tolist())
    assert weights.tolist() == pytest.approx([0.75, 1.5])
    assert SINGLE_LABEL.loss(logits, labels, weights).item() == pytest.approx(3 * np.log(2))

"""Padding, on either side; which side is chosen is in test_roundtrip.py."""

import pytest
import torch

from common.model.collator import Padding
from tests.architectures import PAD

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("side", "ids", "mask"),
    [
        ("right", [[5, 6, 7], [8, 0, 0]], [[1, 1, 1], [1, 0, 0]]),
        ("left", [[5, 6, 7], [0, 0, 8]], [[1, 1, 1], [0, 0, 1]]),
    ],
)
def test_rows_are_filled_up_on_one_side(side, ids, mask):
    pair = [{"input_ids": [5, 6, 7], "label": 1}, {"input_ids": [8], "label": 0}]
    batch = Padding(PAD, side)(pair)
    assert batch["input_ids"].tolist() == ids
    assert batch["attention_mask"].tolist() == mask
    assert batch["labels"].tolist() == [1, 0]
    assert "labels" not in Padding(PAD, side).texts(pair)


@pytest.mark.parametrize(
    ("side", "types"), [("right", [[0, 1], [1, 0]]), ("left", [[0, 1], [0, 1]])]
)
def test_token_types_are_filled_up_with_the_first(side, types):
    rows = [
        {"input_ids": [5, 6], "token_type_ids": [0, 1], "label": 1},
        {"input_ids": [8], "token_type_ids": [1], "label": 0},
    ]
    assert Padding(PAD, side)(rows)["token_type_ids"].tolist() == types

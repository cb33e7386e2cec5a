"""Padding: on either side, and chosen so that a model is blind to it."""

import datasets
import pytest
import torch

from common import adapters, models, padding
from common.cli import InputError
from common.padding import Padding
from tests.architectures import PAD, make, rows

torch.set_num_threads(1)


def classifier(architecture: str, directory) -> models.Classifier:
    return models.load_classifier(make(architecture, directory), ["a", "b"], PAD, 0)


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


def test_a_decoder_is_padded_on_the_right(tmp_path):
    """On the left, GPT-2 gives other logits and no error."""
    model = classifier("gpt2", tmp_path).model
    chosen, gap = padding.choose(model, rows(20, 2), PAD)
    assert chosen == Padding(PAD, "right")
    assert gap < 1e-6
    short_and_long = padding.probe(rows(20, 2))
    assert padding.difference(model, short_and_long, Padding(PAD, "left")) > 0.01


def test_xlnet_is_padded_on_the_left(tmp_path):
    """It classifies by the last position, padding or not."""
    chosen, gap = padding.choose(classifier("xlnet", tmp_path).model, rows(20, 2), PAD)
    assert chosen.side == "left"
    assert gap < 1e-6


def test_a_tuned_prompt_of_gpt2_has_no_right_side(tmp_path):
    prompt = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4}
    model = adapters.attach(classifier("gpt2", tmp_path), prompt)
    with pytest.raises(InputError, match=r"moves .* this gpt2, by .* on the right and .* chance"):
        padding.choose(model, rows(20, 2), PAD)


def test_rows_of_one_length_are_probed_too(tmp_path):
    """The rows to come may be of others."""
    alike = datasets.Dataset.from_dict(
        {"input_ids": [[9, 8, 7, 1], [5, 5, 5, 1]], "label": [0, 1], "length": [4, 4]}
    )
    assert [row["input_ids"] for row in padding.probe(alike)] == [[9, 7, 1], [9, 8, 7, 1]]
    chosen, _ = padding.choose(classifier("xlnet", tmp_path).model, alike, PAD)
    assert chosen.side == "left"


def test_a_variant_that_does_not_run_is_refused_in_one_line(tmp_path):
    prefix = {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4}
    model = adapters.attach(classifier("albert", tmp_path), prefix)
    with pytest.raises(InputError, match="this albert does not run with this variant: ") as caught:
        padding.choose(model, rows(20, 2), PAD)
    assert "\n" not in str(caught.value)

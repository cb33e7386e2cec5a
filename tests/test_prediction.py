"""Predictions: padding and batches leave no trace."""

from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch

from common.cli import InputError
from common.model import acceleration, collator, evaluation, models
from common.model.collator import Padding

LENGTHS = [3, 9, 5, 16, 2, 9, 4, 12, 7, 3, 11]
SAME = 1e-6  # of a probability
PADDING = Padding(0)


@pytest.fixture(scope="module")
def rows() -> datasets.Dataset:
    """Rows of random tokens and different lengths, none of which is a padding token."""
    draw = np.random.default_rng(0)
    ids = [draw.integers(1, 40, size=length).tolist() for length in LENGTHS]
    labels = [number % 3 for number in range(len(LENGTHS))]
    return datasets.Dataset.from_dict({"input_ids": ids, "label": labels, "length": LENGTHS})


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def model(request, tiny_models):
    """A classifier of three classes whose head is large, so that small slips show."""
    made = models.load_classifier(tiny_models[request.param], ["a", "b", "c"], 0, 0)
    with torch.no_grad():
        made.model.get_submodule(made.head[0]).weight *= 20
    return made.model.eval()


@pytest.fixture(scope="module")
def alone(model, rows) -> np.ndarray:
    """The probabilities of each row by itself: no padding, no mask, no batch."""
    with torch.inference_mode():
        logits = [model(input_ids=torch.tensor([ids])).logits for ids in rows["input_ids"]]
    return torch.cat(logits).softmax(dim=1).double().numpy()


def predict(model, rows, batch_tokens: int) -> dict:
    with evaluation.Predictor(model, PADDING, batch_tokens) as predict:
        return predict(rows)


@pytest.mark.parametrize("batch_tokens", [1, 8, 32, 1000])
def test_batches_and_padding_change_nothing(model, rows, alone, batch_tokens):
    result = predict(model, rows, batch_tokens)
    np.testing.assert_allclose(result["probabilities"], alone, rtol=0, atol=SAME)


def test_rows_keep_their_order(model, rows, alone):
    """The rows of the fixture differ, so that the test above would see an exchange."""
    distances = np.abs(alone[:, None] - alone[None]).max(axis=2) + np.eye(len(alone))
    assert distances.min() > 10 * SAME
    backwards = rows.select(range(len(rows))[::-1])
    result = predict(model, backwards, 4)
    np.testing.assert_allclose(result["probabilities"], alone[::-1], rtol=0, atol=SAME)


def test_probabilities_are_float64_and_sum_to_one(model, rows):
    result = predict(model, rows, 4)
    assert result["probabilities"].dtype == np.float64
    np.testing.assert_allclose(result["probabilities"].sum(axis=1), 1, rtol=0, atol=1e-12)
    assert result["seconds"] > 0


def test_dropout_is_off(model, rows):
    model.train()
    first, second = (predict(model, rows, 4)["probabilities"] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_longest_rows_come_first(model, rows, monkeypatch):
    passes = []
    logits = collator.logits

    def watched(model, batch, padding):
        passes.append([len(row["input_ids"]) for row in batch])
        return logits(model, batch, padding)

    monkeypatch.setattr(collator, "logits", watched)
    predict(model, rows, 32)
    assert passes == [[16, 12], [11, 9], [9, 7, 5], [4, 3, 3, 2]]


def test_the_proof_is_made_once_and_leaves_no_trace(model, rows, monkeypatch):
    proofs = []
    plain = acceleration.plain

    def counted(*args):
        proofs.append(args)
        return plain(*args)

    monkeypatch.setattr(acceleration, "plain", counted)
    before = dict(vars(model))
    with evaluation.Predictor(model, PADDING, 4) as predict:
        first, second = predict(rows), predict(rows)
    np.testing.assert_array_equal(first["probabilities"], second["probabilities"])
    assert len(proofs) == 1
    assert vars(model).keys() == before.keys()


def test_a_row_longer_than_a_batch_is_one_by_itself():
    assert evaluation.batch_rows(9, 4, 4) == 1
    assert evaluation.batch_rows(2, 9, 4) == 2
    assert evaluation.batch_rows(2, 1, 4) == 1
    assert evaluation.batch_rows(0, 9, 4) == 4


def test_a_gpu_takes_what_half_of_its_free_memory_holds(monkeypatch):
    gpu = SimpleNamespace(device=torch.device("cuda"), config=SimpleNamespace(hidden_size=1000))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2 * 64 * 1000 * 50_000, None))
    assert evaluation.device_tokens(gpu) == 50_000
    assert evaluation.device_tokens(gpu, 4) == 50_000 // 4  # all that start together have room
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (0, None))
    assert evaluation.device_tokens(gpu) == evaluation.CPU_TOKENS


def test_a_cpu_takes_a_fixed_number_of_tokens(model):
    assert evaluation.device_tokens(model) == evaluation.CPU_TOKENS


@pytest.fixture
def room(monkeypatch):
    """Let a device have room for so many tokens in a pass; returns the tokens of each pass."""
    passes: list[int] = []
    logits = collator.logits

    def make(tokens: int) -> list[int]:
        def limited(model, batch, padding):
            passes.append(len(batch) * max(len(row["input_ids"]) for row in batch))
            if passes[-1] > tokens:
                raise torch.OutOfMemoryError
            return logits(model, batch, padding)

        monkeypatch.setattr(collator, "logits", limited)
        return passes

    return make


def test_a_batch_too_large_for_the_memory_is_done_in_halves(model, rows, room, alone, caplog):
    caplog.set_level("INFO")
    passes = room(40)
    with evaluation.Predictor(model, PADDING, 1000) as predict_rows:
        found = predict_rows(rows)
        np.testing.assert_allclose(found["probabilities"], alone, atol=1e-6)
        assert max(passes) > 40 >= predict_rows.batch_tokens
        passes.clear()
        predict_rows(rows)
    assert max(passes) <= 40  # it is remembered
    lines = [record.message for record in caplog.records if "out of memory" in record.message]
    assert lines[0] == f"out of memory with {len(rows)} rows of 16 tokens: going on with half"


def test_a_row_too_large_for_the_memory_is_a_mistake(model, rows, room):
    room(10)
    with pytest.raises(InputError, match="a row of 16 tokens does not fit into the memory"):
        predict(model, rows, 1000)

"""Cells that are trained together are those that are trained alone, up to rounding."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from common.model import adapters, collator, models, pack, training
from common.model.checkpoint import Checkpoints
from common.model.collator import Padding
from tests.architectures import make, rows
from tests.test_training import SETTINGS

torch.set_num_threads(1)

PADDING = Padding(0)
SPLITS = {"train": rows(86, 2), "validation": rows(21, 2)}
# Rank, alpha and seed of three cells.
CELLS = [(2, 8, 0), (4, 4, 1), (3, 16, 2)]
EPOCHS, STEPS = 2, 22  # of 11 batches of 8 rows each; the last has 6


def cell_model(base: Path, rank: int, alpha: int, seed: int, **peft: Any) -> Any:
    """Return a model as ``train_lora`` makes it."""
    classifier = models.load_classifier(base, ["a", "b"], 0, seed)
    return adapters.attach(classifier, {"r": rank, "lora_alpha": alpha, **peft})


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> dict[str, Path]:
    names = ("bert", "distilbert", "gpt2", "llama", "roberta", "opt", "electra")
    return {name: make(name, tmp_path_factory.mktemp(name)) for name in names}


def settings(**changes: Any) -> training.Settings:
    return replace(SETTINGS, **{"epochs": EPOCHS, "batch_size": 8, **changes})


# Of three cells: what else they differ in. Higher rates amplify rounding: the first step of AdamW
# is the sign of the gradient, which of a tiny one is rounding.
DIFFERENT: list[dict[str, Any]] = [
    {"learning_rate": 1e-3},
    {"learning_rate": 3e-4, "keep": "best", "weight_decay": 0.1, "warmup": 0.2},
    {"learning_rate": 5e-4, "class_weights": "balanced", "scheduler": "cosine", "max_grad_norm": 0},
]


class Group:
    """Cells of a model, trained together or alone.

    Args:
        base: the directory of the model.
        changes: of the settings of each cell.
        directory: of checkpoints; None: there are none.
    """

    def __init__(self, base: Path, changes: list[dict[str, Any]], directory: Path | None = None):
        self.base, self.changes, self.directory = base, changes, directory
        self.models: dict[int, Any] = {}
        self.told: dict[int, dict[str, Any]] = {}
        self.errors: dict[int, BaseException] = {}

    def train(self, number: int, cell: pack.Cell | None = None) -> None:
        """Train one cell."""
        rank, alpha, seed = CELLS[number]
        model = cell_model(self.base, rank, alpha, seed)
        kept = None
        if self.directory:
            kept = Checkpoints(self.directory / str(number), 0, lambda: {"of": number})
        told = training.train(
            model, SPLITS, PADDING, settings(**self.changes[number]), seed, kept, cell
        )
        self.models[number], self.told[number] = model, told

    @contextmanager
    def within(self, number: int) -> Iterator[None]:
        """Keep what a cell raises."""
        try:
            yield
        except Exception as error:
            self.errors[number] = error

    def together(self, numbers: Any = None, static: bool = False) -> "Group":
        numbers = range(len(self.changes)) if numbers is None else numbers
        trainings: list[tuple[str, Callable[[pack.Cell], None]]] = [
            (str(n), partial(self.train, n)) for n in numbers
        ]
        pack.train_together(trainings, self.within, static)
        return self

    def alone(self, numbers: Any = None) -> "Group":
        for number in range(len(self.changes)) if numbers is None else numbers:
            with self.within(number):
                self.train(number)
        return self

    def logits(self, number: int) -> torch.Tensor:
        return collator.logits(self.models[number], list(SPLITS["validation"]), PADDING)


def log_of(told: dict[str, Any]) -> list[dict[str, float]]:
    """Return the log without what depends on the clock."""
    return [
        {k: v for k, v in entry.items() if "runtime" not in k and "per_second" not in k}
        for entry in told["metrics"]
    ]


def assert_equal_logs(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    ours, theirs = log_of(found), log_of(wanted)
    assert [entry.keys() for entry in ours] == [entry.keys() for entry in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-6)


def joined(base: Path, number: int, dtype: torch.dtype) -> pack.Joined:
    """Return a cell as its training joins a pack, with matrices B that are not 0."""
    model = cell_model(base, *CELLS[number]).to(dtype)
    draw = torch.Generator().manual_seed(number)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1, generator=draw)
    models.without_backbone_dropout(model)
    weights = torch.tensor([[1.0, 1.0], [0.5, 1.5], [2.0, 0.7]][number])
    return pack.Joined(model, PADDING, SPLITS, weights, 8, None, torch.Generator())


def gradients_alone(cell: pack.Joined, numbers: list[int]) -> list[torch.Tensor]:
    """Return the loss of rows and its gradients, computed by the model as it is."""
    batch = PADDING([SPLITS["train"][number] for number in numbers])
    labels = batch.pop("labels")
    logits = cell.model.eval()(**batch).logits
    weights = cell.weights.to(logits.dtype)
    loss = torch.nn.functional.cross_entropy(logits, labels, weights, reduction="sum") / len(labels)
    trained = [each for each in cell.model.parameters() if each.requires_grad]
    return [loss, *torch.autograd.grad(loss, trained)]


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize(
    "architecture", ["bert", "distilbert", "gpt2", "llama", "roberta", "opt", "electra"]
)
def test_gradients_are_those_of_each_cell_alone(bases, architecture, static):
    """Each cell has other rows, and the last fewer of them."""
    cells = [joined(bases[architecture], number, torch.float64) for number in range(3)]
    picked = [[0, 5, 7, 8, 20, 33, 40, 41], [3, 9, 2, 60, 61, 62, 80, 85], [1, 4, 6]]
    wanted = [gradients_alone(*each) for each in zip(cells, picked, strict=True)]
    engine = pack.Engine(cells, static)
    with engine.installed():
        losses = engine.losses(engine.collate("train", picked, 8))
    gradients = engine.stack.gradients(losses.sum(), engine.parameters)
    for number, (loss, *grads) in enumerate(wanted):
        places = [engine.stack.place(gradients, number, name) for name in engine.stack.slots]
        for ours, theirs in zip([losses[number], *places], [loss, *grads], strict=True):
            assert (ours - theirs).abs().max() < 1e-12


@pytest.fixture(scope="module")
def alone(bases) -> Group:
    return Group(bases["bert"], DIFFERENT).alone()


@pytest.mark.parametrize("static", [False, True])
def test_cells_end_as_they_do_alone(bases, alone, static):
    group = Group(bases["bert"], DIFFERENT).together(static=static)
    assert not group.errors
    for number in range(3):
        gap = (group.logits(number) - alone.logits(number)).abs().max()
        assert gap < 1e-5, number
        told, wanted = group.told[number], alone.told[number]
        assert_equal_logs(told, wanted)
        same = ("steps", "epochs", "kept_epoch", "train_samples", "train_tokens")
        assert {n: told[n] for n in same} == {n: wanted[n] for n in same}
        assert told["pack"]["cells"] == 3
        assert told["pack"]["companions"] == [str(n) for n in range(3) if n != number]
        assert told["pack"]["graphs"] is False
        assert wanted["pack"]["cells"] == 1

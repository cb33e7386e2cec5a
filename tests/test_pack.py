"""Cells that are trained together are those that are trained alone, up to rounding."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import eval_lora
import train_lora
from benchmarks import gpu
from common.cli import InputError, StoppedError
from common.model import adapters, batches, collator, engine, models, pack, trainer, training
from common.model.checkpoint import Checkpoints
from common.model.collator import Padding
from tests.architectures import make, rows
from tests.test_training import SETTINGS

torch.set_num_threads(1)

SCRIPTS = Path(__file__).parents[1] / "scripts"
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
        seconds: from one to the next.
    """

    def __init__(
        self,
        base: Path,
        changes: list[dict[str, Any]],
        directory: Path | None = None,
        seconds: float = 0,
    ) -> None:
        self.base, self.changes = base, changes
        self.directory, self.seconds = directory, seconds
        self.models: dict[int, Any] = {}
        self.told: dict[int, dict[str, Any]] = {}
        self.errors: dict[int, BaseException] = {}

    def train(self, number: int, cell: pack.Cell | None = None) -> None:
        """Train one cell."""
        rank, alpha, seed = CELLS[number]
        model = cell_model(self.base, rank, alpha, seed)
        kept = None
        if self.directory:
            kept = Checkpoints(self.directory / str(number), self.seconds, lambda: {"of": number})
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


def joined(base: Path, number: int, dtype: torch.dtype) -> engine.Joined:
    """Return a cell as its training joins a pack, with matrices B that are not 0."""
    model = cell_model(base, *CELLS[number]).to(dtype)
    draw = torch.Generator().manual_seed(number)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1, generator=draw)
    models.without_backbone_dropout(model)
    weights = torch.tensor([[1.0, 1.0], [0.5, 1.5], [2.0, 0.7]][number])
    return engine.Joined(model, PADDING, SPLITS, weights, 8, None, torch.Generator())


def gradients_alone(cell: engine.Joined, numbers: list[int]) -> list[torch.Tensor]:
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
    computed = engine.Engine(cells, static)
    with computed.installed():
        losses = computed.losses(computed.collate("train", picked, 8))
    gradients = computed.stack.gradients(losses.sum(), computed.parameters)
    for number, (loss, *grads) in enumerate(wanted):
        places = [computed.stack.place(gradients, number, name) for name in computed.stack.slots]
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


def gap(one: Group, other: Group, number: int) -> float:
    return float((one.logits(number) - other.logits(number)).abs().max())


def test_companions_do_not_matter(bases, alone):
    group = Group(bases["bert"], DIFFERENT)
    group.together([1])
    group.together([0, 2])
    assert not group.errors
    assert [gap(group, alone, number) < 1e-5 for number in range(3)] == [True] * 3
    assert [group.told[n]["pack"]["companions"] for n in range(3)] == [["2"], [], ["0"]]


@pytest.mark.parametrize("static", [False, True])
def test_a_cell_that_diverges_fails_alone(bases, alone, static):
    changes = [DIFFERENT[0], {"learning_rate": 1e30, "max_grad_norm": 0}, DIFFERENT[2]]
    group = Group(bases["bert"], changes).together(static=static)
    assert list(group.errors) == [1]
    assert isinstance(group.errors[1], InputError)
    assert "training diverged" in str(group.errors[1])
    assert max(gap(group, alone, 0), gap(group, alone, 2)) < 1e-5


def test_cells_that_end_early_leave_the_others_alone(bases, alone):
    """One has fewer steps; one ends an epoch after its loss has risen, or at once."""
    changes = [{**DIFFERENT[0], "max_steps": 5}, {"patience": 1, "epochs": 4, "learning_rate": 0.3}]
    group = Group(bases["bert"], [*changes, DIFFERENT[2]]).together()
    lonely = Group(bases["bert"], changes).alone()
    assert not group.errors
    for number in (0, 1):
        assert group.told[number]["steps"] == lonely.told[number]["steps"]
    assert gap(group, lonely, 0) < 1e-5
    assert gap(group, alone, 2) < 1e-5


class Killed(Exception):  # noqa: N818
    """In place of a signal that nobody can catch."""


def kill_after(step: int, monkeypatch) -> None:
    """Let trainings end when they have kept so many steps."""
    begin = trainer.SaveWhenDue.on_step_end

    def on_step_end(self, args, state, control, **more):
        if state.global_step > step:
            raise Killed
        begin(self, args, state, control, **more)

    monkeypatch.setattr(trainer.SaveWhenDue, "on_step_end", on_step_end)


@pytest.mark.quick(4)
@pytest.mark.parametrize("before", ["together", "alone"])
@pytest.mark.parametrize("after", ["together", "alone"])
@pytest.mark.parametrize("step", [5, 10, 1, 11, 12, 21])
def test_what_was_killed_goes_on(bases, alone, tmp_path, monkeypatch, step, before, after):
    """Steps 10 and 20 are logged, 11 and 22 end an epoch, and validate."""
    first = Group(bases["bert"], DIFFERENT, tmp_path)
    with monkeypatch.context() as patch:
        kill_after(step, patch)
        getattr(first, before)()
    assert [type(first.errors[number]) for number in range(3)] == [Killed] * 3
    second = Group(bases["bert"], DIFFERENT, tmp_path)
    steps: list[int] = []
    take = engine.Engine.train

    def count(*words):
        steps.append(1)
        return take(*words)

    monkeypatch.setattr(engine.Engine, "train", count)
    getattr(second, after)()
    assert not second.errors
    if after == "together":
        assert len(steps) == STEPS - step
    for number in range(3):
        assert gap(second, alone, number) < 1e-5
        assert_equal_logs(second.told[number], alone.told[number])
        assert second.told[number]["train_tokens"] == alone.told[number]["train_tokens"]


def test_a_signal_lets_all_cells_keep_what_there_is(bases, alone, tmp_path, monkeypatch):
    take, steps = engine.Engine.train, []

    def train(*words):
        steps.append(1)
        if len(steps) == 4:  # within a run of ten
            os.kill(os.getpid(), signal.SIGTERM)
        return take(*words)

    first = Group(bases["bert"], DIFFERENT, tmp_path, seconds=10_000)
    with monkeypatch.context() as patch:
        patch.setattr(engine.Engine, "train", train)
        first.together()
    assert [type(first.errors[number]) for number in range(3)] == [StoppedError] * 3
    assert "SIGTERM ended the training at step 4 of 22" in str(first.errors[0])
    assert [(tmp_path / str(n) / "step4").is_dir() for n in range(3)] == [True] * 3
    second = Group(bases["bert"], DIFFERENT, tmp_path, seconds=10_000).together()
    assert [gap(second, alone, number) < 1e-5 for number in range(3)] == [True] * 3


def test_a_signal_reaches_a_cell_that_is_trained_alone(bases, tmp_path, monkeypatch):
    step = trainer.ResumableTrainer.training_step

    def training_step(self, *words, **more):
        if self.state.global_step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *words, **more)

    monkeypatch.setattr(trainer.ResumableTrainer, "training_step", training_step)
    monkeypatch.setattr(engine.acceleration, "difference", lambda *_: 0.5)
    group = Group(bases["bert"], DIFFERENT[:1], tmp_path, seconds=10_000).together()
    assert isinstance(group.errors[0], StoppedError)
    assert (tmp_path / "0" / "step3").is_dir()


def test_a_pack_that_is_too_large_is_halved(bases, alone, monkeypatch, caplog):
    """Memory does not suffice for three cells, nor, after some passes, for two."""
    compute, calls = engine.Engine.row_losses, []

    def limited(self, batch):
        calls.append(1)
        if len(self.joined) > (2 if len(calls) < 9 else 1):
            raise torch.OutOfMemoryError("out of memory")
        return compute(self, batch)

    monkeypatch.setattr(engine.Engine, "row_losses", limited)
    caplog.set_level(logging.INFO)
    group = Group(bases["bert"], DIFFERENT).together()
    assert not group.errors
    assert "a pack of 3 cells is split for memory" in caplog.text
    assert "a pack of 2 cells is split for memory" in caplog.text
    for number in range(3):
        assert gap(group, alone, number) < 1e-5
        assert_equal_logs(group.told[number], alone.told[number])


def test_a_cell_that_is_too_large_fails_in_one_line(bases, monkeypatch):
    def limited(*_):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(engine.Engine, "row_losses", limited)
    group = Group(bases["bert"], DIFFERENT).together()
    assert "lower `batch_size` or `max_length`" in str(group.errors[2])
    assert len(group.errors) == 3


def test_what_a_pack_raises_ends_its_cells(bases, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(engine.Engine, "row_losses", broken)
    group = Group(bases["bert"], DIFFERENT).together()
    assert [type(group.errors[number]) for number in range(3)] == [ZeroDivisionError] * 3


def test_an_error_that_is_not_kept_ends_all_trainings(bases):
    threads = threading.active_count()
    group = Group(bases["bert"], [{"learning_rate": 1e30, "max_grad_norm": 0}, DIFFERENT[1]])
    trainings = [(str(number), partial(group.train, number)) for number in range(2)]
    with pytest.raises(InputError, match="training diverged"):
        pack.train_together(trainings, lambda _: nullcontext())
    assert threading.active_count() == threads
    assert not group.models


def test_bfloat16_is_packed(bases):
    changes = [{**each, "precision": "bf16"} for each in DIFFERENT]
    group = Group(bases["bert"], changes).together()
    lonely = Group(bases["bert"], changes).alone([0])
    assert not group.errors
    assert gap(group, lonely, 0) < 0.05
    assert group.told[0]["pack"]["cells"] == 3


@pytest.mark.parametrize(
    ("architecture", "peft", "why"),
    [
        ("bert", {"lora_dropout": 0.1}, "`lora_dropout` is above 0"),
        ("bert", {"use_dora": True}, "is more than LoRA around a linear layer"),
        ("bert", {"bias": "all"}, "is more than LoRA around a linear layer"),
        ("albert", {}, "0 lists hold the layers"),
        ("modernbert", {}, "attention is not of whole texts"),
    ],
)
def test_what_cannot_be_packed_is_trained_alone(tmp_path, architecture, peft, why):
    base = make(architecture, tmp_path)
    told = {}

    def train(cell: pack.Cell) -> None:
        model = cell_model(base, *CELLS[cell.number], **peft)
        changes = settings(max_steps=2)
        told[cell.number] = training.train(model, SPLITS, PADDING, changes, 0, None, cell)

    pack.train_together([("a", train), ("b", train)], lambda _: nullcontext())
    for number in range(2):
        assert told[number]["pack"]["cells"] == 1
        assert why in told[number]["pack"]["why_alone"]
        assert told[number]["steps"] == 2


def test_a_model_that_the_proof_refuses_is_trained_alone(bases, monkeypatch):
    monkeypatch.setattr(engine.acceleration, "difference", lambda *_: 0.5)
    group = Group(bases["bert"], DIFFERENT).together()
    told = group.told[1]["pack"]
    assert told == {"cells": 1, "why_alone": "it would move answers or gradients by 0.5"}


def test_shapes_follow_from_the_size_of_a_batch():
    texts = batches.Texts(SPLITS["train"], PADDING)
    draw = torch.Generator().manual_seed(0)
    shapes: dict[tuple[int, ...], set[str]] = {}
    for _ in range(20):
        count = int(torch.randint(1, 9, (1,), generator=draw))
        picked = torch.randperm(len(SPLITS["train"]), generator=draw).tolist()
        batch = batches.collate([texts] * 3, [picked[:8], picked[8 : 8 + count], []], 8)
        found = {name: tuple(each.shape) for name, each in batch.tensors().items()}
        shapes.setdefault(batch.size, set()).add(str(found))
    assert {len(each) for each in shapes.values()} == {1}


def test_filler_is_split_into_runs_no_longer_than_a_text():
    texts = batches.Texts(SPLITS["train"], PADDING)
    batch = batches.collate([texts] * 2, [[0, 1], [2]], 8)
    longest = batch.inputs["input_ids"].shape[1]
    runs = batch.static["segments"].diff()
    assert runs.min() >= 0
    assert runs.max() <= longest
    assert batch.static["segments"][-1] == 2 * batch.shares.tokens[0]


@pytest.fixture(scope="module")
def command(make_tokens, tiny_models):
    """The command line of a small training; later words override earlier ones."""

    def words(output: Path, rank: int, seed: int, *more: object, model: str = "bert") -> list[str]:
        peft = json.dumps({"r": rank, "lora_alpha": 8})
        line = ["--model", tiny_models[model], "--tokens", make_tokens(model), "--peft", peft]
        line += ["--epochs", 2, "--seed", seed]
        place = output / f"lora-r{rank}" / f"seed{seed}"
        line += ["--output", place / "adapter", "--record", place / "training.json", *more]
        return list(map(str, line))

    return words


def record(output: Path, cell: str) -> dict[str, Any]:
    return json.loads((output / cell / "training.json").read_text())


CELLS_OF_COMMANDS = ("lora-r2/seed0", "lora-r4/seed1", "lora-r4/seed2")


@pytest.fixture(scope="module")
def packed(tmp_path_factory, command) -> Path:
    """Three cells that were trained together, the last again, since it failed."""
    output = tmp_path_factory.mktemp("packed")
    failing = ("--learning-rate", 1e-9, "--retries", 1)
    commands = [command(output, 2, 0), command(output, 4, 1), command(output, 4, 2, *failing)]
    train_lora.main_together(commands, lambda _: nullcontext())
    return output


def test_commands_are_trained_together_as_alone(packed, command, tmp_path):
    for number, cell in enumerate(CELLS_OF_COMMANDS[:2]):
        train_lora.main(command(tmp_path, (2, 4)[number], number))
        found, wanted = (
            load_file(root / cell / "adapter" / adapters.WEIGHTS) for root in (packed, tmp_path)
        )
        assert found.keys() == wanted.keys()
        assert max((found[n] - wanted[n]).abs().max() for n in wanted) < 1e-5
        ours, theirs = record(packed, cell), record(tmp_path, cell)
        assert ours["train_info"].keys() == theirs["train_info"].keys()
        assert ours["train_info"]["pack"]["cells"] == 3
        assert sorted(ours["train_info"]["pack"]["companions"]) == sorted(
            set(CELLS_OF_COMMANDS) - {cell}
        )
        assert theirs["train_info"]["pack"] == {"cells": 1, "why_alone": "there is no GPU"}
        assert not (packed / cell / "adapter.checkpoints").exists()


def test_shares_of_the_time_add_up(packed):
    told = [record(packed, cell)["train_info"] for cell in CELLS_OF_COMMANDS[:2]]
    times = [each["train_time"] for each in told]
    assert all(0 < time < told[0]["pack"]["seconds"] for time in times)
    third = record(packed, CELLS_OF_COMMANDS[2])["train_info"]["attempts"][0]["seconds"]
    whole = max(each["pack"]["seconds"] for each in told)
    assert sum(times) + third == pytest.approx(whole, rel=0.3)


def test_what_failed_in_a_pack_is_tried_again_alone(packed):
    told = record(packed, CELLS_OF_COMMANDS[2])["train_info"]
    assert [each["learned_nothing"] for each in told["attempts"]] == [True, True]
    assert told["pack"] == {"cells": 1, "why_alone": "it is attempt 2"}


def test_adapters_of_a_pack_pass_the_gate(packed, command, tmp_path):
    words = dict(zip(*[iter(command(packed, 2, 0))] * 2, strict=True))
    place = packed / CELLS_OF_COMMANDS[0]
    eval_lora.main(
        ["--model", words["--model"], "--tokens", words["--tokens"],
         "--adapter", str(place / "adapter"), "--training", str(place / "training.json"),
         "--metrics", str(tmp_path / "metrics.json"),
         "--predictions", str(tmp_path / "predictions.parquet")]
    )  # fmt: skip
    assert (tmp_path / "metrics.json").exists()


def test_a_command_that_is_refused_leaves_the_others_alone(command, tmp_path):
    errors = {}

    @contextmanager
    def within(number: int) -> Iterator[None]:
        try:
            yield
        except (InputError, SystemExit) as error:
            errors[number] = error

    commands = [
        command(tmp_path, 2, 0, "--learning-rate", "fast"),
        command(tmp_path, 2, 1, "--max-steps", 2),
        command(tmp_path, 2, 2, "--model", tmp_path / "nowhere"),
    ]
    train_lora.main_together(commands, within)
    assert {number: type(error) for number, error in errors.items()} == {
        0: SystemExit, 2: InputError,
    }  # fmt: skip
    assert record(tmp_path, "lora-r2/seed1")["train_info"]["steps"] == 2


def test_cells_that_differ_in_rank_seed_and_rate_have_one_key(command, tmp_path):
    one = train_lora.pack_key(command(tmp_path, 2, 0))
    assert one
    assert train_lora.pack_key(command(tmp_path, 4, 1, "--learning-rate", 0.1)) == one
    others = [("--batch-size", 16), ("--precision", "bf16"), ("--peft", '{"target_modules": "q"}')]
    assert one not in [train_lora.pack_key(command(tmp_path, 2, 0, *words)) for words in others]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--peft", '{"lora_dropout": 0.1}'), "lora_dropout is 0.1"),
        (("--peft", '{"use_dora": true}'), "use_dora is True"),
        (("--peft", '{"init_lora_weights": "pissa"}'), "init_lora_weights is pissa"),
        (("--peft", '{"peft_type": "IA3"}'), "peft_type is IA3"),
        (("--kind", "full"), "kind is full"),
        (("--precision", "fp16"), "precision is fp16"),
        (("--gradient-accumulation-steps", 2), "gradient_accumulation_steps is 2"),
        (("--backbone-dropout",), "backbone_dropout is True"),
    ],
)
def test_why_a_cell_is_trained_alone(command, tmp_path, words, why):
    line = command(tmp_path, 2, 0, *words)
    assert train_lora.pack_key(line) is None
    assert train_lora.why_alone(train_lora.parse(line)) == why


def test_a_command_line_that_is_refused_has_no_key(command, tmp_path, capsys):
    assert train_lora.pack_key(command(tmp_path, 2, 0, "--speed", 3)) is None
    assert capsys.readouterr().err == ""


def test_a_key_costs_no_heavy_import(command, tmp_path):
    line = command(tmp_path, 2, 0)
    code = (
        f"import sys; import train_lora; assert train_lora.pack_key({line!r}); "
        "assert not {'torch', 'transformers', 'peft'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, check=True)


class FakeGraph:
    """In place of a CUDA graph: what is captured is computed again when it is replayed."""

    engine: Any = None  # whose step it is

    def __init__(self) -> None:
        self.replayed = 0

    def pool(self) -> None:
        """Return no pool."""

    def replay(self) -> None:
        self.replayed += 1
        owner = next(each for each in self.engine.graphs.values() if each.graph is self)
        for place, value in zip(
            owner.found, self.engine.step(owner.batch, owner.factors), strict=True
        ):
            place.copy_(value)


@pytest.fixture
def graphs(monkeypatch) -> list[FakeGraph]:
    """The graphs that engines make, on a CPU that is taken for a GPU."""
    made: list[FakeGraph] = []

    def graph() -> FakeGraph:
        made.append(FakeGraph())
        return made[-1]

    class Stream:
        def wait_stream(self, _: Any) -> None:
            """Nothing runs beside."""

    monkeypatch.setattr(torch.cuda, "CUDAGraph", graph)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "graph", lambda *_, **__: nullcontext())
    begin = engine.Engine.__init__

    def init(self, *words):
        begin(self, *words)
        self.captures = True

    monkeypatch.setattr(engine.Engine, "__init__", init)
    take = engine.Engine.train

    def train(self, *words):
        monkeypatch.setattr(FakeGraph, "engine", self)
        return take(self, *words)

    monkeypatch.setattr(engine.Engine, "train", train)
    return made


def test_what_is_captured_is_replayed_with_each_batch(bases, alone, graphs):
    group = Group(bases["bert"], DIFFERENT).together(static=True)
    assert not group.errors
    assert [gap(group, alone, number) < 1e-5 for number in range(3)] == [True] * 3
    assert sum(graph.replayed for graph in graphs) == STEPS
    assert 1 <= len(graphs) < 4
    assert group.told[0]["pack"]["graphs"] is True


def test_what_cannot_be_captured_is_computed_step_by_step(bases, alone, graphs, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    group = Group(bases["bert"], DIFFERENT).together(static=True)
    assert [gap(group, alone, number) < 1e-5 for number in range(3)] == [True] * 3
    assert len(graphs) == 1
    assert group.told[0]["pack"]["graphs"] is False


def test_the_benchmark_measures_packs(make_tokens, tiny_models, tmp_path, capsys):
    gpu.main(
        ["--model", str(tiny_models["bert"]), "--tokens", str(make_tokens("bert")), "--quick",
         "--output", str(tmp_path / "gpu.json")]
    )  # fmt: skip
    arms = json.loads((tmp_path / "gpu.json").read_text())["arms"]
    assert [arm["cells"] for arm in arms] == [0, 1, 2]
    assert [arm["why_alone"] for arm in arms] == ["to be measured alone", "", ""]
    assert all(arm["rows_per_second"] > 0 for arm in arms)
    assert len(capsys.readouterr().out.splitlines()[-5:]) == 5
    logging.disable(logging.NOTSET)

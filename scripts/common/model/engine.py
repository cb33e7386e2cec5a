"""One pass of a model for several cells: adapters and heads of their own on one backbone.

Texts are computed in one batch, without padding (``packing``), and each LoRA matrix and head stands
in one tensor for all cells (``stack``). No sum crosses cells: a cell does not depend on the others
but for rounding, and one that diverges leaves them alone. (Related: mLoRA, Ye et al. 2024,
arXiv 2312.02515.)

On a GPU the shapes are static: texts are as long as the longest of their batch, rounded up, and the
tokens of each cell are filled up to a bucket. One CUDA graph for each pair of sizes then holds a
whole step. The same step runs on the CPU, without the capture.

Imports torch and transformers, so import it late.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from common import cli, task
from common.model import acceleration, collator, patches, roundtrip
from common.model.acceleration import with_forward
from common.model.batches import Batch, Rows, Shares, Texts, collate, rounded_tokens
from common.model.collator import Padding
from common.model.models import base_model
from common.model.packing import Packing, UnsupportedError
from common.model.stack import Stack

log = logging.getLogger("engine")


WARM_UP_STEPS = 2  # before a capture, as torch asks for

# Tokens of all cells in one pass of a validation, which keeps nothing for a gradient.
CPU_TOKENS, GPU_TOKENS = 1 << 12, 1 << 17

# For each number of a hidden state in each layer, generously: what a step keeps for its gradient.
STEP_BYTES_PER_VALUE = 160

STATE_TENSORS = 12  # as large as the trained parameters: weights, moments, and those of one update

# How far answers and gradients may be from those of the cell alone, as a share of the largest.
ROUNDING = {torch.float32: acceleration.ROUNDING, torch.float64: 1e-12, torch.bfloat16: 0.2}


def multiply(
    rows: torch.Tensor, weights: torch.Tensor, bias: torch.Tensor | None, shares: Shares
) -> torch.Tensor:
    """Return ``rows @ weight.T + bias``, each cell with its own weight and bias.

    Args:
        rows: shape (..., inputs).
        weights: shape (cells, outputs, inputs).
        bias: shape (cells, outputs), or None.
        shares: which rows are of which cell.
    """
    sizes, flat = shares.sizes(rows), rows.reshape(-1, rows.shape[-1])
    if shares.equal:
        found = torch.bmm(flat.unflatten(0, (len(sizes), -1)), weights.transpose(1, 2))
        found = found if bias is None else found + bias[:, None]
    else:
        own_bias = [None] * len(sizes) if bias is None else list(bias)
        parts = zip(flat.split(sizes), weights, own_bias, strict=True)
        found = torch.cat([torch.nn.functional.linear(*part) for part in parts])
    return found.reshape(*rows.shape[:-1], weights.shape[1])


def of_rows(values: torch.Tensor, rows: torch.Tensor, shares: Shares) -> torch.Tensor:
    """Return the value of its cell for each row, shape (..., columns).

    Args:
        values: shape (cells, columns).
        rows: shape (..., columns).
        shares: which rows are of which cell.
    """
    sizes = shares.sizes(rows)
    if shares.equal:
        spread = values[:, None].expand(-1, sizes[0], -1)
        return spread.reshape(rows.shape)
    parts = zip(values, sizes, strict=True)
    return torch.cat([value.expand(size, -1) for value, size in parts]).reshape(rows.shape)


def frozen(layer: Any, dtype: torch.dtype | None) -> patches.Forward:
    """Return a linear layer, or GPT-2's Conv1D, whose weights are held in the dtype of autocast.

    Autocast would convert them in every pass, to the same numbers. None: they stay as they are.
    """
    weight, bias = patches.own_weight(layer), layer.bias
    if dtype is not None:
        weight, bias = weight.to(dtype), None if bias is None else bias.to(dtype)

    def forward(rows: torch.Tensor) -> torch.Tensor:
        return patches.Linear.apply(rows if dtype is None else rows.to(dtype), weight, bias)

    return forward


@dataclass
class Joined:
    """What a cell brings.

    Attributes:
        model: with a fresh LoRA adapter, prepared for training.
        padding: of its batches.
        splits: "train" and "validation", tokenised.
        weights: of the classes in its loss, shape (classes,).
        batch_size: rows of a step.
        dtype: of autocast; None: without.
        generator: draws what the dropouts of its head drop.
    """

    model: Any
    padding: Padding
    splits: Any
    weights: torch.Tensor
    batch_size: int
    dtype: torch.dtype | None
    generator: torch.Generator

    def __post_init__(self) -> None:
        self.texts = {name: Texts(self.splits[name], self.padding) for name in self.SPLITS}
        self.probe = acceleration.shortened(roundtrip.probe(self.splits["train"]))

    SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Dropout:
    """A dropout of the head: its probability, and how many numbers of a text it looks at."""

    dropped: int  # of patches.LEVELS
    columns: int


class Engine:
    """Computes the steps of several cells in one pass.

    Args:
        joined: the cells; they share their frozen weights.
        static: whether the shapes of batches depend on few sizes.

    Raises:
        UnsupportedError: the cells cannot be computed so.

    Attributes:
        stack: their trained parameters.
        graphs: a captured step for each size of a batch.
        captures: whether steps are captured: on a GPU, if it can.
    """

    def __init__(self, joined: Sequence[Joined], static: bool) -> None:
        self.joined, self.static = joined, static
        self.peft = joined[0].model
        self.classifier = base_model(self.peft)
        self.packing = Packing(self.classifier)
        self.stack = Stack([each.model for each in joined])
        self.device = self.stack.weights.device
        self.captures = static and self.device.type == "cuda"
        self.parameters = self.stack.parameters()
        self.weights = torch.stack([each.weights for each in joined]).to(self.stack.weights)
        self.task = task.of_model(self.peft)
        self.optimizers: dict[int, tuple[Any, float]] = {}
        self.graphs: dict[tuple[int, ...], Graph] = {}
        self.shares = Shares([], [])
        self.dropouts: list[Dropout] = []
        self.is_probing = False
        self.covered: set[str] = set()
        self.forwards = list(self.replacements())
        if left := sorted(self.stack.slots.keys() - self.covered):
            raise UnsupportedError(f"{left[0]} is trained, and is of no layer that is packed")

    def replacements(self) -> Iterator[tuple[Any, patches.Forward]]:
        """Yield the modules of the first model that compute for all cells, with their forwards."""
        from peft.tuners.lora.layer import Linear as LoraLayer

        self.peft.train()  # what is in training mode now is what drops out
        for name, module in self.peft.named_modules():
            if type(module) is LoraLayer:
                yield module, self.lora(name)
            elif f"{name}.weight" in self.stack.slots and type(module) is torch.nn.Linear:
                yield module, self.linear(name)
            elif f"{name}.weight" in self.stack.slots and type(module) is torch.nn.LayerNorm:
                yield module, self.norm(name, module)
            elif type(module) is torch.nn.Dropout and module.training and module.p > 0:
                yield module, self.dropout(module)
            elif patches.is_linear(module) and not patches.is_trained(module):
                yield module, frozen(module, self.joined[0].dtype)
        self.peft.eval()

    def parameter(self, name: str) -> torch.Tensor | None:
        """Return a parameter of all cells, shape (cells, ...); None if they have none."""
        self.covered.add(name)
        return self.parameters.get(name)

    def lora(self, name: str) -> patches.Forward:
        """Return a LoRA layer, each cell with its own matrices."""
        layers = [each.model.get_submodule(name) for each in self.joined]
        if not all(map(patches.is_plain, layers)):
            raise UnsupportedError(f"{name} is more than LoRA around a linear layer")
        (adapter,) = layers[0].active_adapters
        if any(getattr(each.lora_dropout[adapter], "p", 0) > 0 for each in layers):
            raise UnsupportedError("`lora_dropout` is above 0")
        scales = self.stack.weights.new_tensor([each.scaling[adapter] for each in layers])
        a, b = (self.parameter(f"{name}.lora_{each}.{adapter}.weight") for each in "AB")
        if a is None or b is None:
            raise UnsupportedError(f"{name} is not trained")
        base = frozen(layers[0].get_base_layer(), self.joined[0].dtype)

        def forward(rows: torch.Tensor) -> torch.Tensor:
            low = multiply(rows, a, None, self.shares)
            return base(rows) + multiply(low, b * scales[:, None, None], None, self.shares)

        return forward

    def linear(self, name: str) -> patches.Forward:
        """Return a linear layer of the head, each cell with its own."""
        weight, bias = self.parameter(f"{name}.weight"), self.parameter(f"{name}.bias")
        assert weight is not None
        return lambda rows: multiply(rows, weight, bias, self.shares)

    def norm(self, name: str, layer: torch.nn.LayerNorm) -> patches.Forward:
        """Return a normalisation of the head, each cell with its own weights."""
        own = [self.parameter(f"{name}.{each}") for each in ("weight", "bias")]
        weight, bias = own
        assert weight is not None

        def forward(rows: torch.Tensor) -> torch.Tensor:
            plain = torch.nn.functional.layer_norm(rows, layer.normalized_shape, eps=layer.eps)
            scaled = plain * of_rows(weight, rows, self.shares)
            return scaled if bias is None else scaled + of_rows(bias, rows, self.shares)

        return forward

    def dropout(self, layer: torch.nn.Dropout) -> patches.Forward:
        """Return a dropout of the head: each cell draws from its own random numbers.

        In the proof, which is without dropout, it tells what it will need.
        """

        def forward(rows: torch.Tensor) -> torch.Tensor:
            if self.is_probing:
                if rows.ndim != 2 or len(rows) != sum(self.shares.texts):
                    raise UnsupportedError("a dropout of the head looks at whole texts")
                dropped = round(layer.p * patches.LEVELS)
                self.dropouts.append(Dropout(dropped, rows.shape[1]))
            if not self.shares.masks:
                return rows
            return rows * self.shares.masks.pop(0).to(rows.dtype)

        return forward

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let the first model compute for all cells within a ``with`` block."""
        self.peft.eval()
        with ExitStack() as stack:
            self.packing.install()
            stack.callback(self.packing.remove)
            for module, forward in self.forwards:
                stack.enter_context(with_forward(module, forward))
            yield

    def collate(self, split: str, rows: Rows, least: int) -> Batch:
        """Return a batch of rows of a split, on the device."""
        texts = [each.texts[split] for each in self.joined]
        return collate(texts, rows, least if self.static else None)

    def logits(self, batch: Batch) -> torch.Tensor:
        """Return the logits of a batch, shape (rows, classes), in single precision at least."""
        masks = [
            patches.mask(bits, each.dropped, self.stack.weights.dtype)
            for bits, each in zip(batch.bits, self.dropouts, strict=False)
        ]
        self.shares = Shares(batch.shares.tokens, batch.shares.texts, batch.shares.equal, masks)
        self.packing.given = batch.layout()
        with autocast(self.device, self.joined[0].dtype):
            found = self.classifier(**batch.inputs).logits
        return found.to(self.stack.weights.dtype)

    def row_losses(self, batch: Batch) -> torch.Tensor:
        """Return what each row of a batch adds to the loss of its cell, shape (rows,)."""
        logits = self.logits(batch)
        return self.task.row_losses(
            logits, batch.labels, of_rows(self.weights, logits, batch.shares)
        )

    def losses(self, batch: Batch) -> torch.Tensor:
        """Return the loss of each cell, the mean over its rows, shape (cells,)."""
        found = self.row_losses(batch)
        if batch.shares.equal:
            sums = found.unflatten(0, (len(self.joined), -1)).sum(1)
        else:
            sums = torch.stack([part.sum() for part in found.split(batch.shares.texts)])
        return sums / batch.counts.to(sums.dtype).clamp(min=1)

    def step(self, batch: Batch, factors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Take a step: the whole of it is tensors, so that a CUDA graph holds it.

        Args:
            batch: of rows to train on. A cell without rows stays as it is.
            factors: of the learning rate of each cell in this step, shape (cells,).

        Returns:
            the losses and the norms of the gradients of the cells, each of shape (cells,).
        """
        losses = self.losses(batch)
        gradients = self.stack.gradients(losses.sum(), self.parameters)
        return losses.detach(), self.stack.update(gradients, factors, batch.counts > 0)

    def draw(self, rows: Rows, least: int) -> list[torch.Tensor]:
        """Return random bits for the dropouts of a step; see ``patches.Dropout``."""
        drawn: list[list[torch.Tensor]] = [[] for _ in self.dropouts]
        for each, own in zip(self.joined, rows, strict=True):
            for place, dropout in zip(drawn, self.dropouts, strict=True):
                bits = patches.random_bits(torch.Size([len(own), dropout.columns]), each.generator)
                filler = least - len(own) if self.static else 0
                place.append(torch.nn.functional.pad(bits, (0, 0, 0, filler)))
        return [torch.cat(each) for each in drawn]

    def train(self, rows: Rows, factors: Sequence[float]) -> tuple[Any, Any, list[int]]:
        """Take a step on rows of the training split.

        Args:
            rows: of each cell, none for a cell that takes no step.
            factors: of the learning rate of each cell.

        Returns:
            losses and norms, as ``step`` does, and the real tokens of each cell.
        """
        least = self.joined[0].batch_size
        batch = self.collate("train", rows, least)
        batch.bits = self.draw(rows, least)
        batch = batch.to(self.device)
        rates = torch.tensor(factors, dtype=self.stack.weights.dtype, device=self.device)
        graph = self.graph(batch, rates)
        losses, norms = graph.replay(batch, rates) if graph else self.step(batch, rates)
        return losses, norms, batch.tokens

    def graph(self, batch: Batch, factors: torch.Tensor) -> "Graph | None":
        """Return the captured step for the size of a batch; None where steps are not captured."""
        if self.captures and batch.size not in self.graphs:
            try:
                self.graphs[batch.size] = Graph(self, batch, factors)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                log.warning("without CUDA graphs: %s", cli.one_line(error))
                self.captures = False
        return self.graphs[batch.size] if self.captures else None

    @torch.no_grad()
    def validate(self, rows: Rows) -> list[float]:
        """Return the mean loss of some validation rows of each cell.

        Args:
            rows: of each cell, none for a cell that does not ask, whose mean is 0.
        """
        texts = [each.texts["validation"] for each in self.joined]
        longest = max(int(t.lengths[own].max()) for t, own in zip(texts, rows, strict=True) if own)
        tokens = CPU_TOKENS if self.device.type == "cpu" else GPU_TOKENS
        size = min(max(map(len, rows)), max(1, tokens // (longest * sum(map(bool, rows)))))
        sums = np.zeros(len(rows))
        for start in range(0, max(map(len, rows)), size):
            some = [own[start : start + size] for own in rows]
            batch = self.collate("validation", some, size).to(self.device)
            parts = self.row_losses(batch).cpu().split(batch.shares.texts)
            sums += [float(part.double().sum()) for part in parts]
        return (sums / [max(1, len(own)) for own in rows]).tolist()

    def prove(self) -> None:
        """Compare the first and the last cell with themselves alone, on two texts.

        Raises:
            UnsupportedError: answers or gradients differ by more than rounding explains.
        """
        rounding = ROUNDING[self.joined[0].dtype or self.stack.weights.dtype]
        for number in sorted({0, len(self.joined) - 1}):
            wanted = self.answers_alone(number)
            found = self.answers(number)
            gap = acceleration.difference(found, wanted)
            if not gap <= rounding:
                raise UnsupportedError(f"it would move answers or gradients by {gap:.2g}")

    def answers_alone(self, number: int) -> list[torch.Tensor]:
        """Return ``acceleration.answers`` of one cell.

        Raises:
            UnsupportedError: it drops out what is no module, and so not drawn here.
        """
        own = self.joined[number]
        batch = {n: t.to(self.device) for n, t in own.padding.texts(own.probe).items()}
        with autocast(self.device, own.dtype):
            wanted = acceleration.answers(own.model, batch)
            own.model.train()
            with ExitStack() as stack, torch.no_grad():
                for module in own.model.modules():
                    if type(module) is torch.nn.Dropout:
                        stack.enter_context(with_forward(module, lambda rows: rows))
                trained = own.model(**batch).logits
            own.model.eval()
        if not torch.allclose(trained, wanted[0], rtol=1e-2, atol=1e-2):
            raise UnsupportedError("a function of it drops out")
        return wanted

    def answers(self, number: int) -> list[torch.Tensor]:
        """Return the same of one cell in the pack; its companions have no rows."""
        import datasets

        own = self.joined[number]
        texts = Texts(datasets.Dataset.from_list(own.probe), own.padding)
        count = len(own.probe)
        rows: Rows = [[*range(count)] if n == number else [] for n in range(len(self.joined))]
        least = own.batch_size if self.static else None
        batch = collate([texts] * len(rows), rows, least).to(self.device)
        self.dropouts.clear()
        with self.installed():
            self.is_probing = True
            try:
                logits = self.logits(batch)
            finally:
                self.is_probing = False
        mine = logits.split(batch.shares.texts)[number][:count]
        gradients = self.stack.gradients(mine.square().sum(), self.parameters)
        trained = self.stack.trained[number]
        return [mine.detach(), *(self.stack.place(gradients, number, name) for name in trained)]

    def adopt(self, number: int, optimizer: Any, limit: float) -> None:
        """Take over the optimizer of a cell; see ``Stack.adopt``."""
        self.optimizers[number] = (optimizer, limit)
        self.stack.adopt(number, optimizer, limit)

    def halves(self) -> "list[Engine]":
        """Return two engines, each of half the cells, as they are now."""
        self.graphs.clear()
        middle = -(-len(self.joined) // 2)
        found = []
        for part in (range(middle), range(middle, len(self.joined))):
            engine = Engine([self.joined[number] for number in part], self.static)
            engine.dropouts = self.dropouts
            for place, number in enumerate(part):
                if number in self.optimizers:
                    for state in self.optimizers[number][0].state.values():
                        state["step"].fill_(self.stack.steps[number])
                    engine.adopt(place, *self.optimizers[number])
            found.append(engine)
        return found


class Graph:
    """A step that is captured as a CUDA graph, for batches of one size.

    Args:
        engine: whose step it is, while it is ``installed``.
        batch: the first one.
        factors: of the learning rates.
    """

    def __init__(self, engine: Engine, batch: Batch, factors: torch.Tensor) -> None:
        self.batch, self.factors = batch, factors.clone()
        stack = engine.stack
        state = [stack.weights, stack.first, stack.second, stack.steps]
        before = [each.clone() for each in state]
        others = list(engine.graphs.values())
        self.graph = torch.cuda.CUDAGraph()
        try:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP_STEPS):
                    engine.step(self.batch, self.factors)
            torch.cuda.current_stream().wait_stream(stream)
            # One pool of memory for all: one graph runs at a time.
            with torch.cuda.graph(self.graph, pool=others[0].graph.pool() if others else None):
                self.found = engine.step(self.batch, self.factors)
        finally:
            for each, value in zip(state, before, strict=True):
                each.copy_(value)

    def replay(self, batch: Batch, factors: torch.Tensor) -> list[torch.Tensor]:
        """Take the step with another batch of the same size."""
        for name, place in self.batch.tensors().items():
            place.copy_(batch.tensors()[name], non_blocking=True)
        self.factors.copy_(factors)
        self.graph.replay()
        return [each.clone() for each in self.found]


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[Any]:
    """Return autocast to a dtype; None: none. A graph cannot hold its cache of weights."""
    if dtype is None:
        return nullcontext()
    return torch.autocast(device.type, dtype, cache_enabled=False)


def share_frozen(classifiers: Sequence[Any]) -> None:
    """Let models share the parameters that none of them trains, and put all on the device.

    Heads differ, and the untrained originals that PEFT keeps of them.

    Raises:
        UnsupportedError: others are not the same in all of them.
    """
    first = classifiers[0]
    frozen_ones = {
        name: parameter
        for name, parameter in first.named_parameters()
        if not parameter.requires_grad and ".original_module." not in name
    }
    for other in classifiers[1:]:
        for name, parameter in frozen_ones.items():
            path, _, leaf = name.rpartition(".")
            owner = other.get_submodule(path)
            if not torch.equal(getattr(owner, leaf), parameter):
                raise UnsupportedError(f"{name} is not the same in all cells")
            setattr(owner, leaf, parameter)
    device = collator.on_device(first).device
    for each in classifiers:
        each.to(device)  # where a model is, it tells by a parameter that is shared


def step_bytes(engine: Engine) -> int:
    """Return about how many bytes of a GPU a step takes for each cell."""
    config = engine.classifier.config
    own = engine.joined[0]
    lengths = np.sort(own.texts["train"].lengths)[-own.batch_size :]
    values = rounded_tokens(int(lengths.sum())) * config.hidden_size * config.num_hidden_layers
    state = engine.stack.weights[0].numel() * engine.stack.weights.element_size()
    return int(values * STEP_BYTES_PER_VALUE + state * STATE_TENSORS)

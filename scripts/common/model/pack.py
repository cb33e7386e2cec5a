"""Cells trained together: several LoRA adapters on one frozen backbone, in one pass.

Cells of one dataset and model differ in seed, rank and learning rate, and share all frozen weights.
Their texts are computed in one batch, without padding (``packing``), and each LoRA matrix, head and
moment of the optimiser stands in one tensor for all cells. A cell is a row of these: no sum crosses
rows, so that a cell does not depend on its companions but for rounding, and one that diverges
leaves the others alone. (Related: mLoRA, Ye et al. 2024, arXiv 2312.02515.)

All else of a training is the Trainer's own. Each cell has a thread, of which one runs at a time,
and in it the Trainer, with its callbacks, log and checkpoints; where it would compute steps, it
asks the pack for them, which answers when all cells have asked.

On a GPU the shapes are static: texts are as long as the longest of their batch, rounded up, and the
tokens of each cell are filled up to a bucket. One CUDA graph for each pair of sizes then holds a
whole step. The same step runs on the CPU, without the capture.

Imports torch and transformers, so import it late.
"""

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
import transformers
from transformers.trainer_utils import EvalLoopOutput

from common import cells, cli, task
from common.cli import InputError
from common.data.encoding import TYPES
from common.model import acceleration, collator, patches, roundtrip
from common.model.acceleration import with_forward
from common.model.collator import Padding
from common.model.models import base_model
from common.model.packing import Layout, Packing, StaticLayout, UnsupportedError
from common.model.trainer import ResumableTrainer, asked_to_stop, require_hooks

log = logging.getLogger("pack")

NO_LABEL = -100  # of a row that is none; torch's cross-entropy leaves it out

# Sizes of static batches are rounded up to multiples: few sizes are few graphs.
TOKENS, LENGTH = 128, 64
LONG, LONG_TOKENS = 4096, 512  # from so many tokens of a cell on, multiples of so many

WARM_UP_STEPS = 2  # before a capture, as torch asks for
# Tokens of all cells in one pass of a validation, which keeps nothing for a gradient.
CPU_TOKENS, GPU_TOKENS = 1 << 12, 1 << 17
# For each number of a hidden state in each layer, generously: what a step keeps for its gradient.
STEP_BYTES_PER_VALUE = 160
STATE_TENSORS = 12  # as large as the trained parameters: weights, moments, and those of one update

# How far answers and gradients may be from those of the cell alone, as a share of the largest.
ROUNDING = {torch.float32: acceleration.ROUNDING, torch.float64: 1e-12, torch.bfloat16: 0.2}


# --- What the parts of a model compute for several cells -----------------------------------------


@dataclass
class Shares:
    """Which rows of a tensor are of which cell.

    Attributes:
        tokens: packed ones of each cell, in order.
        texts: of each cell.
        equal: all cells have as many: products are batched.
        masks: what is left for the dropouts of the head to take, in the order in which they are
            called; None: they let all through.
    """

    tokens: list[int]
    texts: list[int]
    equal: bool = False
    masks: list[torch.Tensor] | None = None

    def sizes(self, rows: torch.Tensor) -> list[int]:
        """Return how many rows of a tensor of shape (..., columns), made flat, each cell has.

        Raises:
            UnsupportedError: they are neither packed tokens nor texts.
        """
        if rows.shape[:-1] in ((1, sum(self.tokens)), (sum(self.tokens),)):
            return self.tokens
        if rows.shape[0] == sum(self.texts):
            each = rows[..., 0].numel() // rows.shape[0] if rows.shape[0] else 0
            return [count * each for count in self.texts]
        raise UnsupportedError("a layer computes neither tokens nor texts")


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
    weight = layer.weight if isinstance(layer, torch.nn.Linear) else layer.weight.t()
    bias = layer.bias
    if dtype is not None:
        weight, bias = weight.to(dtype), None if bias is None else bias.to(dtype)

    def forward(rows: torch.Tensor) -> torch.Tensor:
        return patches.Linear.apply(rows if dtype is None else rows.to(dtype), weight, bias)

    return forward


# --- The trained parameters of several cells -----------------------------------------------------


@dataclass(frozen=True)
class Slot:
    """Where a parameter stands in the row of a cell: as large as the largest cell's.

    Smaller ranks are filled up with zeros, which stay zeros: their gradients are 0.
    """

    start: int
    shape: tuple[int, ...]

    def of_all(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the parameter of all cells, of shape (cells, *shape), as a view of their rows."""
        size = int(np.prod(self.shape))
        return rows[:, self.start : self.start + size].unflatten(1, self.shape)

    def of_one(self, rows: torch.Tensor, cell: int, shape: Sequence[int]) -> torch.Tensor:
        """Return the parameter of one cell, of its own shape, as a view of the rows."""
        return self.of_all(rows)[cell][tuple(slice(size) for size in shape)]


class Stack:
    """The trained parameters of several models, one row for each.

    The models' own parameters become views of their rows: what is written to either is in both,
    until ``release``.

    Args:
        models: of one architecture and one method, on one device.

    Raises:
        UnsupportedError: they do not train the same parameters.

    Attributes:
        slots: by the name of the parameter.
        weights: shape (models, numbers).
        first, second: the moments of AdamW, of the same shape.
        steps: that each model was trained for, shape (models,).
        rates: for each number the learning rate at its highest, of the same shape as the weights.
        decays: weight decay, the same.
        limits: of the norm of a gradient, shape (models,).
        betas, epsilon: of AdamW.
    """

    def __init__(self, models: Sequence[Any]) -> None:
        self.trained = [
            {name: p for name, p in model.named_parameters() if p.requires_grad} for model in models
        ]
        if any(each.keys() != self.trained[0].keys() for each in self.trained):
            raise UnsupportedError("the cells train different layers")
        self.slots, start = {}, 0
        for name in self.trained[0]:
            shapes = [each[name].shape for each in self.trained]
            if len({len(shape) for shape in shapes}) > 1:
                raise UnsupportedError("the cells train layers of different kinds")
            self.slots[name] = Slot(start, tuple(map(max, zip(*shapes, strict=True))))
            start += int(np.prod(self.slots[name].shape))
        example = next(iter(self.trained[0].values()))
        self.weights = torch.zeros(len(models), start, dtype=example.dtype, device=example.device)
        self.first, self.second = (torch.zeros_like(self.weights) for _ in range(2))
        self.rates, self.decays = (torch.zeros_like(self.weights) for _ in range(2))
        self.steps, self.limits = (self.weights.new_zeros(len(models)) for _ in range(2))
        self.betas, self.epsilon = (0.9, 0.999), 1e-8
        for number, parameters in enumerate(self.trained):
            for name, parameter in parameters.items():
                place = self.place(self.weights, number, name)
                parameter.data = place.copy_(parameter.data)

    def place(self, rows: torch.Tensor, number: int, name: str) -> torch.Tensor:
        """Return a parameter of one model, in the weights or in a tensor like them, as a view."""
        return self.slots[name].of_one(rows, number, self.trained[number][name].shape)

    def adopt(self, number: int, optimizer: Any, limit: float) -> None:
        """Take over the optimizer of a model.

        Its moments become views; where it has none yet, they begin with zeros.

        Args:
            number: of the model.
            optimizer: AdamW, as the Trainer made it and a checkpoint may have filled it.
            limit: of the norm of the gradient; 0: none.

        Raises:
            UnsupportedError: the optimizers of the models differ in more than learning rate and
                weight decay.
        """
        names = {id(parameter): name for name, parameter in self.trained[number].items()}
        self.limits[number] = limit or float("inf")
        constants = {(group["betas"], group["eps"]) for group in optimizer.param_groups}
        if any(group.get("amsgrad") or group.get("maximize") for group in optimizer.param_groups):
            raise UnsupportedError("the optimizer is not plain AdamW")
        ((self.betas, self.epsilon),) = constants
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                name = names[id(parameter)]
                self.place(self.rates, number, name).fill_(group["initial_lr"])
                self.place(self.decays, number, name).fill_(group["weight_decay"])
                self.adopt_moments(number, name, optimizer.state[parameter])

    def adopt_moments(self, number: int, name: str, state: dict[str, Any]) -> None:
        """Take over the moments of one parameter, in place."""
        state.setdefault("step", torch.tensor(0.0))
        self.steps[number] = state["step"]
        for key, rows in (("exp_avg", self.first), ("exp_avg_sq", self.second)):
            place = self.place(rows, number, name)
            state[key] = place.copy_(state[key]) if key in state else place

    def release(self, number: int) -> None:
        """Give a model parameters of its own again."""
        for parameter in self.trained[number].values():
            parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)

    def parameters(self) -> dict[str, torch.Tensor]:
        """Return leaves that hold the weights of all cells, shape (models, ...), by name."""
        return {
            name: slot.of_all(self.weights).detach().requires_grad_()
            for name, slot in self.slots.items()
        }

    def gradients(self, total: torch.Tensor, parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the gradient of a number as a tensor like the weights."""
        wanted = list(parameters.values())
        found = torch.autograd.grad(total, wanted, allow_unused=True)
        return torch.cat(
            [
                (torch.zeros_like(leaf) if grad is None else grad).flatten(1)
                for leaf, grad in zip(wanted, found, strict=True)
            ],
            dim=1,
        )

    @torch.no_grad()
    def update(
        self, gradients: torch.Tensor, factors: torch.Tensor, active: torch.Tensor
    ) -> torch.Tensor:
        """Take a step of AdamW (Loshchilov and Hutter 2019), each model with its own clipping.

        Args:
            gradients: shape (models, numbers).
            factors: of the learning rate in this step, shape (models,).
            active: which models take the step, booleans of shape (models,); the others stay as
                they are.

        Returns:
            the norms of the gradients before clipping, shape (models,).
        """
        norms = torch.linalg.vector_norm(gradients, dim=1)
        clipped = gradients * (self.limits / (norms + 1e-6)).clamp(max=1)[:, None]
        on, (beta, beta_of_square) = active[:, None], self.betas
        self.steps.add_(active)
        taken = self.steps.clamp(min=1)[:, None]
        first = self.first.lerp(clipped, 1 - beta)
        second = self.second.lerp(clipped.square(), 1 - beta_of_square)
        rates = self.rates * factors[:, None]
        spread = second.sqrt() / (1 - beta_of_square**taken).sqrt() + self.epsilon
        moved = self.weights * (1 - rates * self.decays)
        moved -= rates / (1 - beta**taken) * first / spread
        for kept, new in ((self.first, first), (self.second, second), (self.weights, moved)):
            kept.copy_(torch.where(on, new, kept))
        return norms


# --- Batches -------------------------------------------------------------------------------------


class Texts:
    """The tokens of a split, one text behind the other.

    Args:
        split: tokenised rows.
        padding: fills up the shorter rows of a batch.
    """

    COLUMNS = ("input_ids", TYPES)

    def __init__(self, split: Any, padding: Padding) -> None:
        names = [name for name in self.COLUMNS if name in split.column_names]
        table = split.select_columns([*names, "label"]).with_format("arrow")[:]
        columns = {name: table[name].combine_chunks() for name in names}
        self.tokens = {name: each.flatten().to_numpy() for name, each in columns.items()}
        self.lengths = columns["input_ids"].value_lengths().to_numpy().astype(np.int64)
        self.starts = self.lengths.cumsum() - self.lengths
        self.labels = table["label"].to_numpy().astype(np.int64)
        self.padding = padding

    def padded(self, rows: np.ndarray, longest: int) -> dict[str, np.ndarray]:
        """Return rows as one padded batch: tensors of shape (rows, longest), and the mask.

        Args:
            rows: numbers of texts; -1 for none.
            longest: to pad to.
        """
        lengths = np.where(rows < 0, 0, self.lengths[rows])[:, None]
        places = np.arange(longest)[None]
        if self.padding.side == "left":
            places = places - longest + lengths
        mask = (places >= 0) & (places < lengths)
        where = np.where(mask, self.starts[rows][:, None] + places, 0)
        fill = {"input_ids": self.padding.token_id, TYPES: 0}
        found = {n: np.where(mask, each[where], fill[n]) for n, each in self.tokens.items()}
        return {**found, "attention_mask": mask.astype(np.int64)}


Rows = list[list[int]]  # numbers of texts, for each cell


@dataclass
class Batch:
    """Rows of several cells, one cell behind the other, and where they stand.

    Attributes:
        inputs: of the classifier, tensors of shape (rows, longest).
        labels: class numbers, NO_LABEL for a row that is none, shape (rows,).
        counts: how many rows each cell has, shape (cells,).
        shares: which rows and tokens are of which cell.
        static: what a ``StaticLayout`` is made of; {}: the layout is read off the mask.
        bits: of the dropouts of the head, each of shape (rows, columns).
        tokens: real ones of each cell.
    """

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    counts: torch.Tensor
    shares: Shares
    static: dict[str, torch.Tensor]
    tokens: list[int]
    bits: list[torch.Tensor] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, ...]:
        """Return what the shapes of all tensors follow from."""
        return (*self.inputs["input_ids"].shape, *self.shares.tokens[:1])

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return all tensors by name."""
        bits = {f"bits{number}": each for number, each in enumerate(self.bits)}
        own = {"labels": self.labels, "counts": self.counts}
        return {**self.inputs, **own, **self.static, **bits}

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        if device.type == "cpu":
            return self

        def moved(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.pin_memory().to(device, non_blocking=True)

        return Batch(
            {name: moved(each) for name, each in self.inputs.items()},
            moved(self.labels),
            moved(self.counts),
            self.shares,
            {name: moved(each) for name, each in self.static.items()},
            self.tokens,
            [moved(each) for each in self.bits],
        )

    def layout(self) -> Layout | None:
        """Return where the tokens stand, for ``Packing.given``."""
        if not self.static:
            return None
        rows, longest = self.inputs["input_ids"].shape
        return StaticLayout(
            shape=(rows, longest), lengths=[], runs=[], places=self.static["places"],
            targets=self.static["targets"], segments=self.static["segments"],
            visible=self.inputs["attention_mask"].bool(),
        )  # fmt: skip


def collate(texts: Sequence[Texts], rows: Rows, least: int | None = None) -> Batch:
    """Return a batch.

    Args:
        texts: of each cell.
        rows: of each cell.
        least: rows that each cell has at least, in shapes that depend on few sizes (``static``);
            None: just the rows that there are.
    """
    static = least is not None
    most = max(least or 0, *map(len, rows))
    numbers = [np.array(each + [-1] * (most - len(each) if static else 0), int) for each in rows]
    own = list(zip(texts, numbers, strict=True))
    lengths = [np.where(n < 0, 0, t.lengths[n]) for t, n in own]
    longest = max([int(each.max()) for each in lengths if len(each)], default=1)
    longest = rounded(longest, LENGTH) if static else longest
    padded = [t.padded(n, longest) for t, n in own]
    inputs = {name: np.concatenate([each[name] for each in padded]) for name in padded[0]}
    labels = np.concatenate([np.where(n < 0, NO_LABEL, t.labels[n]) for t, n in own])
    tokens = [int(each.sum()) for each in lengths]
    size = rounded_tokens(max(tokens)) if static else 0
    return Batch(
        {name: torch.from_numpy(each) for name, each in inputs.items()},
        torch.from_numpy(labels),
        torch.tensor([float(len(each)) for each in rows]),
        Shares([size] * len(rows) if static else tokens, [len(n) for n in numbers], static),
        places_of(np.stack(lengths), inputs["attention_mask"], size) if static else {},
        tokens,
    )


def rounded(number: int, step: int) -> int:
    """Return a number rounded up to a multiple of a step."""
    return -(-number // step) * step


def rounded_tokens(count: int) -> int:
    """Return the bucket of a number of tokens of one cell."""
    return rounded(count, TOKENS if count < LONG else LONG_TOKENS)


def places_of(lengths: np.ndarray, mask: np.ndarray, size: int) -> dict[str, torch.Tensor]:
    """Return the tensors of a ``StaticLayout``.

    Filler is split into runs that are no longer than the longest text: the kernel of variable
    lengths is told a longest one, and gives no numbers beyond it.

    Args:
        lengths: of the texts of each cell, shape (cells, rows).
        mask: 1 for tokens, shape (cells x rows, longest).
        size: tokens of each cell, filler included.
    """
    count, longest = len(lengths), mask.shape[1]
    places = np.arange(count)[:, None].repeat(size, axis=1) * (mask.size // count)
    targets = np.full((count, size), mask.size)
    for cell, own in enumerate(mask.reshape(count, -1)):
        found = own.nonzero()[0] + cell * own.size
        places[cell, : len(found)] = targets[cell, : len(found)] = found
    filler = size - lengths.sum(1, keepdims=True)
    runs = (filler - longest * np.arange(-(-size // longest))).clip(0, longest)
    segments = np.concatenate([lengths, runs], axis=1).cumsum()
    return {
        "places": torch.from_numpy(places.ravel()),
        "targets": torch.from_numpy(targets.ravel()),
        "segments": torch.from_numpy(np.concatenate([[0], segments]).astype(np.int32)),
    }


# --- The computation -----------------------------------------------------------------------------


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
            elif is_frozen_linear(module):
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


def is_frozen_linear(module: Any) -> bool:
    """Return whether a module is a linear layer, or GPT-2's, of which nothing is trained."""
    kinds = (torch.nn.Linear, transformers.pytorch_utils.Conv1D)
    return type(module) in kinds and not any(p.requires_grad for p in module.parameters())


# --- Cells and their trainings -------------------------------------------------------------------


@dataclass(frozen=True)
class Join:
    """Asked by a cell before its training: whether it is computed in the pack.

    The answer is why it is not; "" where it is.
    """

    joined: Joined


@dataclass(frozen=True)
class Steps:
    """Asked by a training: at least one of these steps. The answer is a ``Report``."""

    rows: Rows  # of each step
    factors: list[float]  # of the learning rate
    optimizer: Any
    limit: float  # of the norm of a gradient; 0: none


@dataclass(frozen=True)
class Report:
    """Steps that were taken.

    Attributes:
        losses: of each step.
        norm: of the gradient of the last step, before clipping.
        tokens: real ones.
        positions: tokens, and filler that was computed with them.
    """

    losses: list[float]
    norm: float
    tokens: int
    positions: int


@dataclass(frozen=True)
class Validation:
    """Asked by a training: the mean loss of some validation rows. The answer is that number."""

    rows: list[int]


class Cell:
    """A cell of a pack: a training in a thread of its own, which runs while all others wait.

    Args:
        number: of the cell, from 0.
        name: for the records of its companions.
        train: its training; it is called with the cell, and asks it.

    Attributes:
        request: what the training waits for; None: it can go on.
        has_ended: whether the training is over, for good or ill.
        seconds: its share of the time that the pack computed, by real tokens.
        generator: the state of torch's random numbers in its thread.
        asked: the signals that this process has received.
        pack: what it was trained with; None: nothing yet.
    """

    def __init__(self, number: int, name: str, train: Callable[["Cell"], None]) -> None:
        self.number, self.name, self.train = number, name, train
        self.request: Join | Steps | Validation | None = None
        self.has_ended, self.seconds = False, 0.0
        self.generator = torch.Generator()
        self.asked: list[int] = []
        self.pack: Pack | None = None
        self._answer: Any = None
        self._error: BaseException | None = None
        self._turn, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._turn.acquire()
        try:
            if not self._is_closing:
                self.train(self)
        except BaseException as error:  # raised again by ``go_on``, in the thread of the pack
            self._error = error
        finally:
            self.has_ended = True
            self._back.release()

    def go_on(self) -> None:
        """Let the training run until it asks for something or ends; raise what it raises."""
        torch.random.set_rng_state(self.generator.get_state())
        self._turn.release()
        self._back.acquire()
        self.generator.set_state(torch.random.get_rng_state())
        if self._error is not None and not self._is_closing:
            raise self._error

    def ask(self, request: Join | Steps | Validation) -> Any:
        """Return the answer to what the training asks; called in its thread."""
        self.request = request
        self._back.release()
        self._turn.acquire()
        if self._is_closing:
            raise GeneratorExit
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer

    def answer(self, answer: Any) -> None:
        """Note an answer, or an exception for the training to raise, for when it goes on."""
        self.request, self._answer = None, answer

    def leave(self) -> dict[str, Any]:
        """Give the model parameters of its own again; return the record of the pack."""
        assert self.pack is not None
        engine, number = self.pack.places[self]
        engine.stack.release(number)
        return self.pack.record(self)

    def close(self) -> None:
        """End the thread of a training that nobody lets go on any more."""
        if not self.has_ended:
            self._is_closing = True
            self.go_on()


def train_together(
    trainings: Sequence[tuple[str, Callable[[Cell], None]]],
    within: Callable[[int], AbstractContextManager[Any]],
    static: bool | None = None,
) -> None:
    """Train cells together.

    Args:
        trainings: of each cell its name, and what trains it; see ``Cell``.
        within: each cell runs, and raises, within ``within(number)``. What does not stay there ends
            all trainings.
        static: whether shapes are static; None: on a GPU.
    """
    static = torch.cuda.is_available() if static is None else static
    members = [Cell(number, *each) for number, each in enumerate(trainings)]
    pack = Pack(static)
    with asked_to_stop() as asked:
        try:
            while live := [each for each in members if not each.has_ended]:
                for cell in live:
                    cell.asked = asked
                    if cell.request is None:
                        with within(cell.number):
                            cell.go_on()
                pack.answer([each for each in live if not each.has_ended])
        finally:
            for cell in members:
                cell.close()


class Pack:
    """Answers cells that wait, of which there is no other when it does.

    Attributes:
        static: whether shapes are static.
        places: of each cell its engine, and its number there.
        cells: the names of all that are packed.
        seconds: that were computed, of the group.
    """

    def __init__(self, static: bool) -> None:
        self.static = static
        self.places: dict[Cell, tuple[Engine, int]] = {}
        self.cells: list[str] = []
        self.seconds = 0.0
        self.has_graphs = False

    def record(self, cell: Cell) -> dict[str, Any]:
        """Return what is kept of the pack with a cell."""
        return {
            "cells": len(self.cells),
            "companions": [name for name in self.cells if name != cell.name],
            "seconds": round(self.seconds, 3),
            "peak_memory_bytes": cells.peak_memory_bytes(),
            "graphs": self.has_graphs,
        }

    def answer(self, waiting: Sequence[Cell]) -> None:
        """Answer some of the cells: those that join, else that validate, else that take steps."""
        for kind, answer in ((Join, self.join), (Validation, self.validate), (Steps, self.steps)):
            if some := [cell for cell in waiting if isinstance(cell.request, kind)]:
                answer(some)
                return

    def join(self, waiting: list[Cell]) -> None:
        """Say of cells whether they are packed: all of them, or none."""
        joined = [cell.request.joined for cell in waiting]  # type: ignore[union-attr]
        try:
            share_frozen([each.model for each in joined])
            engine = Engine(joined, self.static)
            engine.prove()
        except (UnsupportedError, *acceleration.FAILURES) as error:
            why = cli.one_line(error)
            log.info("without packing of cells: %s", why)
            for cell in waiting:
                cell.answer(why)
            return
        self.cells = [cell.name for cell in waiting]
        for number, cell in enumerate(waiting):
            self.places[cell], cell.pack = (engine, number), self
            cell.answer("")
        self.bound(engine)

    def bound(self, engine: Engine) -> None:
        """Split an engine until a step of each part fits into the free memory of the GPU.

        An estimate: what proves too large all the same is split when it is (``steps``).
        """
        if engine.device.type != "cuda" or len(engine.joined) == 1:
            return
        free, _ = torch.cuda.mem_get_info()
        if len(engine.joined) * step_bytes(engine) > free:
            self.split(engine)

    def split(self, engine: Engine) -> None:
        """Put two engines of half the cells in the place of one."""
        halves = engine.halves()
        log.info("a pack of %d cells is split for memory", len(engine.joined))
        middle = len(halves[0].joined)
        for cell, (other, number) in self.places.items():
            if other is engine:
                place = (halves[0], number) if number < middle else (halves[1], number - middle)
                self.places[cell] = place
        for half in halves:
            self.bound(half)

    def engines(self, waiting: Sequence[Cell]) -> Iterator[tuple[Engine, dict[int, Cell]]]:
        """Yield the engines of cells, each with its cells that wait, by number."""
        found: dict[Engine, dict[int, Cell]] = {}
        for cell in waiting:
            engine, number = self.places[cell]
            found.setdefault(engine, {})[number] = cell
        yield from found.items()

    def validate(self, waiting: list[Cell]) -> None:
        """Answer cells that validate."""
        for engine, asking in self.engines(waiting):
            rows: Rows = [[] for _ in engine.joined]
            for number, cell in asking.items():
                rows[number] = cell.request.rows  # type: ignore[union-attr, assignment]
            started = time.perf_counter()
            found = self.guarded(engine, partial(engine.validate, rows))
            if found is None:
                self.validate(list(asking.values()))
                continue
            weights = {n: max(1, len(rows[n])) for n in asking}
            self.share_out(time.perf_counter() - started, asking, weights)
            for number, cell in asking.items():
                cell.answer(found[number] if isinstance(found, list) else found)

    def guarded(self, engine: Engine, compute: Callable[[], Any]) -> Any:
        """Return what an engine computes.

        Returns:
            the exception where it fails; None where the memory did not suffice for so many cells:
            the engine is split, and the cells are to ask its parts.
        """
        states = [each.generator.get_state() for each in engine.joined]
        try:
            with engine.installed():
                return compute()
        except torch.OutOfMemoryError as error:
            if len(engine.joined) == 1:
                return InputError(
                    f"the memory of the GPU does not suffice for a step of one cell "
                    f"({cli.one_line(error)}): lower `batch_size` or `max_length`"
                )
        except Exception as error:
            return error
        for each, state in zip(engine.joined, states, strict=True):
            each.generator.set_state(state)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.split(engine)
        return None

    def steps(self, waiting: list[Cell]) -> None:
        """Answer cells that take steps: as many as all have asked for, fewer after a signal."""
        count = min(len(cell.request.rows) for cell in waiting)  # type: ignore[union-attr]
        for engine, asking in self.engines(waiting):
            for number, cell in asking.items():
                if number not in engine.optimizers:
                    request: Any = cell.request
                    engine.adopt(number, request.optimizer, request.limit)
            self.steps_of(engine, asking, count)

    def steps_of(self, engine: Engine, asking: dict[int, Cell], count: int) -> None:
        """Let the cells of an engine take steps.

        Where memory does not suffice, those before stay taken: they are answered on their own.
        """
        requests: dict[int, Any] = {number: cell.request for number, cell in asking.items()}
        found: list[tuple[Any, Any, list[int]]] = []
        started = time.perf_counter()
        for step in range(count):
            rows: Rows = [[] for _ in engine.joined]
            factors = [0.0] * len(engine.joined)
            for number, request in requests.items():
                rows[number], factors[number] = request.rows[step], request.factors[step]
            taken = self.guarded(engine, partial(engine.train, rows, factors))
            if isinstance(taken, Exception):
                for cell in asking.values():
                    cell.answer(taken)
                return
            if taken is None and not found:
                self.steps(list(asking.values()))
                return
            if taken is None:
                break
            found.append(taken)
            if next(iter(asking.values())).asked:
                break
        self.has_graphs = self.has_graphs or bool(engine.graphs)
        self.report(engine, asking, found, started)

    def report(
        self, engine: Engine, asking: dict[int, Cell], found: list[Any], started: float
    ) -> None:
        """Answer cells with the steps that were taken since a time."""
        losses = torch.stack([each[0] for each in found]).double().cpu().T.tolist()
        norms = found[-1][1].double().cpu().tolist()
        tokens = np.array([each[2] for each in found]).sum(0)
        filled = sum(rounded_tokens(max(each[2])) for each in found) if engine.static else 0
        self.share_out(
            time.perf_counter() - started, asking, {n: max(1, int(tokens[n])) for n in asking}
        )
        for number, cell in asking.items():
            own = int(tokens[number])
            cell.answer(Report(losses[number], norms[number], own, filled or own))

    def share_out(self, seconds: float, asking: dict[int, Cell], weights: dict[int, int]) -> None:
        """Give each cell its share of the time."""
        self.seconds += seconds
        for number, cell in asking.items():
            cell.seconds += seconds * weights[number] / sum(weights.values())


def step_bytes(engine: Engine) -> int:
    """Return about how many bytes of a GPU a step takes for each cell."""
    config = engine.classifier.config
    own = engine.joined[0]
    lengths = np.sort(own.texts["train"].lengths)[-own.batch_size :]
    values = rounded_tokens(int(lengths.sum())) * config.hidden_size * config.num_hidden_layers
    state = engine.stack.weights[0].numel() * engine.stack.weights.element_size()
    return int(values * STEP_BYTES_PER_VALUE + state * STATE_TENSORS)


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


# Of the Trainer, and private: what runs an epoch and is overridden here, and what it ends with.
EPOCH = {
    "_run_epoch": (
        "model", "epoch", "train_dataloader", "steps_in_epoch", "num_update_steps_per_epoch",
        "trial", "ignore_keys_for_eval", "start_time", "resume_from_checkpoint", "epochs_trained",
        "steps_trained_in_current_epoch",
    ),
    "_maybe_log_save_evaluate": (
        "tr_loss", "grad_norm", "model", "trial", "epoch", "ignore_keys_for_eval", "start_time",
        "learning_rate",
    ),
}  # fmt: skip
require_hooks(transformers.Trainer, EPOCH)


class PackedTrainer(ResumableTrainer):
    """The Trainer of a cell whose steps and validations the pack computes.

    Its datasets are the numbers of the rows, and its batches lists of them.

    Attributes:
        cell: that it asks.
        work: counts what was computed in training (``training.ThroughputCounter``).
    """

    cell: Cell
    work: Any
    control: transformers.TrainerControl

    def stops(self) -> AbstractContextManager[list[int]]:
        """Return the signals that the process has received: a thread receives none."""
        return nullcontext(self.cell.asked)

    def spent(self) -> float:
        """Return the cell's share of the seconds that the pack has computed."""
        return self.cell.seconds

    def _run_epoch(
        self, model, epoch, train_dataloader, steps_in_epoch, num_update_steps_per_epoch,  # noqa: ARG002
        trial, ignore_keys_for_eval, start_time, resume_from_checkpoint, epochs_trained,
        steps_trained_in_current_epoch,
    ) -> None:  # fmt: skip
        """Called by the Trainer: ask for the steps of an epoch, and do all that is due between."""
        self.called.add("_run_epoch")
        goes_on = epoch == epochs_trained and resume_from_checkpoint is not None
        step = steps_trained_in_current_epoch if goes_on else 0
        if goes_on and not step:
            self._load_rng_state(resume_from_checkpoint)
        train_dataloader.set_epoch(epoch)
        batches = list(train_dataloader)[step:]
        if goes_on and step:
            self._load_rng_state(resume_from_checkpoint)
        norm = rate = None
        while batches and not self.control.should_training_stop:
            self.control = self.callback_handler.on_step_begin(self.args, self.state, self.control)
            report = self.cell.ask(self.steps(batches))
            taken = len(report.losses)
            norm, rate = report.norm, self.move_schedule(taken)
            self.count(report, batches[:taken])
            for loss in report.losses:
                self._tr_loss += loss
            del batches[:taken]
            step += taken
            self.state.global_step += taken
            self.state.epoch = epoch + step / steps_in_epoch
            self.control = self.callback_handler.on_step_end(self.args, self.state, self.control)
            self._maybe_log_save_evaluate(
                self._tr_loss, norm, model, trial, epoch, ignore_keys_for_eval, start_time, rate
            )
        self.control = self.callback_handler.on_epoch_end(self.args, self.state, self.control)
        self._maybe_log_save_evaluate(
            self._tr_loss, norm, model, trial, epoch, ignore_keys_for_eval, start_time, rate
        )

    def steps(self, batches: Rows) -> Steps:
        """Return the steps until something is due: a line of the log, a checkpoint, the end."""
        every = int(self.state.logging_steps)
        count = min(
            every - self.state.global_step % every,
            self.state.max_steps - self.state.global_step,
            1 if self.checkpoints and self.checkpoints.due() else every,
        )
        (factor,) = set(self.lr_scheduler.lr_lambdas[:1])
        first = self.state.global_step
        factors = [factor(first + number) for number in range(len(batches[:count]))]
        return Steps(batches[:count], factors, self.optimizer, self.args.max_grad_norm)

    def move_schedule(self, count: int) -> float:
        """Move the learning rate on by so many steps; return that of the last one."""
        schedule, step = self.lr_scheduler, self.state.global_step + count
        pairs = list(zip(schedule.base_lrs, schedule.lr_lambdas, strict=True))
        rates = [base * factor(step) for base, factor in pairs]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        moved = {"last_epoch": step, "_step_count": step + 1, "_last_lr": rates}
        schedule.load_state_dict(schedule.state_dict() | moved)
        base, factor = pairs[0]
        return base * factor(step - 1)

    def count(self, report: Report, batches: Rows) -> None:
        """Count what was computed, as a pass of the model would."""
        lengths = self.lengths
        padded = sum(len(rows) * int(lengths[rows].max()) for rows in batches)
        self.current_flos += self.floating_point_ops(
            {self.model.main_input_name: torch.empty(padded, device="meta")}
        )
        work = self.work
        work.passes, work.rows = work.passes + len(batches), work.rows + sum(map(len, batches))
        work.tokens += report.tokens
        work.positions += report.positions

    @property
    def lengths(self) -> np.ndarray:
        """Return the lengths of the training rows."""
        assert self.cell.pack is not None
        engine, number = self.cell.pack.places[self.cell]
        return engine.joined[number].texts["train"].lengths

    def evaluation_loop(self, dataloader, *_: Any, metric_key_prefix="eval", **__: Any) -> Any:
        """Return the validation loss, the mean over rows, as the Trainer has it."""
        rows = [row for batch in dataloader for row in batch]
        loss = self.cell.ask(Validation(rows))
        return EvalLoopOutput(None, None, {f"{metric_key_prefix}_loss": loss}, len(rows))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Called by the Trainer: its optimizer has the moments, and is told the step."""
        for state in self.optimizer.state.values():
            state["step"].fill_(self.state.global_step)
        super()._save_checkpoint(model, trial)

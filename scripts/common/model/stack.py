"""The trained parameters of several cells, side by side, and AdamW for all of them.

Imports torch, so import it late.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from common.model.packing import UnsupportedError


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

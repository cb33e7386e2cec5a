"""The layers of a model done faster, one by one: same numbers, up to rounding.

What a layer is trained for and what it is called stays as it is; its ``forward`` is another one for
a while. Imports torch and transformers, so import it late.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import transformers

from common.fast import masks
from common.fast.products import Linear, Lora

Forward = Callable[..., torch.Tensor]


def replacements(model: Any) -> Iterator[tuple[Any, Forward]]:
    """The modules of a model that can be done faster, each with its other ``forward``.

    Outer modules come before those inside them, which they no longer call.
    """
    from peft.tuners.lora.layer import Linear as LoraLayer

    for module in model.modules():
        if type(module) is LoraLayer and is_plain(module):
            yield module, lora(module)
        elif type(module) in (torch.nn.Linear, transformers.pytorch_utils.Conv1D):
            yield module, linear(module)
        elif type(module) is torch.nn.Dropout and 0 < module.p < 1:
            yield module, dropout(module)


def linear(module: Any) -> Forward:
    """A linear layer, or GPT-2's Conv1D, which holds its weight transposed."""
    transposed = not isinstance(module, torch.nn.Linear)

    def forward(rows: torch.Tensor) -> torch.Tensor:
        weight = module.weight.t() if transposed else module.weight
        return Linear.apply(*cast(rows, weight, module.bias))

    return forward


def is_plain(layer: Any) -> bool:
    """Whether a LoRA layer is what the paper says, around a linear layer whose weights are frozen.

    DoRA and others compute more, quantised layers hold other weights, biases may be trained.
    """
    base = layer.get_base_layer()
    names = layer.active_adapters
    return (
        type(base) in (torch.nn.Linear, transformers.pytorch_utils.Conv1D)
        and not any(parameter.requires_grad for parameter in base.parameters())
        and len(names) == 1
        and names[0] in layer.lora_A
        and not layer.lora_variant
        and not layer.lora_bias[names[0]]
        and not layer.merged
        and not layer.disable_adapters
        and type(layer.lora_dropout[names[0]]) in (torch.nn.Identity, torch.nn.Dropout)
    )


def lora(layer: Any) -> Forward:
    """A plain LoRA layer (see ``is_plain``)."""
    base, (name,) = layer.get_base_layer(), layer.active_adapters
    drop = layer.lora_dropout[name]
    transposed = not isinstance(base, torch.nn.Linear)

    def forward(rows: torch.Tensor) -> torch.Tensor:
        weight = base.weight.t() if transposed else base.weight
        dropped = drop(rows) if drop.training and not isinstance(drop, torch.nn.Identity) else None
        matrices = layer.lora_A[name].weight, layer.lora_B[name].weight
        return Lora.apply(*cast(rows, dropped, weight, base.bias, *matrices), layer.scaling[name])

    return forward


def dropout(module: Any) -> Forward:
    """A dropout."""

    def forward(rows: torch.Tensor) -> torch.Tensor:
        return masks.dropout(rows, module.p) if module.training else rows

    return forward


def cast(*tensors: torch.Tensor | None) -> Iterator[torch.Tensor | None]:
    """The tensors in the precision that autocast asks for, as torch's own linear layers do it."""
    for tensor in tensors:
        if tensor is None or not torch.is_autocast_enabled(tensor.device.type):
            yield tensor
        else:
            yield tensor.to(torch.get_autocast_dtype(tensor.device.type))

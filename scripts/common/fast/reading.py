"""Rows that nobody reads: behind the last layer, one token of each text is all that is looked at.

Which one it is, and which layers compute for it alone, is not known by the names of models but
seen: where the gradient of the logits does not reach the output of a layer, nobody reads it.
Imports torch, so import it late.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import transformers

from common.fast.packing import READ_FIRST, READ_LAST, Packing


class Reads:
    """Records which tokens of each linear layer are read, in a pass with a gradient.

    Args:
        modules: linear layers, or adapters around them.
        mask: of the batch, shape (rows, longest).
    """

    def __init__(self, modules: Sequence[Any], mask: torch.Tensor) -> None:
        self.mask = mask.bool()
        self.grads: dict[Any, torch.Tensor] = {}
        self.hooks = [module.register_forward_hook(self.watch) for module in modules]

    def watch(self, module: Any, _: Any, output: Any) -> None:
        """After a layer: ask for the gradient of its output."""
        if output.requires_grad and output.shape[:2] == self.mask.shape:
            output.register_hook(lambda grad: self.grads.__setitem__(module, grad))

    def found(self) -> tuple[str | None, list[Any]]:
        """Which token is read, and the modules of whose output no other one is.

        The token is READ_FIRST or READ_LAST; None where no module is read at it alone.
        """
        for hook in self.hooks:
            hook.remove()
        alone = {READ_FIRST: edge(self.mask), READ_LAST: edge(self.mask.flip(1)).flip(1)}
        for which, places in alone.items():
            modules = [
                module
                for module, grad in self.grads.items()
                if torch.equal((grad != 0).any(-1), places)
            ]
            if modules:
                return which, modules
        return None, []


def edge(mask: torch.Tensor) -> torch.Tensor:
    """A mask of the first real token of each row."""
    return mask & (mask.cumsum(1) == 1)


def linear_modules(layers: Any) -> Iterator[Any]:
    """The linear layers within layers; of an adapter that wraps one, the adapter as a whole."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    kinds = (torch.nn.Linear, transformers.pytorch_utils.Conv1D)
    for child in layers.children():
        if isinstance(child, (BaseTunerLayer, *kinds)):
            yield child
        else:
            yield from linear_modules(child)


def of_read_rows(module: Any, packing: Packing) -> Callable[..., torch.Tensor]:
    """The ``forward`` of a module for the rows that are read; the others are 0.

    Args:
        module: it works row by row, on packed rows of shape (1, tokens, inputs).
        packing: it knows the rows. Its ``read`` is set.
    """
    whole = module.forward

    def forward(rows: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        assert packing.read is not None
        read = packing.current().read(packing.read)
        found = whole(rows.index_select(1, read), *args, **kwargs)
        outputs = found.new_zeros(1, rows.shape[1], found.shape[-1])
        return outputs.index_copy(1, read, found)

    return forward

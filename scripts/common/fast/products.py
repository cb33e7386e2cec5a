"""Linear layers by the fastest matrix product that torch has on this processor.

torch's own ``linear`` goes to MKL, which leaves a fifth of an AMD processor's speed unused; oneDNN,
which comes with torch too, does not. torch lends its product to compiled models, as
``torch.ops.mkldnn._linear_pointwise``; it has no gradient of its own, so here is one. Where torch
comes without it (macOS), and on a GPU, the product is torch's own.

Imports torch, so import it late.
"""

from typing import Any

import torch

ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
TYPES = (torch.float32, torch.bfloat16)  # fp16 is for GPUs


def product(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Any:
    """``rows @ weight.T + bias``, without a gradient.

    Args:
        rows: shape (..., inputs).
        weight: shape (outputs, inputs); any strides, so that a transposed one costs no copy.
        bias: shape (outputs,).

    Returns:
        A tensor of shape (..., outputs).
    """
    if ONEDNN is None or not rows.is_cpu or rows.dtype not in TYPES or not rows.numel():
        return torch.nn.functional.linear(rows, weight, bias)
    return ONEDNN(rows, weight, bias, "none", [], "")


def flat(rows: torch.Tensor) -> torch.Tensor:
    """Rows of shape (..., columns) as (rows, columns)."""
    return rows.reshape(-1, rows.shape[-1])


class Linear(torch.autograd.Function):
    """``product`` with its gradients, of which none is computed that nobody asks for."""

    @staticmethod
    def forward(ctx, rows, weight, bias):
        """The outputs; the rows are kept only where the weight is trained."""
        ctx.save_for_backward(rows if ctx.needs_input_grad[1] else None, weight)
        return product(rows, weight, bias)

    @staticmethod
    def backward(ctx, grad):
        """The gradients of rows, weight and bias."""
        rows, weight = ctx.saved_tensors
        of_rows, of_weight, of_bias = ctx.needs_input_grad
        return (
            product(grad, weight.t()) if of_rows else None,
            product(flat(grad).t(), flat(rows).t()) if of_weight else None,
            flat(grad).sum(0) if of_bias else None,
        )


class Lora(torch.autograd.Function):
    """A linear layer with its LoRA matrices, the sums made in place.

    Done in parts, as PEFT does, a layer reads and writes its outputs three times more, and the
    gradient of B is a product of the slow kind: long, and thin in its result.
    """

    @staticmethod
    def forward(ctx, rows, dropped, weight, bias, a, b, scale):
        """``rows @ weight.T + bias + scale * dropped @ a.T @ b.T``.

        Args:
            ctx: of autograd.
            rows: shape (..., inputs).
            dropped: rows after the dropout of the adapter; None where it has none.
            weight: frozen, shape (outputs, inputs).
            bias: frozen, shape (outputs,) or None.
            a: shape (rank, inputs).
            b: shape (outputs, rank).
            scale: a number.
        """
        adapted = rows if dropped is None else dropped
        low = product(adapted, a)
        outputs = product(rows, weight, bias)
        flat(outputs).addmm_(flat(low), b.t(), alpha=scale)
        ctx.save_for_backward(adapted, low, weight, a, b)
        ctx.scale, ctx.alone = scale, dropped is None
        return outputs

    @staticmethod
    def backward(ctx, grad):
        """The gradients of rows, of dropped rows, and of both matrices; the rest is frozen."""
        adapted, low, weight, a, b = ctx.saved_tensors
        grad = grad.contiguous()
        of_low = flat(product(grad, b.t())).mul_(ctx.scale)
        of_a = product(of_low.t(), flat(adapted).t())
        of_b = product(flat(low).t(), flat(grad).t()).t().mul(ctx.scale)
        of_rows = product(grad, weight.t()) if ctx.needs_input_grad[0] else None
        of_dropped = None
        if ctx.alone and of_rows is not None:
            flat(of_rows).addmm_(of_low, a)
        elif not ctx.alone and ctx.needs_input_grad[1]:
            of_dropped = (of_low @ a).view_as(adapted)
        return of_rows, of_dropped, None, None, of_a, of_b, None

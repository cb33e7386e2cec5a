"""Replacements for parts of a model that give the same numbers in less time, up to rounding.

- Memory that a pass frees stays with the process (``keep_freed_memory``). glibc hands large blocks
  back to the system and takes them again, emptied page by page, at every layer of every pass. Kept,
  elementwise operations take a third of the time, and products a tenth less.
- Dropout draws four elements at a time; torch draws its mask element by element, on one thread, in
  five times the time.
- Linear layers use the fastest matrix product that torch has on this processor. torch's own
  ``linear`` goes to MKL, which leaves a fifth of an AMD processor's speed unused; oneDNN, which
  comes with torch, does not. torch offers it to compiled models alone, as
  ``torch.ops.mkldnn._linear_pointwise``, without a gradient; here is one. Where torch comes without
  it (macOS), and on a GPU, the product is torch's own.
- Rows that nobody reads are not computed: behind the last layer, one token of each text is looked
  at. Which layers compute for it alone is not known by their names but measured: where the gradient
  of the logits does not reach the output of a layer, nobody reads it.

A layer keeps its parameters and its name; only its ``forward`` is another one for a while. Imports
torch and transformers, so import it late.
"""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import transformers

from common.model.packing import READ_FIRST, READ_LAST, Packing

# Of <malloc.h>.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4

NEVER, TOP_PAD_BYTES = -1, 64 << 20


def disable_malloc_trim() -> bool:
    """Let this process keep what it frees; whether it can: the C library must be glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    wanted = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: NEVER, M_TOP_PAD: TOP_PAD_BYTES}
    return all(mallopt(name, value) for name, value in wanted.items())


BITS = 16  # of randomness per element: a probability is met to 1/65,536

LEVELS = 1 << BITS


class Dropout(torch.autograd.Function):
    """Elements become 0 with a probability, and the others grow so that the mean stays."""

    @staticmethod
    def forward(ctx, rows, dropped):
        """Return the rows with ``dropped`` of LEVELS elements set to 0."""
        bits = random_bits(rows.shape)
        ctx.save_for_backward(bits)
        ctx.dropped = dropped
        return rows * mask(bits, dropped, rows.dtype)

    @staticmethod
    def backward(ctx, grad):
        """Return the gradient, 0 where the elements were."""
        (bits,) = ctx.saved_tensors
        return grad * mask(bits, ctx.dropped, grad.dtype), None


def fast_dropout(rows: torch.Tensor, probability: float) -> torch.Tensor:
    """Return inverted dropout (Srivastava et al. 2014) of rows of any shape, on the CPU."""
    return Dropout.apply(rows, round(probability * LEVELS))


def random_bits(shape: torch.Size, generator: torch.Generator | None = None) -> torch.Tensor:
    """Return an int16 of random bits for each element.

    Args:
        shape: of the elements.
        generator: draws them; None: torch's own.
    """
    count = shape.numel()
    drawn = torch.empty(-(-count // 4), dtype=torch.int64)
    drawn.random_(-(2**63), None, generator=generator)
    return drawn.view(torch.int16)[:count].view(shape)


def mask(bits: torch.Tensor, dropped: int, dtype: torch.dtype) -> torch.Tensor:
    """Return 0 for the elements to drop, and what the others are multiplied with."""
    kept = torch.ge(bits, dropped - LEVELS // 2, out=torch.empty_like(bits, dtype=dtype))
    return kept.mul_(LEVELS / (LEVELS - dropped))


ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None)

TYPES = (torch.float32, torch.bfloat16)  # fp16 is for GPUs


def onednn_linear(
    rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> Any:
    """Return ``rows @ weight.T + bias``, without a gradient.

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
    """Return rows of shape (..., columns) as (rows, columns)."""
    return rows.reshape(-1, rows.shape[-1])


class Linear(torch.autograd.Function):
    """``onednn_linear`` with its gradients, of which none is computed that nobody asks for."""

    @staticmethod
    def forward(ctx, rows, weight, bias):
        """Return the outputs; the rows are kept only where the weight is trained."""
        ctx.save_for_backward(rows if ctx.needs_input_grad[1] else None, weight)
        return onednn_linear(rows, weight, bias)

    @staticmethod
    def backward(ctx, grad):
        """Return the gradients of rows, weight and bias."""
        rows, weight = ctx.saved_tensors
        of_rows, of_weight, of_bias = ctx.needs_input_grad
        return (
            onednn_linear(grad, weight.t()) if of_rows else None,
            onednn_linear(flat(grad).t(), flat(rows).t()) if of_weight else None,
            flat(grad).sum(0) if of_bias else None,
        )


class Lora(torch.autograd.Function):
    """A linear layer with its LoRA matrices, the sums made in place.

    Done in parts, as PEFT does, a layer reads and writes its outputs three times more, and the
    gradient of B is a product of the slow kind: long, and thin in its result.
    """

    @staticmethod
    def forward(ctx, rows, dropped, weight, bias, a, b, scale):
        """Return ``rows @ weight.T + bias + scale * dropped @ a.T @ b.T``.

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
        low = onednn_linear(adapted, a)
        outputs = onednn_linear(rows, weight, bias)
        flat(outputs).addmm_(flat(low), b.t(), alpha=scale)
        ctx.save_for_backward(adapted, low, weight, a, b)
        ctx.scale, ctx.alone = scale, dropped is None
        return outputs

    @staticmethod
    def backward(ctx, grad):
        """Return the gradients of rows, of dropped rows, and of both matrices.

        The rest is frozen.
        """
        adapted, low, weight, a, b = ctx.saved_tensors
        grad = grad.contiguous()
        of_low = flat(onednn_linear(grad, b.t())).mul_(ctx.scale)
        of_a = onednn_linear(of_low.t(), flat(adapted).t())
        of_b = onednn_linear(flat(low).t(), flat(grad).t()).t().mul(ctx.scale)
        of_rows = onednn_linear(grad, weight.t()) if ctx.needs_input_grad[0] else None
        of_dropped = None
        if ctx.alone and of_rows is not None:
            flat(of_rows).addmm_(of_low, a)
        elif not ctx.alone and ctx.needs_input_grad[1]:
            of_dropped = (of_low @ a).view_as(adapted)
        return of_rows, of_dropped, None, None, of_a, of_b, None


Forward = Callable[..., torch.Tensor]


def replacements(model: Any) -> Iterator[tuple[Any, Forward]]:
    """Yield the modules of a model that can be done faster, each with its other ``forward``.

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
    """Return a linear layer, or GPT-2's Conv1D, which holds its weight transposed."""
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
    """Return a plain LoRA layer (see ``is_plain``)."""
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
    """Return a dropout."""

    def forward(rows: torch.Tensor) -> torch.Tensor:
        return fast_dropout(rows, module.p) if module.training else rows

    return forward


def cast(*tensors: torch.Tensor | None) -> Iterator[torch.Tensor | None]:
    """The tensors in the precision that autocast asks for, as torch's own linear layers do it."""
    for tensor in tensors:
        if tensor is None or not torch.is_autocast_enabled(tensor.device.type):
            yield tensor
        else:
            yield tensor.to(torch.get_autocast_dtype(tensor.device.type))


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
        """Return which token is read, and the modules of whose output no other one is.

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
    """Return a mask of the first real token of each row."""
    return mask & (mask.cumsum(1) == 1)


def linear_modules(layers: Any) -> Iterator[Any]:
    """Yield the linear layers within layers.

    Of an adapter that wraps one, the adapter as a whole.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    kinds = (torch.nn.Linear, transformers.pytorch_utils.Conv1D)
    for child in layers.children():
        if isinstance(child, (BaseTunerLayer, *kinds)):
            yield child
        else:
            yield from linear_modules(child)


def of_read_rows(module: Any, packing: Packing) -> Callable[..., torch.Tensor]:
    """Return the ``forward`` of a module for the rows that are read; the others are 0.

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

"""Replacements for parts of a model that give the same numbers in less time, up to rounding.

- Memory that a pass frees stays with the process (``keep_freed_memory``). glibc hands large blocks
  back to the system and takes them again, emptied page by page, at every layer of every pass. Kept,
  elementwise operations take a third of the time, and products a tenth less.
- Dropout draws four elements at a time; torch draws its mask element by element, on one thread, in
  five times the time.
- Matrix products take the fastest way that torch has on this processor. torch's own ``linear`` goes
  to MKL, which is as fast as oneDNN on an Intel, and leaves a fifth of an AMD's speed unused. Large
  products go to oneDNN there, which torch offers to compiled models alone, as
  ``torch.ops.mkldnn._linear_pointwise``, without a gradient; here is one. oneDNN compiles for each
  new number of tokens, a millisecond long: thin products, which take a tenth of that, are MKL's.
  Where torch comes without oneDNN (macOS), and on a GPU, the product is torch's own.
- A LoRA layer is one operation, its sums made in place; without gradients, its matrices are added
  to the weight first.
- With `precision: bf16`, frozen weights are rounded once, and products with them computed in bf16
  where that is faster (``bf16_pays``). Activations between them, adapters, head, norms, attention
  and the optimizer stay in fp32.
- Rows that nobody reads are not computed: behind the last layer, one token of each text is looked
  at. Which layers compute for it alone is not known by their names but measured: where the gradient
  of the logits does not reach the output of a layer, nobody reads it.

A layer keeps its parameters and its name; only its ``forward`` is another one for a while. Imports
torch and transformers, so import it late.
"""

import ctypes
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import transformers

from common.model.models import has_frozen_parameters
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


ONEDNN: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)

THIN = 64  # a matrix with fewer rows or columns, as those of an adapter, makes a thin product


@functools.cache
def onednn_pays() -> bool:
    """Return whether oneDNN is faster than MKL on this processor.

    The maker decides and no measurement, whose outcome would decide the bits of a result.
    """
    return ONEDNN is not None and not processor().get("cpu_name", "").startswith("Intel")


def processor() -> Mapping[str, Any]:
    """Return what torch knows of the processor: its name, and whether it has an instruction set."""
    return torch.cpu.get_capabilities()


def product(
    rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Return ``rows @ weight.T + bias``, without a gradient.

    Args:
        rows: shape (..., inputs).
        weight: shape (outputs, inputs); any strides, so that a transposed one costs no copy.
        bias: shape (outputs,).

    Returns:
        A tensor of shape (..., outputs), of the type of the rows.
    """
    if weight.dtype == torch.bfloat16 != rows.dtype:
        found = torch.nn.functional.linear(rounded(flat(rows)), weight)
        found = found[: rows.shape[:-1].numel()].to(rows.dtype).view(*rows.shape[:-1], -1)
        return found if bias is None else found.add_(bias)
    if rows.dtype == torch.float32 and min(weight.shape) >= THIN and onednn_pays():
        return ONEDNN(rows, weight, bias, "none", [], "")
    return torch.nn.functional.linear(rows, weight, bias)


ROWS = 32  # batches are of another number of tokens each, and oneDNN compiles for each number anew


def rounded(rows: torch.Tensor) -> torch.Tensor:
    """Return rows in bf16, of shape (rows, columns), and rows of 0 up to a multiple of ROWS."""
    count = len(rows)
    filled = rows.new_empty(-(-count // ROWS) * ROWS, rows.shape[1], dtype=torch.bfloat16)
    filled[:count] = rows
    filled[count:] = 0
    return filled


@functools.cache
def bf16_pays() -> bool:
    """Return whether the processor has units for products in bf16 that are faster than fp32.

    AMX has, and so has an AMD with AVX512-BF16; on an Intel that set is slower than fp32, and where
    there is none, bf16 is emulated at a hundredth of the speed.
    """
    found = processor()
    intel = found.get("cpu_name", "").startswith("Intel")
    return bool(found.get("amx_bf16") or (found.get("avx512_bf16") and not intel))


class Held:
    """The weights of linear layers as products take them.

    First, they are the layers' own, in fp32. Rounded, frozen ones are copies in bf16, made once.
    Where the processor has no units for bf16, the copies hold the same numbers in fp32, and results
    differ by the rounding of activations alone. Products with what is trained beside a frozen
    backbone, adapters and a head, stay in fp32; where all is trained, large weights are rounded for
    each product.
    """

    def __init__(self) -> None:
        self.copies: dict[Any, torch.Tensor] = {}
        self.trained = torch.float32

    def round(self, model: Any) -> None:
        """Round the weights of a model, of which adapters and a head may be trained, or all."""
        dtype = torch.bfloat16 if bf16_pays() else torch.float32
        frozen = [each for each in model.modules() if is_linear(each) and not is_trained(each)]
        self.copies = {each: own_weight(each).bfloat16().to(dtype) for each in frozen}
        self.trained = torch.float32 if has_frozen_parameters(model) else dtype

    def weight(self, layer: Any) -> torch.Tensor:
        """Return the weight of a linear layer, shape (outputs, inputs)."""
        if layer in self.copies:
            return self.copies[layer]
        weight = own_weight(layer)
        return weight if min(weight.shape) < THIN else weight.to(self.trained)


LINEAR = (torch.nn.Linear, transformers.pytorch_utils.Conv1D)


def is_linear(module: Any) -> bool:
    """Return whether a module is a linear layer and nothing more."""
    return type(module) in LINEAR


def is_trained(module: Any) -> bool:
    """Return whether a parameter of a module is trained."""
    return any(parameter.requires_grad for parameter in module.parameters())


def own_weight(layer: Any) -> torch.Tensor:
    """Return the weight of a linear layer, shape (outputs, inputs), which Conv1D transposes."""
    return layer.weight if isinstance(layer, torch.nn.Linear) else layer.weight.t()


def flat(rows: torch.Tensor) -> torch.Tensor:
    """Return rows of shape (..., columns) as (rows, columns)."""
    return rows.reshape(-1, rows.shape[-1])


class Linear(torch.autograd.Function):
    """``product`` with its gradients, of which none is computed that nobody asks for."""

    @staticmethod
    def forward(ctx, rows, weight, bias):
        """Return the outputs; the rows are kept only where the weight is trained."""
        ctx.save_for_backward(rows if ctx.needs_input_grad[1] else None, weight)
        return product(rows, weight, bias)

    @staticmethod
    def backward(ctx, grad):
        """Return the gradients of rows, weight and bias."""
        rows, weight = ctx.saved_tensors
        of_rows, of_weight, of_bias = ctx.needs_input_grad
        return (
            product(grad, weight.t()) if of_rows else None,
            product(flat(grad).t(), flat(rows).t()) if of_weight else None,
            flat(grad).sum(0) if of_bias else None,
        )


class Lora(torch.autograd.Function):
    """A linear layer with its LoRA matrices, the sums made in place.

    Done in parts, as PEFT does, a layer reads and writes its outputs three times more.
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
        if not any(ctx.needs_input_grad) and weight.dtype == a.dtype:
            # Without a gradient, the product of the matrices is cheaper than those with the rows.
            return product(rows, torch.addmm(weight, b, a, alpha=scale), bias)
        adapted = flat(rows if dropped is None else dropped)
        low = adapted @ a.t()
        outputs = product(rows, weight, bias)
        flat(outputs).addmm_(low, b.t(), alpha=scale)
        ctx.save_for_backward(adapted, low, weight, a, b)
        ctx.scale, ctx.alone = scale, dropped is None
        return outputs

    @staticmethod
    def backward(ctx, grad):
        """Return the gradients of rows, of dropped rows, and of both matrices.

        The rest is frozen.
        """
        adapted, low, weight, a, b = ctx.saved_tensors
        rows_grad = flat(grad)
        of_low = (rows_grad @ b).mul_(ctx.scale)
        of_a = of_low.t() @ adapted
        of_b = (low.t() @ rows_grad).t().mul(ctx.scale)
        of_rows = product(grad, weight.t()) if ctx.needs_input_grad[0] else None
        of_dropped = None
        if ctx.alone and of_rows is not None:
            flat(of_rows).addmm_(of_low, a)
        elif not ctx.alone and ctx.needs_input_grad[1]:
            of_dropped = (of_low @ a).view(*grad.shape[:-1], -1)
        return of_rows, of_dropped, None, None, of_a, of_b, None


Forward = Callable[..., torch.Tensor]


def replacements(model: Any, held: Held) -> Iterator[tuple[Any, Forward]]:
    """Yield the modules of a model that can be done faster, each with its other ``forward``.

    Outer modules come before those inside them, which they no longer call.
    """
    from peft.tuners.lora.layer import Linear as LoraLayer

    for module in model.modules():
        if type(module) is LoraLayer and is_plain(module):
            yield module, lora(module, held)
        elif is_linear(module):
            yield module, linear(module, held)
        elif type(module) is torch.nn.Dropout and 0 < module.p < 1:
            yield module, dropout(module)


def linear(module: Any, held: Held) -> Forward:
    """Return a linear layer."""

    def forward(rows: torch.Tensor) -> torch.Tensor:
        return Linear.apply(rows, held.weight(module), module.bias)

    return forward


def is_plain(layer: Any) -> bool:
    """Whether a LoRA layer is what the paper says, around a linear layer whose weights are frozen.

    DoRA and others compute more, quantised layers hold other weights, biases may be trained.
    """
    base = layer.get_base_layer()
    names = layer.active_adapters
    return (
        is_linear(base)
        and not is_trained(base)
        and len(names) == 1
        and names[0] in layer.lora_A
        and not layer.lora_variant
        and not layer.lora_bias[names[0]]
        and not layer.merged
        and not layer.disable_adapters
        and type(layer.lora_dropout[names[0]]) in (torch.nn.Identity, torch.nn.Dropout)
    )


def lora(layer: Any, held: Held) -> Forward:
    """Return a plain LoRA layer (see ``is_plain``)."""
    base, (name,) = layer.get_base_layer(), layer.active_adapters
    drop, a, b = layer.lora_dropout[name], layer.lora_A[name], layer.lora_B[name]

    def forward(rows: torch.Tensor) -> torch.Tensor:
        dropped = drop(rows) if drop.training and not isinstance(drop, torch.nn.Identity) else None
        scale = layer.scaling[name]
        return Lora.apply(rows, dropped, held.weight(base), base.bias, a.weight, b.weight, scale)

    return forward


def dropout(module: Any) -> Forward:
    """Return a dropout."""

    def forward(rows: torch.Tensor) -> torch.Tensor:
        return fast_dropout(rows, module.p) if module.training else rows

    return forward


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

    for child in layers.children():
        if isinstance(child, (BaseTunerLayer, *LINEAR)):
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

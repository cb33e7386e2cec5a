"""A model made faster for a while, as far as it is proven to be the same model.

Three things are tried: no padding (``packing``), faster products and faster dropout (``layers``),
and nothing computed that nobody reads (``reading``). Two rows decide: with each of them, logits and
gradients must be those of the model as it is, up to rounding. What fails is left out, and what was
used is recorded with the cell.

Imports torch, so import it late.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from common import cli
from common.model import patches
from common.model.collator import Padding
from common.model.models import base_model
from common.model.packing import Packing, UnsupportedError, layers_of

log = logging.getLogger("acceleration")


# Sums are added in another order. Rounding in fp32 stays below 1e-5 of the largest number.
ROUNDING = 1e-4

SMALL = 1e-2

ENOUGH = 32  # tokens of the longest row

# What models raise whose layers are of another kind: each has its own way.
FAILURES = (
    UnsupportedError,
    AttributeError,
    IndexError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
)


@contextmanager
def accelerated(
    model: Any, rows: Sequence[dict[str, Any]], padding: Padding, precision: str = "fp32"
) -> Iterator[list[str]]:
    """Let a model compute faster within a ``with`` block; afterwards it is as it was.

    Args:
        model: a classifier, with its adapter, in fp32. On a GPU nothing is done: what pays there
            has yet to be measured.
        rows: a few tokenised rows of different lengths that the proof is made with, the longest
            last.
        padding: makes the batch.
        precision: of products with the weights of the backbone on the CPU, fp32 or bf16; rounding
            them comes after the proof.

    Yields:
        what was proven and is in use: "packing", "reading", "layers"; and "bf16" where products
        are computed in it.

    Raises:
        InputError: the weights cannot be rounded, since its layers cannot be replaced.
    """
    used: list[str] = []
    with ExitStack() as stack:
        if next(model.parameters()).is_cpu:
            patches.disable_malloc_trim()
            batch = padding.texts(shortened(rows))
            wanted, (which, modules) = plain(model, batch)
            trial = Trial(stack, model, batch, wanted, used)
            packing = trial.attempt("packing", packed(model))
            held = trial.attempt("layers", replaced(model))
            if packing is not None and which is not None:
                trial.attempt("reading", read(packing, which, modules))
            if precision == "bf16":
                used += rounded(model, held)
        yield used


def rounded(model: Any, held: patches.Held | None) -> list[str]:
    """Round the weights of a model to bf16; return ["bf16"] where its products are in bf16 as well.

    Args:
        model: a classifier on the CPU.
        held: the weights of its layers; None: they cannot be replaced.

    Raises:
        InputError: they cannot.
    """
    if held is None:
        raise cli.InputError(
            f"`precision: bf16` on the CPU takes linear layers that can be replaced, and those of "
            f"this {model.config.model_type} cannot: use fp32"
        )
    held.round(model)
    if patches.bf16_pays():
        return ["bf16"]
    log.info(
        "this processor has no fast units for bf16: frozen weights are rounded to it, and products "
        "computed in fp32"
    )
    return []


def shortened(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows cut to different lengths.

    The proof is made before every job, and need not be long.

    Args:
        rows: of different lengths, the longest last, as ``roundtrip.probe`` gives them.
    """
    cuts = [ENOUGH * (number + 1) // len(rows) for number in range(len(rows))]
    return [
        {name: value[:cut] if isinstance(value, list) else value for name, value in row.items()}
        for row, cut in zip(rows, cuts, strict=True)
    ]


@dataclass
class Trial:
    """Changes of a model, of which those stay that leave its answers alone.

    Attributes:
        stack: takes the changes back in the end.
        model: the classifier.
        batch: to prove them with.
        wanted: what ``answers`` gave before.
        used: names of the changes that stay.
    """

    stack: ExitStack
    model: Any
    batch: dict[str, Any]
    wanted: list[torch.Tensor]
    used: list[str]

    def attempt(self, name: str, change: AbstractContextManager[Any]) -> Any:
        """Make a change; what its context gives, or None where the model was not the same."""
        with ExitStack() as trial:
            try:
                made = trial.enter_context(change)
                gap = difference(answers(self.model, self.batch), self.wanted)
            except FAILURES as error:
                log.info("without %s: %s", name, cli.one_line(error))
                return None
            if not gap <= ROUNDING:  # also where it is no number
                log.info("without %s: it would move answers or gradients by %.2g", name, gap)
                return None
            self.stack.push(trial.pop_all())
        self.used.append(name)
        return made


def plain(model: Any, batch: dict[str, Any]) -> tuple[list[torch.Tensor], tuple[Any, list[Any]]]:
    """Return the answers of a model as it is, and which of its rows are read (``Reads.found``)."""
    classifier = base_model(model)
    try:
        modules = list(patches.linear_modules(layers_of(classifier)))
    except UnsupportedError:
        modules = []
    reads = patches.Reads(modules, batch["attention_mask"])
    embedded: list[torch.Tensor] = []

    def watch(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        embedded.append(output.requires_grad_())
        return output.clone()  # CTRL scales it in place, which a leaf that wants a gradient forbids

    hook = classifier.get_input_embeddings().register_forward_hook(watch)
    found = answers(model, batch, embedded)
    hook.remove()
    return found, reads.found()


def answers(
    model: Any, batch: dict[str, Any], also: Sequence[torch.Tensor] = ()
) -> list[torch.Tensor]:
    """Return the logits of a batch, and the gradients of what is trained, without dropout.

    Args:
        model: the classifier.
        batch: of texts.
        also: tensors that the pass makes, and that gradients are computed for all the way.
    """
    training = model.training
    model.eval()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with torch.enable_grad():
        total = model(**batch).logits.square().sum()  # squares: rows and classes count unequally
        wanted = [*trained, *also]
        grads = torch.autograd.grad(total, wanted, allow_unused=True) if wanted else ()
    with torch.no_grad():  # for itself: layers without a gradient may be computed otherwise
        logits = model(**batch).logits
    model.train(training)
    found = [grad for grad in grads[: len(trained)] if grad is not None]
    return [logits, *found]


def difference(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> float:
    """The largest difference between two answers, as a share of the largest number in the tensor.

    Some gradients are 0 but for rounding, as those of the biases of keys are: a tensor counts as
    large as SMALL of the largest gradient at least.
    """
    if len(found) != len(wanted):
        return float("inf")
    sizes = [float(tensor.abs().max()) for tensor in wanted]
    least = [0.0, *(SMALL * max(sizes[1:]) for _ in sizes[1:])]
    gaps = [
        float((ours - theirs).abs().max()) / max(size, low, 1e-30)
        for ours, theirs, size, low in zip(found, wanted, sizes, least, strict=True)
    ]
    return max(gaps, key=lambda gap: (gap != gap, gap))  # no number counts as the largest


@contextmanager
def packed(model: Any) -> Iterator[Packing]:
    """Yield a model whose batches are packed."""
    packing = Packing(base_model(model))
    packing.install()
    try:
        yield packing
    finally:
        packing.remove()


@contextmanager
def read(packing: Packing, which: str, modules: list[Any]) -> Iterator[None]:
    """Yield a packed model whose modules compute what is read, and no other rows."""
    packing.read = which
    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(with_forward(module, patches.of_read_rows(module, packing)))
        try:
            yield
        finally:
            packing.read = None


@contextmanager
def replaced(model: Any) -> Iterator[patches.Held]:
    """Let a model's layers be done by faster ones; yield how they hold their weights."""
    held = patches.Held()
    with ExitStack() as stack:
        for module, forward in list(patches.replacements(model, held)):
            stack.enter_context(with_forward(module, forward))
        yield held


@contextmanager
def with_forward(module: Any, forward: Callable[..., Any]) -> Iterator[None]:
    """Yield a module with another ``forward``; the one it had before comes back."""
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before

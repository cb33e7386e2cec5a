"""Count the floating-point operations that a fine-tune needs, and measure what a machine can do.

    python benchmarks/operations.py --threads 2 --sizes 4096x384x384 --output limit.json

The count is that of Kaplan et al. 2020, "Scaling laws for neural language models", section 2.1: a
token takes two operations forward for every parameter of a linear layer, a product and a sum. With
the attention of Chowdhery et al. 2022, "PaLM", appendix B: 4 x length x width operations a token
and layer, for scores and for sums of values; half of them where a token sees those before it alone.
Adapted to frozen weights:

- Backward, a linear layer takes as much as forward and not twice that: activations have gradients,
  frozen weights have none. The first layer's queries, keys and values do not even pass one on.
- Attention has no weights, all of its operands are activations: backward takes twice the forward.
- An adapter of rank r is trained: 2 r (inputs + outputs) forward, and twice that backward.

Embeddings, norms, activations, pooler and head are left out: together below 2 %.

The limit is the fastest product of matrices that torch offers here, measured: of 2,048 x 2,048 ones
and of those of the model's own layers with 4,096 rows; on a GPU of 8,192 x 8,192.
"""

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from common import files  # noqa: E402

SQUARE, ROWS, SQUARE_GPU = 2048, 4096, 8192
REPEATS, LEAST_SECONDS = 3, 0.3
CAUSAL = ("gpt2", "opt")  # of the architectures that are counted here

# The names that linear layers have in BERT, DistilBERT, GPT-2 and OPT; any other comes after the
# attention: its output, the feed-forward part.
ROLES = {
    "query": ("query", "q_lin", "q_proj"),
    "key or value": ("key", "k_lin", "k_proj", "value", "v_lin", "v_proj"),
    "all three": ("c_attn",),
    "entry": ("project_in",),
}


@dataclass(frozen=True)
class Layer:
    """A linear layer of the backbone.

    Attributes:
        role: one of ROLES, or "rest".
        block: number of the block that it is in; None before and after all blocks.
        inputs, outputs: its widths.
        rank: of its adapter; 0 without.
    """

    role: str
    block: int | None
    inputs: int
    outputs: int
    rank: int = 0


@dataclass(frozen=True)
class Shape:
    """What counts of a model.

    Attributes:
        layers: the linear ones of the backbone.
        width: of the attention, all heads together.
        blocks: how many.
        causal: whether a token sees those before it alone.
    """

    layers: tuple[Layer, ...]
    width: int
    blocks: int
    causal: bool


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, required=True, help="of the CPU")
    parser.add_argument("--sizes", nargs="*", default=[], help="ROWSxINPUTSxOUTPUTS of more")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    args = parser.parse_args(argv)
    import torch

    torch.set_num_threads(args.threads)
    files.write_json(limits([sizes_of(text) for text in args.sizes]), args.output)


def sizes_of(text: str) -> tuple[int, int, int]:
    """Rows, inputs and outputs of a product as they stand on the command line."""
    rows, inputs, outputs = map(int, text.split("x"))
    return rows, inputs, outputs


def load_empty(directory: Path) -> Any:
    """Return the classifier of a directory, without numbers in its weights."""
    import torch
    import transformers

    config = transformers.AutoConfig.from_pretrained(directory)
    with torch.device("meta"):
        return transformers.AutoModelForSequenceClassification.from_config(config)


def shape_of(model: Any, adapted: Sequence[str] = (), rank: int = 0) -> Shape:
    """Return what counts of a classifier without adapter.

    Args:
        model: BERT, DistilBERT, GPT-2 or OPT.
        adapted: last names of the layers that an adapter is for.
        rank: of the adapter.
    """
    from common.model import models

    layers = []
    for name in models.linear_layers(model):
        last = name.rpartition(".")[2]
        block = re.search(r"\.(\d+)\.", name)
        outputs, inputs = widths(model.get_submodule(name))
        roles = [role for role, names in ROLES.items() if last in names]
        number = int(block[1]) if block else None
        own = rank if last in adapted else 0
        layers.append(Layer(roles[0] if roles else "rest", number, inputs, outputs, own))
    config = model.config
    causal = config.model_type in CAUSAL
    return Shape(tuple(layers), config.hidden_size, config.num_hidden_layers, causal)


def widths(layer: Any) -> tuple[int, int]:
    """Outputs and inputs of a linear layer; GPT-2's has its weight transposed."""
    first, second = layer.weight.shape
    return (first, second) if hasattr(layer, "in_features") else (second, first)


def operations(shape: Shape, length: int, training: bool = True, needed: bool = False) -> float:
    """Floating-point operations that one text takes.

    Args:
        shape: of the model.
        length: real tokens of the text.
        training: forward and backward; else forward alone.
        needed: leave out of the last block what is never read. A classifier reads the output of one
            token. Of the others, the last block's keys and values count, and their queries,
            attention and feed-forward part do not.
    """
    counted = 0.0
    for layer in shape.layers:
        tokens = tokens_read(shape, layer, length) if needed else length
        counted += tokens * per_token(layer, training)
    pairs = length * length * (0.5 if shape.causal else 1.0)  # of a token and one that it sees
    last = length if needed else pairs
    passes = 3 if training else 1
    return counted + passes * 4 * shape.width * ((shape.blocks - 1) * pairs + last)


def per_token(layer: Layer, training: bool) -> float:
    """Operations of a linear layer and its adapter for one token."""
    forward = 2 * layer.inputs * layer.outputs
    down, up = 2 * layer.inputs * layer.rank, 2 * layer.rank * layer.outputs
    if not training:
        return forward + down + up
    # Below the first adapter nothing asks for a gradient: embeddings are frozen.
    first = layer.role == "entry" or (layer.block == 0 and layer.role != "rest")
    return (1 if first else 2) * forward + (2 if first else 3) * down + 3 * up


def tokens_read(shape: Shape, layer: Layer, length: int) -> float:
    """For how many tokens of a text the output of a layer is read, the rest of the model given."""
    past = layer.block is None and layer.role != "entry"
    if not past and layer.block != shape.blocks - 1:
        return length
    if layer.role == "key or value":
        return length
    return (2 * length + 1) / 3 if layer.role == "all three" else 1


def sizes(shape: Shape) -> list[str]:
    """Return the products of the model's own layers, in the words of ``--sizes``."""
    own = {(each.inputs, each.outputs) for each in shape.layers if each.block is not None}
    return [f"{ROWS}x{inputs}x{outputs}" for inputs, outputs in sorted(own)]


def limits(more: list[tuple[int, int, int]]) -> list[dict[str, Any]]:
    """Return every product that was measured: its kernel, shape and operations per second.

    Args:
        more: sizes to measure beside the square one, on the CPU.
    """
    import torch

    gpu = torch.cuda.is_available()
    measured = [(SQUARE_GPU,) * 3] if gpu else [(SQUARE,) * 3, *more]
    return [
        {
            "kernel": kernel,
            "shape": list(size),
            "operations_per_second": round(2 * size[0] * size[1] * size[2] / seconds(product)),
        }
        for size in measured
        for kernel, product in products(*size)
    ]


def products(rows: int, inputs: int, outputs: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the ways that torch has to multiply fp32 matrices here.

    On the CPU, linear layers go through the processor's BLAS (MKL). The product of oneDNN, on
    weights that were put in its order before, is faster on some processors; torch has it for
    compiled models, without gradients.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    draw = torch.Generator(device).manual_seed(0)
    given = torch.randn(rows, inputs, generator=draw, device=device)
    weight = torch.randn(outputs, inputs, generator=draw, device=device)
    bias = torch.zeros(outputs, device=device)
    if device == "cuda":
        yield "torch.matmul", lambda: torch.matmul(given, weight.T)
        return
    yield "torch.nn.functional.linear", lambda: torch.nn.functional.linear(given, weight, bias)
    known = torch.ops.mkldnn
    if hasattr(known, "_linear_pointwise") and hasattr(known, "_reorder_linear_weight"):
        packed = known._reorder_linear_weight(weight, rows)
        yield (
            "oneDNN",
            lambda: known._linear_pointwise(given, packed, bias, "none", [], ""),
        )


def seconds(product: Callable[[], Any]) -> float:
    """Return the least time that a product takes, of some repeats after one that does not count."""
    import torch

    def wait() -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    with torch.inference_mode():
        product()
        wait()
        taken: list[float] = []
        began = time.perf_counter()
        while len(taken) < REPEATS or time.perf_counter() - began < LEAST_SECONDS:
            start = time.perf_counter()
            product()
            wait()
            taken.append(time.perf_counter() - start)
    return min(taken)


if __name__ == "__main__":
    main()

"""Quantisation: the frozen weights of a backbone held in 4 or 8 bits (QLoRA), by bitsandbytes."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from common import cli
from common.cli import InputError

BITS = ("4bit", "8bit")
PACKAGE = "bitsandbytes>=0.50,<0.51"
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def options(
    bits: str | None, precision: str, directory: Path, kind: str = "adapter"
) -> dict[str, Any] | None:
    """Return the options of a ``BitsAndBytesConfig``, as JSON knows them.

    None without quantisation.

    4 bits are NormalFloat with double quantisation, as in QLoRA (arXiv 2305.14314); 8 bits are
    LLM.int8() (arXiv 2208.07339). The head and poolers are trained, so they stay whole.

    Args:
        bits: one of BITS, or None.
        precision: of the arithmetic of 4-bit layers, one of PRECISIONS.
        directory: of the model.
        kind: of the variant.

    Raises:
        InputError: the weights are to be trained, or bitsandbytes is not installed, or cannot work
            on this machine.
    """
    if bits is None:
        return None
    if kind != "adapter":
        raise InputError(f"`quantization` is for adapters, not for `{kind}`: take the key out")
    require_bitsandbytes()
    chosen: dict[str, Any] = {f"load_in_{bits}": True}
    if bits == "4bit":
        chosen |= {
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": PRECISIONS[precision],
        }
    return chosen | {"llm_int8_skip_modules": trained_in_full(directory)}  # of 4 bits too


def require_bitsandbytes() -> None:
    """Refuse quantisation where it cannot be done, before anything is loaded."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise InputError(
            f"`quantization` needs a package that is not installed: pip install '{PACKAGE}', or "
            "take the key out of the variant"
        )
    try:
        importlib.import_module("bitsandbytes")  # loads its kernels
    except (ImportError, OSError, RuntimeError) as error:
        raise InputError(
            "`quantization`: bitsandbytes does not work on this machine: "
            f"{cli.one_line(error)}; mend it, or take the key out of the variant"
        ) from error


def trained_in_full(directory: Path) -> list[str]:
    """Return names of the modules beside the backbone, and of poolers."""
    import torch
    import transformers

    config = transformers.AutoConfig.from_pretrained(directory, trust_remote_code=False)
    with torch.device("meta"):
        model = transformers.AutoModelForSequenceClassification.from_config(config)
    beside = [name for name, _ in model.named_children() if name != model.base_model_prefix]
    return [*beside, "pooler"]


def without_packing(model: Any) -> None:
    """Keep layers of 4 bits as they are where a CPU computes in bfloat16 (AVX512-BF16).

    bitsandbytes (0.50) packs their weights there in the first evaluation, and from then on no
    gradient passes: whatever lies below such a layer would not be trained, and without an error.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False

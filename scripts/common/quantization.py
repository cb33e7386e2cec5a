"""Quantisation: the frozen weights of a backbone held in 4 or 8 bits (QLoRA), by bitsandbytes."""

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import cli
from common.cli import InputError

BITS = ("4bit", "8bit")


@dataclass(frozen=True)
class Quantization:
    """How the linear layers of a backbone are held and computed with.

    4 bits are NormalFloat with double quantisation, as in QLoRA (arXiv 2305.14314); 8 bits are
    LLM.int8() (arXiv 2208.07339).

    Attributes:
        bits: one of BITS.
        precision: of the arithmetic of 4-bit layers: fp32, bf16 or fp16.
    """

    bits: str
    precision: str = "fp32"

    def config(self, directory: Path) -> Any:
        """What transformers is told: all linear layers but those of the head and the pooler.

        Args:
            directory: of the model.

        Raises:
            InputError: bitsandbytes is not installed, or cannot work on this machine.
        """
        require_bitsandbytes(self.bits)
        import torch
        import transformers

        types = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        return transformers.BitsAndBytesConfig(
            load_in_4bit=self.bits == "4bit",
            load_in_8bit=self.bits == "8bit",
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=types[self.precision],
            llm_int8_skip_modules=trained_in_full(directory),  # of 4 bits too, despite its name
        )


def require_bitsandbytes(bits: str) -> None:
    """Refuse quantisation where it cannot be done, before anything is loaded."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise InputError(
            f"`quantization: {bits}` needs the package bitsandbytes, which is not installed: "
            "install it, or take the key out of the variant"
        )
    try:
        importlib.import_module("bitsandbytes")  # loads its kernels
    except (ImportError, OSError, RuntimeError) as error:
        raise InputError(
            f"`quantization: {bits}`: bitsandbytes does not work on this machine: "
            f"{cli.one_line(error)}; mend it, or take the key out of the variant"
        ) from error


def trained_in_full(directory: Path) -> list[str]:
    """Names of the modules beside the backbone, and of poolers: they are trained, so kept whole."""
    import torch
    import transformers

    config = transformers.AutoConfig.from_pretrained(directory)
    with torch.device("meta"):
        model = transformers.AutoModelForSequenceClassification.from_config(config)
    beside = [name for name, _ in model.named_children() if name != model.base_model_prefix]
    return [*beside, "pooler"]

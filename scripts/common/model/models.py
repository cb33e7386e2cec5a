"""A pretrained model as a classifier: its head, its layers, its source.

Works for any architecture that ``AutoModelForSequenceClassification`` knows; what differs between
them is read off the model, not off a table of names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import cli, files, seals
from common.cli import InputError
from common.model import quantization


@dataclass(frozen=True)
class Classifier:
    """A model with a classification head.

    Attributes:
        model: the ``PreTrainedModel``, in fp32 on the CPU.
        head: names of the modules that are not pretrained, such as ``score`` or ``classifier``:
            they must be trained and saved whatever the variant.
        drawn: names of the weights that the directory lacked and that were drawn from the seed.
    """

    model: Any
    head: list[str]
    drawn: list[str]

    @property
    def pretrained_head(self) -> bool:
        """Whether the head came with the model, for as many classes: no seed draws it."""
        return not self.drawn

    def head_parameters(self) -> dict[str, Any]:
        """The parameters of the head, by their full names."""
        return {
            f"{module}.{name}": parameter
            for module in self.head
            for name, parameter in self.model.get_submodule(module).named_parameters()
        }


def load_classifier(
    directory: Path,
    labels: Sequence[str],
    pad_token_id: int,
    seed: int,
    quantized: dict[str, Any] | None = None,
) -> Classifier:
    """A pretrained model with a classification head, drawn from ``seed`` where it has none.

    Args:
        directory: config and safetensors weights, as ``fetch_model`` leaves them.
        labels: class names; the head has one output for each, in this order.
        pad_token_id: the token that the model skips when it looks for the end of a text.
        seed: set before the model is made, so that equal seeds draw equal heads.
        quantized: as ``quantization.options`` gives it; None: weights in fp32.

    Raises:
        InputError: the directory holds no model that loads as a classifier.
    """
    import safetensors
    import transformers

    files.require_directory(directory)
    seals.check(directory)
    transformers.set_seed(seed)
    quietly(transformers)
    try:
        model, info = transformers.AutoModelForSequenceClassification.from_pretrained(
            directory,
            **loading_options(labels, pad_token_id, quantized),
            output_loading_info=True,
        )
    except (AssertionError, OSError, ValueError, safetensors.SafetensorError) as error:
        raise InputError(
            f"{directory} holds no classifier that loads: {cli.one_line(error)}; "
            f"{files.remedy(directory)}, or choose another model"
        ) from error
    quantization.without_packing(model)
    # Both hold names; mismatched ones come with their shapes.
    drawn = sorted([*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])])
    return Classifier(model, head_modules(model, drawn), drawn)


def loading_options(
    labels: Sequence[str], pad_token_id: int, quantized: dict[str, Any] | None
) -> dict[str, Any]:
    """The options of ``from_pretrained`` that make a classifier of a pretrained model."""
    import torch
    import transformers

    names = dict(enumerate(labels))
    options = {
        "num_labels": len(labels),
        "id2label": names,
        "label2id": {name: number for number, name in names.items()},
        "pad_token_id": pad_token_id,
        "problem_type": "single_label_classification",
        "dtype": torch.float32,
        "use_safetensors": True,
        "trust_remote_code": False,
        "ignore_mismatched_sizes": True,  # a head for other classes is drawn anew
    }
    if quantized:
        quantization.require_bitsandbytes()
        options["quantization_config"] = transformers.BitsAndBytesConfig(**quantized)
    return options


def quietly(transformers) -> None:
    """Leave out the load report: that a head is newly drawn is what every run here expects."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def head_modules(model, drawn: list[str]) -> list[str]:
    """Names of the modules of a classifier that are no part of the pretrained weights.

    They are the modules beside the backbone, and those inside it whose weights the checkpoint
    lacked (a pooler, for instance). Read off the model since their names differ: score, classifier,
    pre_classifier, classification_head, logits_proj ...

    Raises:
        InputError: the checkpoint lacked weights of the backbone itself.
    """
    backbone = model.base_model_prefix
    beside = [name for name, module in model.named_children() if name != backbone]
    inside = {key.rpartition(".")[0] for key in drawn if key.startswith(f"{backbone}.")}
    if lost := sorted(name for name in inside if "pooler" not in name):
        # As part of the head they would be trained in full, from nothing, and called an adapter.
        raise InputError(
            f"{model.name_or_path} lacks weights, or has them in other sizes than its config.json, "
            f"of {len(lost)} modules, such as {lost[0]}: choose another model"
        )
    return [name for name in beside if has_parameters(model.get_submodule(name))] + sorted(inside)


def has_parameters(module) -> bool:
    """Whether a module holds any parameter: a dropout beside the backbone does not."""
    return next(module.parameters(), None) is not None


def linear_layers(model) -> list[str]:
    """Full names of the linear layers of the backbone, the pooler left out: what LoRA can adapt.

    GPT-2 calls its linear layers Conv1D. A pooler is no layer of the backbone: where the checkpoint
    lacks it, it is part of the head (``head_modules``), and else it stays as it is.
    """
    import torch
    import transformers

    kinds = (torch.nn.Linear, transformers.pytorch_utils.Conv1D)
    return [name for name, module in backbone_modules(model) if isinstance(module, kinds)]


def norms(model) -> list[str]:
    """Full names of the normalisation layers of the backbone: LayerNorm, LlamaRMSNorm ..."""
    return [
        name for name, module in backbone_modules(model) if type(module).__name__.endswith("Norm")
    ]


def backbone_modules(model) -> Iterator[tuple[str, Any]]:
    """The modules of the backbone by full name, the pooler left out."""
    prefix = f"{model.base_model_prefix}."
    for name, module in model.named_modules():
        if name.startswith(prefix) and "pooler" not in name:
            yield name, module


def incomplete(directory: Path, names: Sequence[str]) -> InputError:
    """The error for a saved cell whose weights are missing or of another shape."""
    return InputError(
        f"{directory} lacks {len(names)} weights of this model, such as {names[0]}: "
        f"{files.remedy(directory)}"
    )

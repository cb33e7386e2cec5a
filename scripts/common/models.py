"""A pretrained model as a classifier: its tokenizer, its head, its padding.

Works for any architecture that ``AutoModelForSequenceClassification`` knows; what differs between
them is read off the model, not off a table of names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import cli, files
from common.cli import InputError

SOURCE = "source.json"


@dataclass(frozen=True)
class Classifier:
    """A model with a classification head.

    Attributes:
        model: the ``PreTrainedModel``, in fp32 on the CPU.
        head: names of the modules that are not pretrained, such as ``score`` or ``classifier``:
            they must be trained and saved whatever the variant.
    """

    model: Any
    head: list[str]


def load_tokenizer(directory: Path):
    """The tokenizer of a model, with a padding token and padding on the right.

    A decoder without a padding token gets its end-of-text token: it is masked, and classifiers
    look for the last token before it. Padding on the right leaves the positions of the text as
    they are; on the left, GPT-2 returns other logits without an error.
    """
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    except (OSError, ValueError) as error:
        raise InputError(f"{directory} holds no tokenizer that loads: {cli.one_line(error)}") from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer


def load_classifier(
    directory: Path, labels: Sequence[str], pad_token_id: int, seed: int
) -> Classifier:
    """A pretrained model with a classification head drawn from ``seed``.

    Args:
        directory: config and safetensors weights, as ``fetch_model`` leaves them.
        labels: class names; the head has one output for each, in this order.
        pad_token_id: the token that the model skips when it looks for the end of a text.
        seed: set before the model is made, so that equal seeds draw equal heads.

    Raises:
        InputError: the directory holds no model that loads as a classifier.
    """
    import torch
    import transformers

    transformers.set_seed(seed)
    names = dict(enumerate(labels))
    quietly(transformers)
    try:
        model, info = transformers.AutoModelForSequenceClassification.from_pretrained(
            directory,
            num_labels=len(labels),
            id2label=names,
            label2id={name: number for number, name in names.items()},
            pad_token_id=pad_token_id,
            problem_type="single_label_classification",
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # a head for other classes is drawn anew
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        raise InputError(f"{directory} holds no classifier that loads: {cli.one_line(error)}") from error
    return Classifier(model, head_modules(model, info))


def read_source(directory: Path) -> dict[str, Any]:
    """Where a model came from, as ``fetch_model`` recorded it."""
    return files.read_json(directory / SOURCE)


def quietly(transformers) -> None:
    """Leave out the load report: that a head is newly drawn is what every run here expects."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def head_modules(model, info: dict) -> list[str]:
    """Names of the modules of a classifier that are no part of the pretrained weights.

    They are the modules beside the backbone, and those inside it whose weights the checkpoint
    lacked (a pooler, for instance). Read off the model since their names differ: score, classifier,
    pre_classifier, classification_head, logits_proj ...
    """
    backbone = model.base_model_prefix
    beside = [name for name, module in model.named_children() if name != backbone]
    # Both hold names; mismatched ones come with their shapes.
    drawn = [*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])]
    inside = {key.rpartition(".")[0] for key in drawn if key.startswith(f"{backbone}.")}
    return [name for name in beside if has_parameters(model.get_submodule(name))] + sorted(inside)


def has_parameters(module) -> bool:
    """Whether a module holds any parameter: a dropout beside the backbone does not."""
    return next(module.parameters(), None) is not None


def linear_layers(model) -> list[str]:
    """Full names of the linear layers of the backbone, the pooler left out: what LoRA can adapt.

    GPT-2 calls its linear layers Conv1D. A pooler belongs to the head: it is trained in full.
    """
    import torch
    import transformers

    kinds = (torch.nn.Linear, transformers.pytorch_utils.Conv1D)
    prefix = f"{model.base_model_prefix}."
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, kinds) and name.startswith(prefix) and "pooler" not in name
    ]

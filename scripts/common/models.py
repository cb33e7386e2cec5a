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
        drawn: names of the weights that the directory lacked and that were drawn from the seed.
    """

    model: Any
    head: list[str]
    drawn: list[str]


def load_tokenizer(directory: Path):
    """The tokenizer of a model, with a padding token and padding on the right.

    A decoder without a padding token gets its end-of-text token: it is masked, and classifiers
    look for the last token before it. Padding on the right leaves the positions of the text as
    they are; on the left, GPT-2 returns other logits without an error.

    Raises:
        InputError: the directory holds no fast tokenizer, or one without words or padding token.
    """
    import transformers

    require_directory(directory)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    except Exception as error:  # what tokenizers raises is of no closer kind
        raise InputError(
            f"{directory} holds no tokenizer that loads: {cli.one_line(error)}; mend its "
            "tokenizer.json or take another model"
        ) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    require_usable(tokenizer, directory)
    tokenizer.padding_side = "right"
    return tokenizer


def require_usable(tokenizer, directory: Path) -> None:
    """Refuse a tokenizer that cannot do its work here.

    Without a vocabulary, transformers (5.23) makes one that knows no word, and says nothing.
    """
    vocabularies = sorted({"tokenizer.json", *tokenizer.vocab_files_names.values()})
    if not any((Path(directory) / name).exists() for name in vocabularies):
        raise InputError(
            f"{directory} holds no tokenizer, that is, no {' or '.join(vocabularies)}: add the "
            "file or take another model"
        )
    if not tokenizer.is_fast:
        raise InputError(
            f"{directory} holds a {type(tokenizer).__name__}, which has no fast version: add a "
            "tokenizer.json or take another model"
        )
    if tokenizer.pad_token_id is None:
        raise InputError(
            f"{directory} holds a tokenizer with neither a padding nor an end-of-text token: set "
            "`pad_token` in its tokenizer_config.json"
        )


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
    import safetensors
    import torch
    import transformers

    require_directory(directory)
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
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise InputError(
            f"{directory} holds no classifier that loads: {cli.one_line(error)}; fetch it again"
        ) from error
    # Both hold names; mismatched ones come with their shapes.
    drawn = sorted([*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])])
    return Classifier(model, head_modules(model, drawn), drawn)


def require_directory(directory: Path) -> None:
    """Refuse a path that is not there: transformers would take it for an id on the hub."""
    if not Path(directory).is_dir():
        raise InputError(f"{directory} is no directory: name one that `fetch_model` wrote")


def read_source(directory: Path) -> dict[str, Any]:
    """Where a model came from, as ``fetch_model`` recorded it."""
    return files.read_json(directory / SOURCE)


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
            f"of {len(lost)} modules, such as {lost[0]}: fetch it again, or choose another model"
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
    prefix = f"{model.base_model_prefix}."
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, kinds) and name.startswith(prefix) and "pooler" not in name
    ]

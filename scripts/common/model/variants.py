"""Kinds of variants: what of a classifier is trained, what of it is saved, how it is loaded again.

``adapter``: a PEFT adapter and the head. ``head``: the head alone, a linear probe of the frozen
backbone. ``full``: every parameter.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common import checksums, cli, files
from common.cli import InputError
from common.data.encoding import TYPES
from common.model import adapters, models
from common.model.collator import Padding
from common.model.models import Classifier

KINDS = ("adapter", "head", "full")
HEAD_WEIGHTS = "head.safetensors"

# Draws the head that the saved one must replace. No cell trains with it, so a cell that came
# without its head cannot pass for a trained one.
HEAD_SEED = 2**31 - 1


@dataclass(frozen=True)
class Record:
    """What it takes to use a saved cell as it was trained; stands beside its weights.

    Attributes:
        kind: one of KINDS.
        head: full names of the weights of the head, all of which were trained.
        base_model: the source.json of the pretrained model.
        padding_side: on which side batches are padded.
        max_length: tokens kept of each text.
        quantization: as ``quantization.options`` gives it; None: the backbone was in fp32.
        separator, types: of pairs, as of ``encoding.Encoder``.
    """

    kind: str
    head: list[str]
    base_model: dict[str, Any]
    padding_side: str
    max_length: int
    quantization: dict[str, Any] | None = None
    separator: str | None = None
    types: bool = False


def adapt(classifier: Classifier, kind: str, peft: dict[str, Any], steps: int | None = None) -> Any:
    """Return the model with just those parameters trainable that the kind trains.

    Args:
        classifier: the model and the names of its head modules.
        kind: one of KINDS.
        peft: for an adapter, its literal PEFT config.
        steps: of the training to come.
    """
    if kind == "adapter":
        return adapters.attach(classifier, peft, steps)
    head = {id(parameter) for parameter in classifier.head_parameters().values()}
    for parameter in classifier.model.parameters():
        parameter.requires_grad = kind == "full" or id(parameter) in head
    return classifier.model


def count_parameters(model: Any, classifier: Classifier, kind: str) -> dict[str, int]:
    """Parameters that are trainable, in the adapter, in the head, in all."""
    if kind == "adapter":
        return adapters.count_parameters(model)
    counts = [parameter.numel() for parameter in model.parameters() if parameter.requires_grad]
    return {
        "num_trainable_params": sum(counts),
        "num_adapter_params": 0,
        "num_head_params": sum(p.numel() for p in classifier.head_parameters().values()),
        "num_total_params": sum(parameter.numel() for parameter in model.parameters()),
    }


def save(model: Any, tokenizer: Any, record: Record, directory: Path) -> None:
    """Save what was trained, with the class names, the tokenizer and the record.

    An adapter is saved as PEFT does, a full model as transformers does, a head as its weights. None
    of the files names a path of this machine.

    Args:
        model: trained, as ``adapt`` returned it.
        tokenizer: of the pretrained model.
        record: what else it takes.
        directory: made if it is not there.
    """
    source = record.base_model
    name = model_id(source)
    if record.kind == "adapter":
        adapters.save(model, name, source.get("revision"), directory)
    elif record.kind == "full":
        model.config._name_or_path = model.name_or_path = name
        model.save_pretrained(directory)
    else:
        model.config._name_or_path = name
        save_head(model, record.head, directory)
    prepared(tokenizer, record).save_pretrained(directory)
    files.write_json(asdict(record), directory / files.CLASSIFIER)
    checksums.write(directory)
    files.share(directory)


def model_id(source: dict[str, Any]) -> str:
    """Return what a pretrained model is called in files that travel: its package, or its name.

    Args:
        source: its source.json.
    """
    return source.get("version") or source["name"]


def save_head(model: Any, names: list[str], directory: Path) -> None:
    """Save the weights of a head, and the config of the classifier."""
    import safetensors.torch

    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: model.get_parameter(name).detach().cpu() for name in names}
    safetensors.torch.save_file(weights, directory / HEAD_WEIGHTS, metadata={"format": "pt"})
    model.config.save_pretrained(directory)


def prepared(tokenizer: Any, record: Record) -> Any:
    """Return a tokenizer that cuts, pads and spells as in training, whoever loads it."""
    used = {
        "model_max_length": record.max_length,
        "padding_side": record.padding_side,
        "split_special_tokens": True,
        # Token types only where the cell has seen them, whatever the model could.
        "model_input_names": ["input_ids", "attention_mask", *([TYPES] if record.types else [])],
    }
    for name, value in used.items():
        setattr(tokenizer, name, value)
    tokenizer.init_kwargs |= used  # what is saved
    return tokenizer


def load(base: Path, directory: Path) -> Any:
    """Return a trained model, loaded from disk over a head that no cell was trained with.

    Args:
        base: the directory of the pretrained model.
        directory: what ``save`` wrote.

    Raises:
        InputError: the directory holds not all of the weights that were trained.
    """
    checksums.verify(directory)
    record = read_record(directory)
    labels, pad_token_id = labels_of(directory), config_of(directory)["pad_token_id"]
    if record.kind == "adapter":
        options = models.loading_options(labels, pad_token_id, record.quantization)
        return adapters.load(base, directory, options, record.head, HEAD_SEED)
    origin = directory if record.kind == "full" else base
    classifier = models.load_classifier(origin, labels, pad_token_id, HEAD_SEED)
    if record.kind == "head":
        load_head(classifier.model, record.head, directory)
    elif classifier.drawn:
        raise models.incomplete(directory, classifier.drawn)
    return classifier.model


def load_head(model: Any, names: list[str], directory: Path) -> None:
    """Put a saved head in the place of the one that was drawn."""
    import safetensors.torch

    try:
        saved = safetensors.torch.load_file(directory / HEAD_WEIGHTS)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(
            f"{directory / HEAD_WEIGHTS} does not load: {cli.one_line(error)}; "
            f"{files.remedy(directory)}"
        ) from error
    shapes = {name: value.shape for name, value in saved.items()}
    if wrong := [name for name in names if shapes.get(name) != model.get_parameter(name).shape]:
        raise models.incomplete(directory, wrong)
    model.load_state_dict(saved, strict=False)


def padding_of(directory: Path) -> Padding:
    """Return the padding that a saved cell was trained with."""
    return Padding(config_of(directory)["pad_token_id"], read_record(directory).padding_side)


def labels_of(directory: Path) -> list[str]:
    """Return the class names of a saved cell, in the order of the class numbers."""
    names = config_of(directory)["id2label"]
    return [names[number] for number in sorted(names, key=int)]


def config_of(directory: Path) -> dict[str, Any]:
    """Return the config of a saved classifier; read from the file, so that it costs no import.

    Raises:
        InputError: it names no classes or no padding token.
    """
    config = files.read_json(directory / "config.json")
    if missing := [key for key in ("id2label", "pad_token_id") if config.get(key) is None]:
        raise InputError(
            f"{directory / 'config.json'} has no {missing[0]}: {files.remedy(directory)}"
        )
    return config


def read_record(directory: Path) -> Record:
    """Return the record of a saved cell.

    Raises:
        InputError: the directory holds none, or one of another version.
    """
    path = directory / files.CLASSIFIER
    if not path.exists():
        raise InputError(
            f"{directory} holds no trained model: name the adapter/ of a finished cell"
        )
    try:
        return Record(**files.read_json(path))
    except TypeError as error:
        raise InputError(
            f"{path} is of another version ({error}): {files.remedy(directory)}"
        ) from error

"""Kinds of variants: what of a classifier is trained, what of it is saved, how it is loaded again.

``adapter``: a PEFT adapter and the head. ``head``: the head alone, a linear probe of the frozen
backbone. ``full``: every parameter.
"""

from pathlib import Path
from typing import Any

from common import adapters, cli, files, models
from common.cli import InputError
from common.models import Classifier

KINDS = ("adapter", "head", "full")
HEAD_WEIGHTS = "head.safetensors"
SOURCE = "base_model.json"  # in each saved directory: the source.json of the pretrained model


def adapt(classifier: Classifier, kind: str, peft: dict[str, Any], steps: int | None = None) -> Any:
    """The model with just those parameters trainable that the kind trains.

    Args:
        classifier: the model and the names of its head modules.
        kind: one of KINDS.
        peft: for an adapter, its literal PEFT config.
        steps: of the training to come.
    """
    if kind == "adapter":
        return adapters.attach(classifier, peft, steps)
    head = {id(parameter) for parameter in head_parameters(classifier).values()}
    for parameter in classifier.model.parameters():
        parameter.requires_grad = kind == "full" or id(parameter) in head
    return classifier.model


def head_parameters(classifier: Classifier) -> dict[str, Any]:
    """The parameters of the head, by their full names."""
    return {
        f"{module}.{name}": parameter
        for module in classifier.head
        for name, parameter in classifier.model.get_submodule(module).named_parameters()
    }


def count_parameters(model: Any, classifier: Classifier, kind: str) -> dict[str, int]:
    """Parameters that are trainable, in the adapter, in the head, in all."""
    if kind == "adapter":
        return adapters.count_parameters(model)
    counts = [parameter.numel() for parameter in model.parameters() if parameter.requires_grad]
    return {
        "num_trainable_params": sum(counts),
        "num_adapter_params": 0,
        "num_head_params": sum(p.numel() for p in head_parameters(classifier).values()),
        "num_total_params": sum(parameter.numel() for parameter in model.parameters()),
    }


def save(
    model: Any,
    classifier: Classifier,
    kind: str,
    tokenizer: Any,
    source: dict[str, Any],
    directory: Path,
) -> None:
    """Save what was trained, with the class names, the padding token and the tokenizer.

    An adapter is saved as PEFT does, a full model as transformers does, a head as its weights; each
    with the record of the pretrained model that it began from.
    """
    if kind == "adapter":
        adapters.save(model, tokenizer, source, directory)
    else:
        model.config._name_or_path = model.name_or_path = source.get("version") or source["name"]
        if kind == "full":
            model.save_pretrained(directory)
        else:
            save_head(classifier, directory)
        tokenizer.save_pretrained(directory)
    files.write_json(source, directory / SOURCE)


def save_head(classifier: Classifier, directory: Path) -> None:
    """Save the weights of a head, and the config of the classifier."""
    import safetensors.torch

    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().cpu() for name, value in head_parameters(classifier).items()}
    safetensors.torch.save_file(weights, directory / HEAD_WEIGHTS, metadata={"format": "pt"})
    classifier.model.config.save_pretrained(directory)


def load(
    base: Path, directory: Path, kind: str, labels: list[str], pad_token_id: int, seed: int
) -> Any:
    """A trained model, loaded from disk.

    Args:
        base: the directory of the pretrained model.
        directory: what ``save`` wrote.
        kind: one of KINDS.
        labels: class names in order.
        pad_token_id: the padding token.
        seed: of the head that is drawn before the saved one takes its place.

    Raises:
        InputError: the directory holds not all of the weights that were trained.
    """
    if kind == "full":
        whole = models.load_classifier(directory, labels, pad_token_id, seed)
        if whole.drawn:
            raise InputError(incomplete(directory, whole.drawn))
        return whole.model
    classifier = models.load_classifier(base, labels, pad_token_id, seed)
    if kind == "adapter":
        return adapters.load(classifier, directory)
    load_head(classifier, directory)
    return classifier.model


def kind_of(directory: Path) -> str:
    """The kind of a saved cell, told by its files.

    Raises:
        InputError: the directory holds none.
    """
    files_of_kind = {"adapter": adapters.WEIGHTS, "head": HEAD_WEIGHTS, "full": "config.json"}
    for kind, name in files_of_kind.items():
        if (directory / name).exists():
            return kind
    raise InputError(f"{directory} holds no trained model: name the adapter/ of a finished cell")


def load_head(classifier: Classifier, directory: Path) -> None:
    """Put a saved head in the place of the one that was drawn."""
    import safetensors.torch

    wanted = head_parameters(classifier)
    try:
        saved = safetensors.torch.load_file(directory / HEAD_WEIGHTS)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(
            f"{directory / HEAD_WEIGHTS} does not load: {cli.one_line(error)}; train the cell again"
        ) from error
    shapes = {name: tuple(value.shape) for name, value in saved.items()}
    if wrong := sorted(n for n, value in wanted.items() if shapes.get(n) != tuple(value.shape)):
        raise InputError(incomplete(directory, wrong))
    classifier.model.load_state_dict(saved, strict=False)


def incomplete(directory: Path, names: list[str]) -> str:
    """The error line for weights that are missing or of another shape."""
    return (
        f"{directory} lacks {len(names)} weights of this model, such as {names[0]}: train the cell "
        "again"
    )

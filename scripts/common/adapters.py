"""Adapters: put on a classifier, counted, saved, and put on again elsewhere."""

from pathlib import Path
from typing import Any

from common import cli
from common.cli import InputError
from common.models import Classifier, linear_layers

ALL_LINEAR = "all-linear"


def attach(classifier: Classifier, settings: dict[str, Any]):
    """The classifier with a fresh adapter; only the adapter and the head are trainable.

    Args:
        classifier: the model and the names of its head modules.
        settings: a literal PEFT config, such as ``{"r": 8, "lora_alpha": 16}``. ``peft_type`` is
            LORA unless given. ``target_modules`` is "all-linear" unless given: every linear layer
            of the backbone, found on the model (PEFT's own reading of "all-linear" also takes
            heads, and fails on DistilBERT). None: PEFT's choice for the architecture.

    Raises:
        InputError: PEFT does not know a key, or the config does not fit the model.
    """
    import peft

    kind = str(settings.get("peft_type", "LORA")).upper()
    values = {key: value for key, value in settings.items() if key != "peft_type"}
    if values.setdefault("target_modules", ALL_LINEAR) == ALL_LINEAR:
        values["target_modules"] = linear_layers(classifier.model)
    try:
        config = peft.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(kind)](
            # Without SEQ_CLS the head stays frozen and is not saved. PEFT appends to the list that
            # it is given: hence a copy.
            **{"task_type": "SEQ_CLS", "modules_to_save": list(classifier.head), **values}
        )
        return peft.get_peft_model(classifier.model, config)
    except (TypeError, ValueError) as error:
        raise InputError(f"PEFT refuses this {kind} config: {cli.one_line(error)}; mend the variant") from error


def count_parameters(model) -> dict[str, int]:
    """Parameters of a model with an adapter: trainable, in the adapter, in the head, in all.

    Head and adapter apart, since the head is often the larger: DistilBERT with r = 8 on query and
    value trains 147 thousand in the adapter and 592 thousand in the head. ``num_total_params``
    counts the head once, though PEFT keeps the untrained original of it.
    """
    trainable = {n: p.numel() for n, p in model.named_parameters() if p.requires_grad}
    head = sum(count for name, count in trainable.items() if ".modules_to_save." in name)
    originals = sum(p.numel() for n, p in model.named_parameters() if ".original_module." in n)
    return {
        "num_trainable_params": sum(trainable.values()),
        "num_adapter_params": sum(trainable.values()) - head,
        "num_head_params": head,
        "num_total_params": sum(p.numel() for p in model.parameters()) - originals,
    }


def save(model, tokenizer, source: dict[str, Any], directory: Path) -> None:
    """Save an adapter with its head, and what it takes to use it elsewhere.

    The directory holds PEFT's files, the config of the classifier (class names, padding token) and
    the tokenizer. It names the base model by hub id and commit or by package, not by a path of
    this machine.

    Args:
        model: the trained ``PeftModel``.
        tokenizer: as it tokenised the training rows.
        source: the content of the model's source.json.
        directory: made if it is not there.
    """
    config = model.peft_config["default"]
    config.base_model_name_or_path = source.get("version") or source["name"]
    config.revision = source.get("revision")
    model.save_pretrained(directory, save_embedding_layers=False)
    model.get_base_model().config.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def load(classifier: Classifier, directory: Path):
    """The classifier with a saved adapter and its saved head, ready to predict."""
    import peft

    try:
        return peft.PeftModel.from_pretrained(classifier.model, directory)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{directory} does not load on this model: {cli.one_line(error)}") from error


def size_bytes(directory: Path) -> int:
    """The bytes of the adapter's weights, head included: what a user would ship per task."""
    return sum(file.stat().st_size for file in Path(directory).glob("*.safetensors"))

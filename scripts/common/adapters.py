"""Adapters: put on a classifier, counted, saved, and put on again elsewhere."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from common import cli
from common.cli import InputError
from common.models import Classifier, linear_layers

ALL_LINEAR = "all-linear"
OWN_TARGETS = ("IA3", "LN_TUNING")  # they name layers by role, and adapt norms
WEIGHTS = "adapter_model.safetensors"

# What PEFT and torch raise when a config does not fit a model; each method has its own way.
REFUSALS = (AttributeError, KeyError, RuntimeError, TypeError, ValueError)


def attach(classifier: Classifier, settings: dict[str, Any], steps: int | None = None):
    """The classifier with a fresh adapter; only the adapter and the head are trainable.

    Args:
        classifier: the model and the names of its head modules.
        settings: a literal PEFT config, such as ``{"r": 8, "lora_alpha": 16}``. ``peft_type`` is
            LORA unless given. ``target_modules`` is "all-linear" unless given: every linear layer
            of the backbone, found on the model (PEFT's own reading of "all-linear" also takes
            heads, and fails on DistilBERT). None: PEFT's choice for the architecture, which is also
            the default of IA3 and LN_TUNING. PREFIX_TUNING and its like have no such key.
        steps: of the training to come; AdaLoRA plans its ranks by it.

    Raises:
        InputError: PEFT does not know a key, the config does not fit the model, or it adapts
            nothing.
    """
    import peft

    kind = str(settings.get("peft_type", "LORA")).upper()
    try:
        config_class = peft.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(kind)]
        linear = kind not in OWN_TARGETS and "target_modules" in config_class.__dataclass_fields__
        values = completed(settings, classifier, linear)
        if kind == "ADALORA" and steps:
            values = budget(steps) | values
        config = config_class(**values)
        model = peft.get_peft_model(classifier.model, config)
        if not count_parameters(model)["num_adapter_params"]:
            raise ValueError("it adapts nothing in this model")
        return model
    except REFUSALS as error:
        raise InputError(
            f"PEFT refuses this {kind} config: {cli.one_line(error)}; mend the variant"
        ) from error


def completed(settings: dict[str, Any], classifier: Classifier, linear: bool) -> dict[str, Any]:
    """A PEFT config with what a classifier needs: the layers to adapt, the head, the task.

    Args:
        settings: as in ``attach``.
        classifier: as in ``attach``.
        linear: whether the linear layers are adapted unless the settings name others.
    """
    values = {key: value for key, value in settings.items() if key != "peft_type"}
    if linear:
        values.setdefault("target_modules", ALL_LINEAR)
    if values.get("target_modules") == ALL_LINEAR:
        values["target_modules"] = linear_layers(classifier.model)
    if values.setdefault("task_type", "SEQ_CLS") != "SEQ_CLS":
        # Under another task the head stays frozen and is not saved.
        raise ValueError(f"`task_type` is {values['task_type']!r}, and a classifier's is SEQ_CLS")
    # A list of its own: PEFT appends to the one that it is given.
    values["modules_to_save"] = [*classifier.head, *(values.get("modules_to_save") or [])]
    return values


def budget(steps: int) -> dict[str, int]:
    """AdaLoRA's schedule: a fifth of the steps before ranks are taken away, a fifth after."""
    return {"total_step": steps, "tinit": steps // 5, "tfinal": steps // 5}


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
    config, base = model.peft_config["default"], model.get_base_model()
    config.base_model_name_or_path = source.get("version") or source["name"]
    config.revision = source.get("revision")
    sort_names(config)
    model.save_pretrained(directory, save_embedding_layers=False)
    (directory / "README.md").unlink()  # PEFT's template of a card, which tells nothing
    base.config.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def sort_names(config) -> None:
    """Put the module names of a PEFT config in order, each once.

    PEFT keeps them in sets, which are written in another order by every process, and names the head
    again that it was given. Equal cells have equal files.
    """
    for key, value in vars(config).items():
        if isinstance(value, set) or (key == "modules_to_save" and value):
            setattr(config, key, sorted(set(value)))


def load(classifier: Classifier, directory: Path):
    """The classifier with a saved adapter and its saved head, ready to predict.

    Raises:
        InputError: the directory holds no adapter, one of another model, or not all of its weights.
    """
    import peft
    import safetensors

    try:
        with safetensors.safe_open(directory / WEIGHTS, framework="pt") as file:
            saved = set(file.keys())
        require_none(missing_head(classifier, saved), directory)
        model = peft.PeftModel.from_pretrained(classifier.model, directory)
    except (OSError, *REFUSALS, safetensors.SafetensorError) as error:
        raise InputError(
            f"{directory} does not load on this model: {cli.one_line(error)}; train the cell again"
        ) from error
    wanted = peft.get_peft_model_state_dict(model, save_embedding_layers=False).keys()
    require_none(sorted(wanted - saved), directory)
    return model


def missing_head(classifier: Classifier, saved: Collection[str]) -> list[str]:
    """The weights of a head that are not among saved ones: PEFT would keep those just drawn."""
    head = [
        f".{module}.{name}"
        for module in classifier.head
        for name, _ in classifier.model.get_submodule(module).named_parameters()
    ]
    return [name for name in head if not any(key.endswith(name) for key in saved)]


def require_none(missing: list[str], directory: Path) -> None:
    """Refuse an adapter that lacks weights: PEFT does no more than warn."""
    if missing:
        raise InputError(
            f"{directory / WEIGHTS} lacks {len(missing)} weights of this model, such as "
            f"{missing[0].lstrip('.')}: train the cell again"
        )

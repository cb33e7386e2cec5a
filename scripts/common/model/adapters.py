"""Adapters: put on a classifier, counted, saved, and put on again elsewhere."""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import checksums, cli, files
from common.cli import InputError
from common.model import models, quantization
from common.model.models import Classifier

ALL_LINEAR = "all-linear"
WEIGHTS = "adapter_model.safetensors"

# What PEFT and torch raise when a config does not fit a model; each method has its own way.
REFUSALS = (AttributeError, KeyError, RuntimeError, TypeError, ValueError)


def attach(classifier: Classifier, settings: dict[str, Any], steps: int | None = None):
    """Return the classifier with a fresh adapter; only the adapter and the head are trainable.

    Args:
        classifier: the model and the names of its head modules.
        settings: a literal PEFT config, such as ``{"r": 8, "lora_alpha": 16}``. ``peft_type`` is
            LORA unless given. ``target_modules`` is read off the model unless given (``targets``);
            None: PEFT's choice for the architecture.
        steps: of the training to come; AdaLoRA plans its ranks by it.

    Raises:
        InputError: PEFT does not know a key, the config does not fit the model, or it adapts
            nothing.
    """
    import peft

    method = str(settings.get("peft_type", "LORA")).upper()
    try:
        config_class = peft.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(method)]
        values = {key: value for key, value in settings.items() if key != "peft_type"}
        values = default_config_values(method, config_class, classifier.model) | values
        if method == "ADALORA" and steps:
            values = adalora_schedule(steps) | values
        config = config_class(**add_classifier_fields(values, classifier))
        model = peft.get_peft_model(classifier.model, config)
        if not count_parameters(model)["num_adapter_params"]:
            raise ValueError("it adapts nothing in this model")
        return model
    except REFUSALS as error:
        raise InputError(
            f"PEFT refuses this {method} config: {cli.one_line(error)}; mend the variant"
        ) from error


def default_config_values(method: str, config_class: Any, model: Any) -> dict[str, Any]:
    """Return what a PEFT config holds by default, read off the model.

    Methods that adapt layers get their names. A tuned prompt is as wide as the embeddings, which in
    some models (ALBERT, ELECTRA, OPT-350M) are narrower than the layers; PEFT takes the layers'
    width, and does not find that of DistilBERT.
    """
    known = config_class.__dataclass_fields__
    if "target_modules" in known:
        return targets(method, model)
    if "num_virtual_tokens" in known:
        embedded = method in ("PROMPT_TUNING", "P_TUNING")
        width = model.get_input_embeddings().embedding_dim if embedded else model.config.hidden_size
        return {
            "token_dim": width,
            "num_layers": model.config.num_hidden_layers,
            "num_attention_heads": model.config.num_attention_heads,
        }
    return {}


def targets(method: str, model: Any) -> dict[str, Any]:
    """Return the layers that a method adapts: every linear one, unless it is made for others.

    PEFT's own reading of "all-linear" takes heads too, and fails on DistilBERT. LN_TUNING adapts
    the norms. IA3 scales keys, values and what enters the last layer of a block: PEFT knows their
    names in some architectures; in the others the outputs of all linear layers are scaled.
    """
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING

    if method == "LN_TUNING":
        return {"target_modules": models.norms(model)}
    if method != "IA3":
        return {"target_modules": ALL_LINEAR}
    if model.config.model_type in TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING:
        return {}
    return {"target_modules": ALL_LINEAR, "feedforward_modules": []}


def add_classifier_fields(values: dict[str, Any], classifier: Classifier) -> dict[str, Any]:
    """Return a PEFT config with what a classifier needs.

    The task, the head, the names of layers.
    """
    if values.get("target_modules") == ALL_LINEAR:
        values["target_modules"] = models.linear_layers(classifier.model)
    if values.setdefault("task_type", "SEQ_CLS") != "SEQ_CLS":
        # Under another task the head stays frozen and is not saved.
        raise ValueError(f"`task_type` is {values['task_type']!r}, and a classifier's is SEQ_CLS")
    if isinstance(values.get("modules_to_save"), str):
        raise ValueError("`modules_to_save` is a text: make it a list of names")
    # A list of its own: PEFT appends to the one that it is given.
    values["modules_to_save"] = [*classifier.head, *(values.get("modules_to_save") or [])]
    return values


def adalora_schedule(steps: int) -> dict[str, int]:
    """Return AdaLoRA's schedule.

    A fifth of the steps before ranks are taken away, a fifth after.
    """
    return {"total_step": steps, "tinit": steps // 5, "tfinal": steps // 5}


def method_of(model) -> str | None:
    """Return the PEFT method of a model; None if it has no adapter."""
    configs = getattr(model, "peft_config", None)
    return configs["default"].peft_type.value if configs else None


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
        "num_total_params": sum(map(size, model.parameters())) - originals,
    }


def size(parameter: Any) -> int:
    """Return how many numbers a parameter holds; bitsandbytes packs two of 4 bits into a byte."""
    packed = type(parameter).__name__ == "Params4bit"
    return parameter.numel() * (2 * parameter.element_size() if packed else 1)


def save(model, name: str, revision: str | None, directory: Path) -> None:
    """Save an adapter with its head and the config of the classifier, as PEFT does.

    Args:
        model: the trained ``PeftModel``.
        name: of the base model: its hub id, or package and version; no path of this machine.
        revision: its commit on the hub.
        directory: made if it is not there.
    """
    config, base = model.peft_config["default"], model.get_base_model()
    config.base_model_name_or_path, config.revision = name, revision
    if getattr(config, "tokenizer_name_or_path", None):
        config.tokenizer_name_or_path = name
    sort_names(config)
    model.save_pretrained(directory, save_embedding_layers=False)
    # PEFT's card is a form to fill in; eval_lora writes one with the figures.
    (directory / "README.md").unlink(missing_ok=True)
    # With it in the config, transformers would take the base model's file for quantised.
    vars(base.config).pop("quantization_config", None)
    base.config.save_pretrained(directory)


def sort_names(config) -> None:
    """Put the module names of a PEFT config in order, each once.

    PEFT keeps them in sets, which are written in another order by every process, and names the head
    again that it was given. Equal cells have equal files.
    """
    for key, value in vars(config).items():
        if isinstance(value, set) or (key == "modules_to_save" and value):
            setattr(config, key, sorted(set(value)))


def load(base: Path, directory: Path, options: dict[str, Any], head: list[str], seed: int) -> Any:
    """Return a classifier with a saved adapter and its saved head, loaded as a user of PEFT would.

    Args:
        base: the directory of the pretrained model.
        directory: what ``save`` wrote.
        options: of the base model's ``from_pretrained``.
        head: full names of the weights of the head.
        seed: of the head that is drawn before the saved one takes its place.

    Raises:
        InputError: the model is damaged, or the directory holds no adapter, one of another model,
            or not all of its weights.
    """
    import peft
    import safetensors
    import transformers

    files.require_directory(base)
    checksums.verify(base)
    models.silence_transformers(transformers)
    transformers.set_seed(seed)
    try:
        with safetensors.safe_open(directory / WEIGHTS, framework="pt") as file:
            saved = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
        require_head(head, saved, directory)
        with based_on(base, directory) as place:
            model = peft.AutoPeftModelForSequenceClassification.from_pretrained(place, **options)
    except (OSError, *REFUSALS, safetensors.SafetensorError) as error:
        raise InputError(
            f"{directory} does not load on this model: {cli.one_line(error)}; "
            f"{files.remedy(directory)}"
        ) from error
    require_complete(model, saved, directory)
    quantization.without_packing(model)
    return model


@contextmanager
def based_on(base: Path, directory: Path) -> Iterator[Path]:
    """The directory of an adapter under another path, where it names a base model of this machine.

    ``AutoPeftModel`` takes the base model from the adapter's config alone, and there stands a hub
    id, or a package, since an adapter travels.
    """
    with files.workspace() as folder:
        for file in directory.iterdir():
            (folder / file.name).symlink_to(file.resolve())
        config = folder / "adapter_config.json"
        here = {"base_model_name_or_path": str(base.resolve()), "revision": None}
        content = json.loads(config.read_text(encoding="utf-8")) | here
        config.unlink()
        config.write_text(json.dumps(content), encoding="utf-8")
        yield folder


def require_head(head: list[str], saved: Collection[str], directory: Path) -> None:
    """Refuse an adapter that came without its head.

    PEFT wants the modules that the adapter's config names. A head that was not named, and so not
    saved, it keeps as it was drawn.
    """
    if missing := [name for name in head if not any(key.endswith(f".{name}") for key in saved)]:
        raise models.incomplete(directory, missing)


def require_complete(model: Any, saved: dict[str, list[int]], directory: Path) -> None:
    """Refuse an adapter of which a weight is missing or of another shape: PEFT goes on without.

    Args:
        model: with the adapter loaded.
        saved: shapes of the saved weights, by name.
        directory: to name.
    """
    import peft

    state = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    if wrong := [name for name, value in state.items() if saved.get(name) != list(value.shape)]:
        raise models.incomplete(directory, sorted(wrong))

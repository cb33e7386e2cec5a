"""A pretrained model as a classifier: its head, its layers, its source.

Works for any architecture that ``AutoModelForSequenceClassification`` knows; what differs between
them is read off the model, not off a table of names.
"""

import argparse
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import checksums, cli, files
from common.cli import InputError
from common.model import quantization
from common.task import SINGLE_LABEL

# Where the head of a classifier comes from, before it is trained.
DRAWN = "drawn"  # from the seed: the model has none, or one for another number of classes

MATCHED = "matched"  # with the model, whose class names are those of the dataset

DECLARED = "declared"  # with the model, whose classes the config names

REDRAWN = "redrawn"  # from the seed: the model has one whose class names are others


@dataclass(frozen=True)
class Classifier:
    """A model with a classification head.

    Attributes:
        model: the ``PreTrainedModel``, in fp32 on the CPU.
        head: names of the modules that are not pretrained, such as ``score`` or ``classifier``:
            they must be trained and saved whatever the variant.
        drawn: names of the weights that were drawn from the seed: the directory lacked them, or had
            them for other classes.
        head_origin: one of DRAWN, MATCHED, DECLARED and REDRAWN.
        own_classes: of a head that came with the model, its class names in its own order; else [].
    """

    model: Any
    head: list[str]
    drawn: list[str]
    head_origin: str
    own_classes: list[str]

    @property
    def pretrained_head(self) -> bool:
        """Return whether the head came with the model, for the same classes: no seed draws it."""
        return not self.drawn

    def head_record(self) -> dict[str, Any]:
        """Return what train_info says of the head before its training."""
        return {
            "pretrained_head": self.pretrained_head,
            "head_origin": self.head_origin,
            "head_own_classes": self.own_classes,
        }

    def log_head(self, log: logging.Logger) -> None:
        """Log where the head comes from, if the model brought one of its own."""
        brought = f"the model brought a trained head for {', '.join(self.own_classes)}"
        if self.head_origin == REDRAWN:
            log.warning(
                "%s, which are not the classes of this dataset by name: a new head was drawn; if "
                "they mean the same, set `head: {classes: [...]}` of the model to the dataset's "
                "name for each of them, in this order", brought,
            )  # fmt: skip
        elif self.pretrained_head:
            log.info("%s: it is used, its classes put in the order of the dataset", brought)

    def head_parameters(self) -> dict[str, Any]:
        """Return the parameters of the head, by their full names."""
        return {
            f"{module}.{name}": parameter
            for module in self.head
            for name, parameter in self.model.get_submodule(module).named_parameters()
        }


def add_head_options(parser: argparse.ArgumentParser) -> None:
    """Add the option of the stages that use a head which a model may have brought."""
    parser.add_argument(
        "--classes",
        action=cli.Collect,
        nargs="+",
        help="label of each output of the model's own head, in its order",
    )


def load_classifier(
    directory: Path,
    labels: Sequence[str],
    pad_token_id: int,
    seed: int,
    quantized: dict[str, Any] | None = None,
    classes: Sequence[str] | None = None,
) -> Classifier:
    """Return a pretrained model with a classification head, drawn from ``seed`` where it has none.

    A head that the model brought is used if its classes are those of the dataset, whatever their
    order: by name (case does not count), or as ``classes`` declares. Its outputs are put in the
    order of ``labels``. Otherwise it is drawn anew, since numbers alone do not tell which class is
    which.

    Args:
        directory: config and safetensors weights, as ``fetch_model`` leaves them.
        labels: class names; the head has one output for each, in this order.
        pad_token_id: the token that the model skips when it looks for the end of a text.
        seed: set before the model is made, so that equal seeds draw equal heads.
        quantized: as ``quantization.options`` gives it; None: weights in fp32.
        classes: the label of each output of a head that the model brought, in the model's order;
            None: its own names count.

    Raises:
        InputError: the directory holds no model that loads as a classifier, or ``classes`` are not
            the labels, or declared for a model that brought no such head.
    """
    import safetensors
    import transformers

    files.require_directory(directory)
    checksums.verify(directory)
    transformers.set_seed(seed)
    silence_transformers(transformers)
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
    head = head_modules(model, drawn)
    if drawn:
        if classes:
            raise InputError(
                f"`head.classes` names {len(classes)} classes, and {directory} has no trained head "
                f"for {len(labels)}: take `classes` out"
            )
        return Classifier(model, head, drawn, DRAWN, [])
    own = own_classes(directory, len(labels))
    order = class_order(classes or own, labels)
    if classes and order is None:
        raise InputError(
            f"`head.classes` is {', '.join(classes)}, and the classes of the dataset are "
            f"{', '.join(labels)}: name each of them once, in the order of the model's own "
            f"classes, {', '.join(own)}"
        )
    if order is None or not reorder(model, head, order):
        redraw(model, head, seed)
        drawn = sorted(name for name in dict(model.named_parameters())
                       if name.startswith(tuple(f"{module}." for module in head)))  # fmt: skip
        return Classifier(model, head, drawn, REDRAWN, own)
    return Classifier(model, head, [], DECLARED if classes else MATCHED, own)


def own_classes(directory: Path, count: int) -> list[str]:
    """Return the class names of a model in its own order, LABEL_0 and so on where it has none."""
    names = files.read_json(directory / "config.json").get("id2label") or {}
    return [str(names.get(str(number), f"LABEL_{number}")) for number in range(count)]


def class_order(own: Sequence[str], labels: Sequence[str]) -> list[int] | None:
    """Return the number of each label among a model's own classes; None where they do not match.

    Args:
        own: class names, in the order of the outputs of the head.
        labels: class names of the dataset, in its order.
    """
    folded = [[name.strip().casefold() for name in each] for each in (own, labels)]
    for names, wanted in ((list(own), list(labels)), folded):
        if len(set(names)) == len(names) and sorted(names) == sorted(wanted):
            return [names.index(label) for label in wanted]
    return None


def reorder(model: Any, head: list[str], order: list[int]) -> bool:
    """Put the outputs of a head in another order; return whether that could be done.

    The layer that gives the outputs is the last linear one of the head with as many of them. A
    forward pass before and after shows that it is: architectures name and nest it differently.

    Args:
        model: a classifier.
        head: names of its head modules.
        order: for each output, the number that it had.
    """
    import torch

    if order == sorted(order):
        return True
    layers = [
        layer
        for name in head
        for layer in model.get_submodule(name).modules()
        if isinstance(layer, torch.nn.Linear) and layer.out_features == len(order)
    ]
    for layer in reversed(layers):
        if not layer.weight.is_floating_point():
            continue  # held in 4 or 8 bits
        before = probe_logits(model)
        rearrange(layer, order)
        if torch.allclose(probe_logits(model), before[:, order], rtol=1e-4, atol=1e-5):
            return True
        rearrange(layer, [order.index(number) for number in range(len(order))])  # as it was
    return False


def rearrange(layer: Any, order: list[int]) -> None:
    """Put the outputs of a linear layer in another order, in place."""
    import torch

    with torch.no_grad():
        for parameter in (layer.weight, layer.bias):
            if parameter is not None:
                parameter.copy_(parameter[order].clone())


def probe_logits(model: Any) -> Any:
    """Return the logits of one made-up text, shape (1, classes)."""
    import torch

    end = model.config.eos_token_id
    end = end[0] if isinstance(end, list) else end
    known = range(min(8, model.config.get_text_config().vocab_size))
    ids = [number for number in known if number != end] + [0 if end is None else end]
    tokens = torch.tensor([ids], device=model.device)
    model.eval()
    with torch.inference_mode():
        return model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits.float()


def redraw(model: Any, head: list[str], seed: int) -> None:
    """Draw the weights of the modules of a head from a seed, in place."""
    import transformers

    transformers.set_seed(seed)
    fresh = type(model)(model.config)  # draws all weights, as a model without a head would
    for name in head:
        model.get_submodule(name).load_state_dict(fresh.get_submodule(name).state_dict())


def loading_options(
    labels: Sequence[str], pad_token_id: int, quantized: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the options of ``from_pretrained`` that make a classifier of a pretrained model."""
    import torch
    import transformers

    names = dict(enumerate(labels))
    options = {
        "num_labels": len(labels),
        "id2label": names,
        "label2id": {name: number for number, name in names.items()},
        "pad_token_id": pad_token_id,
        "problem_type": SINGLE_LABEL.problem_type,
        "dtype": torch.float32,
        "use_safetensors": True,
        "trust_remote_code": False,
        "ignore_mismatched_sizes": True,  # a head for other classes is drawn anew
    }
    if quantized:
        quantization.require_bitsandbytes()
        options["quantization_config"] = transformers.BitsAndBytesConfig(**quantized)
    return options


def silence_transformers(transformers) -> None:
    """Leave out the load report: that a head is newly drawn is what every run here expects.

    And a warning of transformers about a name that PEFT 0.21 uses.
    """
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def head_modules(model, drawn: list[str]) -> list[str]:
    """Return names of the modules of a classifier that are no part of the pretrained weights.

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
    """Return whether a module holds any parameter: a dropout beside the backbone does not."""
    return next(module.parameters(), None) is not None


def linear_layers(model) -> list[str]:
    """Return full names of the linear layers of the backbone, the pooler left out.

    What LoRA can adapt.

    GPT-2 calls its linear layers Conv1D. A pooler is no layer of the backbone: where the checkpoint
    lacks it, it is part of the head (``head_modules``), and else it stays as it is.
    """
    import torch
    import transformers

    kinds = (torch.nn.Linear, transformers.pytorch_utils.Conv1D)
    return [name for name, module in backbone_modules(model) if isinstance(module, kinds)]


def norms(model) -> list[str]:
    """Return full names of the normalisation layers of the backbone: LayerNorm, LlamaRMSNorm ..."""
    return [
        name for name, module in backbone_modules(model) if type(module).__name__.endswith("Norm")
    ]


def backbone_modules(model) -> Iterator[tuple[str, Any]]:
    """Yield the modules of the backbone by full name, the pooler left out."""
    prefix = f"{model.base_model_prefix}."
    for name, module in model.named_modules():
        if name.startswith(prefix) and "pooler" not in name:
            yield name, module


def incomplete(directory: Path, names: Sequence[str]) -> InputError:
    """Return the error for a saved cell whose weights are missing or of another shape."""
    return InputError(
        f"{directory} lacks {len(names)} weights of this model, such as {names[0]}: "
        f"{files.remedy(directory)}"
    )


def base_model(model) -> Any:
    """Return the classifier inside a model with an adapter; the model itself if it has none."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def has_frozen_parameters(model) -> bool:
    """Return whether some of a model is not trained: not so in full fine-tuning."""
    return not all(parameter.requires_grad for parameter in model.parameters())


def without_backbone_dropout(model) -> None:
    """Keep the frozen backbone in eval mode while the adapter and the head train.

    Dropout then acts only where something is learned. In a frozen backbone it costs a factor of two
    to three on the CPU (it draws its mask on one thread, and turns the fused attention kernel off).
    """
    classifier = base_model(model)
    frozen = list(frozen_modules(getattr(classifier, classifier.base_model_prefix)))
    plain_train = model.train

    def change(mode: bool) -> None:
        plain_train(mode)
        for module in frozen:
            module.training = False

    def train(mode: bool = True):
        if mode != model.training:  # the Trainer calls it before every step, and the model is large
            change(mode)
        return model

    change(model.training)
    model.train = train


def frozen_modules(module) -> Iterator[Any]:
    """A module and all modules in it, but for adapters and modules that are trained in full."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    if isinstance(module, BaseTunerLayer):
        yield from frozen_modules(module.get_base_layer())
    elif not isinstance(module, ModulesToSaveWrapper):
        if getattr(module, "gradient_checkpointing", False):
            without_own_dropout(module)
        else:
            yield module
        for child in module.children():
            yield from frozen_modules(child)


def without_own_dropout(layer: Any) -> None:
    """Keep a checkpointed layer from dropping anything out itself, as OPT's does.

    Its mode must stay: in eval mode it would not be checkpointed.
    """
    for name, value in vars(layer).items():
        if "dropout" in name and isinstance(value, float):
            setattr(layer, name, 0.0)

"""Dropout where something is learned, and not in a frozen backbone."""

from collections.abc import Iterator
from typing import Any


def base_model(model) -> Any:
    """The classifier inside a model with an adapter; the model itself if it has none."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def has_frozen_parameters(model) -> bool:
    """Whether some of a model is not trained: not so in full fine-tuning."""
    return not all(parameter.requires_grad for parameter in model.parameters())


def without_backbone_dropout(model) -> None:
    """Keep the frozen backbone in eval mode while the adapter and the head train.

    Dropout then acts only where something is learned. In a frozen backbone it costs a factor of two
    to three on the CPU (it draws its mask on one thread, and turns the fused attention kernel off).
    """
    classifier = base_model(model)
    frozen = list(frozen_modules(getattr(classifier, classifier.base_model_prefix)))
    plain_train = model.train

    def train(mode: bool = True):
        plain_train(mode)
        for module in frozen:
            module.training = False
        return model

    model.train = train  # the Trainer calls it before every step


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

"""A forward pass: rows in, logits out, on the device that the job was given."""

from collections.abc import Sequence
from typing import Any

from common.cli import InputError
from common.model.padding import Padding


def logits(model: Any, rows: Sequence[dict[str, Any]], padding: Padding) -> Any:
    """What a model says of rows in one padded batch.

    Args:
        model: a classifier, on any device; it is put in eval mode.
        rows: tokenised rows.
        padding: makes the batch.

    Returns:
        A float32 tensor of shape (rows, classes), on the CPU.

    Raises:
        InputError: a logit is not finite.
    """
    import torch

    model.eval()
    with torch.inference_mode():
        inputs = {name: tensor.to(model.device) for name, tensor in padding.texts(rows).items()}
        found = model(**inputs).logits.float().cpu()
    if not found.isfinite().all():
        raise InputError(
            f"the logits of this {model.config.model_type} are not finite, and nothing is made of "
            "them: its training diverged, or its precision is too low; train it with a lower "
            "`learning_rate` or in fp32"
        )
    return found


def on_device(model: Any) -> Any:
    """The model on the device to compute on: the GPU that the job was given, else the CPU."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # A quantised model is loaded to its device, and some cannot be moved.
    return model if model.device.type == device.type else model.to(device)

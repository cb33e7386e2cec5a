"""Round-trip and padding checks: a reloaded cell is the trained one, or it fails without figures.

Before it is trained: that padding leaves its answers alone. After it was saved: that the saved
model answers as the trained one did in memory. ``train_lora`` records the logits of a few rows
before it saves; ``eval_lora``, a process of its own, loads what was saved over a head of another
seed and compares. A head that was not saved, a padding token that got lost, an adapter that reloads
as another model: all of it shows here.
"""

from collections.abc import Sequence
from typing import Any

from common import cli, task
from common.cli import InputError
from common.data.encoding import TYPES
from common.model import collator
from common.model.collator import Padding

ROWS = 16
# Of a logit, as a share of the largest one, or of 1: where memory lies otherwise, libraries add in
# another order even in the same program (GPT-Neo and GPT-J: 1.5e-8). Two units in the last place of
# float32; what was found is on record.
SAME_PROGRAM_ROUNDING = 2.5e-7
# Of a probability; and of a logit where another processor, device or number of threads adds in
# another order. Rounding in fp32 stays below 1e-6.
ROUNDING = 1e-4
# Layers of 4 bits compute in lower precision, those of 8 bits decide by the whole batch which
# columns they compute in full.
QUANTIZED_ROUNDING = 0.05

# What models raise that do not run: each has its own way.
FAILURES = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)


def choose_padding(model: Any, rows: Any, token_id: int) -> tuple[Padding, float]:
    """Return the padding that a model is blind to: on the right if it can be, else on the left.

    It depends on the architecture and on the method. Most classifiers are exact padded on the
    right; GPT-2 returns other logits padded on the left, without an error. XLNet classifies by the
    last position and wants its padding on the left; so does OPT with a tuned prompt, which reaches
    the model as embeddings, in which no end of the text can be seen. GPT-2 with a tuned prompt has
    no right side.

    Args:
        model: a classifier, with its adapter.
        rows: a tokenised split; its longest row pads its shortest.
        token_id: what fills a row up.

    Returns:
        the padding, and by how much it moves a probability.

    Raises:
        InputError: on either side it moves them by more than rounding explains, so that the figures
            would be chance; or the model does not run at all.
    """
    right, left = Padding(token_id, "right"), Padding(token_id, "left")
    pair = probe(rows)
    try:
        gaps = {right: difference(model, pair, right)}
        if not gaps[right] <= ROUNDING:  # also where it is no number
            gaps[left] = difference(model, pair, left)
    except FAILURES as error:
        longest = max(rows["length"])
        raise InputError(
            f"this {model.config.model_type} does not run on texts of {longest} tokens: "
            f"{cli.one_line(error)}; choose another `peft_type` or model, or lower `max_length`"
        ) from error
    best = min(gaps, key=lambda padding: gaps[padding])
    if not gaps[best] <= rounding(model):
        raise InputError(
            f"padding moves the probabilities of this {model.config.model_type}, by "
            f"{gaps[right]:.2g} on the right and {gaps[left]:.2g} on the left: its figures would "
            "be chance; choose another `peft_type` or model"
        )
    return best, gaps[best]


def rounding(model: Any) -> float:
    """Return how far a probability or a logit may move for no other reason than rounding."""
    return QUANTIZED_ROUNDING if getattr(model, "is_quantized", False) else ROUNDING


def probe(rows: Any) -> list[dict[str, Any]]:
    """The shortest and the longest row of a split, made of different lengths if they are not."""
    import numpy as np

    short, long = (dict(rows[int(pick(rows["length"]))]) for pick in (np.argmin, np.argmax))
    if len(short["input_ids"]) == len(long["input_ids"]):
        # An inner token goes: the special ones around a text must stay.
        for column in {"input_ids", TYPES} & short.keys():
            short[column] = [*short[column][:1], *short[column][2:]]
    return [short, long]


def difference(model: Any, rows: Sequence[dict[str, Any]], padding: Padding) -> float:
    """By how much a probability of a row in a padded batch differs from that of the row alone.

    Args:
        model: a classifier, with its adapter.
        rows: tokenised rows of different lengths.
        padding: makes the batch.
    """
    import torch

    together = collator.logits(model, rows, padding)
    alone = torch.cat([collator.logits(model, [row], padding) for row in rows])
    activation = task.of_model(model).activation
    return float((activation(together) - activation(alone)).abs().max())


def rows(split: Any) -> list[dict[str, Any]]:
    """Return the rows of a tokenised split that the check reads: the first ones."""
    return [split[row] for row in range(min(ROWS, len(split)))]


def passed(
    model: Any, split: Any, padding: Padding, recorded: dict[str, Any], tolerance: float
) -> dict[str, Any]:
    """Return the figures of a saved model that passed: both comparisons, on rows of a split.

    Args:
        model: loaded from disk, on its device.
        split: the tokenised split that the recorded logits are of.
        padding: as it was trained with.
        recorded: the round_trip block of training.json.
        tolerance: what may differ from the recorded logits.

    Raises:
        InputError: it did not pass.
    """
    found = collator.logits(model, rows(split), padding)
    return {
        **check(found, recorded["logits"], tolerance),
        **check_padding(model, probe(split), padding),
    }


def check(found: Any, recorded: list[list[float]], tolerance: float) -> dict[str, float]:
    """Compare the logits of the reloaded model with those of the trained one.

    Args:
        found: of the reloaded model, shape (rows, classes).
        recorded: of the trained one; a float32 is the same number in JSON.
        tolerance: what is allowed, as a share of the largest logit or of 1. On the machine that
            trained it, a reloaded model is the same program on the same numbers:
            ``SAME_PROGRAM_ROUNDING``. Another processor, device or number of threads adds in
            another order: ``rounding``.

    Returns:
        ``reload_difference``, the largest absolute difference, and its ``tolerance``.

    Raises:
        InputError: the difference is larger than the tolerance.
    """
    import numpy as np

    difference = float(np.abs(np.asarray(found) - np.asarray(recorded)).max())
    tolerance *= max(1.0, float(np.abs(np.asarray(recorded)).max()))
    if not difference <= tolerance:  # also where a logit is no number
        raise InputError(
            f"the saved model is not the trained one: its logits differ by {difference:.3g}, "
            f"{tolerance:g} is allowed; a trained module was probably not saved: choose another "
            "variant, or train the cell again"
        )
    return {"reload_difference": difference, "tolerance": tolerance}


def check_padding(model: Any, batch: Sequence[dict[str, Any]], collate: Padding) -> dict[str, Any]:
    """Compare the probabilities of rows in a padded batch with those of each row alone.

    Returns:
        ``padding_side`` and ``padding_difference``, the largest absolute difference.

    Raises:
        InputError: rounding does not explain the difference.
    """
    gap = difference(model, batch, collate)
    if not gap <= rounding(model):
        raise InputError(
            f"padding moves the probabilities of the trained model by {gap:.2g}, "
            f"{rounding(model):g} is allowed: its figures would depend on the batch; "
            "choose another `peft_type` or model"
        )
    return {"padding_side": collate.side, "padding_difference": gap}

"""What a model is made to compute in training, counted: passes, rows, tokens, and padding."""

from typing import Any

from common.model.dropout import base_model


class Work:
    """Counts what passes through a model in training mode, within a ``with`` block.

    Args:
        model: a classifier, called with padded batches and their masks.

    Attributes:
        passes: how often it was called.
        rows: of all batches.
        tokens: real ones, with virtual ones where an adapter puts such before a text.
        positions: tokens and the padding that was computed with them.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.passes = self.rows = self.tokens = self.positions = 0

    @property
    def padding_share(self) -> float:
        """The share of padding among the positions that were computed, from 0 to 1."""
        return round(1 - self.tokens / self.positions, 4) if self.positions else 0.0

    def state(self) -> dict[str, int]:
        """What ``load_state`` needs."""
        return {name: getattr(self, name) for name in ("passes", "rows", "tokens", "positions")}

    def load_state(self, state: dict[str, int]) -> None:
        """Go on from a checkpoint."""
        for name, value in state.items():
            setattr(self, name, value)

    def __enter__(self) -> "Work":
        self._hook = base_model(self.model).register_forward_pre_hook(self.count, with_kwargs=True)
        return self

    def __exit__(self, *_: Any) -> None:
        self._hook.remove()

    def count(self, classifier: Any, _: Any, kwargs: dict[str, Any]) -> None:
        """Before a batch is computed."""
        if not classifier.training:
            return
        mask = kwargs["attention_mask"]
        tokens = int(mask.sum())
        self.passes += 1
        self.rows += len(mask)
        self.tokens += tokens
        self.positions += tokens if is_packed(classifier) else mask.numel()


def is_packed(classifier: Any) -> bool:
    """Whether a classifier computes its batches without their padding."""
    from common.fast.packing import ATTENTION

    return classifier.config._attn_implementation == ATTENTION

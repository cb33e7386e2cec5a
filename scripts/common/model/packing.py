"""Batches without padding: the layers of a model compute real tokens and no others.

A classifier is called as ever, with a padded batch and its mask. Before its first layer the rows
are put one behind the other, without their padding; attention looks at each text by itself; behind
its last layer they are laid out again, and the head finds what it is used to. So rows can be drawn
in random order and cost no more than in order of length. ("Unpadding": Zeng et al. 2022,
arXiv 2208.08124.)

Works for the models of transformers whose attention is exchangeable (its AttentionInterface) and
whose layers stand in one list. Imports transformers, so import it late.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

ATTENTION = "packed"  # under which transformers finds the attention below
# Options of attention that depend on the length of a text: packing would lose them.
BY_LENGTH = ("sliding_window", "softcap", "position_bias", "cache", "s_aux")

READ_FIRST, READ_LAST = "first", "last"


class UnsupportedError(Exception):
    """A model whose layers are of another kind."""


@dataclass
class Layout:
    """Where the tokens of a padded batch stand in the packed one.

    Attributes:
        shape: of the padded batch, (rows, longest).
        lengths: of each row, in tokens.
        places: of each packed token in the flattened padded batch, shape (tokens,).
        runs: how many rows in succession are equally long, and how long.
        moved: what was packed already in this pass, by identity, with the original kept alive.
    """

    shape: tuple[int, int]
    lengths: list[int]
    places: torch.Tensor
    runs: list[tuple[int, int]]
    moved: dict[int, tuple[Any, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, mask: torch.Tensor) -> "Layout":
        """Return the layout of a batch with a mask of shape (rows, longest), 1 for real tokens."""
        real = mask.bool()  # prompt tuning makes a mask of floats
        lengths = real.sum(1).tolist()
        runs = [(len(list(group)), length) for length, group in groupby(lengths)]
        return cls((mask.shape[0], mask.shape[1]), lengths, real.flatten().nonzero()[:, 0], runs)

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor of shape (rows or 1, longest, ...) as (1, tokens, ...)."""
        if tensor.shape[0] == 1:
            tensor = tensor.expand(self.shape[0], *tensor.shape[1:])
        return tensor.flatten(0, 1).index_select(0, self.places).unsqueeze(0)

    def unpack(self, packed: torch.Tensor) -> torch.Tensor:
        """A tensor of shape (1, tokens, ...) as (rows, longest, ...), 0 where padding was."""
        rows, longest = self.shape
        laid = packed.new_zeros(rows * longest, *packed.shape[2:])
        return laid.index_copy(0, self.places, packed[0]).unflatten(0, (rows, longest))

    def packed(self, value: Any) -> Any:
        """Return an argument of a layer, packed if it has a place for each token.

        Tuples in parts.
        """
        if isinstance(value, tuple):
            return tuple(self.packed(part) for part in value)
        if not isinstance(value, torch.Tensor) or value.ndim < 2:
            return value
        if value.shape[1] != self.shape[1] or value.shape[0] not in (1, self.shape[0]):
            return value
        if id(value) not in self.moved:  # every layer is given the same positions
            self.moved[id(value)] = (value, self.pack(value))
        return self.moved[id(value)][1]

    def read(self, which: str) -> torch.Tensor:
        """Return the packed place of the first or the last token of each row, shape (rows,)."""
        lengths = torch.tensor(self.lengths, device=self.places.device)
        ends = lengths.cumsum(0)
        return ends - 1 if which == READ_LAST else ends - lengths

    def attend(
        self,
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        kwargs: dict[str, Any],
    ) -> torch.Tensor:
        """Return attention within each text; arguments and result are those of a ``Packing``."""
        parts = zip(*(by_run(each, self.runs) for each in (query, key, value)), strict=True)
        outputs = [sdpa_attention_forward(module, *part, None, **kwargs)[0] for part in parts]
        return torch.cat([output.flatten(0, 1) for output in outputs]).unsqueeze(0)


@dataclass(kw_only=True)
class StaticLayout(Layout):
    """A layout whose shapes depend on nothing but the sizes of a batch, for a CUDA graph.

    The packed batch is filled up to a number of tokens. Filler tokens are copies of some place, and
    belong to no text: nothing reads them, and their gradient is 0. ``lengths`` and ``runs`` are
    empty.

    Attributes:
        targets: where each packed token goes back to, in the flattened padded batch, shape
            (tokens,); for filler rows x longest, one place behind the last.
        visible: which places of the padded batch are tokens, shape (rows, longest).
        segments: where each text, and each run of filler, begins in the packed batch, and where
            the last one ends, as int32. None is longer than the longest row.
    """

    targets: torch.Tensor
    visible: torch.Tensor
    segments: torch.Tensor

    def unpack(self, packed: torch.Tensor) -> torch.Tensor:
        """As of a ``Layout``; filler is left out."""
        rows, longest = self.shape
        laid = packed.new_zeros(rows * longest + 1, *packed.shape[2:])
        return laid.index_copy(0, self.targets, packed[0])[:-1].unflatten(0, (rows, longest))

    def attend(
        self,
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        kwargs: dict[str, Any],
    ) -> torch.Tensor:
        """As of a ``Layout``.

        By a kernel for texts of variable length where there is one, on a GPU in half precision;
        else in the padded batch, with a mask.
        """
        causal = kwargs.get("is_causal")
        if causal is None:
            causal = getattr(module, "is_causal", True)
        parts = [each.transpose(1, 2) for each in (query, key, value)]
        if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16):
            return self.attend_variable(parts, causal, kwargs.get("scaling"))
        laid = [self.unpack(part).transpose(1, 2) for part in parts]
        mask = attention_mask(self.visible, causal)
        return self.pack(sdpa_attention_forward(module, *laid, mask, **kwargs)[0])

    def attend_variable(
        self, parts: Sequence[torch.Tensor], causal: bool, scale: float | None
    ) -> torch.Tensor:
        """Return attention of packed parts of shape (1, tokens, heads, size of a head)."""
        from torch.nn.attention.varlen import varlen_attn

        query, key, value = (part[0].to(parts[0].dtype) for part in parts)
        longest = self.shape[1]
        found = varlen_attn(
            query, key, value, self.segments, self.segments, longest, longest,
            scale=scale, window_size=(-1, 0 if causal else -1),
            enable_gqa=query.shape[1] != key.shape[1],
        )  # fmt: skip
        assert isinstance(found, torch.Tensor)  # no more was asked for
        return found.unsqueeze(0)


def attention_mask(visible: torch.Tensor, causal: bool) -> torch.Tensor:
    """Return which tokens each token of a padded batch looks at.

    Args:
        visible: which places are tokens, shape (rows, longest).
        causal: no token looks at later ones.

    Returns:
        booleans of shape (rows, 1, 1 or longest, longest). Each row looks at something, since what
        looks at nothing is no number: padding before a text at itself, a row without a text at all.
    """
    if not causal:
        return (visible | ~visible.any(1, keepdim=True))[:, None, None]
    itself = torch.eye(visible.shape[1], dtype=torch.bool, device=visible.device)
    return (visible[:, None, None] & torch.ones_like(itself).tril()) | itself


class Packing:
    """Packs the batches of a classifier while it is installed.

    Args:
        classifier: a ``PreTrainedModel`` for sequence classification.

    Raises:
        UnsupportedError: its layers do not stand in one list, or its attention cannot be exchanged.

    Attributes:
        layers: of the model, in order.
        layout: of the batch that is being computed; None between batches.
        read: which token of a text is read behind the last layer, READ_FIRST or READ_LAST; None:
            all. Set it, and the last layer attends for that token alone.
        given: the layout of the next batches, where the caller knows it; None: it is read off the
            mask of each.
    """

    def __init__(self, classifier: Any) -> None:
        self.classifier = classifier
        self.layers = layers_of(classifier)
        self.layout: Layout | None = None
        self.read: str | None = None
        self.given: Layout | None = None
        self.in_last_layer = False
        self._hooks: list[Any] = []
        self._before: dict[str, Any] = {}

    def install(self) -> None:
        """Begin to pack."""
        config = self.classifier.config
        self._before = {
            "_attn_implementation_internal": config._attn_implementation,
            "use_cache": getattr(config, "use_cache", None),
        }
        ALL_ATTENTION_FUNCTIONS.register(ATTENTION, self.attention)
        config._attn_implementation_internal = ATTENTION
        if self._before["use_cache"] is not None:
            config.use_cache = False  # nobody generates: keys would be kept for nothing
        hooks = [self.classifier.register_forward_pre_hook(self.begin, with_kwargs=True)]
        for number, layer in enumerate(self.layers):
            hooks.append(layer.register_forward_pre_hook(self.enter(number), with_kwargs=True))
        hooks.append(self.layers[-1].register_forward_hook(self.leave))
        self._hooks = hooks

    def remove(self) -> None:
        """Leave the classifier as it was."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self.layout, self.in_last_layer = [], None, False
        for name, value in self._before.items():
            if value is not None:
                setattr(self.classifier.config, name, value)

    def begin(self, _: Any, __: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before the classifier: find out where its tokens are."""
        mask = kwargs.get("attention_mask")
        if mask is None or mask.ndim != 2 or kwargs.get("past_key_values") is not None:
            raise UnsupportedError("the model is called with no mask of its tokens alone")
        self.layout, self.in_last_layer = self.given or Layout.of(mask), False

    def enter(self, number: int) -> Any:
        """Before a layer: a hook that packs what it is given."""
        last = number == len(self.layers) - 1

        def hook(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            layout = self.current()
            self.in_last_layer = last
            hidden, *others = args
            if any(given(value) and name.endswith("mask") for name, value in kwargs.items()):
                raise UnsupportedError("the model makes masks of its own")
            packed = layout.pack(hidden) if number == 0 else hidden
            return (packed, *map(layout.packed, others)), {
                name: layout.packed(value) for name, value in kwargs.items()
            }

        return hook

    def leave(self, _: Any, __: tuple[Any, ...], outputs: Any) -> Any:
        """Behind the last layer: a hook that lays the batch out again."""
        layout, self.in_last_layer = self.current(), False
        if isinstance(outputs, tuple):
            return (layout.unpack(outputs[0]), *outputs[1:])
        return layout.unpack(outputs)

    def current(self) -> Layout:
        """Return the layout of the batch that is being computed."""
        if self.layout is None:
            raise UnsupportedError("a layer was called by itself")
        return self.layout

    def attention(
        self,
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, None]:
        """Return attention within each text, in the form that transformers wants.

        Args:
            module: the attention layer.
            query: shape (1, heads, tokens, size of a head).
            key: the same; in models that share keys, of fewer heads.
            value: as the key.
            attention_mask: None.
            kwargs: dropout, scaling and others, as transformers hands them over.

        Returns:
            a tensor of shape (1, tokens, heads, size of a head); no weights.
        """
        layout = self.current()
        if attention_mask is not None or any(kwargs.get(name) is not None for name in BY_LENGTH):
            raise UnsupportedError("attention is not of whole texts")
        if self.in_last_layer and self.read is not None:
            return self.attention_of_read(module, query, key, value, kwargs), None
        return layout.attend(module, query, key, value, kwargs), None

    def attention_of_read(
        self, module: Any, query: Any, key: Any, value: Any, kwargs: dict[str, Any]
    ) -> torch.Tensor:
        """Return attention of the tokens that are read; 0 for the others."""
        layout, which = self.current(), self.read
        assert which is not None
        read = layout.read(which)
        queries = query.index_select(2, read).split([count for count, _ in layout.runs], 2)
        # One query to a text: a batch of them is (texts, heads, 1, size of a head).
        parts = zip(
            [each.transpose(0, 2) for each in queries],
            *(by_run(each, layout.runs) for each in (key, value)),
            strict=True,
        )
        outputs = [sdpa_attention_forward(module, *part, None, **kwargs)[0] for part in parts]
        found = torch.cat(outputs).transpose(0, 1)  # (1, texts, heads, size of a head)
        whole = found.new_zeros(1, query.shape[2], *found.shape[2:])
        return whole.index_copy(1, read, found)


def by_run(packed: torch.Tensor, runs: Sequence[tuple[int, int]]) -> Iterator[torch.Tensor]:
    """Yield a packed tensor in parts, one for each run of texts of equal length.

    Args:
        packed: shape (1, heads, tokens, size of a head).
        runs: how many texts, and of what length.

    Returns:
        tensors of shape (texts, heads, length, size of a head).
    """
    parts = packed.transpose(1, 2)[0].split([count * length for count, length in runs])
    for part, (count, length) in zip(parts, runs, strict=True):
        yield part.unflatten(0, (count, length)).transpose(1, 2)


def layers_of(classifier: Any) -> Any:
    """Return the list of the layers of a classifier's backbone.

    Raises:
        UnsupportedError: there is none, or more than one, as in models with encoder and decoder;
            the attention of the model cannot be exchanged; or its layers are called once more in
            the backward pass.
    """
    if not classifier._can_set_attn_implementation():
        raise UnsupportedError("attention cannot be exchanged")
    if any(getattr(module, "gradient_checkpointing", False) for module in classifier.modules()):
        raise UnsupportedError("gradient checkpointing calls layers again, when the batch is gone")
    backbone = getattr(classifier, classifier.base_model_prefix)
    count = getattr(classifier.config, "num_hidden_layers", None)
    lists = [m for m in backbone.modules() if isinstance(m, torch.nn.ModuleList)]
    found = [each for each in lists if len(each) == count and hidden_layers(each)]
    if len(found) != 1:
        raise UnsupportedError(f"{len(found)} lists hold the layers")
    return found[0]


def hidden_layers(modules: Any) -> bool:
    """Return whether modules may be the layers of a transformer.

    Of one class, with modules within.
    """
    return len({type(each) for each in modules}) == 1 and all(any(m.children()) for m in modules)


def given(value: Any) -> bool:
    """Return whether an argument is more than a default."""
    return value is not None and value is not False

"""Texts become token ids: cut at the maximum, unpadded, no special tokens but around them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from common import checksums, cli, files
from common.cli import InputError

UNUSUAL_UNKNOWN_SHARE = 0.05  # of the tokens of texts, that the vocabulary lacks: a warning
TYPES = "token_type_ids"  # of pairs, for models that tell their two texts apart by it


def load_tokenizer(directory: Path):
    """Return the tokenizer of a model, with a padding token.

    A decoder without a padding token gets its end-of-text token: it is masked, and classifiers
    look for the last token before it. On which side a cell is padded, ``padding.choose`` finds out.

    Raises:
        InputError: the directory holds no fast tokenizer, or one without words or padding token.
    """
    import transformers

    files.require_directory(directory)
    checksums.verify(directory)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
    except Exception as error:  # what tokenizers raises is of no closer kind
        raise InputError(
            f"{directory} holds no tokenizer that loads: {cli.one_line(error)}; mend its "
            "tokenizer.json or take another model"
        ) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    require_usable(tokenizer, directory)
    return tokenizer


def require_usable(tokenizer, directory: Path) -> None:
    """Refuse a tokenizer that cannot do its work here.

    Without a vocabulary, transformers (5.23) makes one that knows no word, and says nothing.
    """
    vocabularies = sorted({"tokenizer.json", *tokenizer.vocab_files_names.values()})
    if not any((Path(directory) / name).exists() for name in vocabularies):
        raise InputError(
            f"{directory} holds no tokenizer, that is, no {' or '.join(vocabularies)}: add the "
            "file or take another model"
        )
    if not tokenizer.is_fast:
        raise InputError(
            f"{directory} holds a {type(tokenizer).__name__}, which has no fast version: add a "
            "tokenizer.json or take another model"
        )
    if tokenizer.pad_token_id is None:
        raise InputError(
            f"{directory} holds a tokenizer with neither a padding nor an end-of-text token: set "
            "`pad_token` in its tokenizer_config.json"
        )


@dataclass(frozen=True)
class Encoder:
    """Makes tokens of texts, or of pairs of texts, in one way for training and for prediction.

    Attributes:
        tokenizer: as ``load_tokenizer`` returns it.
        max_length: tokens kept of each text, special ones included. Of a pair, the longer text is
            cut first.
        separator: put before the second text of a pair; None where texts are no pairs.
        types: whether the tokens of a pair tell which of its texts they are of.

    Raises:
        InputError: the maximum leaves no token of a text.
    """

    tokenizer: Any
    max_length: int
    separator: str | None = None
    types: bool = False

    def __post_init__(self) -> None:
        needed = shortest(self.tokenizer, self.separator)
        if self.max_length < needed:
            each = "a text" if self.separator is None else "each text of a pair"
            raise InputError(
                f"max_length {self.max_length} leaves no token of {each} beside those that "
                f"{self.tokenizer.name_or_path} adds: set {needed} or more"
            )

    def __call__(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> dict[str, list]:
        """Return the tokens of texts, in order.

        Args:
            texts: any strings.
            pairs: the second text of each; None where texts are no pairs.

        Returns:
            input_ids (a list per text), with types token_type_ids (as long), length (tokens) and
            whole_length (tokens of the text before it was cut, special ones included) and unknown
            (tokens that stand for what the vocabulary lacks).
        """
        known = self.tokenizer
        special = set(known.all_special_ids) - {known.unk_token_id}
        seconds = None if pairs is None else [f"{self.separator}{text}" for text in pairs]
        rows = self.encodings(texts, seconds, self.max_length)
        tokens: dict[str, list] = {
            "input_ids": [plain_ids(row, special, known.unk_token_id) for row in rows]
        }
        tokens["unknown"] = [ids.count(known.unk_token_id) for ids in tokens["input_ids"]]
        if self.types:
            tokens[TYPES] = [row.type_ids for row in rows]
        return tokens | {
            "length": [len(row) for row in rows],
            "whole_length": self.whole_lengths(rows, texts, seconds),
        }

    def encodings(
        self, texts: Sequence[str], seconds: Sequence[str] | None, max_length: int | None
    ) -> list[Any]:
        """Return ``tokenizers.Encoding`` of each text, cut at a maximum; None: not cut."""
        return self.tokenizer(
            texts,
            seconds,
            truncation=max_length is not None,
            max_length=max_length,
            split_special_tokens=True,
            verbose=False,  # of texts that are too long for the model: this one is asked for
        ).encodings

    def whole_lengths(
        self, rows: list[Any], texts: Sequence[str], seconds: Sequence[str] | None
    ) -> list[int]:
        """Return the tokens that each text has when it is not cut.

        Args:
            rows: the encodings; of a text that was cut, it holds the pieces that were cut off.
            texts: what was encoded.
            seconds: the same of pairs.
        """
        if seconds is None:
            added = self.tokenizer.num_special_tokens_to_add()
            return [len(row) + sum(len(cut) - added for cut in row.overflowing) for row in rows]
        # The pieces of a pair repeat one text for each piece of the other.
        cut = [place for place, row in enumerate(rows) if row.overflowing]
        lengths = [len(row) for row in rows]
        if cut:
            whole = self.encodings([texts[i] for i in cut], [seconds[i] for i in cut], None)
            for place, row in zip(cut, whole, strict=True):
                lengths[place] = len(row)
        return lengths


def separator_of(tokenizer) -> str:
    """Return what to put between two texts: nothing where the tokenizer itself separates them.

    BERT's puts [SEP] there, RoBERTa's </s></s>; GPT-2's nothing, and two texts would be one. A new
    line separates them then. A tokenizer that has no token for it (many split at white space) gets
    the name of its separator or end of text; it may be spelled, and separates all the same.

    Raises:
        InputError: the tokenizer makes no token of any of these.
    """
    alone, together = (tokenizer.num_special_tokens_to_add(pair=pair) for pair in (False, True))
    if together > alone:
        return ""
    named = [f"{token} " for token in (tokenizer.sep_token, tokenizer.eos_token) if token]
    for separator in ("\n", *named):
        if separator_length(tokenizer, separator):
            return separator
    raise InputError(
        f"{tokenizer.name_or_path} holds a tokenizer that puts nothing between the texts of a pair "
        "and has no token for a new line: set `sep_token` in its tokenizer_config.json to one that "
        "it knows, or take another model"
    )


def separator_length(tokenizer, separator: str) -> int:
    """Return the tokens that a separator adds to a pair; 0 where it cannot be spelled."""
    text = known_text(tokenizer)
    try:
        plain, parted = (
            tokenizer([text], [second], split_special_tokens=True).encodings[0]
            for second in (text, f"{separator}{text}")
        )
    except Exception:  # what tokenizers raises of an unknown word is of no closer kind
        return 0
    return max(0, len(parted) - len(plain))


def known_text(tokenizer) -> str:
    """Return a short text that the tokenizer makes tokens of.

    Without an unknown token, a tokenizer leaves out what it does not know, or raises an error.

    Raises:
        InputError: there is none.
    """
    for text in chain(["a"], spelled_words(tokenizer)):
        try:
            (row,) = tokenizer([text], split_special_tokens=True).encodings
        except Exception:  # as above
            continue
        if not all(row.special_tokens_mask):
            return text
    raise InputError(
        f"{tokenizer.name_or_path} holds a tokenizer that knows no word: mend its tokenizer.json "
        "or take another model"
    )


def spelled_words(tokenizer) -> Iterator[str]:
    """Yield the words of a vocabulary as texts, by their number.

    Nothing is done before the first.
    """
    known = tokenizer.get_vocab()
    for word in sorted(known, key=lambda word: known[word]):
        yield tokenizer.convert_tokens_to_string([word])


def shortest(tokenizer, separator: str | None) -> int:
    """Return the smallest maximum, in tokens, that leaves one of each text.

    Of a pair that is cut at both of its texts, each keeps half, and the separator is of the second.

    Args:
        tokenizer: it tells how many special tokens it adds.
        separator: of pairs; None where texts are no pairs.
    """
    added = tokenizer.num_special_tokens_to_add(pair=separator is not None)
    if separator is None:
        return added + 1
    return added + 2 * (1 + (separator_length(tokenizer, separator) if separator else 0))


def has_types(tokenizer, directory: Path) -> bool:
    """Return whether a model tells the texts of a pair apart by the types of their tokens.

    Args:
        tokenizer: of the model; it numbers the types.
        directory: of the model; its config tells how many types it knows. RoBERTa knows one.
    """
    known = files.read_json(directory / "config.json").get("type_vocab_size") or 0
    text = known_text(tokenizer)
    (row,) = tokenizer([text], [text]).encodings
    return 0 < max(row.type_ids, default=0) < known


def plain_ids(row, special: set[int], unknown: int | None) -> list[int]:
    """Return the token ids of one text, without the special tokens that the text only spells.

    ``split_special_tokens`` keeps them out of most tokenizers. A Unigram vocabulary (DeBERTa-v3,
    XLM-RoBERTa, T5) lists "[SEP]" among its ordinary pieces and finds it there all the same: such a
    piece becomes the unknown token. Those that the tokenizer itself puts around a text stay.

    Args:
        row: ``tokenizers.Encoding`` of the text.
        special: ids of the special tokens, the unknown token left out.
        unknown: id of the unknown token, None for a vocabulary that can spell every text.
    """
    if unknown is None:
        return row.ids
    return [
        unknown if token in special and not added else token
        for token, added in zip(row.ids, row.special_tokens_mask, strict=True)
    ]

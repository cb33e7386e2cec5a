"""Texts become token ids: cut at the maximum, unpadded, no special tokens but around them."""

from collections.abc import Sequence
from pathlib import Path

from common import cli, files
from common.cli import InputError


def load_tokenizer(directory: Path):
    """The tokenizer of a model, with a padding token.

    A decoder without a padding token gets its end-of-text token: it is masked, and classifiers
    look for the last token before it. On which side a cell is padded, ``padding.choose`` finds out.

    Raises:
        InputError: the directory holds no fast tokenizer, or one without words or padding token.
    """
    import transformers

    files.require_directory(directory)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
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


def encode(tokenizer, texts: Sequence[str], max_length: int) -> dict[str, list]:
    """The tokens of texts, in order.

    Args:
        tokenizer: as ``load_tokenizer`` returns it.
        texts: any strings.
        max_length: tokens kept of each text, special ones included.

    Returns:
        input_ids (a list per text), length (tokens) and whole_length (tokens of the text before it
        was cut, special ones included).
    """
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    added = tokenizer.num_special_tokens_to_add()
    rows = tokenizer(
        texts, truncation=True, max_length=max_length, split_special_tokens=True
    ).encodings
    return {
        "input_ids": [plain_ids(row, special, tokenizer.unk_token_id) for row in rows],
        "length": [len(row) for row in rows],
        "whole_length": [whole_length(row, added) for row in rows],
    }


def whole_length(row, added: int) -> int:
    """The tokens that a text has when it is not cut.

    Args:
        row: ``tokenizers.Encoding`` of the text, cut; it holds the pieces that were cut off.
        added: how many special tokens the tokenizer puts around a text, and around each piece.
    """
    return len(row) + sum(len(piece) - added for piece in row.overflowing)


def plain_ids(row, special: set[int], unknown: int | None) -> list[int]:
    """The token ids of one text, without the special tokens that the text only spells.

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

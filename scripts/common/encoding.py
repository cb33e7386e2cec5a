"""Texts become token ids: cut at the maximum, unpadded, no special tokens but around them."""

from collections.abc import Sequence


def encode(tokenizer, texts: Sequence[str], max_length: int) -> dict[str, list]:
    """The tokens of texts, in order.

    Args:
        tokenizer: as ``models.load_tokenizer`` returns it.
        texts: any strings.
        max_length: tokens kept of each text, special ones included.

    Returns:
        input_ids (a list per text), length (tokens) and truncated (whether the text lost its end).
    """
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    rows = tokenizer(
        texts, truncation=True, max_length=max_length, split_special_tokens=True
    ).encodings
    return {
        "input_ids": [plain_ids(row, special, tokenizer.unk_token_id) for row in rows],
        "length": [len(row) for row in rows],
        "truncated": [bool(row.overflowing) for row in rows],
    }


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

"""Tokenizers as models bring them; what they make of texts is in test_tokenize_data.py."""

import pytest

from common import encoding
from common.cli import InputError


def test_a_tokenizer_pads_with_its_own_token(tiny_models):
    assert encoding.load_tokenizer(tiny_models["bert"]).pad_token == "[PAD]"


def test_a_tokenizer_without_padding_pads_with_the_end_of_text(tiny_models):
    tokenizer = encoding.load_tokenizer(tiny_models["gpt2"])
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 0


def test_a_missing_directory_is_not_taken_for_a_hub_id(tmp_path):
    with pytest.raises(InputError, match="is no directory: name one that `fetch_model` wrote"):
        encoding.load_tokenizer(tmp_path / "none")

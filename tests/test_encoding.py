"""Tokenizers as models bring them; what they make of texts is in test_tokenize_data.py."""

import pytest

from common import files
from common.cli import InputError
from common.data import encoding


def test_a_tokenizer_pads_with_its_own_token(tiny_models):
    assert encoding.load_tokenizer(tiny_models["bert"]).pad_token == "[PAD]"


def test_a_tokenizer_without_padding_pads_with_the_end_of_text(tiny_models):
    tokenizer = encoding.load_tokenizer(tiny_models["gpt2"])
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 0


def test_a_missing_directory_is_not_taken_for_a_hub_id(tmp_path):
    with pytest.raises(InputError, match="is no directory: name one that `fetch_model` wrote"):
        encoding.load_tokenizer(tmp_path / "none")


WORDS = ["win", "cash"]


def tokenizer_of(root, words, *, unknown=None, **special):
    """A word-level tokenizer that splits at white space and puts nothing between two texts."""
    import tokenizers
    import transformers

    names = [*special.values(), *([unknown] if unknown else []), *words]
    vocabulary = {word: number for number, word in enumerate(names)}
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token=unknown or "?"))
    core.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    named = {"unk_token": unknown} if unknown else {}
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=core, **named, **special)
    made.save_pretrained(root)
    return encoding.load_tokenizer(root)


def test_token_types_of_a_tokenizer_that_knows_few_words(tmp_path):
    tokenizer = tokenizer_of(tmp_path, WORDS, pad_token="[PAD]")
    with pytest.raises(Exception, match="WordLevel"):
        tokenizer(["a"], ["b"])
    files.write_json({"type_vocab_size": 2}, tmp_path / "config.json")
    assert encoding.has_types(tokenizer, tmp_path)
    files.write_json({}, tmp_path / "config.json")
    assert not encoding.has_types(tokenizer, tmp_path)


def test_a_tokenizer_that_knows_no_word():
    import tokenizers
    import transformers

    core = tokenizers.Tokenizer(tokenizers.models.WordLevel({}, unk_token="?"))
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=core)
    with pytest.raises(InputError, match="holds a tokenizer that knows no word"):
        encoding.separator_of(made)


@pytest.mark.parametrize(
    ("special", "separator"),
    [
        ({"pad_token": "[PAD]", "sep_token": "[SEP]", "eos_token": "[END]"}, "[SEP] "),
        ({"eos_token": "[END]"}, "[END] "),
    ],
)
@pytest.mark.parametrize("unknown", [None, "[UNK]"])
def test_a_tokenizer_that_swallows_a_new_line_separates_by_a_name(
    tmp_path, special, separator, unknown
):
    tokenizer = tokenizer_of(tmp_path, WORDS, unknown=unknown, **special)
    assert encoding.separator_of(tokenizer) == separator
    made, joined = (
        encoding.Encoder(tokenizer, 8, between)(["win"], ["cash"])["input_ids"][0]
        for between in (separator, "\n")
    )
    win, cash = (tokenizer.convert_tokens_to_ids(word) for word in WORDS)
    assert joined == [win, cash]
    assert len(made) == 3
    assert (made[0], made[-1]) == (win, cash)


def test_a_new_line_that_is_a_token_separates():
    import tokenizers
    import transformers

    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    core = tokenizers.Tokenizer(
        tokenizers.models.BPE({token: number for number, token in enumerate(alphabet)}, [])
    )
    core.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=core, pad_token="[PAD]")
    assert encoding.separator_of(made) == "\n"


def test_a_tokenizer_that_cannot_separate_is_refused(tmp_path):
    tokenizer = tokenizer_of(tmp_path, WORDS, pad_token="[PAD]")
    with pytest.raises(InputError, match=r"puts nothing between the texts of a pair .*`sep_token`"):
        encoding.separator_of(tokenizer)


@pytest.mark.parametrize(("separator", "least"), [(None, 1), ("", 2), ("[END] ", 4)])
def test_the_shortest_maximum_leaves_a_token_of_each_text(tmp_path, separator, least):
    tokenizer = tokenizer_of(tmp_path, WORDS, eos_token="[END]", unknown="[UNK]")
    encode = encoding.Encoder(tokenizer, least, separator)
    pairs = None if separator is None else ["cash " * 9]
    (ids,) = encode(["win " * 9], pairs)["input_ids"]
    assert len(ids) == least
    known = set(ids)
    assert tokenizer.convert_tokens_to_ids("win") in known
    assert separator is None or tokenizer.convert_tokens_to_ids("cash") in known
    with pytest.raises(InputError, match=f"max_length {least - 1} leaves .*: set {least} or more"):
        encoding.Encoder(tokenizer, least - 1, separator)

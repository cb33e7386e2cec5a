"""Rows become tokens: unpadded, in order, cut at the maximum, no special tokens but around them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import tokenize_data
from common import checksums, files
from common.cli import InputError
from common.data import encoding
from common.data.tokens import load as load_tokens

SOURCE = {"kind": "hub", "name": "org/mail", "revision": "a" * 40, "subset": None}


@pytest.fixture(scope="module")
def save_splits(tmp_path_factory) -> Callable[..., Path]:
    """Save texts as the splits that prepare_data would leave; labels alternate."""
    import datasets

    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["ham", "spam"]),
        }
    )

    def save(**texts: list[str]) -> Path:
        splits = {}
        for split, rows in texts.items():
            ids = [f"{split}/{number}" for number in range(len(rows))]
            content = {"id": ids, "text": rows, "label": [n % 2 for n in range(len(rows))]}
            splits[split] = datasets.Dataset.from_dict(content, features=features)
        path = tmp_path_factory.mktemp("data")
        datasets.DatasetDict(splits).save_to_disk(path)
        files.write_json(SOURCE, path / "source.json")
        checksums.write(path)
        return path

    return save


def tokenize(data: Path, model: Path, output: Path, *words: object):
    """The tokens of a dataset, as a `DatasetDict`."""
    import datasets

    places = ["--data", data, "--model", model, "--output", output, "--max-unknown-share", 1]
    tokenize_data.main([str(word) for word in (*places, *words)])
    return datasets.load_from_disk(output)


def spelled(model: Path, rows) -> list[str]:
    """Return the tokens of each row in words."""
    tokenizer = encoding.load_tokenizer(model)
    return [" ".join(tokenizer.convert_ids_to_tokens(ids)) for ids in rows["input_ids"]]


LONG = "win free cash prize claim now urgent text stop mobile"


def test_rows_keep_order_ids_and_labels_and_stay_unpadded(save_splits, tiny_models, tmp_path):
    data = save_splits(train=["win cash", "see you at home", "win"], test=["free"])
    tokens = tokenize(data, tiny_models["bert"], tmp_path / "tokens")
    assert tokens["train"].column_names == ["id", "label", "input_ids", "length"]
    assert list(tokens["train"]["id"]) == ["train/0", "train/1", "train/2"]
    assert list(tokens["train"]["label"]) == [0, 1, 0]
    assert tokens["train"].features["label"].names == ["ham", "spam"]
    assert list(tokens["train"]["length"]) == [4, 6, 3]
    assert [len(ids) for ids in tokens["train"]["input_ids"]] == [4, 6, 3]
    assert spelled(tiny_models["bert"], tokens["train"]) == [
        "[CLS] win cash [SEP]",
        "[CLS] see you at home [SEP]",
        "[CLS] win [SEP]",
    ]


def test_marks_of_clean_rows_are_carried_on(save_splits, tiny_models, tmp_path):
    import datasets

    from common.data import datadict

    data = save_splits(train=["win cash", "win"], test=["free", "cash"])
    marked = datasets.load_from_disk(data).map(lambda row: {"clean": row["text"] != "cash"})
    datadict.save(marked, tmp_path / "marked")
    shutil.copy(data / "source.json", tmp_path / "marked")
    checksums.write(tmp_path / "marked")
    tokens = tokenize(tmp_path / "marked", tiny_models["bert"], tmp_path / "tokens")
    assert list(tokens["test"]["clean"]) == [True, False]


def test_more_rows_than_a_batch_keep_their_order(save_splits, tiny_models, tmp_path):
    texts = [LONG if number % 3 else f"win number{number}" for number in range(2100)]
    data = save_splits(train=texts)
    tokens = tokenize(data, tiny_models["gpt2"], tmp_path / "tokens", "--max-length", 6)["train"]
    assert list(tokens["id"]) == [f"train/{number}" for number in range(2100)]
    lengths = [6 if n % 3 else 2 + len(str(n)) for n in range(2100)]
    assert list(tokens["length"]) == lengths
    statistics = files.read_json(tmp_path / "tokens" / "statistics.json")
    described = statistics["splits"]["train"]
    assert (described["rows"], described["tokens"]) == (2100, sum(lengths))
    assert described["truncated_share"] == 0.6667
    whole = [LONG.count(" ") + 1 if n % 3 else lengths[n] for n in range(2100)]
    assert described["lengths"]["mean"] == round(sum(whole) / 2100, 1)
    assert sum(described["histogram"]) == 2100


@pytest.mark.parametrize(
    ("model", "expected"),
    [("bert", "[CLS] win free cash [SEP]"), ("gpt2", "win free cash prize claim")],
)
def test_a_long_text_loses_its_end(save_splits, tiny_models, tmp_path, model, expected):
    data = save_splits(train=[LONG, "win"])
    tokens = tokenize(data, tiny_models[model], tmp_path / "tokens", "--max-length", 5)
    assert spelled(tiny_models[model], tokens["train"])[0] == expected


@pytest.mark.parametrize(("words", "truncated"), [(3, False), (4, False), (5, True), (50, True)])
def test_only_a_text_that_lost_something_counts_as_truncated(
    save_splits, tiny_models, tmp_path, words, truncated
):
    data = save_splits(train=["win " * words, "win", "win", "win"])
    tokenize(data, tiny_models["gpt2"], tmp_path / "tokens", "--max-length", 4)
    statistics = files.read_json(tmp_path / "tokens" / "statistics.json")
    assert statistics["splits"]["train"]["truncated_share"] == (0.25 if truncated else 0.0)


def test_statistics_tell_what_was_done(save_splits, tiny_models, tmp_path):
    data = save_splits(train=["win cash", LONG, "win", "win"], test=["free"])
    tokenize(data, tiny_models["bert"], tmp_path / "tokens", "--max-length", 8)
    assert files.read_json(tmp_path / "tokens" / "statistics.json") == {
        "max_length": 8,
        "separator": None,
        "tokenizer": type(encoding.load_tokenizer(tiny_models["bert"])).__name__,
        "pad_token_id": 0,
        "histogram_edges": [*range(9), 10, 12],
        "splits": {
            "train": {
                "rows": 4,
                "tokens": 4 + 8 + 3 + 3,
                "unknown_share": 0.0,
                "truncated_share": 0.25,
                "lengths": {"mean": 5.5, "median": 3.5, "p95": 10.8, "max": 12},
                "histogram": [0, 0, 2, 1, 0, 0, 0, 0, 0, 1],
            },
            "test": {
                "rows": 1,
                "tokens": 3,
                "unknown_share": 0.0,
                "truncated_share": 0.0,
                "lengths": {"mean": 3.0, "median": 3.0, "p95": 3.0, "max": 3},
                "histogram": [0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
            },
        },
        "source": SOURCE,
    }


def test_the_log_has_a_line_for_each_split(save_splits, tiny_models, tmp_path, caplog):
    caplog.set_level("INFO", logger="tokenize_data")
    data = save_splits(train=[LONG] * 3 + ["win cash"], test=["win"])
    tokenize(data, tiny_models["bert"], tmp_path / "tokens", "--max-length", 8)
    assert [record.message for record in caplog.records if record.name == "tokenize_data"] == [
        "train: 4 rows, 28 tokens; whole texts of 10.0 on average, at most 12; 75.00 % are longer "
        "than 8 and lose their end; 0.00 % of the tokens are unknown",
        "test: 1 rows, 3 tokens; whole texts of 3.0 on average, at most 3; 0.00 % are longer than "
        "8 and lose their end; 0.00 % of the tokens are unknown",
    ]


def test_source_and_length_are_read_back(save_splits, tiny_models, tmp_path):
    data = save_splits(train=["win cash", "see you"])
    tokenize(data, tiny_models["bert"], tmp_path / "tokens", "--max-length", 8)
    read = load_tokens(tmp_path / "tokens")
    assert (read.source, read.max_length) == (SOURCE, 8)


def test_a_decoder_without_padding_token_pads_with_its_end_of_text(
    save_splits, tiny_models, tmp_path
):
    tokenizer = encoding.load_tokenizer(tiny_models["gpt2"])
    assert tokenizer.pad_token == "<|endoftext|>"
    tokenize(save_splits(train=["win"]), tiny_models["gpt2"], tmp_path / "tokens")
    statistics = files.read_json(tmp_path / "tokens" / "statistics.json")
    assert statistics["pad_token_id"] == tokenizer.eos_token_id


@pytest.fixture(scope="module")
def unigram(tmp_path_factory) -> Path:
    """A tokenizer like that of DeBERTa-v3: its special tokens are ordinary pieces, too."""
    import tokenizers
    import transformers

    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    pieces = [(piece, 0.0) for piece in special] + [("▁win", -1.0), ("▁", -2.0)]
    letters = [(letter, -3.0) for letter in "[]<|>_acdefhinorstxzACDEKLNPSU"]
    core = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces + letters, unk_id=3))
    core.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    core.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    names = dict(zip(["pad_token", "cls_token", "sep_token", "unk_token"], special, strict=True))
    path = tmp_path_factory.mktemp("unigram")
    transformers.PreTrainedTokenizerFast(tokenizer_object=core, **names).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def bytes_only(tmp_path_factory) -> Path:
    """A tokenizer like that of Llama 3: bytes can spell every text, so no token is unknown."""
    import tokenizers
    import transformers

    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    words = {token: number for number, token in enumerate(["<|end|>", *alphabet])}
    core = tokenizers.Tokenizer(tokenizers.models.BPE(words, []))
    core.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    path = tmp_path_factory.mktemp("bytes")
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>")
    made.save_pretrained(path)
    return path


@pytest.fixture
def model_named(tiny_models, unigram, bytes_only) -> dict[str, Path]:
    return {**tiny_models, "unigram": unigram, "bytes": bytes_only}


@pytest.mark.parametrize(
    ("model", "text", "expected"),
    [
        ("bert", "win [SEP]", "[CLS] win [UNK] [UNK] [UNK] [SEP]"),  # [, SEP and ]
        ("gpt2", "win <|endoftext|>", "win [UNK] [UNK] [UNK]"),
        ("bytes", "win<|end|>", "w i n < | e n d | >"),
        ("unigram", "win [SEP]", "[CLS] ▁win ▁ [UNK] [SEP]"),
    ],
)
def test_a_special_token_in_a_text_is_the_characters_it_is(
    save_splits, model_named, tmp_path, model, text, expected
):
    tokens = tokenize(save_splits(train=[text]), model_named[model], tmp_path / "tokens")
    assert spelled(model_named[model], tokens["train"]) == [expected]


@pytest.mark.parametrize("model", ["bert", "gpt2", "unigram", "bytes"])
def test_a_special_token_that_a_text_spells_is_none(save_splits, model_named, tmp_path, model):
    tokenizer = encoding.load_tokenizer(model_named[model])
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    texts = [f"win {token} cash {token}" for token in tokenizer.all_special_tokens]
    tokens = tokenize(save_splits(train=texts), model_named[model], tmp_path / "tokens")["train"]
    around = tokenizer.num_special_tokens_to_add()
    for text, ids in zip(texts, tokens["input_ids"], strict=True):
        assert sum(token in special for token in ids) == around, text


def test_a_plain_call_would_turn_them_into_special_tokens(model_named):
    for path in model_named.values():
        tokenizer = encoding.load_tokenizer(path)
        ids = tokenizer(f"win {tokenizer.pad_token}", add_special_tokens=False)["input_ids"]
        assert tokenizer.pad_token_id in ids


@pytest.fixture(scope="module")
def word_pieces(tmp_path_factory) -> Path:
    """A tokenizer like that of BERT: words in pieces, special tokens around them."""
    import tokenizers
    import transformers

    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    words = [*special, "win", "cash", *(mark + x for x in "abcdefinostw" for mark in ("", "##"))]
    vocabulary = {word: number for number, word in enumerate(words)}
    core = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    core.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    core.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    names = dict(zip(["pad_token", "cls_token", "sep_token", "unk_token"], special, strict=True))
    path = tmp_path_factory.mktemp("pieces")
    transformers.PreTrainedTokenizerFast(tokenizer_object=core, **names).save_pretrained(path)
    return path


@pytest.mark.parametrize("max_length", [4, 5, 9, 1000])
@pytest.mark.parametrize("model", ["pieces", "bytes", "unigram", "bert", "gpt2"])
def test_the_length_of_a_whole_text_is_that_of_the_text_uncut(
    model_named, word_pieces, model, max_length
):
    """It is counted in the pieces that were cut off, each with special tokens of its own."""
    tokenizer = encoding.load_tokenizer((model_named | {"pieces": word_pieces})[model])
    texts = ["win", "cash [SEP] win<|end|>", "fat cats in nests é", LONG * 9, "a " * 500]
    texts += ["win " * words for words in range(1, 12)]
    uncut = tokenizer(texts, split_special_tokens=True)["input_ids"]
    made = encoding.Encoder(tokenizer, max_length)(texts)
    assert made["whole_length"] == [len(ids) for ids in uncut]
    assert made["length"] == [min(len(ids), max_length) for ids in uncut]


@pytest.mark.full
def test_rows_are_the_same_on_any_number_of_threads(save_splits, unigram, tmp_path, run_script):
    texts = [f"{LONG * (number % 7)} win number{number}" for number in range(2500)]
    data, written = save_splits(train=texts, test=texts[:3]), []
    for threads in (1, 3):
        output = tmp_path / str(threads)
        words = ["--data", data, "--model", unigram, "--output", output, "--threads", threads]
        done = run_script("tokenize_data", *words)
        assert done.returncode == 0, done.stderr
        rows = sorted(output.rglob("*.arrow"))
        assert len(rows) == 2
        written.append([file.read_bytes() for file in [*rows, output / "statistics.json"]])
    assert written[0] == written[1]


def test_no_cache_is_left_in_the_output_or_beside_the_data(save_splits, tiny_models, tmp_path):
    data = save_splits(train=["win", "cash"], test=["free"])
    before = sorted(data.rglob("*"))
    tokenize(data, tiny_models["bert"], tmp_path / "tokens")
    assert sorted(data.rglob("*")) == before
    names = ["data-00000-of-00001.arrow", "dataset_info.json", "state.json"]
    found = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    expected = {f"tokens/{split}/{name}" for split in ("train", "test") for name in names}
    beside = ("dataset_dict.json", "digests.json", "statistics.json")
    assert found == expected | {"tokens.sha256", *(f"tokens/{name}" for name in beside)}


def test_text_that_spells_no_special_token_is_tokenized_as_ever(save_splits, unigram, tmp_path):
    texts = ["win cash", "win  scandal [sic]", "é"]
    tokens = tokenize(save_splits(train=texts), unigram, tmp_path / "tokens")["train"]
    tokenizer = encoding.load_tokenizer(unigram)
    assert list(tokens["input_ids"]) == tokenizer(texts)["input_ids"]


def test_the_output_is_replaced_whole(save_splits, tiny_models, tmp_path):
    tokenize(save_splits(train=["win"], test=["win"]), tiny_models["bert"], tmp_path / "tokens")
    tokens = tokenize(save_splits(train=["free cash"]), tiny_models["bert"], tmp_path / "tokens")
    assert list(tokens) == ["train"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["tokens", "tokens.sha256"]


def refusal(data: Path, model: Path, output: Path) -> str:
    with pytest.raises(InputError) as error:
        tokenize(data, model, output)
    assert not output.parent.exists() or not list(output.parent.iterdir())
    assert "\n" not in str(error.value)
    return str(error.value)


def test_data_that_was_not_prepared_is_refused(tiny_models, tmp_path):
    message = refusal(tmp_path / "nowhere", tiny_models["bert"], tmp_path / "out" / "tokens")
    assert "nowhere is no saved dataset: " in message


def test_a_model_without_any_tokenizer_file_is_refused(save_splits, tiny_models, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    shutil.copy(tiny_models["bert"] / "config.json", model)
    message = refusal(save_splits(train=["win"]), model, tmp_path / "out" / "tokens")
    assert (
        f"{model} holds no tokenizer, that is, no tokenizer.json or vocab.txt: add the file or "
        "take another model"
    ) == message


def test_a_tokenizer_that_does_not_load_is_refused(save_splits, tiny_models, tmp_path):
    shutil.copytree(tiny_models["bert"], tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").write_text("{")
    checksums.write(tmp_path / "model")
    message = refusal(save_splits(train=["win"]), tmp_path / "model", tmp_path / "out" / "tokens")
    assert f"{tmp_path / 'model'} holds no tokenizer that loads: " in message
    assert "mend its tokenizer.json or take another model" in message


def test_a_tokenizer_with_nothing_to_pad_with_is_refused(save_splits, tmp_path):
    import tokenizers
    import transformers

    core = tokenizers.Tokenizer(tokenizers.models.WordLevel({"win": 0, "?": 1}, unk_token="?"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core, unk_token="?")
    tokenizer.save_pretrained(tmp_path / "model")
    message = refusal(save_splits(train=["win"]), tmp_path / "model", tmp_path / "out" / "tokens")
    assert "neither a padding nor an end-of-text token: set `pad_token`" in message


def test_a_mistake_ends_in_one_line_and_status_1(tiny_models, tmp_path, run_script):
    words = ["--data", tmp_path / "nowhere", "--model", tiny_models["bert"]]
    done = run_script("tokenize_data", *words, "--output", tmp_path / "tokens")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path / 'nowhere'} is no saved dataset")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("model", "least"), [("bert", 3), ("gpt2", 1)])
def test_a_maximum_without_room_for_a_text_is_refused(
    save_splits, tiny_models, tmp_path, model, least
):
    data, output = save_splits(train=[LONG]), tmp_path / "tokens"
    made = tokenize(data, tiny_models[model], output, "--max-length", least)["train"]
    assert list(made["length"]) == [least]
    if least > 1:
        expected = f"max_length {least - 1} leaves no token of a text .*: set {least} or more"
        with pytest.raises(InputError, match=expected):
            tokenize(data, tiny_models[model], tmp_path / "none", "--max-length", least - 1)
        assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("option", ["--max-length", "--threads"])
@pytest.mark.parametrize("value", ["0", "-1", "2.5"])
def test_numbers_are_whole_ones(option, value, capsys):
    with pytest.raises(SystemExit):
        tokenize_data.main(["--data", "d", "--model", "m", "--output", "o", f"{option}={value}"])
    assert f"argument {option}: '{value}' is no whole number from 1" in capsys.readouterr().err


def test_unknown_tokens_are_counted_and_too_many_refused(
    save_splits, tiny_models, tmp_path, caplog
):
    """Texts in a script that the vocabulary lacks: a comparison would run through at chance."""
    known, foreign = "win free cash prize", "здравствуй мир снова привет"
    mixed = save_splits(train=[known] * 8 + [foreign], validation=[known], test=[known])
    with caplog.at_level("WARNING"):
        tokenize(mixed, tiny_models["bert"], tmp_path / "mixed", "--max-unknown-share", 0.5)
    splits = files.read_json(tmp_path / "mixed/statistics.json")["splits"]
    assert splits["train"]["unknown_share"] == round(4 / 36, 4)
    assert splits["test"]["unknown_share"] == 0
    (line,) = caplog.messages
    assert line.startswith("11.1 % of the tokens of the train texts are unknown to ")
    strange = save_splits(train=[foreign, foreign], validation=[known], test=[known])
    with pytest.raises(InputError, match=r"100\.0 % of the tokens of the train texts are unknown"):
        tokenize(strange, tiny_models["bert"], tmp_path / "strange", "--max-unknown-share", 0.9)
    assert not (tmp_path / "strange").exists()
    tokenize(strange, tiny_models["bert"], tmp_path / "strange")

"""Pairs of texts, from two columns of a file to predictions: a model sees both, told apart."""

import json
import random
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import eval_baseline
import eval_lora
import predict
import prepare_data
import tokenize_data
import train_lora
from common import checksums, files
from common.cli import InputError
from common.data import encoding
from common.model import variants
from tests.test_card import HUB
from tests.test_travel import fill_hub_cache, run_code

WORDS = [
    "see",
    "you",
    "home",
    "dinner",
    "love",
    "call",
    "okay",
    "thanks",
    "win",
    "free",
    "cash",
    "prize",
    "claim",
    "urgent",
    "stop",
]


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """120 pairs whose second text repeats a word of the first, or does not."""
    draw = random.Random(0)
    found = []
    for number in range(120):
        first = draw.sample(WORDS, 6)
        same = number % 2
        second = draw.choice(first if same else [word for word in WORDS if word not in first])
        found.append((f"{' '.join(first)} number{number}", second, ["other", "same"][same]))
    return pd.DataFrame(found, columns=["premise", "hypothesis", "label"])


NAMED = "<|endoftext|> "  # the tiny decoder splits at white space, and makes no token of "\n"
COLUMNS = ["--text", "premise", "hypothesis"]


def prepare(rows: pd.DataFrame, root: Path, *words: str) -> Path:
    rows.to_csv(root / "rows.csv", index=False)
    places = ["--source", root / "rows.csv", "--output", root / "data"]
    prepare_data.main([*map(str, places), *COLUMNS, *words])
    return root / "data"


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def cell(request, rows, tiny_models, tmp_path_factory) -> SimpleNamespace:
    """A cell trained and evaluated on the pairs."""
    root = tmp_path_factory.mktemp("pairs")
    data = prepare(rows, root)
    base = Path(shutil.copytree(tiny_models[request.param], root / "base"))
    files.write_json(HUB, base / "source.json")
    checksums.write(base)
    inputs = f"--model {base} --tokens {root}/tokens".split()
    tokenize_data.main(f"--data {data} --model {base} --output {root}/tokens".split())
    training = f"--output {root}/adapter --record {root}/training.json --learning-rate 1e-2"
    train_lora.main([*inputs, "--peft", '{"r": 4}', *training.split()])
    places = f"--metrics {root}/metrics.json --predictions {root}/predictions.parquet"
    words = f"--adapter {root}/adapter --training {root}/training.json {places} --batch-tokens 1"
    eval_lora.main([*inputs, *words.split()])
    return SimpleNamespace(root=root, data=data, base=base, model=request.param)


def saved(directory: Path):
    import datasets

    return datasets.load_from_disk(directory)


def test_both_texts_are_kept(cell, rows):
    found = saved(cell.data)
    assert found["train"].column_names == ["id", "text", "text_pair", "label"]
    whole = {tuple(row) for row in rows[["premise", "hypothesis"]].itertuples(index=False)}
    given = {(row["text"], row["text_pair"]) for split in found.values() for row in split}
    assert given == whole


def test_pairs_are_duplicates_when_both_texts_are(rows, tmp_path):
    again = rows.iloc[:3].assign(premise=lambda found: found["premise"].str.upper())
    another = rows.iloc[3:5].assign(hypothesis="meeting")
    data = prepare(pd.concat([rows, again, another]), tmp_path, "--no-near-duplicates")
    record = json.loads((data / "preparation.json").read_text())
    assert record["rows_dropped"] == {
        "bad": 0, "conflicting": 0, "exact": 0, "normalised": 3, "near": 0, "group": 0,
    }  # fmt: skip


def test_a_pair_that_lacks_a_text_is_a_bad_row(rows, tmp_path):
    lacking = pd.concat([rows, rows.iloc[:1].assign(hypothesis="")])
    with pytest.raises(InputError, match="line 122, column 'hypothesis': empty"):
        prepare(lacking, tmp_path)


def test_a_model_sees_both_texts_apart(cell):
    tokens, data = saved(cell.root / "tokens")["test"], saved(cell.data)["test"]
    tokenizer = encoding.load_tokenizer(cell.base)
    spelled = " ".join(tokenizer.convert_ids_to_tokens(tokens[0]["input_ids"]))
    first, second = data[0]["text"], data[0]["text_pair"]
    if cell.model == "bert":
        words = first.partition(" number")[0]
        assert spelled.startswith(f"[CLS] {words} ")
        assert spelled.endswith(f" [SEP] {second} [SEP]")
        types = tokens[0]["token_type_ids"]
        assert types == [0] * (len(types) - 2) + [1] * 2
    else:
        assert "token_type_ids" not in tokens.column_names
        assert files.read_json(cell.root / "tokens" / "statistics.json")["separator"] == NAMED


def test_of_too_long_a_pair_the_longer_text_is_cut(cell):
    tokenizer = encoding.load_tokenizer(cell.base)
    encode = encoding.Encoder(tokenizer, 8, encoding.separator_of(tokenizer))
    made = encode(["win " * 30, "win"], ["cash", "cash " * 30])
    spelled = [tokenizer.convert_ids_to_tokens(ids) for ids in made["input_ids"]]
    assert made["length"] == [8, 8]
    assert (spelled[0].count("cash"), spelled[1].count("win")) == (1, 1)
    added = 3  # [CLS] and [SEP] twice, or what spells the end of text
    assert made["whole_length"] == [31 + added, 31 + added]


def test_a_baseline_reads_both_texts(cell, tmp_path):
    places = f"--metrics {tmp_path}/m.json --predictions {tmp_path}/p.parquet"
    eval_baseline.main(f"--data {cell.data} --baseline tfidf {places}".split())
    assert json.loads((tmp_path / "m.json").read_text())["metrics"]["test"]["rows"] == 24


def test_predictions_on_new_pairs_are_those_of_the_evaluation(cell, tmp_path):
    stored = pd.read_parquet(cell.root / "predictions.parquet")
    test = saved(cell.data)["test"]
    given = pd.DataFrame({"premise": list(test["text"]), "hypothesis": list(test["text_pair"])})
    given.to_csv(tmp_path / "new.csv", index=False)
    places = f"--input {tmp_path}/new.csv --output {tmp_path}/out.csv --batch-tokens 1"
    words = [*places.split(), "--model", str(cell.base), "--adapter", str(cell.root / "adapter")]
    predict.main([*words, *COLUMNS])
    found = pd.read_csv(tmp_path / "out.csv")
    for column in ("probability_other", "probability_same"):
        np.testing.assert_array_equal(found[column], stored[column])
    with pytest.raises(InputError, match="was trained on pairs of texts: name two columns"):
        predict.main([*words, "--text", "premise"])


@pytest.mark.full
def test_the_code_of_the_card_answers_as_the_cell(cell, tmp_path):
    moved = Path(shutil.copytree(cell.root / "adapter", tmp_path / "moved"))
    fill_hub_cache(tmp_path / "home", cell.base)
    (code,) = re.findall(r"^```python\n(.*?)\n```$", (moved / "README.md").read_text(), re.S | re.M)
    row, stored = saved(cell.data)["test"][0], pd.read_parquet(cell.root / "predictions.parquet")
    code = code.replace("Put your text here.", row["text"])
    code = code.replace("Put its pair here.", row["text_pair"])
    label, _, probability = run_code(code, moved, tmp_path / "home").rpartition(" ")
    assert label == stored["prediction"][0]
    expected = stored[f"probability_{label}"][0]
    assert float(probability) == pytest.approx(expected, abs=1e-4)


def test_a_cell_records_how_it_has_seen_pairs(cell):
    record = variants.read_record(cell.root / "adapter")
    assert record.types == (cell.model == "bert")
    assert record.separator == ("" if cell.model == "bert" else NAMED)

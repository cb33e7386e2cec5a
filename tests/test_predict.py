"""New text is classified as the test rows were, whatever the size of its file."""

import csv
import io
import json
import logging
import shutil
import tracemalloc
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest

import eval_lora
import predict
import train_lora
from common import checksums
from common.cli import InputError
from common.data import reading
from predict import Text

SAME = 1e-6  # of a probability


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def cell(request, make_tokens, tiny_models) -> tuple[Path, Path, pd.DataFrame, list[str]]:
    """A trained and evaluated cell: model, adapter, predictions.parquet and its texts."""
    model = tiny_models[request.param]
    tokens = make_tokens(request.param, count=90)
    home = tokens.parent / request.param
    shutil.copytree(tokens, home / "tokens")
    seed = home / "lora" / "seed0"
    words = f"--model {model} --tokens {tokens} --learning-rate 1e-2 --epochs 8".split()
    record = ["--record", str(seed / "training.json")]
    train_lora.main([*words, "--peft", '{"r": 4}', "--output", str(seed / "adapter"), *record])
    eval_lora.main(
        f"--model {model} --tokens {tokens} --adapter {seed}/adapter --metrics {seed}/m.json "
        f"--training {seed}/training.json --predictions {seed}/rows.parquet".split()
    )
    texts = list(datasets.load_from_disk(tokens.parent / "data")["test"]["text"])
    return model, seed / "adapter", pd.read_parquet(seed / "rows.parquet"), texts


@pytest.fixture
def command(cell, tmp_path):
    """The command line for an input; later words override earlier ones."""
    model, adapter, *_ = cell

    def words(source: Path, *more: object) -> list[str]:
        line = ["--input", source, "--model", model, "--adapter", adapter]
        return [str(word) for word in [*line, "--output", tmp_path / "out.csv", *more]]

    return words


def write_input(path: Path, texts: list[str], ids: list[str]) -> Path:
    """Return the texts in the format of the path's suffix; in CSV and TSV between other columns."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        if path.suffix == ".txt":
            file.writelines(f"{text}\n" for text in texts)
        elif path.suffix == ".parquet":
            pd.DataFrame({"n": ids, "text": texts}).to_parquet(path)
        elif path.suffix == ".jsonl":
            pairs = zip(texts, ids, strict=True)
            file.writelines(json.dumps({"text": text, "n": n}) + "\n" for text, n in pairs)
        else:
            lines = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            lines.writerows([["n", "text"], *zip(ids, texts, strict=True)])
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", ".txt"])
def test_predictions_are_those_of_the_evaluation(cell, command, tmp_path, suffix):
    *_, expected, texts = cell
    source = write_input(tmp_path / f"new{suffix}", texts, list(expected["id"]))
    predict.main(command(source, *(() if suffix == ".txt" else ("--id", "n"))))
    found = pd.read_csv(tmp_path / "out.csv")
    assert list(found) == ["id", "prediction", "probability_ham", "probability_spam"]
    ids = list(range(1, len(texts) + 1)) if suffix == ".txt" else list(expected["id"])
    assert list(found["id"]) == ids
    assert list(found["prediction"]) == list(expected["prediction"])
    for column in ("probability_ham", "probability_spam"):
        np.testing.assert_array_equal(found[column], expected[column])  # the same batches
    assert set(found["prediction"]) == {"ham", "spam"}


def test_chunks_and_batches_change_nothing(cell, command, tmp_path, monkeypatch):
    *_, expected, texts = cell
    monkeypatch.setattr(predict, "CHUNK_ROWS", 4)
    source = write_input(tmp_path / "new.txt", texts, [])
    predict.main(command(source, "--batch-tokens", 30, "--output", tmp_path / "out.jsonl"))
    found = pd.read_json(tmp_path / "out.jsonl", lines=True)
    assert list(found["id"]) == list(range(1, len(texts) + 1))
    probabilities = found.filter(like="probability_")
    assert list(probabilities) == ["probability_ham", "probability_spam"]
    expected = expected.filter(like="probability_")
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=SAME)


def test_output_is_written_chunk_by_chunk_while_the_input_is_read(monkeypatch):
    """No more rows are read than one chunk holds before the first is written."""
    monkeypatch.setattr(predict, "CHUNK_ROWS", 10)
    read, written, ahead = [], [], []

    def endless():
        for number in range(1000):
            read.append(number)
            yield Text(number, number, "text")

    def classify(tokens):
        return {"probabilities": np.full((len(tokens["length"]), 2), 0.5)}

    def write(values):
        written.append(values)
        ahead.append(len(read) - len(written))

    bad = reading.BadRows("error", at_once=True)
    encode: dict[str, list] = {"input_ids": [[1]] * 10, "length": [1] * 10, "unknown": [0] * 10}
    chunks = predict.tokenized(reading.Stream(endless(), "x"), lambda _: encode, bad)
    assert predict.predict(chunks, classify, ["a", "b"], write) == 1000
    assert max(ahead) < 10
    assert written[999] == [999, "a", 0.5, 0.5]


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    """64 MiB of rows pass through; what stays is a chunk of them."""
    monkeypatch.setattr(predict, "CHUNK_ROWS", 100)
    source = tmp_path / "long.csv"
    with open(source, "w") as file:
        file.write("text\n")
        file.writelines("x" * 8191 + "\n" for _ in range(8192))
    bad = reading.BadRows("error", at_once=True)
    args = predict.parse(f"--input {source} --model m --adapter a --output o".split())

    def encode(texts):
        ones = [1 for _ in texts]
        return {"input_ids": [[1] for _ in texts], "length": ones, "unknown": [0 for _ in texts]}

    def classify(tokens):
        return {"probabilities": np.full((len(tokens["length"]), 2), 0.5)}

    chunks = predict.tokenized(predict.read(args, bad), encode, bad)
    tracemalloc.start()
    count = predict.predict(chunks, classify, ["a", "b"], lambda _: None)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 8192
    assert peak_bytes < 8 << 20 < source.stat().st_size


def test_a_bad_row_ends_the_run_and_leaves_nothing(command, tmp_path):
    source = tmp_path / "new.csv"
    source.write_text("text\nwin cash\n \nsee you\n")
    expected = r"new\.csv, line 3, column 'text': empty; mend the row, or set `on_bad_rows` to skip"
    with pytest.raises(InputError, match=expected):
        predict.main(command(source))
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]


def test_bad_rows_are_left_out_and_told(command, tmp_path, caplog):
    source = tmp_path / "new.csv"
    source.write_bytes(b"text\nwin cash\n \nsee you\n" + b"caf\xe9\n" * 30 + b"last\n")
    with caplog.at_level(logging.INFO):
        predict.main(command(source, "--on-bad-rows", "skip"))
    assert list(pd.read_csv(tmp_path / "out.csv")["id"]) == [2, 4, 35]
    told = [line for line in caplog.messages if line.startswith("left out")]
    assert len(told) == reading.LOGGED
    assert told[0] == f"left out: {source}, line 3, column 'text': empty"
    assert caplog.messages[-1].endswith("3 rows in " + f"{tmp_path}/out.csv; 31 bad rows left out")


def test_a_text_without_tokens_is_a_bad_row():
    texts = [Text(1, "a", "known"), Text(2, "b", "\u200b"), Text(3, "c", "known")]
    tokens: dict[str, list] = {"input_ids": [[5], [], [6, 7]], "length": [1, 0, 2]}
    bad = reading.BadRows("skip", at_once=True)
    [(kept, left)] = predict.tokenized(reading.Stream(texts, "x"), lambda _: tokens, bad)
    assert [row.id for row in kept] == ["a", "c"]
    assert left["length"] == [1, 2]
    assert left[1]["input_ids"] == [6, 7]
    assert bad.count == 1


def test_texts_and_ids_are_as_they_are_written(tmp_path):
    source = tmp_path / "new.jsonl"
    lines = ['{"text": 3.0, "n": 7}', '{"text": "007", "n": "a"}', '{"text": "b", "n": true}']
    source.write_text("\n".join([*lines, '{"text": "c", "m": 1}']))
    bad = reading.BadRows("skip", at_once=True)
    words = f"--input {source} --id n --model m --adapter a --output o"
    found = list(predict.read(predict.parse(words.split()), bad))
    assert found == [Text(1, 7, "3"), Text(2, "a", "007")]
    assert [(row["line"], row["column"], row["problem"]) for row in bad.listed] == [
        (3, "n", "neither text nor number"),
        (4, "n", "missing"),
    ]


HOSTILE = ["=cmd|' /C calc'!A0", "+a", "-a", "@a", "\ta", "\uff1d1"]
HARMLESS = ["a=b", "-5", "+4.5e3", "'x", 7, -1.5]


@pytest.mark.parametrize("escaped", [False, True])
def test_what_looks_like_a_formula_is_text_if_asked_for(escaped):
    output = io.StringIO()
    write = predict.writer(output, ".csv", ["=1+1", "b"], escaped)
    for name in HOSTILE + HARMLESS:
        write([name, "=1+1", 0.25, -0.75])
    header, *lines = csv.reader(io.StringIO(output.getvalue(), newline=""))
    assert header == ["id", "prediction", "probability_=1+1", "probability_b"]
    mark = "'" * escaped
    assert [line[0] for line in lines] == [*(mark + n for n in HOSTILE), *map(str, HARMLESS)]
    assert {tuple(line[1:]) for line in lines} == {(f"{mark}=1+1", "0.25", "-0.75")}


def test_formulas_are_escaped_where_the_option_says_so(command, tmp_path, capsys):
    source = write_input(tmp_path / "new.csv", ["win cash", "call me"], ["=1+1", "@b"])
    for option, expected in (("--no-escape-formulas", "=1+1"), ("--escape-formulas", "'=1+1")):
        predict.main(command(source, "--id", "n", option))
        assert pd.read_csv(tmp_path / "out.csv")["id"][0] == expected
    with pytest.raises(SystemExit):
        words = command(source, "--escape-formulas", "--output", tmp_path / "a.jsonl")
        predict.main(words)
    assert "--escape-formulas is for .csv" in capsys.readouterr().err


def test_max_length_is_that_of_the_cell(command, tmp_path):
    """Tokens end at 16 in the fixture: what stands after them does not count, unless told so."""
    source = tmp_path / "new.txt"
    start = (
        "win free cash prize claim now urgent text stop mobile offer reward winner win free cash"
    )
    source.write_text(f"{start}\n{start} {'see you at home for dinner ' * 3}\n")
    predict.main(command(source))
    first, second = pd.read_csv(tmp_path / "out.csv")["probability_ham"]
    assert first == pytest.approx(second, abs=SAME)
    predict.main(command(source, "--max-length", 48))
    first, second = pd.read_csv(tmp_path / "out.csv")["probability_ham"]
    assert first != pytest.approx(second, abs=SAME)


def test_a_maximum_without_room_for_a_text_is_refused(cell, command, tmp_path):
    source = write_input(tmp_path / "new.txt", ["win"], [])
    if cell[0].name == "bert":
        with pytest.raises(InputError, match=r"max_length 2 leaves .* 3 or more"):
            predict.main(command(source, "--max-length", 2))
    else:
        predict.main(command(source, "--max-length", 1))


@pytest.mark.parametrize("columns", [["p", "p"], ["text", "p", "h"]])
def test_a_text_is_one_column_or_two(columns):
    expected = f"--text names {len(columns)} columns, .*: name one, or of pairs two different ones"
    with pytest.raises(InputError, match=expected):
        predict.parse(["--input=i", "--model=m", "--adapter=a", "--output=o", "--text", *columns])


def test_a_cell_may_be_moved(cell, command, tmp_path):
    """What it takes to use it travels in its directory."""
    source = tmp_path / "new.txt"
    source.write_text("win free cash prize claim now\n")
    predict.main(command(source))
    expected = (tmp_path / "out.csv").read_text()
    predict.main(command(source, "--adapter", shutil.copytree(cell[1], tmp_path / "moved")))
    assert (tmp_path / "out.csv").read_text() == expected


def test_an_adapter_of_another_model_is_refused(cell, command, tmp_path):
    copy = shutil.copytree(cell[0], tmp_path / "other")
    (copy / "source.json").write_text('{"kind": "path", "name": "other"}')
    source = write_input(tmp_path / "new.txt", ["win"], [])
    with pytest.raises(InputError, match=f"was trained on {cell[0].name}, and .* is other"):
        predict.main(command(source, "--model", copy))


def test_output_of_another_type_and_over_the_input(command, tmp_path):
    source = write_input(tmp_path / "new.csv", ["win"], ["1"])
    with pytest.raises(InputError, match=r"not written; use \.csv, \.jsonl"):
        predict.main(command(source, "--output", tmp_path / "out.parquet"))
    with pytest.raises(InputError, match="is the input: name another"):
        predict.main(command(source, "--output", source))


def test_a_file_without_rows(command, tmp_path):
    source = tmp_path / "new.csv"
    source.write_text("text\n")
    with pytest.raises(InputError, match="has no row to classify"):
        predict.main(command(source))
    source.write_text("text\n \n")
    with pytest.raises(InputError, match="has no row to classify"):
        predict.main(command(source, "--on-bad-rows", "skip"))


COLUMNS = "dataset,model,variant,seed,split,macro_f1,loss,trainable_parameters"
COMPARISON = f"""{COLUMNS}
sms,,tfidf,,validation,0.99,0.01,
sms,bert,base,0,validation,0.98,0.02,
sms,bert,lora-r4,0,validation,0.7,0.4,100
sms,bert,lora-r8,0,validation,0.9,0.5,200
sms,bert,lora-r4,1,validation,0.9,0.6,100
sms,aged,lora-r4,1,validation,0.9,0.6,100
sms,bert,lora-r4,0,test,0.97,0.03,100
news,bert,lora-r4,0,validation,0.96,0.04,100
empty,bert,base,0,validation,0.9,0.5,
"""


@pytest.fixture
def comparison(tmp_path) -> Path:
    path = tmp_path / "comparison.csv"
    path.write_text(COMPARISON)
    return path


def test_the_best_is_the_best_trained_cell_on_validation(comparison):
    """Neither a baseline, nor the base, nor a test row, nor another dataset, though all better."""
    assert predict.best_cell(comparison, "sms", "loss") == ("bert", "lora-r4", "0")
    assert predict.best_cell(comparison, "news", "macro_f1") == ("bert", "lora-r4", "0")


def test_of_equals_the_smallest_then_the_first_by_name(comparison):
    assert predict.best_cell(comparison, "sms", "macro_f1") == ("aged", "lora-r4", "1")
    header, *lines = COMPARISON.splitlines()
    comparison.write_text("\n".join([header, *reversed(lines)]))
    assert predict.best_cell(comparison, "sms", "macro_f1") == ("aged", "lora-r4", "1")


@pytest.mark.parametrize(
    ("dataset", "metric", "expected"),
    [
        ("smss", "macro_f1", "no trained cell of dataset 'smss' .* name one of empty, news, sms"),
        ("empty", "macro_f1", "no trained cell of dataset 'empty'"),
        ("sms", "f2", "has no column 'f2'"),
        ("sms", "variant", "variant is no metric"),
    ],
)
def test_no_best(comparison, dataset, metric, expected):
    with pytest.raises(InputError, match=expected):
        predict.best_cell(comparison, dataset, metric)


def test_best_needs_a_comparison(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read \(No such file.*\): run `report`"):
        predict.best_cell(tmp_path / "none.csv", "sms", "loss")


def test_predicting_with_the_best(cell, tmp_path):
    model, adapter, expected, texts = cell
    results = adapter.parents[3]  # {dataset}/{model}/{variant}/{seed}/adapter
    line = f"{results.name},{model.name},lora,0,validation,0.9,0.1,100"
    table = tmp_path / "comparison.csv"
    table.write_text(f"{COLUMNS}\n{line}\n")
    checksums.write_beside([table], tmp_path / "comparison.digests.json")
    source = write_input(tmp_path / "new.txt", texts, [])
    predict.main(
        f"--input {source} --best macro_f1 --dataset {results.name} --results {results.parent} "
        f"--comparison {tmp_path}/comparison.csv --models-dir {model.parent} "
        f"--output {tmp_path}/out.csv".split()
    )
    found = pd.read_csv(tmp_path / "out.csv")
    np.testing.assert_array_equal(found["probability_ham"], expected["probability_ham"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", "one of the arguments --adapter --best is required"),
        ("--adapter a", "--adapter needs --model too"),
        ("--best loss --dataset d", "--best needs --comparison, --results, --models-dir too"),
        ("--best loss --adapter a", "not allowed with argument"),
    ],
)
def test_options_that_belong_together(words, expected, capsys):
    with pytest.raises(SystemExit):
        predict.parse(f"--input i --output o {words}".split())
    assert expected in capsys.readouterr().err


def test_mistake_ends_in_one_line(run_script, tmp_path):
    words = [w for name in ("model", "adapter") for w in (f"--{name}", tmp_path / name)]
    source = ["--input", tmp_path / "new.csv", "--output", tmp_path / "out.csv"]
    done = run_script("predict", *words, *source)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path}/new.csv cannot be read")
    assert "Traceback" not in done.stderr


PREDICTIONS = """
predictions:
  chosen: {input: new/texts.txt, dataset: news, cell: gpt2/lora-r4/seed0}
  best.of.all: {input: new/rows.csv, dataset: news, id: n, best: loss, on_bad_rows: skip}
"""


def test_the_workflow_classifies_what_the_config_asks_for(work, snakemake):
    (work / "new").mkdir()
    write_input(work / "new/texts.txt", ["call me later", "budget report"], [])
    (work / "new/rows.csv").write_text("text,n\ncall me later,a\nbroken\nbudget report,b\n")
    config = work / "config/config.yaml"
    config.write_text(config.read_text() + PREDICTIONS)
    said = snakemake("--cores", "2", cwd=work).stdout
    assert "3 of 4 steps (75%) done" in said  # both, the page (it shows the config), and rule all
    home = work / "results/news/predictions"
    chosen, best = (pd.read_csv(home / f"{name}.csv") for name in ("chosen", "best.of.all"))
    assert list(chosen) == ["id", "prediction", "probability_ham", "probability_other"]
    assert list(best["id"]) == ["a", "b"]
    assert "line 3: 1 fields under 2 columns" in (home / "best.of.all.log").read_text()
    assert "Nothing to be done" in snakemake("-n", cwd=work).stdout

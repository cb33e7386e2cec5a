"""Classify new text with a trained cell: label and probabilities for every row of a file.

    python scripts/predict.py --input new.csv --text message --id number \\
        --model resources/models/minilm --adapter results/sms-spam/minilm/lora-r4/seed0/adapter \\
        --output predictions.csv

With the best trained cell of a dataset, judged on its validation rows:

    python scripts/predict.py --input new.csv --text message --best macro_f1 \\
        --dataset sms-spam --comparison results/comparison.csv --results results \\
        --models-dir resources/models --output predictions.csv

The input is CSV, TSV, JSON lines, Parquet or plain lines (.txt), and is read as it is classified:
it may be larger than the memory. The output has id, prediction and a probability for each class.
Ids and labels are written as they are; with --escape-formulas, those that a spreadsheet would take
for a formula begin with an apostrophe.
"""

import argparse
import contextlib
import csv
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from common import checksums, cli, files, gpus, startup, warm
from common.cells import Cell, is_trained
from common.cli import InputError
from common.data import reading
from common.data.encoding import TYPES, UNUSUAL_UNKNOWN_SHARE
from common.data.reading import QUOTING, BadRow, Row
from common.metrics import LOWER_IS_BETTER
from common.model import evaluation
from common.task import SINGLE_LABEL

log = logging.getLogger("predict")

OUTPUTS = (".csv", ".jsonl")
CHUNK_ROWS = 4096  # read, classified and written at a time
# What a cell begins with that a spreadsheet takes for a formula; as of OWASP, "CSV injection".
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
OF_BEST = ("dataset", "comparison", "results", "models_dir")


class Text(NamedTuple):
    """A text to classify, with the line that its row begins on and the id of the row."""

    line: int
    id: Any
    text: str
    pair: str | None = None


class Tokenized:
    """Tokens as ``prediction.predict`` takes them: a column by its name, a row by its number."""

    def __init__(self, tokens: dict[str, list]) -> None:
        self.tokens = tokens

    def __getitem__(self, key: str | int) -> Any:
        if isinstance(key, str):
            return self.tokens[key]
        row = {name: self.tokens[name][key] for name in ("input_ids", TYPES) if name in self.tokens}
        return row | {"label": 0}  # it is not known


Encode = Callable[[list[Text]], dict[str, list]]
Classify = Callable[[Tokenized], dict[str, Any]]


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    require_output(args.output, args.input)
    cli.go_offline()
    gpus.lease(jobs_per_gpu=args.jobs_per_gpu)
    from common.model import variants

    model, adapter = choose(args)
    bad = reading.BadRows(args.on_bad_rows, at_once=True)
    found = read(args, bad)
    first = next(found, None)  # a mistake in the file shows before the model is loaded
    if first is None:
        raise InputError(f"{args.input} has no row to classify: bring some")
    labels = variants.labels_of(adapter)
    encode, predictor = load(model, adapter, args)
    chunks = tokenized(found.of(chain([first], found)), encode, bad)
    with (
        predictor as classify,
        files.atomic_write(args.output) as aside,
        open(aside, "w", encoding="utf-8", newline="") as output,
    ):
        write = writer(output, args.output.suffix, labels, args.escape_formulas)
        count = predict(chunks, classify, labels, write)
    log.info("%d rows in %s; %d bad rows left out", count, args.output, bad.count)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the command line.

    What each option means is described once more in config/README.md.
    """
    parser = cli.parser(__doc__)
    parser.add_argument("--input", required=True, type=Path, help=", ".join(reading.SUFFIXES))
    parser.add_argument(
        "--text", action=cli.Collect, nargs="+", default=["text"], help="its column; of pairs, two"
    )
    parser.add_argument("--id", help="column of the id; else the number of the line")
    parser.add_argument("--encoding", default="utf-8", help="of the input")
    parser.add_argument("--delimiter", help="of CSV; by default that of the file's type")
    parser.add_argument(
        "--quoting", choices=QUOTING, default="auto", help="what a quote means in CSV and TSV"
    )
    parser.add_argument(
        "--on-bad-rows", choices=["error", "skip"], default="error", help="end there, or go on"
    )
    cell = parser.add_mutually_exclusive_group(required=True)
    cell.add_argument("--adapter", type=Path, help="adapter directory of a cell")
    cell.add_argument("--best", metavar="METRIC", help="the best cell by it, on validation")
    parser.add_argument("--model", type=Path, help="model directory, with --adapter")
    parser.add_argument("--dataset", help="whose cells, with --best")
    parser.add_argument("--comparison", type=Path, help="CSV file of the report, with --best")
    parser.add_argument("--results", type=Path, help="directory of all results, with --best")
    parser.add_argument("--models-dir", type=Path, help="directory of all models, with --best")
    parser.add_argument(
        "--max-length", type=cli.int_at_least(1), help="else that of the training texts"
    )
    evaluation.add_device_options(parser)
    parser.add_argument(
        "--escape-formulas", action=argparse.BooleanOptionalAction, default=False,
        help="of a .csv for spreadsheets: ids and labels that look like formulas become text",
    )  # fmt: skip
    parser.add_argument("--output", required=True, type=Path, help=".csv or .jsonl file to write")
    args = parser.parse_args(argv)
    needed = ("model",) if args.adapter else OF_BEST
    if missing := [name for name in needed if getattr(args, name) is None]:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in missing)
        parser.error(f"--{'adapter' if args.adapter else 'best'} needs {options} too")
    if args.escape_formulas and args.output.suffix == ".jsonl":
        parser.error("--escape-formulas is for .csv: no spreadsheet opens JSON lines")
    reading.require_text_columns(args.text)
    return args


def require_output(output: Path, source: Path) -> None:
    """Refuse an output of another type, or one that would take the place of the input."""
    if output.suffix not in OUTPUTS:
        raise InputError(f"{output}: files of this type are not written; use {', '.join(OUTPUTS)}")
    if output.resolve() == source.resolve():
        raise InputError(f"{output} is the input: name another file to write")


def choose(args: argparse.Namespace) -> tuple[Path, Path]:
    """Return the directories of the model and of the adapter.

    Those named, or those of the best cell.
    """
    if args.adapter:
        return args.model, args.adapter
    checksums.verify_file(args.comparison)
    model, variant, seed = best_cell(args.comparison, args.dataset, args.best)
    log.info("best by validation %s: %s/%s/seed%s", args.best, model, variant, seed)
    cell = args.results / args.dataset / model / variant / f"seed{seed}"
    return args.models_dir / model, cell / "adapter"


def best_cell(comparison: Path, dataset: str, metric: str) -> tuple[str, str, str]:
    """Return model, variant and seed of the trained cell that is best on the validation rows.

    Of equally good cells, the one with the fewest trainable parameters, then the first by name.

    Raises:
        InputError: there is no comparison, no such metric, or no trained cell of the dataset.
    """
    try:
        with open(comparison, encoding="utf-8", newline="") as file:
            table = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"{comparison} cannot be read ({error.strerror}): run `report`") from error
    if not table or metric not in table[0]:
        raise InputError(f"{comparison} has no column {metric!r}: name a metric that it has")
    cells = [row for row in table if is_candidate(row, dataset, metric)]
    if not cells:
        known = ", ".join(sorted({row["dataset"] for row in table}))
        raise InputError(
            f"{comparison} has no trained cell of dataset {dataset!r} with validation {metric}: "
            f"name one of {known}, or train a cell"
        )
    best = min(cells, key=lambda row: rank(row, metric))
    return best["model"], best["variant"], best["seed"]


def is_candidate(row: dict[str, str], dataset: str, metric: str) -> bool:
    """Return whether a row of the comparison is the validation of a trained cell."""
    trained = is_trained(Cell(row["dataset"], row["model"], row["variant"], None))
    of_seed = row["seed"] != "" and row["split"] == "validation"  # published rows have neither
    return trained and of_seed and row["dataset"] == dataset and bool(row[metric])


def rank(row: dict[str, str], metric: str) -> tuple:
    """Return what the best cell has least of, and after it, what decides between equals."""
    try:
        value, cost = float(row[metric]), float(row["trainable_parameters"] or "inf")
    except ValueError as error:
        raise InputError(f"{metric} is no metric ({error}): name one, such as macro_f1") from error
    gain = -value if metric in LOWER_IS_BETTER else value
    return -gain, cost, row["model"], row["variant"], int(row["seed"])


def read(args: argparse.Namespace, bad: reading.BadRows) -> reading.Stream[Text]:
    """Return the texts of the input, without the bad rows."""
    columns = {"text": args.text} | ({} if args.id is None else {"id": [args.id]})
    layout = reading.CsvOptions(args.encoding, args.delimiter, args.quoting)
    found = reading.read(args.input, columns, layout)
    return found.of(bad.left_out(found.of(texts(found, args.text, args.id))))


def load(
    model: Path, adapter: Path, args: argparse.Namespace
) -> tuple[Encode, evaluation.Predictor]:
    """Return what makes tokens of texts, and what makes probabilities of tokens."""
    from common.data import encoding
    from common.model import variants

    with startup.importing():
        import peft  # noqa: F401 - it brings the models of transformers
        import torch

    torch.set_num_threads(args.threads)
    require_model(model, adapter)
    tokenizer = encoding.load_tokenizer(adapter)
    record = variants.read_record(adapter)
    require_texts(args.text, record.separator is not None, adapter)
    max_length = args.max_length or record.max_length
    encoder = encoding.Encoder(tokenizer, max_length, record.separator, record.types)

    def encode(texts: list[Text]) -> dict[str, list]:
        seconds = [text.pair or "" for text in texts]
        return encoder([text.text for text in texts], seconds if len(args.text) > 1 else None)

    trained, padding = variants.load(model, adapter), variants.padding_of(adapter)
    return encode, evaluation.Predictor(trained, padding, args.batch_tokens, args.jobs_per_gpu)


def require_texts(columns: list[str], pairs: bool, adapter: Path) -> None:
    """Refuse to classify texts with what was trained on pairs, and pairs with what was not."""
    if len(columns) != 1 + pairs:
        trained, wanted = ("pairs of texts", "two columns") if pairs else ("texts", "one column")
        raise InputError(f"{adapter} was trained on {trained}: name {wanted} as `text`")


def require_model(model: Path, adapter: Path) -> None:
    """Refuse a model that the adapter was not trained on: it might fit, and answer nonsense."""
    from common.model import variants

    source, record = files.read_source(model), variants.read_record(adapter).base_model
    found, wanted = (
        " at ".join(filter(None, [each.get("version") or each["name"], each.get("revision")]))
        for each in (source, record)
    )
    if found != wanted:
        raise InputError(f"{adapter} was trained on {wanted}, and {model} is {found}: name that")


def texts(
    found: reading.Stream[Row | BadRow], text: list[str], name: str | None
) -> Iterator[Text | BadRow]:
    """Yield the rows as texts to classify.

    Args:
        found: rows with the columns.
        text: column of the text; of pairs, both.
        name: column of the id; None for the number of the line.
    """
    keys = [("text", column) for column in text] + ([] if name is None else [("id", name)])
    for row in found:
        if isinstance(row, BadRow):
            yield row
        elif bad := reading.first_problem(row, keys):
            yield bad
        else:
            known = row.line if name is None else row.fields[name]
            yield Text(row.line, known, *(reading.as_text(row.fields[column]) for column in text))


def tokenized(
    found: reading.Stream[Text], encode: Encode, bad: reading.BadRows
) -> Iterator[tuple[list[Text], Tokenized]]:
    """Yield chunks of texts with their tokens; a text of which none is left is a bad row too."""
    while chunk := list(islice(found, CHUNK_ROWS)):
        tokens = encode(chunk)
        kept = [number for number, length in enumerate(tokens["length"]) if length]
        for row, length in zip(chunk, tokens["length"], strict=True):
            if not length:
                bad.add(found, BadRow(row.line, None, "the tokenizer leaves nothing of its text"))
        if kept:
            columns = {name: [column[i] for i in kept] for name, column in tokens.items()}
            yield [chunk[number] for number in kept], Tokenized(columns)


def predict(
    chunks: Iterable[tuple[list[Text], Tokenized]],
    classify: Classify,
    labels: list[str],
    write: Callable[[list[Any]], Any],
) -> int:
    """Classify and write row after row, a chunk at a time; returns how many there were."""
    from tqdm import tqdm

    count, known, unknown = 0, 0, 0
    with tqdm(desc="rows", unit="row", disable=not cli.is_interactive()) as bar:
        for texts, tokens in chunks:
            probabilities = classify(tokens)["probabilities"]
            best = SINGLE_LABEL.decode(probabilities).tolist()
            for row, number, values in zip(texts, best, probabilities.tolist(), strict=True):
                write([row.id, labels[number], *values])
            count += len(texts)
            known += sum(tokens["length"])
            unknown += sum(tokens["unknown"])
            bar.update(len(texts))
    if unknown > UNUSUAL_UNKNOWN_SHARE * known:
        log.warning(
            "%.1f %% of the tokens are unknown to the model: see that it is made for this language",
            100 * unknown / known,
        )
    return count


def writer(
    output: IO[str], suffix: str, labels: list[str], escape_formulas: bool = False
) -> Callable[[list[Any]], Any]:
    """Return a function that writes one row: id, prediction, and the probability of each class.

    Args:
        output: to write to.
        suffix: of the file, which tells its type.
        labels: the class names in order.
        escape_formulas: write ids and labels so that a spreadsheet takes them for text.
    """
    columns = ["id", "prediction", *(f"probability_{label}" for label in labels)]
    if suffix == ".csv":
        lines = csv.writer(output, lineterminator="\n")
        lines.writerow(columns)
        if not escape_formulas:
            return lines.writerow
        return lambda values: lines.writerow([*map(without_formula, values[:2]), *values[2:]])

    def write(values: list[Any]) -> None:
        named = dict(zip(columns, values, strict=True))
        output.write(json.dumps(named, ensure_ascii=False) + "\n")

    return write


def without_formula(value: Any) -> Any:
    """Return a value that a spreadsheet takes for no formula.

    A number is none, whatever its sign.
    """
    if not isinstance(value, str) or not value.startswith(FORMULA):
        return value
    with contextlib.suppress(ValueError):
        float(value)
        return value
    return f"'{value}"


if __name__ == "__main__":
    warm.run(main, "transformers", "peft")

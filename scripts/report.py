"""Merge figures and verdicts into one comparison: CSVs, Markdown, a LaTeX table, methods text.

    python scripts/report.py --results results --baselines majority tfidf \\
        --cells sms-spam/minilm/base,lora-r4,lora-r16/0,1 --metrics macro_f1 accuracy \\
        --verdicts results/verdicts.json \\
        --csv results/comparison.csv --verdicts-csv results/verdicts.csv \\
        --markdown results/comparison.md \\
        --latex results/comparison.tex --methods results/methods.md

The cells are named, not searched for: a rank that left the config leaves the comparison. Both CSVs
are tidy: one row per cell or baseline and split, and one per variant with its verdicts. The
Markdown is for reading, the verdict of each dataset first; LaTeX table and methods are for a paper.
Figures published elsewhere, --published, stand beside ours as rows marked so, in no mean, in no
verdict, and not in --verdicts-csv. Beside the CSV stand the digests of all these files
(comparison.digests.json): what reads one of them sees damage.
"""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import checksums, cli, files, warm
from common.cells import Cell, directory, identities, is_baseline, read_metrics
from common.cli import InputError
from common.metrics import METRICS
from common.report.references import Reference, references

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("report")

# Column of the CSV: key of a metrics.json's train_info.
TRAINING = {
    "adapter_parameters": "num_adapter_params",
    "head_parameters": "num_head_params",
    "trainable_parameters": "num_trainable_params",
    "total_parameters": "num_total_params",
    "train_seconds": "train_time",
    "train_samples_per_second": "train_samples_per_second",
    "train_tokens_per_second": "train_tokens_per_second",
    "peak_memory_bytes": "peak_memory_bytes",
    "file_bytes": "file_size",
}
WHOLE_NUMBERS = ("seed", "rank", "rows", "clean_rows", "file_bytes", "peak_memory_bytes",
                 *(column for column in TRAINING if column.endswith("_parameters")))  # fmt: skip
EVALUATION = ("rows", *METRICS, "collapsed", "eval_seconds", "eval_samples_per_second")

Record = dict[str, Any]


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--results", required=True, type=Path, help="directory of all results")
    parser.add_argument("--cells", required=True, nargs="+", help="DATASET/MODEL/VARIANTS/SEEDS")
    parser.add_argument("--baselines", nargs="*", default=[], help="of every dataset")
    parser.add_argument(
        "--metrics",
        action=cli.Collect,
        nargs="+",
        choices=[*METRICS],
        default=["macro_f1", "accuracy"],
    )
    parser.add_argument("--published", type=references, default=[], help="figures, as a JSON list")
    parser.add_argument("--verdicts", required=True, type=Path, help="verdicts.json")
    parser.add_argument("--csv", required=True, type=Path, help="CSV file to write")
    parser.add_argument("--verdicts-csv", required=True, type=Path, help="CSV file to write")
    parser.add_argument("--markdown", required=True, type=Path, help="Markdown file to write")
    parser.add_argument("--latex", required=True, type=Path, help="LaTeX table to write")
    parser.add_argument("--methods", required=True, type=Path, help="Markdown file to write")
    args = parser.parse_args(argv)
    from common.report import comparison, latex, methods

    rows = list(identities(args.cells, args.baselines))
    table = tabulate(args.results, rows, args.published)
    verdicts = of_this_comparison(args.verdicts, table)
    prepared, records = preparations(args.results, rows), records_of(args.results, rows)
    texts = {
        args.markdown: comparison.markdown(table, args.metrics, args.published, verdicts),
        args.latex: latex.table(verdicts, args.published),
        args.methods: methods.text(verdicts, prepared, records),
    }
    words = table["published"].map({True: "true", False: "false"})
    tables = {
        args.csv: with_ranges(table.assign(published=words), verdicts),
        args.verdicts_csv: comparison.by_variant(verdicts),
    }
    for path, written in tables.items():
        with files.atomic_write(path) as aside:
            written.to_csv(aside, index=False)
    for path, text in texts.items():
        with files.atomic_write(path) as aside:
            aside.write_text(text, encoding="utf-8")
    checksums.write_beside([*tables, *texts], args.csv.with_suffix(checksums.SIDECAR))
    log.info("%d rows in %s", len(table), args.csv)


def tabulate(
    results: Path, rows: list[dict[str, Any]], published: list[Reference]
) -> "pd.DataFrame":
    """Return the tidy table: one row per cell or baseline and split, all figures unrounded.

    Published figures come last, one row each, with `published` true.
    """
    import pandas as pd

    measured = [line for row in rows for line in read(results, row)]
    table = pd.DataFrame(measured + [flatten_reference(row) for row in published])
    # Left to itself, pandas makes floats of the integers of a column that has empty places.
    table["lora_alpha"] = table["lora_alpha"].convert_dtypes()
    return table.astype(dict.fromkeys(WHOLE_NUMBERS, "Int64"))


def read(results: Path, row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the table for one cell or baseline: one per split.

    Raises:
        InputError: its metrics are missing or lack something.
    """
    path = directory(results, row) / "metrics.json"
    record = read_metrics(path)
    try:
        return [flatten(row, split, record) for split in record["metrics"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} lacks figures ({error}): {files.remedy(path)}") from error


def flatten(row: dict[str, Any], split: str, record: dict[str, Any]) -> dict[str, Any]:
    """Return one row of the table, from one split of one metrics.json."""
    run, train = record["run_info"], record["train_info"]
    peft = run.get("peft_config") or {}
    evaluation = record["metrics"][split]
    clean = evaluation.get("clean", {})
    trainable, total = train.get("num_trainable_params"), train.get("num_total_params")
    return {
        **row,
        "split": split,
        "kind": "baseline" if is_baseline(Cell(**row)) else run.get("kind", "base"),
        "peft_type": peft.get("peft_type"),
        "rank": peft.get("r"),
        "lora_alpha": peft.get("lora_alpha"),
        "scale": scale(peft),
        **{key: evaluation[key] for key in EVALUATION},
        "learned_nothing": train.get("learned_nothing"),
        **{f"clean_{key}": clean.get(key) for key in ("rows", *METRICS)},
        **{column: train.get(key) for column, key in TRAINING.items()},
        "trainable_share": trainable / total if total else None,
        "pretrained_head": train.get("pretrained_head"),
        "head_origin": train.get("head_origin"),
        "classes": json.dumps(record["meta_info"]["dataset_info"]["labels"]),
        "confusion_matrix": json.dumps(evaluation["confusion_matrix"]),
        "published": False,
        "source": None,
    }


def scale(peft: dict[str, Any]) -> float | None:
    """Return what a LoRA update is multiplied by: alpha / r, or alpha / sqrt(r) with rsLoRA.

    At a constant alpha a higher rank has a lower scale; at alpha = 2 r, a rank sweep would be a
    sweep of learning rates too. None for what has no alpha or no single rank.
    """
    alpha, rank = peft.get("lora_alpha"), peft.get("r")
    if alpha is None or not isinstance(rank, int) or rank < 1:
        return None
    return alpha / (rank**0.5 if peft.get("use_rslora") else rank)


def flatten_reference(reference: Reference) -> dict[str, Any]:
    """Return the row of the table for one published result; what was not published is left out."""
    return {
        "dataset": reference["dataset"],
        "model": reference.get("model", ""),
        "variant": reference["variant"],
        "split": "test",
        **reference["metrics"],
        "published": True,
        "source": reference["source"],
    }


def with_ranges(table: "pd.DataFrame", verdicts: Record) -> "pd.DataFrame":
    """Return the table with the interval of each cell in its row of the test rows.

    Elsewhere empty.
    """
    from common.report import comparison

    known = comparison.ranges(verdicts)
    own = (table["split"] == "test") & (table["published"] == "false")
    found = [
        known[cell] if measured else {} for cell, measured in zip(cells_of(table), own, strict=True)
    ]
    with_them = table.copy()
    for name in comparison.range_columns(verdicts):
        with_them[name] = [each.get(name) for each in found]
    return with_them


def cells_of(table: "pd.DataFrame") -> list[Cell]:
    """Return the cell or baseline of each row of the table."""
    import pandas as pd

    names = zip(*(table[column] for column in Cell._fields), strict=True)
    return [
        Cell(dataset, model, variant, None if pd.isna(seed) else int(seed))
        for dataset, model, variant, seed in names
    ]


def of_this_comparison(path: Path, table: "pd.DataFrame") -> Record:
    """Return the verdicts, of the very cells in the table.

    Raises:
        InputError: they are missing, or of another comparison.
    """
    verdicts = files.read_json(
        path, ("metric", "level", "alpha", "margin", "resamples", "datasets", "over_datasets")
    )
    expected = {
        Cell(dataset, variant["model"] or "", variant["variant"], seed)
        for dataset, found in verdicts["datasets"].items()
        for variant in found["variants"]
        for seed in variant["seeds"] or [None]
    }
    if expected != set(cells_of(table[~table["published"]])):
        raise InputError(f"{path} is of another comparison: run `verdicts`")
    return verdicts


def records_of(results: Path, rows: list[dict[str, Any]]) -> list[Record]:
    """Return every metrics.json, with the name of its cell."""
    return [{**read_metrics(directory(results, row) / "metrics.json"), "cell": row} for row in rows]


def preparations(results: Path, rows: list[dict[str, Any]]) -> dict[str, Record]:
    """Return what was done to the rows of each dataset."""
    keys = ("settings", "found", "rows_dropped", "rows_marked", "splits")
    return {
        dataset: files.read_json(results / dataset / "data" / files.PREPARATION, keys)
        for dataset in dict.fromkeys(row["dataset"] for row in rows)
    }


if __name__ == "__main__":
    warm.run(main, "pandas")

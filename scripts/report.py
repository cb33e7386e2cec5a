"""Merge the metrics of cells and baselines into one comparison, as CSV and as Markdown.

    python scripts/report.py --results results --baselines majority tfidf \\
        --cells sms-spam/minilm/base,lora-r4,lora-r16/0,1 --metrics macro_f1 accuracy \\
        --csv results/comparison.csv --markdown results/comparison.md

The cells are named, not searched for: a rank that left the config leaves the comparison. The CSV is
tidy, one row per cell or baseline and split; the Markdown is for reading. Figures published
elsewhere, --published, stand beside ours as rows marked so, and enter no mean.
"""

import argparse
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import cli, files
from common.cells import Cell, named
from common.cli import InputError
from common.markdown import shown

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("report")

METRICS = ("macro_f1", "accuracy", "balanced_accuracy", "macro_precision", "f1", "precision",
           "recall", "mcc", "loss")  # fmt: skip
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
    "adapter_bytes": "file_size",
}
WHOLE_NUMBERS = ("seed", "rank", "rows", "clean_rows", "adapter_bytes", "peak_memory_bytes",
                 *(column for column in TRAINING if column.endswith("_parameters")))  # fmt: skip
EVALUATION = ("rows", *METRICS, "collapsed", "eval_seconds", "eval_samples_per_second")
REFERENCE = {"dataset", "variant", "source", "metrics"}  # `model` and `note` may be left out
MEBIBYTE = 2**20

Reference = dict[str, Any]


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--results", required=True, type=Path, help="directory of all results")
    parser.add_argument("--cells", required=True, nargs="+", help="DATASET/MODEL/VARIANTS/SEEDS")
    parser.add_argument("--baselines", nargs="*", default=[], help="of every dataset")
    parser.add_argument("--metrics", nargs="+", choices=METRICS, default=["macro_f1", "accuracy"])
    parser.add_argument("--published", type=references, default=[], help="figures, as a JSON list")
    parser.add_argument("--csv", required=True, type=Path, help="CSV file to write")
    parser.add_argument("--markdown", required=True, type=Path, help="Markdown file to write")
    args = parser.parse_args(argv)
    rows = list(identities(args.cells, args.baselines))
    table = tabulate(args.results, rows, args.published)
    with files.written_aside(args.csv) as aside:
        words = table["published"].map({True: "true", False: "false"})
        table.assign(published=words).to_csv(aside, index=False)
    with files.written_aside(args.markdown) as aside:
        aside.write_text(markdown(table, args.metrics, args.published), encoding="utf-8")
    log.info("%d rows in %s", len(table), args.csv)


def references(text: str) -> list[Reference]:
    """The type of --published: a JSON list of objects, each with the keys of ``REFERENCE``."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is no JSON ({error})") from error
    objects = isinstance(found, list) and all(isinstance(row, dict) for row in found)
    if not objects or not all(row.keys() >= REFERENCE for row in found):
        keys = ", ".join(sorted(REFERENCE))
        raise argparse.ArgumentTypeError(f"{text} is no JSON list of objects with {keys}")
    return found


def identities(cells: list[str], baselines: list[str]) -> Iterator[dict[str, Any]]:
    """What names each row: dataset, model, variant and seed; a baseline has no model and no seed.

    Args:
        cells: each ``dataset/model/variant,variant/seed,seed``.
        baselines: names, for every dataset that has cells.

    Raises:
        InputError: a cell is not written so.
    """
    for cell in named(cells, baselines):
        yield cell._asdict()


def directory(results: Path, row: dict[str, Any]) -> Path:
    """Where the metrics of a cell or baseline are."""
    return results / Cell(**row).path


def tabulate(
    results: Path, rows: list[dict[str, Any]], published: list[Reference]
) -> "pd.DataFrame":
    """The tidy table: one row per cell or baseline and split, all figures unrounded.

    Published figures come last, one row each, with `published` true.
    """
    import pandas as pd

    measured = [line for row in rows for line in read(results, row)]
    table = pd.DataFrame(measured + [flatten_reference(row) for row in published])
    # Left to itself, pandas makes floats of the integers of a column that has empty places.
    table["alpha"] = table["alpha"].convert_dtypes()
    return table.astype(dict.fromkeys(WHOLE_NUMBERS, "Int64"))


def read(results: Path, row: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the table for one cell or baseline: one per split.

    Raises:
        InputError: its metrics are missing or lack something.
    """
    path = directory(results, row) / "metrics.json"
    record = files.read_json(path)
    try:
        return [flatten(row, split, record) for split in record["metrics"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} lacks figures ({error}): delete it and run again") from error


def flatten(row: dict[str, Any], split: str, record: dict[str, Any]) -> dict[str, Any]:
    """One row of the table, from one split of one metrics.json."""
    run, train = record["run_info"], record["train_info"]
    peft = run.get("peft_config") or {}
    evaluation = record["metrics"][split]
    clean = evaluation.get("clean", {})
    trainable, total = train.get("num_trainable_params"), train.get("num_total_params")
    return {
        **row,
        "split": split,
        "kind": "baseline" if row["seed"] is None else run.get("kind", "base"),
        "peft_type": peft.get("peft_type"),
        "rank": peft.get("r"),
        "alpha": peft.get("lora_alpha"),
        "scale": scale(peft),
        **{key: evaluation[key] for key in EVALUATION},
        **{f"clean_{key}": clean.get(key) for key in ("rows", *METRICS)},
        **{column: train.get(key) for column, key in TRAINING.items()},
        "trainable_share": trainable / total if total else None,
        "pretrained_head": train.get("pretrained_head"),
        "classes": json.dumps(record["meta_info"]["dataset_info"]["labels"]),
        "confusion_matrix": json.dumps(evaluation["confusion_matrix"]),
        "published": False,
        "source": None,
    }


def scale(peft: dict[str, Any]) -> float | None:
    """What a LoRA update is multiplied by: alpha / r, or alpha / sqrt(r) with rsLoRA.

    At a constant alpha a higher rank has a lower scale; at alpha = 2 r, a rank sweep would be a
    sweep of learning rates too. None for what has no alpha or no single rank.
    """
    alpha, rank = peft.get("lora_alpha"), peft.get("r")
    if alpha is None or not isinstance(rank, int) or rank < 1:
        return None
    return alpha / (rank**0.5 if peft.get("use_rslora") else rank)


def flatten_reference(reference: Reference) -> dict[str, Any]:
    """The row of the table for one published result; what was not published is left out."""
    return {
        "dataset": reference["dataset"],
        "model": reference.get("model", ""),
        "variant": reference["variant"],
        "split": "test",
        **reference["metrics"],
        "published": True,
        "source": reference["source"],
    }


def markdown(table: "pd.DataFrame", metrics: list[str], published: list[Reference]) -> str:
    """The comparison on the test rows, dataset by dataset, as people read it."""
    test = table[(table["split"] == "test") & ~table["published"]]
    parts = [
        "# Comparison\n",
        "Test rows only. Figures of a model are the mean over seeds ± their standard deviation; "
        "`base` is the model with an untrained head, a coin that every seed tosses anew. A figure "
        "that does not beat `majority` has learned nothing.\n",
    ]
    for dataset, rows in test.groupby("dataset", sort=False):
        classes, matrix = rows["classes"].iloc[0], rows["confusion_matrix"].iloc[0]
        counts = [sum(line) for line in json.loads(matrix)]
        names = map(shown, json.loads(classes))
        beside = [reference for reference in published if reference["dataset"] == dataset]
        shares = ", ".join(f"{name} {count}" for name, count in zip(names, counts, strict=True))
        parts += [
            f"## {dataset}\n",
            f"{rows['rows'].iloc[0]} test rows ({shares}).\n",
            *clean_line(rows),
            summary(rows, metrics, beside).to_markdown(index=False, disable_numparse=True) + "\n",
            *sources(beside),
            "Confusion matrices, summed over seeds; a row per true class, a column per "
            "predicted one:\n",
            # Names that look like numbers stay as they are.
            confusion(rows).to_markdown(index=False, disable_numparse=[0, 1, 2]) + "\n",
        ]
    return "\n".join(parts)


def summary(rows: "pd.DataFrame", metrics: list[str], published: list[Reference]) -> "pd.DataFrame":
    """One line per (model, variant): metrics with their spread over seeds, and the costs.

    Published results follow, each a line of its own, whatever its names.
    """
    import pandas as pd

    def line(group: "pd.DataFrame") -> dict[str, str]:
        first = group.iloc[0]
        return {
            "model": first["model"],
            "variant": first["variant"] + own_head(group) + collapse(group),
            "seeds": str(group["seed"].count() or ""),
            **figures(group, metrics),
            "adapter parameters": thousands(first["adapter_parameters"]),
            "head parameters": thousands(first["head_parameters"]),
            "train seconds": spread(group["train_seconds"], 1),
            "peak memory, MiB": spread(group["peak_memory_bytes"] / MEBIBYTE, 0),
        }

    groups = rows.groupby(["model", "variant"], sort=False)
    lines = [line(group) for _, group in groups]
    lines += [reference_line(reference, metrics) for reference in published]
    return pd.DataFrame(lines).fillna("")


def figures(group: "pd.DataFrame", metrics: list[str]) -> dict[str, str]:
    """The metrics of one line; where rows are marked, each on the clean rows beside it."""
    of = {metric: [metric] for metric in metrics}
    if group["clean_rows"].notna().any():
        of = {metric: [metric, f"clean_{metric}"] for metric in metrics}
    names = [name for both in of.values() for name in both]
    return {name.replace("clean_", "clean "): spread(group[name]) for name in names}


def clean_line(rows: "pd.DataFrame") -> list[str]:
    """The line that tells how many test rows are clean, where rows are marked at all."""
    clean = rows["clean_rows"].iloc[0]
    if rows["clean_rows"].isna().all():
        return []
    leaked = rows["rows"].iloc[0] - clean
    return [
        f"**{leaked} of these rows have a duplicate that was trained on.** Figures named *clean* "
        f"are those of the other {clean}.\n"
    ]


def own_head(group: "pd.DataFrame") -> str:
    """A note beside a `base` that is no coin: its head came with the model."""
    own = group["kind"].eq("base") & group["pretrained_head"].eq(True)
    return " (head of the model)" if own.all() else ""


def collapse(group: "pd.DataFrame") -> str:
    """A mark for a variant of which seeds answer one class for nearly every row."""
    collapsed = int(group["collapsed"].sum())
    # The majority class answers one class by definition.
    if not collapsed or group["kind"].iloc[0] == "baseline":
        return ""
    return f" (collapsed in {collapsed} of {len(group)} seeds)"


def reference_line(reference: Reference, metrics: list[str]) -> dict[str, str]:
    """The line of the table for one published result; a figure that is unknown stays empty."""
    figures = reference["metrics"]
    return {
        "model": shown(reference.get("model", "")),
        "variant": f"{shown(reference['variant'])} (published)",
        **{metric: f"{figures[metric]:.3f}" for metric in metrics if metric in figures},
    }


def sources(published: list[Reference]) -> list[str]:
    """The line below a table that names the sources of its published results, if it has any."""
    if not published:
        return []
    noted = [(shown(row["source"]), shown(row.get("note", ""))) for row in published]
    named = [f"{source} ({note})" if note else source for source, note in noted]
    return [f"Published elsewhere, and not measured here: {'; '.join(dict.fromkeys(named))}.\n"]


def spread(values: "pd.Series", digits: int = 3) -> str:
    """Mean ± standard deviation; the mean alone of a single value; empty where there is none."""
    values = values.dropna().astype(float)
    if values.empty:
        return ""
    mean = f"{values.mean():.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {values.std(ddof=1):.{digits}f}"


def thousands(count: Any) -> str:
    """A count with its thousands apart; empty where there is none."""
    import pandas as pd

    return "" if pd.isna(count) else f"{int(count):,}"


def confusion(rows: "pd.DataFrame") -> "pd.DataFrame":
    """The confusion matrices of a dataset, one below the other."""
    import pandas as pd

    classes = [shown(name) for name in json.loads(rows["classes"].iloc[0])]
    lines = []
    for (model, variant), group in rows.groupby(["model", "variant"], sort=False):
        matrices = [json.loads(matrix) for matrix in group["confusion_matrix"]]
        for number, name in enumerate(classes):
            counts = [sum(matrix[number][i] for matrix in matrices) for i in range(len(classes))]
            named = {f"→ {c}": n for c, n in zip(classes, counts, strict=True)}
            lines.append({"model": model, "variant": variant, "true": name, **named})
    return pd.DataFrame(lines)


if __name__ == "__main__":
    cli.run(main)

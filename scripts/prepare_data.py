"""Read one dataset, remove its duplicates, and split it into train, validation and test.

    python scripts/prepare_data.py --source resources/datasets/sms-spam --encoding latin-1 \\
        --text v2 --label v1 --labels ham spam --test 0.2 --validation 0.1 --train-rows 1000 \\
        --output results/sms-spam/data --passport results/sms-spam/passport.json

The order is: read, drop bad rows, drop duplicates, split, draw the subsets. So a text is in one
split only, and the splits do not depend on how many rows of them are used. Where the rows came from
stands in the passport, and in source.json beside the splits.
"""

import logging
from pathlib import Path
from typing import Any

from common import cli, files

log = logging.getLogger("prepare_data")


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    cli.go_offline()
    from common import tables

    layout = tables.Layout(args.text, args.label, args.filter, args.encoding, args.delimiter)
    origin = origin_of(args.source)
    parts, names, passport = prepare(tables.read_source(args.source, layout), args)
    passport = {"source": origin, **passport}
    with files.written_aside(args.output) as aside:
        save(parts, names, aside)
        files.write_json(origin, aside / files.SOURCE)
        files.write_json(passport, args.passport)
    log.info("%s", passport["splits"])


def parse(argv: list[str] | None):
    """The command line; what each option means is described once more in config/README.md."""
    parser = cli.parser(__doc__)
    parser.add_argument("--source", required=True, type=Path, help="file or directory")
    parser.add_argument("--encoding", default="utf-8", help="of CSV, TSV and JSON lines")
    parser.add_argument("--delimiter", help="of CSV; by default that of the file's type")
    parser.add_argument("--text", default="text", help="column of the text")
    parser.add_argument("--label", default="label", help="column of the label")
    parser.add_argument("--labels", nargs="+", help="class names in order")
    parser.add_argument("--filter", nargs="+", default=[], help="keep rows with COLUMN=VALUE")
    parser.add_argument("--on-bad-rows", choices=["error", "skip"], default="error")
    parser.add_argument("--test", type=float, default=0.2, help="share or count, if not given")
    parser.add_argument("--validation", type=float, default=0.1, help="share or count, likewise")
    parser.add_argument("--train-rows", type=int, help="size of a stratified subset")
    parser.add_argument("--validation-rows", type=int, help="size of a stratified subset")
    parser.add_argument("--test-rows", type=int, help="size of a stratified subset")
    parser.add_argument("--split-seed", type=int, default=0, help="of splits and subsets")
    parser.add_argument("--output", required=True, type=Path, help="Arrow directory to write")
    parser.add_argument("--passport", required=True, type=Path, help="JSON file to write")
    return parser.parse_args(argv)


def origin_of(path: Path) -> dict[str, Any]:
    """The record of where rows came from: that of ``fetch_dataset``, else a name without its path.

    A file called source.json may be anything in a directory that a user brought.
    """
    recorded = path / files.SOURCE
    if recorded.is_file():
        try:
            source = files.read_json(recorded)
        except cli.InputError:
            source = None
        if isinstance(source, dict) and source.get("kind") in ("package", "hub", "path"):
            return source
    return {"kind": "path", "name": path.resolve().name}


def prepare(source: dict, args) -> tuple[dict, list[str], dict]:
    """The three splits, the class names, and the passport: what was read, dropped and kept.

    Args:
        source: tables by split, as ``tables.read_source`` gives them.
        args: the options of the command line.
    """
    from common import splits

    rows_read = {name: len(table) for name, table in source.items()}
    good, bad = splits.drop_bad_rows(source, args.on_bad_rows)
    unique, dropped = splits.drop_duplicates(good)
    numbered, names = splits.encode_labels(unique, args.labels)
    whole = splits.split(numbered, args.test, args.validation, args.split_seed)
    wanted = {"train": args.train_rows, "validation": args.validation_rows, "test": args.test_rows}
    parts = {
        name: splits.sample(table, wanted[name], args.split_seed, name)
        for name, table in whole.items()
    }
    passport = {
        "rows_read": rows_read,
        "rows_dropped": {"bad": bad, **dropped},
        "labels": names,
        "splits": {name: describe(table, names, name) for name, table in parts.items()},
    }
    return parts, names, passport


def describe(table, names: list[str], split: str) -> dict:
    """One split in figures: its rows, its rows per class, its characters, its hash.

    Raises:
        InputError: it has no row of some class.
    """
    from common import splits

    counts = table["label"].value_counts()
    if missing := [name for number, name in enumerate(names) if number not in counts.index]:
        raise cli.InputError(
            f"{split} ({len(table)} rows) holds no row of class {missing[0]!r}: use more rows, or "
            "take it out of `labels`"
        )
    return {
        "rows": len(table),
        "classes": {name: int(counts[number]) for number, name in enumerate(names)},
        "mean_characters": round(float(table["text"].str.len().mean()), 1),
        "sha256": splits.content_sha256(table),
    }


def save(parts: dict, names: list[str], directory: Path) -> None:
    """Save the splits as an Arrow ``DatasetDict``: id, text, and label as ClassLabel."""
    import datasets

    from common import datadict

    kinds = {"id": "string", "text": "string"}
    features = datasets.Features(
        {
            **{name: datasets.Value(kind) for name, kind in kinds.items()},
            "label": datasets.ClassLabel(names=names),
        }
    )
    dataset_dict = datasets.DatasetDict(
        {
            name: datasets.Dataset.from_pandas(
                table[["id", "text", "label"]], features=features, preserve_index=False
            )
            for name, table in parts.items()
        }
    )
    datadict.save(dataset_dict, directory)


if __name__ == "__main__":
    cli.run(main)

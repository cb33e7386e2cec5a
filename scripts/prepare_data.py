"""Read one dataset, see to its duplicates, and split it into train, validation and test.

    python scripts/prepare_data.py --source resources/datasets/sms-spam --encoding latin-1 \\
        --text v2 --label v1 --labels ham spam --test 0.2 --validation 0.1 --train-rows 1000 \\
        --output results/sms-spam/data --passport results/sms-spam/passport.json \\
        --markdown results/sms-spam/passport.md --csv results/sms-spam/leakage.csv

The order is: read, drop bad rows and conflicting labels, drop repeated texts, split, drop what
straddles the splits, draw the subsets. So no text that is trained on is tested on, and the splits
do not depend on how many rows of them are used. Other policies than `drop` (--leakage) leave the
rows in: `group` splits by groups of duplicates, `warn` marks them, `error` ends.

What the rows are like and what was done to them stands in the passport, and each bad row that was
left out; each row that was dropped or marked as a duplicate, in the CSV; where the rows came from,
in the passport and in source.json beside the splits.
"""

import argparse
import contextlib
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from common import cli, files, rows

log = logging.getLogger("prepare_data")

POLICIES = ("drop", "group", "warn", "error")


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    cli.go_offline()
    origin = origin_of(args.source)
    parts, names, actions, described = prepare(read(args), args)
    with files.written_aside(args.output) as aside:
        save(parts, names, aside)
        files.write_json(origin, aside / files.SOURCE)
        write_records({"source": origin, **described}, actions, args)
    log.info("%s", described["splits"])


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
    parser.add_argument("--leakage", choices=POLICIES, default="drop", help="of duplicates")
    near = parser.add_mutually_exclusive_group()
    near.add_argument(
        "--near-duplicates", type=similarity, default=0.8, help="Jaccard, from 0 to 1"
    )
    near.add_argument("--no-near-duplicates", dest="near_duplicates", action="store_const",
                      const=None, help="they do not count")  # fmt: skip
    parser.add_argument("--conflicting-labels", choices=["drop", "keep"], default="drop")
    parser.add_argument("--test", type=float, default=0.2, help="share or count, if not given")
    parser.add_argument("--validation", type=float, default=0.1, help="share or count, likewise")
    parser.add_argument("--train-rows", type=int, help="size of a stratified subset")
    parser.add_argument("--validation-rows", type=int, help="size of a stratified subset")
    parser.add_argument("--test-rows", type=int, help="size of a stratified subset")
    parser.add_argument("--split-seed", type=int, default=0, help="of splits and subsets")
    parser.add_argument("--output", required=True, type=Path, help="Arrow directory to write")
    parser.add_argument("--passport", required=True, type=Path, help="JSON file to write")
    parser.add_argument("--markdown", type=Path, help="the passport for people, a file to write")
    parser.add_argument("--csv", type=Path, help="rows dropped or marked, a file to write")
    return parser.parse_args(argv)


def similarity(text: str) -> float:
    """The type of --near-duplicates: a number above 0, at most 1."""
    with contextlib.suppress(ValueError):
        if 0 < (number := float(text)) <= 1:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is no number above 0 and at most 1")


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


class Source(NamedTuple):
    """The good rows of a source as tables by split, and what was found while reading them."""

    tables: dict[str, Any]
    bad: rows.BadRows
    rows_read: dict[str, int]
    oddities: dict[str, dict[str, int]]


def read(args: argparse.Namespace) -> Source:
    """The rows of a source that pass the filters.

    Raises:
        InputError: the source cannot be read so, or has bad rows that are not to be skipped.
    """
    import pandas as pd

    from common import examples

    columns = examples.Columns(args.text, args.label, None, args.filter)
    layout = rows.Layout(args.encoding, args.delimiter)
    found = Source({}, rows.BadRows(args.on_bad_rows), {}, {})
    for split, stream in examples.read(args.source, columns, layout).items():
        before, odd, kept = found.bad.count, Counter[str](), []
        for number, text, label, _, oddities in found.bad.left_out(stream):
            kept.append((f"{split}/{number}", text, label))
            odd.update(oddities)
        found.tables[split] = pd.DataFrame(kept, columns=["id", "text", "label"], dtype=str)
        found.rows_read[split] = len(kept) + found.bad.count - before
        found.oddities[split] = {name: odd[name] for name in examples.ODDITIES}
    found.bad.refuse()
    return found


def prepare(source: Source, args) -> tuple[dict, list[str], Any, dict]:
    """The three splits, the class names, what became of duplicate rows, and the passport.

    Args:
        source: what was read.
        args: the options of the command line.

    Returns:
        tables by split; class names in order; a frame of the columns ``leakage.ACTION``; and all of
        the passport but the source.
    """
    from common import leakage, passport, splits

    given = leakage.with_groups(source.tables, args.near_duplicates)
    cleared, actions = applied(given, before_the_split(args), leakage.no_actions())
    numbered, names = splits.encode_labels(cleared, args.labels)
    parts, actions = divided(numbered, args, actions)
    settings = ("leakage", "near_duplicates", "conflicting_labels", "on_bad_rows")
    described = {
        "settings": {key: getattr(args, key) for key in settings},
        "rows_read": source.rows_read,
        **passport.done(actions, source.bad.count),
        "bad_rows": {"count": source.bad.count, "listed": source.bad.listed},
        "labels": names,
        "splits": {name: passport.kept(table, names, name) for name, table in parts.items()},
        "found": passport.found(source.tables, source.oddities),
        "conflicting_labels": passport.conflicting(given),
        "duplicates": {"before": leakage.summary(given), "after": leakage.summary(parts)},
    }
    return parts, names, actions, described


def before_the_split(args) -> list[Callable]:
    """What is done to the rows of a source before it is split, by the policy."""
    from common import leakage

    steps: list[Callable] = []
    if args.conflicting_labels == "drop":
        steps.append(leakage.drop_conflicting)
    if args.leakage == "drop":
        steps.append(leakage.drop_repeated)
    if args.leakage == "group":  # only splits that the source gives can be straddled yet
        steps.append(leakage.drop_straddling)
    return steps


def applied(tables: dict, steps: list[Callable], actions) -> tuple[dict, Any]:
    """The tables after each step in turn, and the actions with those of the steps."""
    import pandas as pd

    for step in steps:
        tables, more = step(tables)
        actions = pd.concat([actions, more], ignore_index=True)
    return tables, actions


def divided(tables: dict, args, actions) -> tuple[dict, Any]:
    """The splits as they are saved, and the actions with what was done to keep them apart.

    Raises:
        InputError: with the policy "error", a group straddles the splits.
    """
    from common import leakage, splits

    group = leakage.kinds(tables)[-1] if args.leakage == "group" else None
    whole = splits.split(tables, args.test, args.validation, args.split_seed, group)
    if args.leakage == "error":
        leakage.refuse_straddling(whole)
    if args.leakage == "drop":
        whole, actions = applied(whole, [leakage.drop_straddling], actions)
    wanted = {"train": args.train_rows, "validation": args.validation_rows, "test": args.test_rows}
    parts = {
        name: splits.sample(table, wanted[name], args.split_seed, name)
        for name, table in whole.items()
    }
    # The rows drawn, since what was not drawn is not trained on.
    return applied(parts, [leakage.mark] if args.leakage == "warn" else [], actions)


def save(parts: dict, names: list[str], directory: Path) -> None:
    """Save the splits as an Arrow ``DatasetDict``: id, text, and label as ClassLabel.

    Where rows were marked, with the column clean too.
    """
    import datasets

    from common import datadict

    kinds = {"id": datasets.Value("string"), "text": datasets.Value("string")}
    kinds["label"] = datasets.ClassLabel(names=names)
    if "clean" in parts["train"]:
        kinds["clean"] = datasets.Value("bool")
    dataset_dict = datasets.DatasetDict(
        {
            name: datasets.Dataset.from_pandas(
                table[[*kinds]], features=datasets.Features(kinds), preserve_index=False
            )
            for name, table in parts.items()
        }
    )
    datadict.save(dataset_dict, directory)


def write_records(described: dict, actions, args) -> None:
    """Write the passport as JSON, and where they are asked for, as Markdown and the actions."""
    from common import passport

    if args.csv:
        with files.written_aside(args.csv) as aside:
            words = actions["other_label"].map({True: "true", False: "false"})
            actions.assign(other_label=words).to_csv(aside, index=False)
    if args.markdown:
        with files.written_aside(args.markdown) as aside:
            aside.write_text(passport.markdown(described), encoding="utf-8")
    files.write_json(described, args.passport)


if __name__ == "__main__":
    cli.run(main)

"""Read one dataset, see to its duplicates, and split it into train, validation and test.

    python scripts/prepare_data.py --source resources/datasets/sms-spam --encoding latin-1 \\
        --text v2 --label v1 --labels ham spam --test 0.2 --validation 0.1 --train-rows 1000 \\
        --output results/sms-spam/data --csv results/sms-spam/leakage.csv

The order is: read, drop bad rows and conflicting labels, drop repeated texts, split, drop what
straddles the splits, draw the subsets. So no text that is trained on is tested on, and the splits
do not depend on how many rows of them are used. Other policies than `drop` (--leakage) leave the
rows in: `group` splits by groups of duplicates, `warn` marks them, `error` ends.

What the rows are like and what was done to them stands in preparation.json beside the splits, and
where they came from in source.json; each row that was dropped or marked as a duplicate, in the CSV.
Texts go through a file, not the memory: a million rows take about 1.2 GB.
"""

import argparse
import contextlib
import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import checksums, cli, files, warm
from common.data.reading import QUOTING
from common.source import KINDS
from common.task import SINGLE_LABEL

if TYPE_CHECKING:
    from common.data.corpus import Corpus
    from common.data.examples import Example
    from common.data.reading import BadRows, Stream

log = logging.getLogger("prepare_data")

SETTINGS = (
    "text",
    "label",
    "labels",
    "filter",
    "quoting",
    "on_bad_rows",
    "conflicting_labels",
    "leakage",
    "near_duplicates",
    "group",
    "test",
    "validation",
    "split_by",
    "split_seed",
    "train_rows",
    "validation_rows",
    "test_rows",
)
CLASSES_SHOWN = 10  # of a split, in the log
POLICIES = ("drop", "group", "warn", "error")


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    require_options(args)
    cli.go_offline()
    from common.data import corpus, examples, reading

    checksums.verify(args.source)
    columns = examples.Columns(args.text, args.label, args.group, args.filter)
    layout = reading.CsvOptions(args.encoding, args.delimiter, args.quoting)
    source = examples.read(args.source, columns, layout)
    bad = reading.BadRows(args.on_bad_rows)
    with files.atomic_write(args.output) as aside:
        aside.mkdir()
        good = {split: good_rows(source, split, bad) for split in source}
        taken = corpus.ingest(good, aside, args.near_duplicates, args.threads)
        parts, names, actions, described = prepare(taken, left_out(source, bad), bad, args)
        for split, digest in corpus.save(parts, taken.texts, names, aside).items():
            described["splits"][split]["sha256"] = digest
        described["quoting"] = quoting_of(source)
        files.write_json(origin_of(args.source), aside / files.SOURCE)
        files.write_json(described, aside / files.PREPARATION)
        checksums.write(aside)
        if args.csv:
            write_actions(actions, args.csv)
    checksums.write_digest(args.output)
    for line in summary(described):
        log.info("%s", line)


def good_rows(source: dict[str, "Stream"], split: str, bad: "BadRows") -> Iterator["Example"]:
    """Yield the rows of a split that can be used; splits are read one after the other.

    Raises:
        InputError: there are bad rows, and they are not to be left out. The last split tells, when
            all are counted; or one that has no other rows.
    """
    empty = True
    for row in bad.left_out(source[split]):
        empty = False
        yield row
    if empty or split == [*source][-1]:
        bad.refuse()


def parse(argv: list[str] | None):
    """Return the command line.

    What each option means is described once more in config/README.md.
    """
    parser = cli.parser(__doc__)
    parser.add_argument("--source", required=True, type=Path, help="file or directory")
    parser.add_argument("--encoding", default="utf-8", help="of CSV, TSV and JSON lines")
    parser.add_argument("--delimiter", help="of CSV; by default that of the file's type")
    parser.add_argument(
        "--quoting", choices=QUOTING, default="auto", help="what a quote means in CSV and TSV"
    )
    parser.add_argument(
        "--text", action=cli.Collect, nargs="+", default=["text"], help="its column; of pairs, two"
    )
    parser.add_argument("--label", default="label", help="column of the label")
    parser.add_argument("--group", help="column; rows of one value go to one split")
    parser.add_argument("--labels", action=cli.Collect, nargs="+", help="class names in order")
    parser.add_argument(
        "--filter", action=cli.Collect, nargs="+", default=[], help="keep rows with COLUMN=VALUE"
    )
    parser.add_argument("--on-bad-rows", choices=["error", "skip"], default="error")
    parser.add_argument("--leakage", choices=POLICIES, default="drop", help="of duplicates")
    near = parser.add_mutually_exclusive_group()
    near.add_argument(
        "--near-duplicates", type=similarity, default=0.8, help="Jaccard, from 0 to 1"
    )
    near.add_argument("--no-near-duplicates", dest="near_duplicates", action="store_const",
                      const=None, help="they do not count")  # fmt: skip
    parser.add_argument("--conflicting-labels", choices=["drop", "keep"], default="drop")
    parser.add_argument("--test", type=size, default=0.2, help="share or count, if not given")
    parser.add_argument("--validation", type=size, default=0.1, help="share or count, likewise")
    parser.add_argument(
        "--train-rows", type=cli.int_at_least(2), help="size of a stratified subset"
    )
    parser.add_argument(
        "--validation-rows", type=cli.int_at_least(2), help="size of a stratified subset"
    )
    parser.add_argument("--test-rows", type=cli.int_at_least(2), help="size of a stratified subset")
    parser.add_argument("--split-by", choices=["stratified", "hash"], default="stratified")
    parser.add_argument(
        "--split-seed", type=cli.int_at_least(0), default=0, help="of splits and subsets"
    )
    parser.add_argument("--output", required=True, type=Path, help="Arrow directory to write")
    parser.add_argument(
        "--threads", type=cli.int_at_least(1), default=1, help="CPU threads, as processes"
    )
    parser.add_argument("--csv", type=Path, help="rows dropped or marked, a file to write")
    return parser.parse_args(argv)


def size(text: str) -> float:
    """Return the type of --test and --validation: a share below 1, or a number of rows."""
    with contextlib.suppress(ValueError):
        if 0 < (number := float(text)) < math.inf:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is neither a share nor a number of rows")


def similarity(text: str) -> float:
    """Return the type of --near-duplicates: a number above 0, at most 1."""
    with contextlib.suppress(ValueError):
        if 0 < (number := float(text)) <= 1:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is no number above 0 and at most 1")


def origin_of(path: Path) -> dict[str, Any]:
    """Return the record of where rows came from.

    That of ``fetch_dataset``, else a name without its path.

    A file called source.json may be anything in a directory that a user brought.
    """
    recorded = path / files.SOURCE
    if recorded.is_file():
        try:
            source = files.read_json(recorded)
        except cli.InputError:
            source = None
        if isinstance(source, dict) and source.get("kind") in KINDS:
            return source
    return {"kind": "path", "name": path.resolve().name}


def summary(described: dict[str, Any]) -> list[str]:
    """Return lines on what was read, what of it was left out, and a line on each split."""
    from common.data import duplicates

    rows, dropped = described["rows"], described["rows_dropped"]
    words = {kind: f"{kind} duplicates" for kind in duplicates.KINDS}
    words["conflicting"] = "under conflicting labels"
    left = {"filtered out": sum(rows["filtered_out"].values())}
    left |= {words.get(reason, reason): count for reason, count in dropped.items()}
    left["not drawn"] = sum(rows["not_drawn"].values())
    good = sum(found["rows"] for found in described["found"].values())
    out = [f"{reason} {count:,}" for reason, count in left.items() if count]
    read = good + sum(rows["bad"].values()) + left["filtered out"]
    lines = [f"{read:,} rows read; left out: {', '.join(out) or 'none'}"]
    for split, part in described["splits"].items():
        classes = [f"{name} {count:,}" for name, count in part["classes"].items()]
        more = [f"{len(classes) - CLASSES_SHOWN} classes more"] * (len(classes) > CLASSES_SHOWN)
        shown = ", ".join([*classes[:CLASSES_SHOWN], *more])
        length = part["words"]
        lines.append(
            f"{split}: {part['rows']:,} rows ({shown}), {length['mean']:,} words on average, at "
            f"most {length['max']:,}"
        )
    return lines


def quoting_of(source: dict[str, "Stream"]) -> dict[str, str] | None:
    """Return how quotes were read, and why where the files decided it; None without CSV and TSV."""
    layout = next((stream.layout for stream in source.values() if stream.layout), None)
    if layout is None:
        return None
    applied = "none" if layout.quoting == "none" else "standard"
    return {"applied": applied, "reason": layout.reason}


def require_options(args: argparse.Namespace) -> None:
    """Refuse options that do not go together, or that would write over the source.

    Raises:
        InputError: it names the options.
    """
    from common.data import reading

    source = args.source.resolve()
    for name, path in (("--output", args.output), ("--csv", args.csv)):
        if path and (source == path.resolve() or path.resolve() in source.parents):
            raise cli.InputError(f"{name} {path} would take the place of the source: name another")
    reading.require_text_columns(args.text)
    if args.label in args.text:
        raise cli.InputError(f"--label {args.label} is a column of --text, too: name another")
    if args.split_by == "hash" and args.leakage == "group":
        raise cli.InputError(
            "--split-by hash keeps a row in its split when rows are added, and --leakage group "
            "moves it with its duplicates: choose one"
        )


def left_out(source: dict[str, "Stream"], bad: "BadRows") -> dict[str, dict[str, int]]:
    """Return the rows of each split that are not asked for, and those that cannot be used."""
    return {
        "filtered_out": {split: stream.filtered_out for split, stream in source.items()},
        "bad": {split: bad.by_split[split] for split in source},
    }


def prepare(
    taken: "Corpus", unused: dict[str, dict[str, int]], bad: "BadRows", args
) -> tuple[dict, list[str], Any, dict]:
    """The three splits, the class names, what became of duplicate rows, and all of it in figures.

    Args:
        taken: the good rows of the source.
        unused: how many other rows it has, see ``left_out``.
        bad: those of them that are bad.
        args: the options of the command line.

    Returns:
        tables by split; class names in order; a frame of the columns ``leakage.ACTION``; and what
        the rows are like and what was done to them, for preparation.json.
    """
    from common.data import corpus, leakage

    given = taken.tables
    cleared, actions = applied(given, before_the_split(args), leakage.no_actions())
    numbered, names = SINGLE_LABEL.encode(cleared, args.labels)
    whole, actions = divided(numbered, args, actions)
    parts, actions = drawn(whole, args, actions)
    described = {
        "settings": {key: getattr(args, key) for key in SETTINGS},
        "found": corpus.found(taken),
        "rows": {**unused, "not_drawn": {n: len(whole[n]) - len(parts[n]) for n in parts}},
        "bad_rows": {"count": bad.count, "listed": bad.listed},
        "conflicting_labels": corpus.conflicting(given),
        "duplicates": {"before": leakage.summary(given), "after": leakage.summary(parts)},
        **corpus.done(actions, bad.count),
        "labels": names,
        "splits": {name: corpus.kept(table, names, name) for name, table in parts.items()},
    }
    return parts, names, actions, described


def before_the_split(args) -> list[Callable]:
    """Return what is done to the rows of a source before it is split, by the policy."""
    from common.data import leakage

    steps: list[Callable] = []
    if args.conflicting_labels == "drop":
        steps.append(leakage.drop_conflicting)
    if args.leakage == "drop":
        steps.append(leakage.drop_repeated)
    if args.leakage == "group":  # only splits that the source gives can be straddled yet
        steps.append(leakage.drop_straddling)
    return steps


def applied(tables: dict, steps: list[Callable], actions) -> tuple[dict, Any]:
    """Return the tables after each step in turn, and the actions with those of the steps."""
    import pandas as pd

    for step in steps:
        tables, more = step(tables)
        actions = pd.concat([actions, more], ignore_index=True)
    return tables, actions


def divided(tables: dict, args, actions) -> tuple[dict, Any]:
    """Return the splits, and the actions with what was done to keep them apart.

    Raises:
        InputError: with the policy "error", a group straddles the splits.
    """
    from common.data import leakage, splits

    sizes = {"test": args.test, "validation": args.validation}
    blocks = leakage.with_blocks(tables, args.leakage)
    whole = splits.split(blocks, sizes, args.split_by, args.split_seed)
    if args.leakage == "error":
        leakage.refuse_straddling(whole)
    if args.leakage == "drop":
        whole, actions = applied(whole, [leakage.drop_straddling], actions)
    return whole, actions


def drawn(whole: dict, args, actions) -> tuple[dict, Any]:
    """Return the splits as they are saved, of as many rows as are wanted.

    And the actions of marking.
    """
    from common.data import leakage, splits

    wanted = {"train": args.train_rows, "validation": args.validation_rows, "test": args.test_rows}
    for name, rows in wanted.items():
        if rows is not None and rows > len(whole[name]):
            log.warning(
                "%s_rows is %d, and there are %d: all are used", name, rows, len(whole[name])
            )
    parts = {
        name: splits.sample(table, wanted[name], args.split_seed, name)
        for name, table in whole.items()
    }
    # The rows drawn, since what was not drawn is not trained on.
    return applied(parts, [leakage.mark] if args.leakage == "warn" else [], actions)


def write_actions(actions, path: Path) -> None:
    """Write what became of each row that is a duplicate, as CSV."""
    with files.atomic_write(path) as aside:
        actions.to_csv(aside, index=False)


if __name__ == "__main__":
    warm.run(main, "datasets", "pandas", "sklearn.model_selection")

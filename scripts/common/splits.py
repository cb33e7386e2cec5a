"""Duplicates, labels and splits of a table (see ``common.tables``); nothing here reads a file."""

import hashlib
import math
from collections.abc import Sequence

import pandas as pd

from common.cli import InputError
from common.tables import MISSING_SHOWN, SPLITS

Tables = dict[str, pd.DataFrame]


def drop_bad_rows(tables: Tables, on_bad_rows: str) -> tuple[Tables, int]:
    """The tables without the rows whose text or label is empty, and how many those were.

    Raises:
        InputError: there are such rows and ``on_bad_rows`` is "error"; it names the first of them.
    """
    bad = {
        split: table["text"].str.strip().eq("") | table["label"].eq("")
        for split, table in tables.items()
    }
    ids = [row for split, table in tables.items() for row in table["id"][bad[split]]]
    if ids and on_bad_rows == "error":
        shown = ", ".join(ids[:MISSING_SHOWN])
        raise InputError(
            f"{len(ids)} rows have an empty text or label ({shown}, counted from 0): mend them, or "
            "set `on_bad_rows: skip`"
        )
    return {split: table[~bad[split]] for split, table in tables.items()}, len(ids)


def drop_duplicates(tables: Tables) -> tuple[Tables, dict[str, int]]:
    """The tables with every text once, in the split that matters most, and how many rows went.

    Of equal texts with one label the first is kept: in test if it is there, else in validation,
    else in train, so that no training row can be a test row. Equal texts whose labels contradict
    each other are all dropped: nobody can say which label is right.
    """
    order = [split for split in reversed(SPLITS) if split in tables]
    rows = pd.concat([tables[split].assign(split=split) for split in order])
    conflicting = rows.groupby("text", sort=False)["label"].transform("nunique") > 1
    repeated = rows.duplicated("text") & ~conflicting
    kept = rows[~conflicting & ~repeated]
    counts = {"duplicates": int(repeated.sum()), "conflicting": int(conflicting.sum())}
    return {s: kept[kept["split"] == s].drop(columns="split") for s in tables}, counts


def encode_labels(tables: Tables, names: Sequence[str] | None) -> tuple[Tables, list[str]]:
    """The tables with class numbers for labels, and the class names in order.

    Args:
        tables: labels are strings.
        names: the classes in order. Where the labels are the integers from 0, the i-th name stands
            for integer i. None: the labels found, sorted (as numbers if they all are).

    Raises:
        InputError: a label has no name, a name stands for two, or there are fewer than two classes.
    """
    found = sorted({label for table in tables.values() for label in table["label"]}, key=as_number)
    if len(found) < 2:
        raise InputError(f"the label column holds one class, {found}: a classifier needs two")
    names = list(names or found)
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"`labels` names {twice[0]!r} twice: name each class once")
    numbers = {name: number for number, name in enumerate(names)}
    if not set(found) <= numbers.keys() and all(label.isdecimal() for label in found):
        numbers = {str(number): number for number in range(len(names))}
    if unknown := [label for label in found if label not in numbers]:
        shown = ", ".join(map(repr, unknown[:MISSING_SHOWN]))
        raise InputError(f"labels without a name: {shown}; add them to `labels`, now {names}")
    return {s: t.assign(label=t["label"].map(numbers)) for s, t in tables.items()}, names


def as_number(label: str) -> tuple[float, str]:
    """A sort key that puts numbers first, by value, and other labels after them, by name."""
    try:
        number = float(label)
    except ValueError:
        number = math.inf
    return number if math.isfinite(number) else math.inf, label  # "nan" may be a name, too


def split(tables: Tables, test: float, validation: float, seed: int) -> Tables:
    """Train, validation and test; what the source does not give is carved from train.

    Args:
        tables: "train" and perhaps the others; labels are class numbers.
        test: size of a carved test split: a share of the rows if below 1, else a count.
        validation: the same for validation, out of the rows that test left.
        seed: of the draw, which is stratified by label.
    """
    parts = {"train": tables["train"]}
    for name, size in (("test", test), ("validation", validation)):
        if name in tables:
            parts[name] = tables[name]
        else:
            count = round(size * len(parts["train"])) if size < 1 else int(size)
            parts[name], parts["train"] = draw(parts["train"], count, seed, name)
    return {name: parts[name] for name in SPLITS}


def draw(
    table: pd.DataFrame, count: int, seed: int, purpose: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A stratified sample of ``count`` rows, and the rest; both in the table's own order.

    Raises:
        InputError: a class would have no row in the sample, or none in the rest.
    """
    from sklearn.model_selection import train_test_split

    try:
        rest, drawn = train_test_split(
            table, test_size=count, random_state=seed, stratify=table["label"]
        )
    except ValueError as error:
        per_class = table["label"].value_counts()
        raise InputError(
            f"cannot draw {count} rows for {purpose} out of {len(table)}, "
            f"{min(per_class, default=0)} of the smallest of {len(per_class)} classes: each class "
            f"needs a row in the sample and one in the rest; change `{purpose}` or bring more rows"
        ) from error
    return drawn.sort_index(), rest.sort_index()


def sample(table: pd.DataFrame, rows: int | None, seed: int, purpose: str) -> pd.DataFrame:
    """At most ``rows`` rows, stratified by label; all of them when ``rows`` is None."""
    if rows is None or rows >= len(table):
        return table
    return draw(table, rows, seed, f"{purpose}_rows")[0]


def content_sha256(table: pd.DataFrame) -> str:
    """A hash of the ids, texts and labels, in order: equal hashes mean equal splits."""
    digest = hashlib.sha256()
    for row in table[["id", "text", "label"]].itertuples(index=False):
        digest.update(repr(tuple(row)).encode())
    return digest.hexdigest()

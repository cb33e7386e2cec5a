"""Labels and splits of tables; nothing here reads a file.

A *table* here is a pandas DataFrame with the string columns ``id``, ``text`` and ``label``, one row
per example. ``id`` is ``{split}/{row}``: the split of the source and the number of the row in it,
from 0.
"""

import hashlib
import math
from collections.abc import Sequence

import pandas as pd

from common.cli import InputError
from common.sources import SPLITS

MISSING_SHOWN = 5

Tables = dict[str, pd.DataFrame]


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


def split(
    tables: Tables, test: float, validation: float, seed: int, group: str | None = None
) -> Tables:
    """Train, validation and test; what the source does not give is carved from train.

    Args:
        tables: "train" and perhaps the others; labels are class numbers.
        test: size of a carved test split: a share of the rows if below 1, else a count.
        validation: the same for validation, out of the rows that test left.
        seed: of the draw, which is stratified by label.
        group: a column; rows that are equal in it stay together.
    """
    parts = {"train": tables["train"]}
    for name, size in (("test", test), ("validation", validation)):
        if name in tables:
            parts[name] = tables[name]
        else:
            count = round(size * len(parts["train"])) if size < 1 else int(size)
            parts[name], parts["train"] = draw(parts["train"], count, seed, name, group)
    return {name: parts[name] for name in SPLITS}


def draw(
    table: pd.DataFrame, count: int, seed: int, purpose: str, group: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A stratified sample of ``count`` rows, and the rest; both in the table's own order.

    With a column ``group``, the sample has about as many: its groups are whole.

    Raises:
        InputError: a class would have no row in the sample, or none in the rest.
    """
    from sklearn.model_selection import train_test_split

    try:
        if group is not None:
            return draw_groups(table, count, seed, group)
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


def draw_groups(
    table: pd.DataFrame, count: int, seed: int, group: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A sample of about ``count`` rows that divides no group, and the rest.

    In random order, groups enter the sample as long as they fit into the share of their class, that
    of their first row; a group of more rows than are wanted stays in the rest.

    Raises:
        ValueError: a class would have no row in the sample, or none in the rest.
    """
    import numpy as np

    sizes = table.groupby(group, sort=False).agg(rows=("label", "size"), label=("label", "first"))
    wanted = {label: count * n / len(table) for label, n in table["label"].value_counts().items()}
    chosen = []
    shuffled = sizes.iloc[np.random.default_rng(seed).permutation(len(sizes))]
    for name, rows, label in shuffled.itertuples(name=None):
        if rows <= wanted[label] + 0.5:
            wanted[label] -= rows
            chosen.append(name)
    inside = table[group].isin(chosen)
    drawn, rest = table[inside], table[~inside]
    if min(drawn["label"].nunique(), rest["label"].nunique()) < table["label"].nunique():
        raise ValueError("a class has no row on one of the two sides")
    return drawn, rest


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

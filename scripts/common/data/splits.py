"""Splits of tables (see ``common.data.corpus``); nothing here reads a file."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b

import numpy as np
import pandas as pd

from common.cli import InputError
from common.data.sources import SPLITS
from common.task import SINGLE_LABEL

Table = pd.DataFrame
Tables = dict[str, Table]
Sizes = Mapping[str, float]

BLOCK = "block"  # column: rows that are equal in it go to one split


def split(tables: Tables, sizes: Sizes, method: str, seed: int) -> Tables:
    """Return train, validation and test; what the source does not give is carved from train.

    Args:
        tables: "train" and perhaps the others; labels are class numbers. Rows that are equal in a
            column ``block`` stay together.
        sizes: of the splits to carve, by name: a share of the rows if below 1, else a count; that
            of validation is out of the rows that test left.
        method: "stratified" draws by label; "hash" lets a hash of the row decide.
        seed: of either.

    Raises:
        InputError: it cannot be split so.
    """
    parts = {"train": tables["train"]}
    for name in ("test", "validation"):
        if name in tables:
            parts[name] = tables[name]
        elif method == "hash":
            parts[name], parts["train"] = carve(parts["train"], sizes[name], seed, name)
        else:
            count = as_count(sizes[name], len(parts["train"]))
            parts[name], parts["train"] = draw(parts["train"], count, seed, name)
    return {name: parts[name] for name in SPLITS}


def as_count(size: float, rows: int) -> int:
    """Return a size, a share if below 1, as a number of rows."""
    return round(size * rows) if size < 1 else int(size)


def carve(table: Table, share: float, seed: int, purpose: str) -> tuple[Table, Table]:
    """Return the rows whose hash is in the lowest ``share`` of all hashes, and the rest.

    The hash is of the row's key, the seed and the purpose, and of nothing else: so a row stays on
    its side when others are added. A block goes by the lowest of its keys.

    Raises:
        InputError: the share is a count, which would depend on the other rows.
    """
    if share >= 1:
        raise InputError(
            f"`{purpose}` is {share:g} rows, and a split by hash takes a share: set it below 1"
        )
    keys = table.groupby(BLOCK)["key"].transform("min") if BLOCK in table else table["key"]
    limit = int(share * 2**64)
    inside = np.fromiter((drawn(key, seed, purpose) < limit for key in keys), bool, len(keys))
    return table[inside], table[~inside]


def drawn(key: int, seed: int, purpose: str) -> int:
    """Return a number below 2 ** 64 that a key, a seed and a purpose give.

    BLAKE2b of the key, keyed.
    """
    name = f"{purpose} {seed}".encode()
    return int.from_bytes(blake2b(int(key).to_bytes(8, "little"), digest_size=8, key=name).digest())


def draw(table: Table, count: int, seed: int, purpose: str) -> tuple[Table, Table]:
    """Return a stratified sample of ``count`` rows, and the rest; both in the table's own order.

    With a column ``block``, the sample has about as many: its blocks are whole.

    Raises:
        InputError: a class would have no row in the sample, or none in the rest.
    """
    from sklearn.model_selection import train_test_split

    try:
        if BLOCK in table:
            return draw_blocks(table, count, seed)
        rest, drawn = train_test_split(
            table, test_size=count, random_state=seed, stratify=SINGLE_LABEL.strata(table["label"])
        )
    except ValueError as error:
        per_class = table["label"].value_counts()
        raise InputError(
            f"cannot draw {count} rows for {purpose} out of {len(table)}, "
            f"{min(per_class, default=0)} of the smallest of {len(per_class)} classes: each class "
            f"needs a row in the sample and one in the rest; change `{purpose}` or bring more rows"
        ) from error
    return drawn.sort_index(), rest.sort_index()


def draw_blocks(table: Table, count: int, seed: int) -> tuple[Table, Table]:
    """Return a sample of about ``count`` rows that divides no block, and the rest.

    In random order, a block enters the sample if that brings its class, that of its first row,
    nearer to its share; a block of far more rows than are wanted stays in the rest.

    Raises:
        ValueError: a class would have no row in the sample, or none in the rest.
    """
    sizes = table.groupby(BLOCK, sort=False).agg(rows=("label", "size"), label=("label", "first"))
    wanted = {label: count * n / len(table) for label, n in table["label"].value_counts().items()}
    chosen = []
    shuffled = sizes.iloc[np.random.default_rng(seed).permutation(len(sizes))]
    for name, rows, label in shuffled.itertuples(name=None):
        if rows < 2 * wanted[label]:
            wanted[label] -= rows
            chosen.append(name)
    inside = table[BLOCK].isin(chosen)
    drawn, rest = table[inside], table[~inside]
    if min(drawn["label"].nunique(), rest["label"].nunique()) < table["label"].nunique():
        raise ValueError("a class has no row on one of the two sides")
    return drawn, rest


def sample(table: Table, rows: int | None, seed: int, purpose: str) -> Table:
    """Return at most ``rows`` rows, stratified by label; all of them when ``rows`` is None.

    Samples of one seed are nested: see ``stratified_order``.

    Raises:
        InputError: a class would have no row.
    """
    if rows is None or rows >= len(table):
        return table
    strata = SINGLE_LABEL.strata(table["label"]).to_numpy()
    return table.iloc[first_rows(strata, rows, seed, f"{purpose}_rows")]


def first_rows(
    strata: np.ndarray, rows: int, seed: int | Sequence[int], purpose: str
) -> np.ndarray:
    """Return the positions of a sample in ascending order: the first rows of a stratified order.

    Args:
        strata: a value for each row, its class.
        rows: of the sample.
        seed: of the order.
        purpose: the key that the number of rows comes from, for the complaint.

    Raises:
        InputError: a class would have no row, or there are fewer rows.
    """
    classes = len(np.unique(strata))
    if not classes <= rows <= len(strata):
        raise InputError(
            f"cannot draw {rows} rows for {purpose} out of {len(strata)} rows of {classes} "
            f"classes: each class needs a row; change `{purpose}` or bring more rows"
        )
    return np.sort(stratified_order(strata, seed)[:rows])


def stratified_order(strata: np.ndarray, seed: int | Sequence[int]) -> np.ndarray:
    """Return all positions in one random order of which every beginning is a stratified sample.

    So samples of several sizes are nested. First comes a row of each class; then the k-th row of a
    class with the share p stands at (k - 1/2) / p. The classes of the first n rows are thereby the
    seats that Sainte-Laguë's method gives to parties: of all samples of n rows with a row of each
    class they have the least sum of (count - n p)^2 / (n p), for every n.

    Args:
        strata: a value for each row, its class; shape (rows,).
        seed: of the order of the rows within a class, and of classes that are even.
    """
    shuffled = np.random.default_rng(seed).permutation(len(strata))
    _, classes, counts = np.unique(strata[shuffled], return_inverse=True, return_counts=True)
    by_class = np.argsort(classes, kind="stable")
    number = np.empty(len(strata), dtype=np.int64)  # of a row within its class, from 0
    number[by_class] = np.arange(len(strata)) - np.repeat(np.cumsum(counts) - counts, counts)
    place = np.where(number == 0, 0.0, (number + 0.5) / counts[classes])
    return shuffled[np.argsort(place, kind="stable")]

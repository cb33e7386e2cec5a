"""What is done about duplicates that would leak from one split into another, row by row on record.

A table (see ``corpus``) has a column for each kind of ``duplicates.KINDS``, of group numbers
that hold across the splits. Rows of one value in the group column are kept apart as duplicates are.
An *action* is one row of ACTION: what became of a row, why, which row it repeats, and whether that
one has another label.
"""

from collections.abc import Sequence

import pandas as pd

from common.cli import InputError
from common.data import duplicates
from common.data.sources import SPLITS
from common.data.splits import BLOCK, Tables

BY_WEIGHT = tuple(reversed(SPLITS))  # a text stays in test before validation before train
TRAINED_ON = "train"
GROUP = "group"  # the reason, beside the kinds of duplicates, for which rows stay together
ACTION = ["id", "split", "action", "reason", "duplicate_of", "duplicate_split", "other_label"]


def no_actions() -> pd.DataFrame:
    """Nothing done to any row."""
    return pd.DataFrame(columns=ACTION, dtype=str).astype({"other_label": bool})


def kinds(tables: Tables) -> list[str]:
    """Return the kinds of duplicates that were looked for."""
    return [kind for kind in duplicates.KINDS if kind in next(iter(tables.values()))]


def group_columns(tables: Tables) -> list[str]:
    """Return what must not straddle splits.

    Duplicates of each kind, and groups where there are any.
    """
    return kinds(tables) + [GROUP] * (GROUP in next(iter(tables.values())))


def with_blocks(tables: Tables, policy: str) -> Tables:
    """Return the tables with a column ``block`` of what goes to one split.

    None if each row goes alone.

    Rows of one group are in one block, and with the policy "group" so are duplicates, of the widest
    kind; and so is what both together link.
    """
    links = kinds(tables)[-1:] if policy == "group" else []
    links += [link for link in group_columns(tables) if link == GROUP]
    if not links:
        return tables
    rows = pd.concat(tables.values())
    blocks = rows[links[0]].to_numpy()
    for link in links[1:]:
        blocks = duplicates.linked(blocks, rows[link].to_numpy())
    joined = pd.Series(blocks, index=rows.index)
    return {split: table.assign(**{BLOCK: joined[table.index]}) for split, table in tables.items()}


def concat_splits(tables: Tables, order: Sequence[str] = BY_WEIGHT) -> pd.DataFrame:
    """Return the tables one below the other, with a column that names the split."""
    return pd.concat(
        [tables[split].assign(split=split) for split in order if split in tables],
        ignore_index=True,
    )


def find_duplicates(rows: pd.DataFrame, kinds: Sequence[str], across: bool) -> pd.DataFrame:
    """Return the rows that repeat an earlier one, each with the tightest kind by which it does.

    Args:
        rows: stacked, the split that matters most first.
        kinds: those that count, the tightest first.
        across: only where the earlier row is of another split.

    Returns:
        the columns of ACTION but for "action"; the reason is the kind.
    """
    found, left = [], rows
    for kind in kinds:
        first = left.drop_duplicates(kind).set_index(kind)
        of = pd.DataFrame(
            {
                "id": left["id"],
                "split": left["split"],
                "reason": kind,
                "duplicate_of": left[kind].map(first["id"]),
                "duplicate_split": left[kind].map(first["split"]),
                "other_label": left["label"] != left[kind].map(first["label"]),
            }
        )
        column = "split" if across else "id"
        again = of[column] != of[f"duplicate_{'split' if across else 'of'}"]
        found.append(of[again])
        left = left[~again]
    return pd.concat(found, ignore_index=True)


def contradictions(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose text stands under another label, too.

    The columns are those of `find_duplicates`.

    Equal texts count alone: "3 stars" and "5 stars" are normalised to one text and rightly differ.
    """
    first = rows.drop_duplicates("exact").set_index("exact")
    differs = rows["label"] != rows["exact"].map(first["label"])
    other = rows[differs].drop_duplicates("exact").set_index("exact")
    found = rows[rows["exact"].isin(other.index)]
    partner = found["exact"].map(other["id"]).where(~differs, found["exact"].map(first["id"]))
    split = found["exact"].map(other["split"]).where(~differs, found["exact"].map(first["split"]))
    return pd.DataFrame(
        {
            "id": found["id"],
            "split": found["split"],
            "reason": "conflicting",
            "duplicate_of": partner,
            "duplicate_split": split,
            "other_label": True,
        }
    )


def without(tables: Tables, found: pd.DataFrame) -> tuple[Tables, pd.DataFrame]:
    """Return the tables without the rows found, and the actions of dropping them."""
    dropped = {split: table["id"].isin(found["id"]) for split, table in tables.items()}
    kept = {split: table[~dropped[split]] for split, table in tables.items()}
    return kept, found.assign(action="dropped")[ACTION]


def drop_conflicting(tables: Tables) -> tuple[Tables, pd.DataFrame]:
    """Return the tables without the texts that have several labels.

    Nobody can say which one is right.
    """
    return without(tables, contradictions(concat_splits(tables)))


def drop_repeated(tables: Tables) -> tuple[Tables, pd.DataFrame]:
    """Return the tables with every normalised text once, in the split that matters most.

    Near duplicates stay at this point: within a split they are texts of their own.
    """
    tight = [kind for kind in kinds(tables) if kind != "near"]
    return without(tables, find_duplicates(concat_splits(tables), tight, across=False))


def drop_straddling(tables: Tables) -> tuple[Tables, pd.DataFrame]:
    """The tables with every group, of any kind, in the one of its splits that matters most."""
    return without(
        tables, find_duplicates(concat_splits(tables), group_columns(tables), across=True)
    )


def refuse_straddling(tables: Tables) -> None:
    """Refuse splits that share a group of any kind.

    Raises:
        InputError: some do; it counts the rows by kind and names the first pair.
    """
    found = find_duplicates(concat_splits(tables), group_columns(tables), across=True)
    if found.empty:
        return
    by_kind = found["reason"].value_counts(sort=False)
    counts = ", ".join(f"{count} {kind}" for kind, count in by_kind.items())
    first = found.iloc[0]
    tie = "a duplicate or a row of their group" if GROUP in by_kind else "a duplicate"
    raise InputError(
        f"{len(found)} rows have {tie} in a split that matters more ({counts}; the first: "
        f"{first['id']} in {first['split']}, {first['duplicate_of']} in "
        f"{first['duplicate_split']}): mend the data, or set `leakage` to drop, group or warn"
    )


def mark(tables: Tables) -> tuple[Tables, pd.DataFrame]:
    """Return the tables with a column ``clean``, false for rows that repeat a row trained on.

    Returns:
        the tables; and the actions of marking.
    """
    found = pd.concat(
        [
            find_duplicates(
                concat_splits(tables, (TRAINED_ON, split)), group_columns(tables), across=True
            )
            for split in BY_WEIGHT
            if split in tables and split != TRAINED_ON
        ],
        ignore_index=True,
    )
    marked = {
        split: table.assign(clean=~table["id"].isin(found["id"])) for split, table in tables.items()
    }
    return marked, found.assign(action="marked")[ACTION]


def summary(tables: Tables) -> dict[str, dict]:
    """How many duplicates there are, by kind, within the splits and across each pair of them.

    ``within``: rows that repeat an earlier one of their split. ``across``: rows of the split named
    first that have a duplicate in the other. A kind counts those of the tighter kinds, too; the
    groups, where there is a group column, are counted in the same way, on their own.
    """
    found: dict[str, dict] = {}
    order = [split for split in BY_WEIGHT if split in tables]
    for kind in group_columns(tables):
        groups = {split: tables[split][kind] for split in order}
        pairs = [(one, other) for i, one in enumerate(order) for other in order[i + 1 :]]
        found[kind] = {
            "within": {split: int(column.duplicated().sum()) for split, column in groups.items()},
            "across": {
                f"{one} in {other}": int(groups[one].isin(groups[other].unique()).sum())
                for one, other in pairs
            },
        }
    return found

"""What the rows of a dataset are like, and what was done to them, in figures.

A row is counted, never shown: texts may be private.
"""

from typing import Any

import pandas as pd

from common.cli import InputError
from common.data import duplicates, leakage, splits
from common.data.corpus import Corpus
from common.data.examples import ODDITIES
from common.data.lengths import summary
from common.data.measures import ENCODING

REASONS = (*duplicates.KINDS, leakage.GROUP)  # why a row is dropped or marked

Description = dict[str, Any]


def found(corpus: Corpus) -> Description:
    """What the good rows of a source are like, before anything is done to them, by split."""
    return {
        split: {
            "rows": len(rows),
            "classes": classes(rows["label"]),
            "sorted_by_label": is_sorted(rows["label"]),
            **of_texts(rows),
            "encoding": {name: corpus.oddities[split][name] for name in ENCODING},
            "oddities": {name: corpus.oddities[split][name] for name in ODDITIES},
        }
        for split, rows in corpus.tables.items()
    }


def kept(rows: pd.DataFrame, names: list[str], split: str) -> Description:
    """One split as it is saved: its rows, its rows per class, its lengths.

    Raises:
        InputError: it has no row of some class.
    """
    counts = rows["label"].value_counts()
    if missing := [name for number, name in enumerate(names) if number not in counts.index]:
        raise InputError(
            f"{split} ({len(rows)} rows) holds no row of class {missing[0]!r}: use more rows, draw "
            "other splits, or take it out of `labels`"
        )
    marked = {"clean_rows": int(rows["clean"].sum())} if "clean" in rows else {}
    return {
        "rows": len(rows),
        "classes": {name: int(counts[number]) for number, name in enumerate(names)},
        **marked,
        **of_texts(rows),
    }


def classes(labels: pd.Series) -> dict[str, int]:
    """How often each label stands there, the names in order."""
    counts = labels.value_counts()
    return {name: int(counts[name]) for name in sorted(counts.index, key=splits.as_number)}


def is_sorted(labels: pd.Series) -> bool:
    """Whether the rows of each label stand together, so that the first ones are of one class."""
    several = labels.duplicated().any()  # else any order is sorted
    return bool(several and 1 < labels.nunique() == (labels != labels.shift()).sum())


def of_texts(rows: pd.DataFrame) -> Description:
    """The lengths of texts, in characters and in words."""
    return {unit: summary(rows[unit]) for unit in ("characters", "words")}


def conflicting(tables: splits.Tables) -> dict[str, int]:
    """Texts that stand under several labels, and the rows they stand in."""
    rows = leakage.stacked(tables)
    ids = leakage.contradictions(rows)["id"]
    return {"texts": int(rows.loc[rows["id"].isin(ids), "exact"].nunique()), "rows": len(ids)}


def done(actions: pd.DataFrame, bad: int) -> Description:
    """What was done to how many rows: by reason, and by reason and pair of splits."""
    dropped = actions.loc[actions["action"] == "dropped", "reason"].value_counts()
    marked = actions.loc[actions["action"] == "marked", "reason"].value_counts()
    by = ["action", "reason", "split", "duplicate_split"]
    counts = actions.groupby(by, sort=False)["other_label"].agg(["size", "sum"])
    return {
        "rows_dropped": {"bad": bad}
        | {reason: int(dropped.get(reason, 0)) for reason in ("conflicting", *REASONS)},
        "rows_marked": {reason: int(marked.get(reason, 0)) for reason in REASONS},
        "by_splits": [
            dict(zip([*by, "rows", "other_label"], row, strict=True))
            for row in counts.reset_index().to_numpy(dtype=object).tolist()
        ],
    }

"""What the rows of a dataset are like, and what was done to them, in figures.

A row is counted, never shown: texts may be private.
"""

import re
from typing import Any

import pandas as pd

from common import leakage, splits
from common.cli import InputError
from common.lengths import summary

# What UTF-8 read as latin-1 or cp1252 looks like: "Ã©" for é, "Â£" for £, "â€™" for an apostrophe.
CONTINUED = "\u0080-\u00bf" + re.escape(
    bytes(set(range(0x80, 0xA0)) - {0x81, 0x8D, 0x8F, 0x90, 0x9D}).decode("cp1252")
)
ENCODING = {
    "replacement character": "\ufffd",
    "C1 control character": "[\u0080-\u009f]",
    "UTF-8 read as another encoding": f"[\u00c2\u00c3][{CONTINUED}]|\u00e2[\u0080\u20ac]",
}
DROPPED = ("bad", "conflicting", *leakage.duplicates.KINDS)

Description = dict[str, Any]


def found(tables: splits.Tables) -> Description:
    """What the rows of a source are like, before anything is done: per split, as it gives them."""
    return {
        split: {
            "rows": len(rows),
            "classes": classes(rows["label"]),
            "empty": {
                "text": int(rows["text"].str.strip().eq("").sum()),
                "label": int(rows["label"].eq("").sum()),
            },
            **of_texts(rows["text"]),
            "encoding": encoding(rows["text"]),
        }
        for split, rows in tables.items()
    }


def kept(rows: pd.DataFrame, names: list[str], split: str) -> Description:
    """One split as it is saved: its rows, its rows per class, its lengths, its hash.

    Raises:
        InputError: it has no row of some class.
    """
    counts = rows["label"].value_counts()
    if missing := [name for number, name in enumerate(names) if number not in counts.index]:
        raise InputError(
            f"{split} ({len(rows)} rows) holds no row of class {missing[0]!r}: use more rows, or "
            "take it out of `labels`"
        )
    marked = {"clean_rows": int(rows["clean"].sum())} if "clean" in rows else {}
    return {
        "rows": len(rows),
        "classes": {name: int(counts[number]) for number, name in enumerate(names)},
        **marked,
        **of_texts(rows["text"]),
        "sha256": splits.content_sha256(rows),
    }


def classes(labels: pd.Series) -> dict[str, int]:
    """How often each label stands there, the names in order."""
    counts = labels[labels != ""].value_counts()
    return {name: int(counts[name]) for name in sorted(counts.index, key=splits.as_number)}


def of_texts(texts: pd.Series) -> Description:
    """The lengths of texts, in characters and in words."""
    return {"characters": summary(texts.str.len()), "words": summary(texts.str.count(r"\S+"))}


def encoding(texts: pd.Series) -> dict[str, int]:
    """The rows that look as if they had been read in a wrong encoding, by what betrays them."""
    return {name: int(texts.str.contains(signs).sum()) for name, signs in ENCODING.items()}


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
        "rows_dropped": {"bad": bad} | {r: int(dropped.get(r, 0)) for r in DROPPED[1:]},
        "rows_marked": {reason: int(marked.get(reason, 0)) for reason in DROPPED[2:]},
        "by_splits": [
            dict(zip([*by, "rows", "other_label"], row, strict=True))
            for row in counts.reset_index().to_numpy(dtype=object).tolist()
        ],
    }

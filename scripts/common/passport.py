"""The passport of a dataset: what its rows are like, where they are from, what was done to them.

Written as JSON for programs and as Markdown for people. A row is counted, never shown: texts may be
private.
"""

import re
from typing import Any

import pandas as pd

from common import leakage, splits
from common.cli import InputError
from common.markdown import shown, table

# What UTF-8 read as latin-1 or cp1252 looks like: "Ã©" for é, "Â£" for £, "â€™" for an apostrophe.
CONTINUED = "\u0080-\u00bf" + re.escape(
    bytes(set(range(0x80, 0xA0)) - {0x81, 0x8D, 0x8F, 0x90, 0x9D}).decode("cp1252")
)
ENCODING = {
    "replacement character": "\ufffd",
    "C1 control character": "[\u0080-\u009f]",
    "UTF-8 read as another encoding": f"[\u00c2\u00c3][{CONTINUED}]|\u00e2[\u0080\u20ac]",
}
BAD_ROWS_SHOWN = 20
DROPPED = ("bad", "conflicting", *leakage.duplicates.KINDS)

Passport = dict[str, Any]


def found(tables: splits.Tables, oddities: dict[str, dict[str, int]]) -> Passport:
    """What the good rows of a source are like, before anything is done, by split.

    Args:
        tables: the good rows by split.
        oddities: how many rows of each split have each of ``examples.ODDITIES``.
    """
    return {
        split: {
            "rows": len(rows),
            "classes": classes(rows["label"]),
            **of_texts(rows["text"]),
            "encoding": encoding(rows["text"]),
            "oddities": oddities[split],
        }
        for split, rows in tables.items()
    }


def kept(rows: pd.DataFrame, names: list[str], split: str) -> Passport:
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
    counts = labels.value_counts()
    return {name: int(counts[name]) for name in sorted(counts.index, key=splits.as_number)}


def of_texts(texts: pd.Series) -> Passport:
    """The lengths of texts, in characters and in words."""
    return {"characters": lengths(texts.str.len()), "words": lengths(texts.str.count(r"\S+"))}


def lengths(counts: pd.Series) -> dict[str, float]:
    """Mean, median, 95th percentile and maximum."""
    return {
        "mean": round(float(counts.mean()), 1),
        "median": round(float(counts.median()), 1),
        "p95": round(float(counts.quantile(0.95)), 1),
        "max": int(counts.max()),
    }


def encoding(texts: pd.Series) -> dict[str, int]:
    """The rows that look as if they had been read in a wrong encoding, by what betrays them."""
    return {name: int(texts.str.contains(signs).sum()) for name, signs in ENCODING.items()}


def conflicting(tables: splits.Tables) -> dict[str, int]:
    """Texts that stand under several labels, and the rows they stand in."""
    rows = leakage.stacked(tables)
    ids = leakage.contradictions(rows)["id"]
    return {"texts": int(rows.loc[rows["id"].isin(ids), "exact"].nunique()), "rows": len(ids)}


def done(actions: pd.DataFrame, bad: int) -> Passport:
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


def markdown(passport: Passport) -> str:
    """The passport for people."""
    parts = [
        "# Data passport",
        source_lines(passport),
        "## Rows in",
        rows_table(passport["found"]),
        table(["what is odd", *passport["found"]], odd_rows(passport["found"])),
        "Of a length, the mean, the median, the 95th percentile and the maximum are given.",
        "## Duplicates",
        "A normalised duplicate is equal but for case, digits, punctuation and white space; each "
        "kind counts those of the kinds before it. *Within* a split, rows that repeat an earlier "
        "one; *A in B*, rows of A that have a duplicate in B.",
        duplicates_table(passport),
        conflict_line(passport["conflicting_labels"]),
        *bad_rows(passport["bad_rows"]),
        "## What was done",
        settings_line(passport["settings"]),
        table(
            ["action", "reason", "split", "repeats a row in", "rows", "of another label"],
            done_rows(passport),
        ),
        "## Rows out",
        rows_table(passport["splits"]),
        table(["split", "SHA-256"], [[s, b["sha256"]] for s, b in passport["splits"].items()]),
    ]
    return "\n\n".join(parts) + "\n"


def source_lines(passport: Passport) -> str:
    """Where the rows come from, a line per fact that is on record."""
    facts = {"licence": "not on record"} | passport["source"]
    return "\n".join(f"- {shown(key)}: {shown(value)}" for key, value in facts.items() if value)


def rows_table(parts: dict[str, Passport]) -> str:
    """Rows per class, and lengths: a column per split."""
    names = list(dict.fromkeys(name for part in parts.values() for name in part["classes"]))
    marked = any("clean_rows" in part for part in parts.values())
    rows = [
        ["rows", *(f"{part['rows']:,}" for part in parts.values())],
        *([["clean rows", *clean_rows(parts)]] if marked else []),
        *([f"class {n}", *(f"{p['classes'].get(n, 0):,}" for p in parts.values())] for n in names),
        *(
            [unit, *(" / ".join(f"{x:g}" for x in part[unit].values()) for part in parts.values())]
            for unit in ("characters", "words")
        ),
    ]
    return table(["", *parts], rows)


def clean_rows(parts: dict[str, Passport]) -> list[str]:
    """The rows of each split that repeat none that is trained on."""
    return [f"{part['clean_rows']:,}" if "clean_rows" in part else "" for part in parts.values()]


def odd_rows(parts: dict[str, Passport]) -> list[list[str]]:
    """Signs of a wrong encoding, and other oddities: a row each, a column per split."""
    counts = [part["encoding"] | part["oddities"] for part in parts.values()]
    return [[name, *(f"{count[name]:,}" for count in counts)] for name in counts[0]]


def bad_rows(bad: Passport) -> list[str]:
    """A section on the rows that were left out as bad, the first of them in a table."""
    if not bad["count"]:
        return []
    first = bad["listed"][:BAD_ROWS_SHOWN]
    rows = [["" if value is None else value for value in row.values()] for row in first]
    more = f", the first {len(first)} of them here" if len(first) < bad["count"] else ""
    return [
        "## Bad rows",
        f"{bad['count']:,} rows could not be used and were left out{more}. The line is that which "
        "the row begins on, counted from 1; in Parquet and saved datasets, the number of the row.",
        table(["split", "file", "line", "column", "problem"], rows),
    ]


def duplicates_table(passport: Passport) -> str:
    """Duplicates by kind, before and after: a row per place."""
    before, after = passport["duplicates"]["before"], passport["duplicates"]["after"]

    def places(stage: Passport) -> dict[str, list[str]]:
        rows: dict[str, list[str]] = {}
        for kind in stage.values():
            inside = {f"within {split}": count for split, count in kind["within"].items()}
            for place, count in (inside | kind["across"]).items():
                rows.setdefault(place, []).append(f"{count:,}")
        return rows

    stages = {"before": places(before), "after": places(after)}
    rows = [[stage, place, *row] for stage, found in stages.items() for place, row in found.items()]
    return table(["", "where", *before], rows)


def conflict_line(conflict: dict[str, int]) -> str:
    """Equal texts with several labels, in words."""
    return f"Texts under several labels: {conflict['texts']:,}, in {conflict['rows']:,} rows."


def settings_line(settings: Passport) -> str:
    """The policy in force, in the words of the config."""
    words = {key: "null" if value is None else value for key, value in settings.items()}
    return "; ".join(f"`{key}: {value}`" for key, value in words.items())


def done_rows(passport: Passport) -> list[list[Any]]:
    """What was done: bad rows first, then by reason and pair of splits."""
    bad = passport["rows_dropped"]["bad"]
    rows = [["dropped", "bad row", "", "", f"{bad:,}", ""]]
    return [*rows, *([*row.values()] for row in passport["by_splits"])]

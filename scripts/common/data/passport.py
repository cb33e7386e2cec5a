"""The passport of a dataset: put together from what is on record, and written for people."""

from typing import Any
from urllib.parse import quote

from common.data.encoding import UNUSUAL_UNKNOWN_SHARE
from common.markdown import code, shown, table
from common.source import of_record

BAD_ROWS_SHOWN = 20
CONFIGURED, NOT_ON_RECORD = "as configured", "not on record"

Passport = dict[str, Any]


def compose(
    source: Passport, license_configured: str | None, preparation: Passport, models: Passport
) -> Passport:
    """Return the whole passport, as passport.json holds it.

    Args:
        source: of the rows, as ``fetch_dataset`` recorded it.
        license_configured: the licence that the user knows of; it wins over that of the source.
        preparation: what ``prepare_data`` recorded.
        models: by name, what ``tokenize_data`` recorded.
    """
    kept = ("max_length", "tokenizer", "histogram_edges", "splits")
    return {
        "source": with_license(source, license_configured),
        **preparation,
        "models": {name: {key: found[key] for key in kept} for name, found in models.items()},
    }


def with_license(source: Passport, configured: str | None) -> Passport:
    """Return the source with ``license``, and ``license_origin``: who says so."""
    if configured:
        return source | {"license": configured, "license_origin": CONFIGURED}
    found = source.get("license")
    origin = of_record(source).license_origin if found else NOT_ON_RECORD
    return source | {"license": found, "license_origin": origin}


def markdown(passport: Passport, classes: str, lengths: str) -> str:
    """Return the passport for people.

    Args:
        passport: as ``compose`` returns it.
        classes: where the picture of the classes is, seen from the text.
        lengths: the same for the picture of the lengths in tokens.
    """
    parts = [
        "# Data passport",
        source_lines(passport["source"]),
        "## Rows in",
        rows_line(passport["rows"], passport["found"]),
        *quoting(passport["quoting"]),
        rows_table(passport["found"]),
        table(["what is odd", *passport["found"]], odd_rows(passport["found"])),
        "Of a length, the mean, the median, the 95th percentile and the maximum are given.",
        "## Duplicates",
        "A normalised duplicate is equal but for case, digits, punctuation and white space; each "
        "kind counts those of the kinds before it. *Within* a split, rows that repeat an earlier "
        "one; *A in B*, rows of A that have a duplicate in B. Rows of one group, where the config "
        "names a column of groups, are counted likewise.",
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
        "What models are trained and measured on.",
        *pool(passport),
        rows_table(passport["splits"]),
        f"![Rows of each class, by split]({quote(classes)})",
        table(["split", "SHA-256"], [[s, b["sha256"]] for s, b in passport["splits"].items()]),
        "## Tokens",
        *tokens_parts(passport["models"], lengths),
    ]
    return "\n\n".join(parts) + "\n"


def pool(passport: Passport) -> list[str]:
    """Return a paragraph on training rows that are a pool, from which each seed draws its own."""
    if passport["drawn_per_seed"] is None:
        return []
    rows, drawn = passport["splits"]["train"]["rows"], passport["drawn_per_seed"]
    return [
        f"**The {rows:,} training rows are a pool: each seed draws {drawn:,} of them anew**, "
        "stratified by class. All variants and baselines of one seed are trained on the same draw."
    ]


def source_lines(source: Passport) -> str:
    """Return where the rows come from, a line per fact that is on record, and their licence."""
    facts = {key: value for key, value in source.items() if value and not key.startswith("license")}
    facts["licence"] = NOT_ON_RECORD
    if source["license"]:
        facts["licence"] = f"{source['license']} ({source['license_origin']})"
    return "\n".join(f"- {shown(key)}: {shown(value)}" for key, value in facts.items())


def tokens_parts(models: dict[str, Passport], picture: str) -> list[str]:
    """How long the texts are for each model, and how many of them it does not see to the end."""
    if not models:
        return ["No model is compared on this dataset."]
    header = ["model", "split", "mean", "median", "p95", "max", "max_length"]
    header += ["truncated", "unknown"]
    return [
        "Lengths of the whole texts, in tokens of each model. A text longer than its `max_length` "
        "is truncated: the model does not see its end. Unknown tokens stand for what a vocabulary "
        "lacks: where they are many, a model cannot tell the texts apart.",
        table(header, tokens_rows(models)),
        f"![Lengths in tokens by model and split, with a line where texts are cut]"
        f"({quote(picture)})",
    ]


def tokens_rows(models: dict[str, Passport]) -> list[list[Any]]:
    """Return a row for each model and split."""
    return [
        [
            name,
            split,
            *(plain(length) for length in part["lengths"].values()),
            f"{model['max_length']:,}",
            percent(part["truncated_share"]),
            unknown(part["unknown_share"]),
        ]
        for name, model in models.items()
        for split, part in model["splits"].items()
    ]


def unknown(share: float) -> str:
    """Return the share of unknown tokens, marked where it is unusual."""
    return percent(share) + (" **!**" if share > UNUSUAL_UNKNOWN_SHARE else "")


def plain(number: float) -> str:
    """Return a length with at most one decimal."""
    return f"{number:,.1f}".removesuffix(".0")


def percent(share: float) -> str:
    """Return a share in per cent, with one decimal."""
    return f"{100 * share:.1f} %"


def rows_table(parts: dict[str, Passport]) -> str:
    """Return rows per class, and lengths: a column per split."""
    names = list(dict.fromkeys(name for part in parts.values() for name in part["classes"]))
    marked = any("clean_rows" in part for part in parts.values())
    rows = [
        ["rows", *(f"{part['rows']:,}" for part in parts.values())],
        *([["clean rows", *clean_rows(parts)]] if marked else []),
        *([f"class {n}", *(f"{p['classes'].get(n, 0):,}" for p in parts.values())] for n in names),
        *(
            [unit, *(" / ".join(map(plain, part[unit].values())) for part in parts.values())]
            for unit in ("characters", "words")
        ),
    ]
    return table(["", *parts], rows)


def clean_rows(parts: dict[str, Passport]) -> list[str]:
    """Return the rows of each split that repeat none that is trained on."""
    return [f"{part['clean_rows']:,}" if "clean_rows" in part else "" for part in parts.values()]


def odd_rows(parts: dict[str, Passport]) -> list[list[str]]:
    """Return what is odd and does no harm, or shows a mistake: a row each, a column per split."""
    counts = [part["encoding"] | part["oddities"] for part in parts.values()]
    rows = [[name, *(f"{count[name]:,}" for count in counts)] for name in counts[0]]
    in_order = ["yes" if part["sorted_by_label"] else "no" for part in parts.values()]
    return [*rows, ["sorted by label, so that the first rows are of one class", *in_order]]


def quoting(quoting: Passport | None) -> list[str]:
    """Return a sentence on quotes that were read as letters."""
    if quoting is None or quoting["applied"] != "none":
        return []
    reason = f": {quoting['reason']}" if quoting["reason"] else ", as configured"
    return [f"Quotes in the file are letters of the texts{shown(reason)}."]


def bad_rows(bad: Passport) -> list[str]:
    """Return a section on the rows that were left out as bad, the first of them in a table."""
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
    """Return duplicates by kind, before and after: a row per place."""
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
    """Return equal texts with several labels, in words."""
    return f"Texts under several labels: {conflict['texts']:,}, in {conflict['rows']:,} rows."


def settings_line(settings: Passport) -> str:
    """Return the policy in force, in the words of the config."""
    words = {key: "null" if value is None else value for key, value in settings.items()}
    return "; ".join(code(f"{key}: {value}") for key, value in words.items())


def rows_line(rows: Passport, found: dict[str, Passport]) -> str:
    """Return how many rows were read, and how many of them could be used, in words."""
    good = sum(part["rows"] for part in found.values())
    filtered, bad = sum(rows["filtered_out"].values()), sum(rows["bad"].values())
    return (
        f"The source holds {good + filtered + bad:,} rows; {filtered:,} do not meet `filter`, and "
        f"{bad:,} are bad. The other {good:,}, before anything is done to them:"
    )


def done_rows(passport: Passport) -> list[list[Any]]:
    """Return what was done to which rows, all of them.

    Bad ones first, those that were not drawn last.
    """
    rows = passport["rows"]
    reasons = {"filtered_out": "does not meet filter", "bad": "bad row", "not_drawn": "not drawn"}
    lines = {
        key: [["left out", reason, split, "", f"{count:,}", ""]
              for split, count in rows[key].items() if count]
        for key, reason in reasons.items()
    }  # fmt: skip
    done = [[*row.values()] for row in passport["by_splits"]]
    return [*lines["filtered_out"], *lines["bad"], *done, *lines["not_drawn"]]

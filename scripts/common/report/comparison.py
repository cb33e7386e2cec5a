"""The comparison as tables: tidy data frames, and Markdown with the verdict first.

Published figures are shown beside those of a comparison, and never compared with them.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from common.baselines import REFERENCE
from common.cells import Cell, full_name
from common.markdown import shown
from common.report.references import Reference
from common.statistics.verdict import apart, measured_apart, of_kind, outcome, pair

if TYPE_CHECKING:
    import pandas as pd


Found = dict[str, Any]


def base_of(found: Found, variant: Found) -> Found | None:
    """Return the untrained base of the same model; of a baseline, none."""
    return of_kind(found, variant["model"], "base") if variant["model"] else None


def reference_of(found: Found) -> Found | None:
    """Return the baseline; None where it is not in the comparison."""
    named = (v for v in found["variants"] if (v["kind"], v["variant"]) == ("baseline", REFERENCE))
    return next(named, None)


def reference_difference(found: Found, variant: Found, other: Found | None) -> Found | None:
    """Return the comparison of a variant with another, the first less the second.

    None without another.
    """
    if other is None or other is variant:
        return None
    return pair(found, variant["name"], other["name"])


def doubt(comparison: Found) -> str | None:
    """Return why a difference that is said to be real is not assured to be; None where it is."""
    return comparison["caution"] if comparison["significant"] else None


def shown_comparisons(found: Found) -> Iterator[Found]:
    """Yield the comparisons that the tables of a dataset show."""
    for variant in found["variants"]:
        for other in (base_of(found, variant), reference_of(found)):
            if contrast := reference_difference(found, variant, other):
                yield contrast


def doubts(found: Found) -> list[str]:
    """Return the reasons for doubt in the tables of a dataset, each once.

    Not those of other pairs.
    """
    return sorted({reason for each in shown_comparisons(found) if (reason := doubt(each))})


OF_VARIANT = ("model", "variant", "kind")

STANDING = ("recommended", "position")

RANGE = ("value", "low", "high")

TESTED = ("low", "high", "p", "p_holm", "outcome")

SHARE = ("share", "low", "high", "reason")

COSTS = ("trainable_parameters", "train_seconds", "peak_memory_bytes", "file_bytes")

CALIBRATION = ("ece", "ece_floor", "brier")

WHOLE_NUMBERS = ("seeds", "failed", "rows", "position", "trainable_parameters", "peak_memory_bytes",
                 "file_bytes")  # fmt: skip


def by_variant(verdicts: Found) -> "pd.DataFrame":
    """Return one row per dataset and variant, in the order of the config, all figures unrounded.

    Args:
        verdicts: verdicts.json; what it holds beyond the columns is left out.
    """
    import pandas as pd

    rows = [
        row(dataset, found, variant)
        for dataset, found in verdicts["datasets"].items()
        for variant in found["variants"]
    ]
    # Left to itself, pandas makes floats of the integers of a column that has empty places.
    return pd.DataFrame(rows).astype(dict.fromkeys(WHOLE_NUMBERS, "Int64"))


def row(dataset: str, found: Found, variant: Found) -> Found:
    """Return one variant: its figure, its standing, what it is held against, its costs."""
    metric = found["metric"]
    return {
        "dataset": dataset,
        **{key: variant[key] for key in OF_VARIANT},
        "seeds": len(variant["seeds"]),
        "failed": len(variant["failed"]),
        "rows": found["rows"],
        "metric": metric,
        **{key: variant["metrics"][metric][key] for key in RANGE},
        "over_all_seeds": variant["metrics"][metric]["over_all_seeds"],
        **{key: variant[key] for key in STANDING},
        **difference_columns(
            f"to_{REFERENCE}", reference_difference(found, variant, reference_of(found))
        ),
        **difference_columns(
            "to_base", reference_difference(found, variant, base_of(found, variant))
        ),
        **share_of_gap(variant["share_of_gap"] or {}),
        **{key: variant["costs"][key] for key in COSTS},
        **{key: variant["calibration"][key] for key in CALIBRATION},
    }


def difference_columns(name: str, contrast: Found | None) -> Found:
    """Return the columns of one difference; all empty where there is none."""
    return {
        name: contrast and contrast["difference"],
        **{f"{name}_{key}": contrast and contrast[key] for key in TESTED},
        f"{name}_caution": contrast and doubt(contrast),
    }


def share_of_gap(contrast: Found) -> Found:
    """Return the columns of the share of the gap from head to full.

    All empty where there is none.
    """
    return {
        "share_of_gap" if key == "share" else f"share_of_gap_{key}": contrast.get(key)
        for key in SHARE
    }


def metrics_of(verdicts: Found) -> list[str]:
    """Return the metrics that variants are compared by: one, or another that stands in."""
    own = (found["metric"] for found in verdicts["datasets"].values())
    return list(dict.fromkeys((verdicts["metric"], *own)))


def range_columns(verdicts: Found) -> list[str]:
    """Return the columns of comparison.csv that hold intervals."""
    return [f"{metric}_{end}" for metric in metrics_of(verdicts) for end in ("low", "high")]


def ranges(verdicts: Found) -> dict[Cell, Found]:
    """Return the columns of ``range_columns`` by cell or baseline.

    A metric that it lacks is left out.
    """
    return {
        Cell(dataset, variant["model"] or "", variant["variant"], seed): {
            f"{metric}_{end}": variant["metrics"][metric]["cells"][place][end]
            for metric in metrics_of(verdicts)
            if metric in variant["metrics"]
            for end in ("low", "high")
        }
        for dataset, found in verdicts["datasets"].items()
        for variant in found["variants"]
        for place, seed in enumerate(variant["seeds"] or [None])
    }


MEBIBYTE = 2**20


def markdown(
    table: "pd.DataFrame", metrics: list[str], published: list[Reference], verdicts: Found
) -> str:
    """Return the whole comparison on the test rows.

    Args:
        table: all figures, as comparison.csv holds them.
        metrics: columns of the second table of a dataset.
        published: figures from elsewhere.
        verdicts: verdicts.json.
    """
    test = table[(table["split"] == "test") & ~table["published"]]
    parts = ["# Comparison\n", introduction(verdicts), *means(verdicts["over_datasets"])]
    for dataset, rows in test.groupby("dataset", sort=False):
        found = verdicts["datasets"][dataset]
        beside = [reference for reference in published if reference["dataset"] == dataset]
        parts += [
            f"## {dataset}\n",
            "\n".join(f"- {shown(sentence)}" for sentence in found["verdict"]) + "\n",
            rows_line(rows),
            *clean_line(rows),
            as_markdown(main_table(found, rows, beside, verdicts["level"])),
            *notes(found),
            "Mean ± standard deviation over seeds, of these and other metrics:\n",
            as_markdown(metrics_table(rows, metrics, beside)),
            *sources(beside),
            "Confusion matrices, summed over seeds; a row per true class, a column per "
            "predicted one:\n",
            # Names that look like numbers stay as they are.
            confusion(rows).to_markdown(index=False, disable_numparse=[0, 1, 2]) + "\n",
        ]
    return "\n".join(parts)


def means(over_datasets: list[Found]) -> list[str]:
    """Return a line for each mean difference over datasets; none where these are too few."""
    lines = [
        f"- {shown(each['a'])} is {measured_apart(each)} beside {shown(each['b'])} by "
        f"{each['metric']}, the mean over {each['datasets']} datasets and its interval over others "
        "like them."
        for each in over_datasets
    ]
    return ["## Over all datasets\n", "\n".join(lines) + "\n"] if lines else []


def as_markdown(table: "pd.DataFrame") -> str:
    """Return a table of strings, as they are."""
    return table.to_markdown(index=False, disable_numparse=True) + "\n"


def introduction(verdicts: Found) -> str:
    """Return what holds for all datasets."""
    return (
        f"Test rows only. A figure of a model is the mean over the seeds that trained; its "
        f"{level(verdicts)} interval covers the test rows and, with several seeds, the seeds. "
        f"Differences are tested on the same rows: *better* and *worse* at "
        f"{100 * verdicts['alpha']:g} % over all that answer one question (Holm), *equivalent*, "
        f"*at least as good* and *at most as good* within a margin of {verdicts['margin']:g}; what "
        "is *open* lies anywhere in its interval. `base` is the model as it comes; unless it "
        "brings its own head, its head is untrained and drawn anew with every seed.\n"
    )


def level(verdicts: Found) -> str:
    """Return the level of confidence in words."""
    return f"{100 * verdicts['level']:g} %"


def rows_line(rows: "pd.DataFrame") -> str:
    """Return how many test rows there are, and of which class."""
    counts = [sum(line) for line in json.loads(rows["confusion_matrix"].iloc[0])]
    names = map(shown, json.loads(rows["classes"].iloc[0]))
    shares = ", ".join(f"{name} {count}" for name, count in zip(names, counts, strict=True))
    return f"{rows['rows'].iloc[0]} test rows ({shares}).\n"


def main_table(
    found: Found, rows: "pd.DataFrame", published: list[Reference], confidence: float
) -> "pd.DataFrame":
    """Return one line per variant: its figure with its interval, differences, letters and costs.

    Published results follow, each a line of its own, whatever its names.
    """
    import pandas as pd

    metric = found["metric"]
    column = f"{metric} ({100 * confidence:g} % interval)"
    of = {
        full_name(str(model), str(variant)): group
        for (model, variant), group in rows.groupby(["model", "variant"], sort=False)
    }
    lines = [
        {
            "model": variant["model"] or "",
            "variant": variant["variant"] + marks(of[variant["name"]]) + failure(variant),
            "seeds": str(len(variant["seeds"]) or ""),
            column: figure(variant["metrics"][metric]),
            "to base": difference(found, variant, base_of(found, variant)),
            f"to {REFERENCE}": difference(found, variant, reference_of(found)),
            "trainable parameters": thousands(variant["costs"]["trainable_parameters"]),
            "train seconds": rounded(variant["costs"]["train_seconds"], 1),
            "peak memory, MiB": rounded(variant["costs"]["peak_memory_bytes"], 0, MEBIBYTE),
        }
        for variant in found["variants"]
    ]
    lines += [
        {**reference_names(each), column: reference_figure(each, metric)} for each in published
    ]
    return pd.DataFrame(lines).fillna("")


def figure(measured: Found) -> str:
    """Return a figure with its interval; marked where that cannot mind the seeds."""
    return measured["shown"] + ("" if measured["seeds_known"] else " †")


def difference(found: Found, variant: Found, other: Found | None) -> str:
    """Return a difference with its verdict: +0.036, better.

    Marked where the test is not assured.
    """
    contrast = reference_difference(found, variant, other)
    return (
        f"{apart(contrast)}, {outcome(contrast)}{'?' if doubt(contrast) else ''}"
        if contrast
        else ""
    )


def notes(found: Found) -> list[str]:
    """Return the lines below a table that explain the marks in it."""
    doubted = doubts(found)
    said = [f"Marked *?*: {'; '.join(doubted)}.\n"] if doubted else []
    if any(not v["metrics"][found["metric"]]["seeds_known"] for v in found["variants"]):
        said.append("Marked †: of one seed; the interval is of the test rows alone.\n")
    return said


def metrics_table(
    rows: "pd.DataFrame", metrics: list[str], published: list[Reference]
) -> "pd.DataFrame":
    """Return one line per variant.

    Metrics with their spread over seeds, and what its weights are.
    """
    import pandas as pd

    lines = [
        {
            "model": group.iloc[0]["model"],
            "variant": group.iloc[0]["variant"],
            **figures(group, metrics),
            "adapter parameters": thousands(group.iloc[0]["adapter_parameters"]),
            "head parameters": thousands(group.iloc[0]["head_parameters"]),
            "train seconds": spread(group["train_seconds"], 1),
        }
        for _, group in rows.groupby(["model", "variant"], sort=False)
    ]
    lines += [
        {**reference_names(each), **{m: reference_figure(each, m) for m in metrics}}
        for each in published
    ]
    return pd.DataFrame(lines).fillna("")


def figures(group: "pd.DataFrame", metrics: list[str]) -> dict[str, str]:
    """Return the metrics of one line; where rows are marked, each on the clean rows beside it."""
    of = {metric: [metric] for metric in metrics}
    if group["clean_rows"].notna().any():
        of = {metric: [metric, f"clean_{metric}"] for metric in metrics}
    names = [name for both in of.values() for name in both]
    return {name.replace("clean_", "clean "): spread(group[name]) for name in names}


def clean_line(rows: "pd.DataFrame") -> list[str]:
    """Return the line that tells how many test rows are clean, where rows are marked at all.

    Where they lack a class, no metric of them is on record: the line says why.
    """
    clean = rows["clean_rows"].iloc[0]
    if rows["clean_rows"].isna().all():
        return []
    leaked = rows["rows"].iloc[0] - clean
    said = f"Figures named *clean* are those of the other {clean}; verdicts are of all rows."
    if rows["clean_accuracy"].isna().all():
        why = f"the other {clean} lack a class" if clean else "no row is left"
        said = f"There are no figures named *clean*: {why}."
    return [f"**{leaked} of these rows have a duplicate that was trained on.** {said}\n"]


def marks(group: "pd.DataFrame") -> str:
    """Return notes beside the name of a variant.

    A base with its own head, one that could not be used, and seeds that collapsed.
    """
    own = group["kind"].eq("base") & group["pretrained_head"].eq(True)
    redrawn = group["kind"].ne("baseline") & group["head_origin"].eq("redrawn")
    said = " (head of the model)" if own.all() else ""
    said += " (new head: the model's own is for other classes)" if redrawn.all() else ""
    return said + collapse(group)


def failure(variant: Found) -> str:
    """Return a mark for a variant of which seeds failed to train; of a control none counts."""
    failed = len(variant["failed"])
    return f" (failed in {failed} of {len(variant['seeds'])} seeds)" if failed else ""


def collapse(group: "pd.DataFrame") -> str:
    """Return a mark for a variant of which seeds answer one class for nearly every row."""
    collapsed = int(group["collapsed"].sum())
    # The majority class answers one class by definition.
    if not collapsed or group["kind"].iloc[0] == "baseline":
        return ""
    return f" (collapsed in {collapsed} of {len(group)} seeds)"


def reference_names(reference: Reference) -> dict[str, str]:
    """Return what names the line of a published result."""
    return {
        "model": shown(reference.get("model", "")),
        "variant": f"{shown(reference['variant'])} (published)",
    }


def reference_figure(reference: Reference, metric: str) -> str:
    """Return a published figure; one that is unknown stays empty."""
    value = reference["metrics"].get(metric)
    return "" if value is None else f"{value:.3f}"


def sources(published: list[Reference]) -> list[str]:
    """The line below a table that names the sources of its published results, if it has any."""
    if not published:
        return []
    noted = [(shown(row["source"]), shown(row.get("note", ""))) for row in published]
    named = [f"{source} ({note})" if note else source for source, note in noted]
    return [f"Published elsewhere, and not measured here: {'; '.join(dict.fromkeys(named))}.\n"]


def spread(values: "pd.Series", digits: int = 3) -> str:
    """Return mean ± standard deviation; the mean alone of a single value.

    Empty where there is none.
    """
    values = values.dropna().astype(float)
    if values.empty:
        return ""
    mean = f"{values.mean():.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {values.std(ddof=1):.{digits}f}"


def thousands(count: Any) -> str:
    """Return a count with its thousands apart; empty where there is none."""
    import pandas as pd

    return "" if pd.isna(count) else f"{int(count):,}"


def rounded(value: float | None, digits: int, unit: float = 1) -> str:
    """Return a cost in its unit; empty where there is none."""
    return "" if value is None else f"{value / unit:,.{digits}f}"


def confusion(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Return the confusion matrices of a dataset, one below the other."""
    import pandas as pd

    classes = [shown(name) for name in json.loads(rows["classes"].iloc[0])]
    lines = []
    for (model, variant), group in rows.groupby(["model", "variant"], sort=False):
        matrices = [json.loads(matrix) for matrix in group["confusion_matrix"]]
        for number, name in enumerate(classes):
            counts = [sum(matrix[number][i] for matrix in matrices) for i in range(len(classes))]
            named = {f"→ {c}": n for c, n in zip(classes, counts, strict=True)}
            lines.append({"model": model, "variant": variant, "true": name, **named})
    return pd.DataFrame(lines)

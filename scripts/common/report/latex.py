"""The comparison as a LaTeX table for a paper: booktabs, any text escaped."""

from typing import Any

from common.markdown import flat
from common.report import comparison
from common.report.comparison import base_of, doubt, reference_difference, reference_of
from common.statistics.significance import BETTER, EQUIVALENT, WORSE
from common.statistics.verdict import apart, outcome

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "#$%&_"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",  # \textquotedbl is in no font of LaTeX's default encoding, OT1
    # After the end of a line, LaTeX takes these for its argument.
    "[": "{[}",
    "*": "{*}",
}
REAL, COLLAPSED, OWN_HEAD, DOUBTED = r"\ast", r"\dagger", r"\S", r"\ddagger"
ONE_SEED, SAME, FAILED = r"\diamond", r"\approx", r"\circ"
SIGNS = {BETTER: REAL, WORSE: REAL, EQUIVALENT: SAME}
COLUMNS = ("Model", "Variant", "Seeds", "Difference to base", "to TF-IDF", "Parameters", "Seconds")

Found = dict[str, Any]


def escaped(text: Any) -> str:
    """Return text that LaTeX prints as it is, on one line."""
    return "".join(SPECIAL.get(sign, sign) for sign in flat(text))


def table(verdicts: Found, published: list[Found]) -> str:
    """The table of all datasets, with what it needs and what it means in comments and caption.

    Args:
        verdicts: verdicts.json.
        published: figures from elsewhere, each marked as such.
    """
    lines = [
        r"% \usepackage{booktabs} and, for class names beyond ASCII, an engine that reads UTF-8.",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption(verdicts)}}}",
        r"\begin{tabular}{llrlllrr}",
        r"\toprule",
        " & ".join((*COLUMNS[:3], "Value (interval)", *COLUMNS[3:])) + r" \\",
    ]
    for dataset, found in verdicts["datasets"].items():
        title = f"{escaped(dataset)}, {found['rows']:,} test rows, {escaped(found['metric'])}"
        lines += [r"\midrule", rf"\multicolumn{{8}}{{l}}{{\textbf{{{title}}}}} \\"]
        lines += [row(line(found, each)) for each in found["variants"]]
        lines += [
            row(reference_line(each, found["metric"]))
            for each in published
            if each["dataset"] == dataset
        ]
    lines += [r"\bottomrule", r"\end{tabular}"]
    if explained := notes(verdicts, published):
        lines += [r"\par\smallskip", *[rf"{{\footnotesize {note}\par}}" for note in explained]]
    return "\n".join([*lines, r"\end{table}", ""])


def row(cells: list[str]) -> str:
    """Return one line of the table."""
    return " & ".join(cells) + r" \\"


def line(found: Found, variant: Found) -> list[str]:
    """Return the cells of one variant."""
    costs = variant["costs"]
    return [
        escaped(variant["model"] or ""),
        escaped(variant["variant"]) + raised(*marks(variant)),
        str(len(variant["seeds"]) or ""),
        figure(variant["metrics"][found["metric"]]),
        difference(found, variant, base_of(found, variant)),
        difference(found, variant, reference_of(found)),
        number(costs["trainable_parameters"], 0),
        number(costs["train_seconds"], 1),
    ]


def figure(measured: Found) -> str:
    """Return a figure with its interval; marked where that cannot mind the seeds."""
    return escaped(measured["shown"]) + ("" if measured["seeds_known"] else raised(ONE_SEED))


def marks(variant: Found) -> list[str]:
    """Return the signs beside the name of a variant.

    A base with its own head, and seeds that failed or collapsed.
    """
    own = variant["kind"] == "base" and not variant["untrained_head"]
    failed, collapsed = bool(variant["failed"]), bool(variant["collapsed"])
    return [*[OWN_HEAD] * own, *[FAILED] * failed, *[COLLAPSED] * collapsed]


def raised(*signs: str) -> str:
    """Return signs above the line, for a text; nothing where there are none."""
    return f"$^{{{' '.join(signs)}}}$" if signs else ""


def difference(found: Found, variant: Found, other: Found | None) -> str:
    """A difference, with a sign where it is significant, and one where that is not assured."""
    contrast = reference_difference(found, variant, other)
    if contrast is None:
        return ""
    said = SIGNS.get(outcome(contrast)), DOUBTED if doubt(contrast) else None
    signs = " ".join(sign for sign in said if sign)
    return f"${apart(contrast)}{f'^{{{signs}}}' if signs else ''}$"


def number(value: float | None, digits: int) -> str:
    """Return a cost; empty where there is none."""
    return "" if value is None else f"{value:,.{digits}f}"


def reference_line(reference: Found, metric: str) -> list[str]:
    """Return the cells of one published result."""
    value = reference["metrics"].get(metric)
    cells = [escaped(reference.get("model", "")), escaped(f"{reference['variant']} (published)")]
    return [*cells, "", "" if value is None else f"{value:.3f}", "", "", "", ""]


def caption(verdicts: Found) -> str:
    """Return what the columns mean."""
    return (
        f"Test rows; means over seeds with {100 * verdicts['level']:g}\\,\\% intervals over rows "
        f"and, of several, seeds. Differences are tested at {100 * verdicts['alpha']:g}\\,\\% "
        "over all that answer one question (Holm). Parameters are those trained."
    )


def notes(verdicts: Found, published: list[Found]) -> list[str]:
    """Return what the marks mean that are in the table, and where published figures are from."""
    datasets = verdicts["datasets"].values()
    signs = {sign for found in datasets for each in found["variants"] for sign in marks(each)}
    signs |= {
        sign for found in datasets for each in comparison.shown_comparisons(found)
        if (sign := SIGNS.get(outcome(each)))
    }  # fmt: skip
    figures = [each["metrics"][found["metric"]] for found in datasets for each in found["variants"]]
    signs |= set() if all(each["seeds_known"] for each in figures) else {ONE_SEED}
    said = {
        REAL: "significant",
        SAME: f"equivalent within {verdicts['margin']:g}",
        OWN_HEAD: "with the head that came with the model",
        FAILED: "failed to train with some seed, which the figures leave out",
        COLLAPSED: "collapsed to one class with some seed",
        ONE_SEED: "of one seed; the interval is of the test rows alone",
    }
    lines = [f"${sign}$: {text}." for sign, text in said.items() if sign in signs]
    if reasons := sorted({each for found in datasets for each in comparison.doubts(found)}):
        lines.append(f"${DOUBTED}$: {escaped('; '.join(reasons))}.")
    return lines + sources(verdicts, published)


def sources(verdicts: Found, published: list[Found]) -> list[str]:
    """Return where the figures marked as published are from."""
    noted = [
        escaped(each["source"] + (f" ({each['note']})" if each.get("note") else ""))
        for each in published
        if each["dataset"] in verdicts["datasets"]
    ]
    listed = "; ".join(dict.fromkeys(noted))
    return [f"Published elsewhere, and not measured here: {listed}."] if noted else []

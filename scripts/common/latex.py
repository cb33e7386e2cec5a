"""The comparison as a LaTeX table for a paper: booktabs, any text escaped."""

from typing import Any

from common.markdown import flat
from common.standing import BETTER, TIE, WORSE, apart, of_kind, outcome, pair

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
    '"': r"\textquotedbl{}",
}
SIGNS = {BETTER: r"^{\ast}", WORSE: r"^{\ast}", TIE: ""}
COLUMNS = ("Model", "Variant", "Seeds", "Difference to base", "to TF-IDF", "Ties", "Parameters",
           "Seconds")  # fmt: skip

Found = dict[str, Any]


def escaped(text: Any) -> str:
    """Text that LaTeX prints as it is, on one line."""
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
        r"\begin{tabular}{llrllllrr}",
        r"\toprule",
        " & ".join((*COLUMNS[:3], "Value (interval)", *COLUMNS[3:])) + r" \\",
    ]
    for dataset, found in verdicts["datasets"].items():
        title = f"{escaped(dataset)}, {found['rows']:,} test rows, {escaped(found['metric'])}"
        lines += [r"\midrule", rf"\multicolumn{{9}}{{l}}{{\textbf{{{title}}}}} \\"]
        lines += [row(line(found, each)) for each in found["variants"]]
        lines += [
            row(reference_line(each, found["metric"]))
            for each in published
            if each["dataset"] == dataset
        ]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def row(cells: list[str]) -> str:
    """One line of the table."""
    return " & ".join(cells) + r" \\"


def line(found: Found, variant: Found) -> list[str]:
    """The cells of one variant."""
    base = of_kind(found, variant["model"], "base") if variant["model"] else None
    named = (v for v in found["variants"] if (v["kind"], v["variant"]) == ("baseline", "tfidf"))
    costs = variant["costs"]
    return [
        escaped(variant["model"] or ""),
        escaped(variant["variant"]) + (r"$^{\dagger}$" if variant["collapsed"] else ""),
        str(len(variant["seeds"]) or ""),
        escaped(variant["metrics"][found["metric"]]["shown"]),
        difference(found, variant, base),
        difference(found, variant, next(named, None)),
        escaped(variant["letters"]),
        number(costs["trainable_parameters"], 0),
        number(costs["train_seconds"], 1),
    ]


def difference(found: Found, variant: Found, other: Found | None) -> str:
    """A difference, with a star where it is significant."""
    if other is None or other is variant:
        return ""
    told = pair(found, variant["name"], other["name"])
    return f"${apart(told)}{SIGNS[outcome(told)]}$"


def number(value: float | None, digits: int) -> str:
    """A cost; empty where there is none."""
    return "" if value is None else f"{value:,.{digits}f}"


def reference_line(reference: Found, metric: str) -> list[str]:
    """The cells of one published result."""
    value = reference["metrics"].get(metric)
    cells = [escaped(reference.get("model", "")), escaped(f"{reference['variant']} (published)")]
    return [*cells, "", "" if value is None else f"{value:.3f}", "", "", "", "", ""]


def caption(verdicts: Found) -> str:
    """What the columns mean."""
    return (
        f"Test rows; means over seeds with {100 * verdicts['level']:g}\\,\\% intervals over rows "
        f"and seeds. $\\ast$: significant at {100 * verdicts['alpha']:g}\\,\\% among all pairs of "
        "a dataset (Holm). Variants that share a letter are not told apart. Parameters are those "
        "trained. $\\dagger$: collapsed to one class with some seed."
    )

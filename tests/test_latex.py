"""The table for a paper: whole, escaped, with the figures of the verdicts."""

import copy
import re
from typing import Any

import pytest

from common.report import latex

VERDICTS: dict[str, Any] = {
    "level": 0.95,
    "alpha": 0.05,
    "margin": 0.02,
    "datasets": {
        "sms_spam": {
            "metric": "macro_f1",
            "rows": 1200,
            "variants": [
                {
                    "name": name, "model": model, "variant": variant, "kind": kind,
                    "seeds": [0, 1] if model else [], "failed": failed,
                    "untrained_head": kind == "base", "control": False,
                    "collapsed": collapsed,
                    "metrics": {"macro_f1": {"shown": shown, "seeds_known": True}},
                    "costs": {"trainable_parameters": parameters, "train_seconds": seconds},
                }
                for name, model, variant, kind, failed, collapsed, shown, parameters, seconds in [
                    ("tfidf", None, "tfidf", "baseline", [], [], "0.70 (0.60 to 0.80)", None, 0.5),
                    ("m_1/base", "m_1", "base", "base", [], [1], "0.30 (0.20 to 0.40)", 0, None),
                    ("m_1/x", "m_1", "x", "adapter", [1], [], "0.90 (0.85 to 0.95)", 1234, 9.87),
                ]
            ],
            "comparisons": [
                {
                    "a": a, "b": b, "metric": "macro_f1", "difference": difference,
                    "low": difference - 0.1, "high": difference + 0.1, "outcome": outcome,
                    "significant": outcome in ("better", "worse"), "caution": None,
                    "not_worse_p": 0.5, "not_better_p": 0.5,
                }
                for a, b, difference, outcome in [
                    ("tfidf", "m_1/base", 0.4, "better"),
                    ("tfidf", "m_1/x", -0.2, "equivalent"),
                    ("m_1/base", "m_1/x", -0.6, "worse"),
                ]
            ],
        }
    },
}  # fmt: skip
PUBLISHED = [
    {"dataset": "sms_spam", "variant": "100 % & more", "source": "A & B", "note": "50 %",
     "metrics": {"macro_f1": 0.5}},
    {"dataset": "other", "variant": "elsewhere", "source": "s", "metrics": {"macro_f1": 0.5}},
]  # fmt: skip


def rows(text: str) -> list[list[str]]:
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    lines = [line.removesuffix(r" \\") for line in body.strip().splitlines()[1:]]
    return [[cell.strip() for cell in re.split(r"(?<!\\)&", line)] for line in lines]


def test_the_rows_of_the_table():
    assert rows(latex.table(VERDICTS, PUBLISHED)) == [
        ["", "tfidf", "", "0.70 (0.60 to 0.80)", "", "", "", "0.5"],
        [r"m\_1", r"base$^{\dagger}$", "2", "0.30 (0.20 to 0.40)", "", r"$-0.40^{\ast}$", "0", ""],
        [r"m\_1", r"x$^{\circ}$", "2", "0.90 (0.85 to 0.95)", r"$+0.60^{\ast}$",
         r"$+0.20^{\approx}$", "1,234", "9.9"],
        ["", r"100 \% \& more (published)", "", "0.500", "", "", "", ""],
    ]  # fmt: skip


def test_the_table_is_whole():
    text = latex.table(VERDICTS, PUBLISHED)
    for environment in ("table", "tabular"):
        assert text.count(rf"\begin{{{environment}}}") == text.count(rf"\end{{{environment}}}") == 1
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    columns = re.search(r"\\begin\{tabular\}\{(\w+)\}", text)
    assert columns
    header = next(line for line in text.splitlines() if line.startswith("Model &"))
    assert {len(line) for line in rows(text)} == {len(columns[1])} == {header.count("&") + 1}
    assert r"\textbf{sms\_spam, 1,200 test rows, macro\_f1}" in text
    assert text.count("{") == text.count("}")


def notes(text: str) -> list[str]:
    return re.findall(r"\{\\footnotesize (.*)\\par\}", text.split(r"\end{tabular}")[1])


def test_what_is_marked_is_explained_below():
    assert notes(latex.table(VERDICTS, PUBLISHED)) == [
        r"$\ast$: significant.",
        r"$\approx$: equivalent within 0.02.",
        r"$\circ$: failed to train with some seed, which the figures leave out.",
        r"$\dagger$: collapsed to one class with some seed.",
        r"Published elsewhere, and not measured here: A \& B (50 \%).",
    ]


def test_a_figure_of_one_seed_is_marked():
    single = copy.deepcopy(VERDICTS)
    first = single["datasets"]["sms_spam"]["variants"][0]
    first["metrics"]["macro_f1"]["seeds_known"] = False
    text = latex.table(single, [])
    assert text.count(r"$^{\diamond}$") == 1
    assert r"$\diamond$: of one seed; the interval is of the test rows alone." in notes(text)


def test_what_is_not_marked_is_not_explained():
    plain = copy.deepcopy(VERDICTS)
    found = plain["datasets"]["sms_spam"]
    for each in found["variants"]:
        each["collapsed"], each["failed"] = [], []
    for each in found["comparisons"]:
        each["outcome"], each["significant"] = "open", False
    text = latex.table(plain, [])
    assert notes(text) == []
    assert not {"ast", "dagger", "ddagger"} & set(re.findall(r"\\(\w+)", text))


def test_a_difference_whose_test_is_not_assured_is_marked():
    doubted = copy.deepcopy(VERDICTS)
    for each in doubted["datasets"]["sms_spam"]["comparisons"]:
        each["caution"] = "one seed: run 3 & more"
    text = latex.table(doubted, [])
    assert [line[4:6] for line in rows(text)[1:]] == [
        ["", r"$-0.40^{\ast \ddagger}$"],
        [r"$+0.60^{\ast \ddagger}$", r"$+0.20^{\approx}$"],
    ]
    assert r"$\ddagger$: one seed: run 3 \& more." in notes(text)


def test_a_base_with_a_head_of_its_own_is_marked():
    own = copy.deepcopy(VERDICTS)
    own["datasets"]["sms_spam"]["variants"][1]["untrained_head"] = False
    text = latex.table(own, [])
    assert rows(text)[1][1] == r"base$^{\S \dagger}$"
    assert r"$\S$: with the head that came with the model." in notes(text)


@pytest.mark.parametrize("name", ["[x]", "*"])
def test_a_name_at_the_start_of_a_line_is_no_argument_of_the_line_before(name):
    own = [{**PUBLISHED[0], "model": name}]
    text = latex.table(VERDICTS, own)
    assert not re.search(r"\\\\\s*[\[*]", text)
    assert rows(text)[3][0] == f"{{{name[0]}}}{name[1:]}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50 % & #1_$", r"50 \% \& \#1\_\$"),
        ("{a}~^", r"\{a\}\textasciitilde{}\textasciicircum{}"),
        ("\\input{x}", r"\textbackslash{}input\{x\}"),
        ("a\nb\tc", "a b c"),
        ('<b> | "q"', r"\textless{}b\textgreater{} \textbar{} \char34{}q\char34{}"),
        ("[x]*", "{[}x]{*}"),
        ("Größe", "Größe"),
    ],
)
def test_text_is_printed_as_it_is(text, expected):
    assert latex.escaped(text) == expected

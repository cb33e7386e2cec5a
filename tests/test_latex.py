"""The table for a paper: whole, escaped, with the figures of the verdicts."""

import re

import pytest

from common import latex

VERDICTS = {
    "level": 0.95,
    "alpha": 0.05,
    "datasets": {
        "sms_spam": {
            "metric": "macro_f1",
            "rows": 1200,
            "variants": [
                {
                    "name": name, "model": model, "variant": variant, "kind": kind,
                    "seeds": [0, 1] if model else [], "letters": letters,
                    "collapsed": collapsed, "metrics": {"macro_f1": {"shown": shown}},
                    "costs": {"trainable_parameters": parameters, "train_seconds": seconds},
                }
                for name, model, variant, kind, letters, collapsed, shown, parameters, seconds in [
                    ("tfidf", None, "tfidf", "baseline", "b", [], "0.70 (0.60 to 0.80)", None, 0.5),
                    ("m_1/base", "m_1", "base", "base", "c", [1], "0.30 (0.20 to 0.40)", 0, None),
                    ("m_1/x", "m_1", "x", "adapter", "a", [], "0.90 (0.85 to 0.95)", 1234, 9.87),
                ]
            ],
            "comparisons": [
                {
                    "a": a, "b": b, "metric": "macro_f1", "difference": difference,
                    "low": difference - 0.1, "high": difference + 0.1, "significant": real,
                }
                for a, b, difference, real in [
                    ("tfidf", "m_1/base", 0.4, True),
                    ("tfidf", "m_1/x", -0.2, False),
                    ("m_1/base", "m_1/x", -0.6, True),
                ]
            ],
        }
    },
}  # fmt: skip
PUBLISHED = [
    {"dataset": "sms_spam", "variant": "100 % & more", "source": "s", "metrics": {"macro_f1": 0.5}},
    {"dataset": "other", "variant": "elsewhere", "source": "s", "metrics": {"macro_f1": 0.5}},
]


def rows(text: str) -> list[list[str]]:
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    lines = [line.removesuffix(r" \\") for line in body.strip().splitlines()[1:]]
    return [[cell.strip() for cell in re.split(r"(?<!\\)&", line)] for line in lines]


def test_the_rows_of_the_table():
    assert rows(latex.table(VERDICTS, PUBLISHED)) == [
        ["", "tfidf", "", "0.70 (0.60 to 0.80)", "", "", "b", "", "0.5"],
        [r"m\_1", r"base$^{\dagger}$", "2", "0.30 (0.20 to 0.40)", "", r"$-0.40^{\ast}$", "c", "0",
         ""],
        [r"m\_1", "x", "2", "0.90 (0.85 to 0.95)", r"$+0.60^{\ast}$", "$+0.20$", "a", "1,234",
         "9.9"],
        ["", r"100 \% \& more (published)", "", "0.500", "", "", "", "", ""],
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50 % & #1_$", r"50 \% \& \#1\_\$"),
        ("{a}~^", r"\{a\}\textasciitilde{}\textasciicircum{}"),
        ("\\input{x}", r"\textbackslash{}input\{x\}"),
        ("a\nb\tc", "a b c"),
        ('<b> | "q"', r"\textless{}b\textgreater{} \textbar{} \textquotedbl{}q\textquotedbl{}"),
        ("Größe", "Größe"),
    ],
)
def test_text_is_printed_as_it_is(text, expected):
    assert latex.escaped(text) == expected

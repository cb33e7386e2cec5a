"""Markdown that shows texts as they are."""

import pytest

from common import markdown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text_with 1.5 marks", "plain text_with 1.5 marks"),
        ("a\n|b|\t`c`", r"a \|b\| \`c\`"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("_a_ *b* [c] #d $e$ ~f~ !g \\", r"\_a\_ \*b\* \[c\] \#d \$e\$ \~f\~ \!g \\"),
        (7, "7"),
        ("a\x00b \x1b c\x85d\x9f\ufffe", "ab c d"),
    ],
)
def test_text_is_shown_letter_by_letter(text, expected):
    assert markdown.shown(text) == expected


def test_a_table_has_as_many_cells_in_every_line():
    text = markdown.table(["a|b", "c"], [["1|2", "x\ny"], ["", 3]])
    assert text.splitlines() == [
        r"| a\|b | c |",
        "| --- | --- |",
        r"| 1\|2 | x y |",
        "|  | 3 |",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("leakage: drop", "`leakage: drop`"),
        ("group: a`b|c", "``group: a`b|c``"),
        ("a``b`c\x00\nd", "```a``b`c d```"),
        ("`a`", "`` `a` ``"),
    ],
)
def test_code_is_shown_letter_by_letter(text, expected):
    assert markdown.code(text) == expected

"""Markdown that shows texts letter by letter: no table, tag or mark comes of a name."""

import html
import re
import unicodedata
from typing import Any

NO_XML = "\ufffe\uffff"  # no characters, says Unicode; XML refuses them


def flat(value: Any) -> str:
    """Return a text on one line, without what nobody sees.

    Control characters break XML and terminals.
    """
    return " ".join("".join(filter(visible, str(value))).split())


def visible(letter: str) -> bool:
    """Return whether a character may stand in a text for people, and in XML.

    Blanks and line ends may.
    """
    return letter.isspace() or (unicodedata.category(letter) != "Cc" and letter not in NO_XML)


def shown(value: Any) -> str:
    """Return text that Markdown shows as it is, in a table too: on one line, escaped."""
    escaped = html.escape(flat(value), quote=False)
    # An underscore within a word marks nothing; a hyphen or a dot does at the start of a line only.
    return re.sub(r"[\\`*\[\]|~$#!]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", escaped)


def code(value: Any) -> str:
    """Return a text as code, on one line and letter by letter.

    In a table, a bar would still part it.
    """
    text = flat(value)
    # Only a run of as many backticks as it began with ends a span.
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    blank = " " if text.startswith("`") or text.endswith("`") else ""  # Markdown takes them off
    return f"{fence}{blank}{text}{blank}{fence}"


def table(header: list[Any], rows: list[list[Any]]) -> str:
    """Return a table of texts as they are."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(shown, line))} |" for line in lines)

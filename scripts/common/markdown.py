"""Markdown that shows texts letter by letter: no table, tag or mark comes of a name."""

import html
import re
from typing import Any


def flat(value: Any) -> str:
    """A text on one line."""
    return " ".join(str(value).split())


def shown(value: Any) -> str:
    """Text that Markdown shows as it is, in a table too: on one line, escaped."""
    escaped = html.escape(flat(value), quote=False)
    # An underscore within a word marks nothing; a hyphen or a dot does at the start of a line only.
    return re.sub(r"[\\`*\[\]|~$#!]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", escaped)


def table(header: list[Any], rows: list[list[Any]]) -> str:
    """A table of texts as they are."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(shown, line))} |" for line in lines)

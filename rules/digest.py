"""Digests of code: equal for equal programs, whatever their comments, layout and docstrings.

Snakemake compares the digests that a rule holds as params, so that a stage reruns when its code
changes, and not when a file is touched, checked out, reformatted or explained better.
"""

import ast
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path

DIGITS = 12


def code_params(script: Path, root: Path) -> dict[str, str]:
    """The path of a script, and a digest of it and of each module under ``root`` that it imports.

    Each file is a param of its own, so a dry run names the one that changed.

    Args:
        script: a Python file under ``root``.
        root: the directory that absolute imports start from.

    Returns:
        ``{"script": path, "train_lora": "train_lora.py 0123456789ab", "common_files": ...}``

    """
    digests: dict[str, str] = {}
    todo = [script]
    while todo:
        path = todo.pop()
        key = "_".join(path.relative_to(root).with_suffix("").parts)
        if key not in digests and path.exists():
            found, names = read(path.read_text(encoding="utf-8"), str(path))
            digests[key] = f"{path.relative_to(root)} {found}"
            todo += [root / f"{name.replace('.', '/')}.py" for name in names]
    return {"script": str(script), **dict(sorted(digests.items()))}


@cache  # most modules are of several scripts
def read(program: str, path: str) -> tuple[str, tuple[str, ...]]:
    """The digest of a program, and every dotted name that it imports; ``path`` is for errors."""
    tree = ast.parse(program, filename=path)
    return digest(tree), tuple(imported_names(tree))


def imported_names(tree: ast.Module) -> Iterator[str]:
    """Every dotted name a module imports, anywhere in it: ``from a import b`` gives a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def digest(tree: ast.Module) -> str:
    """The first hexadecimal digits of the SHA-256 of a syntax tree."""
    return sha256(canonical(tree).encode()).hexdigest()[:DIGITS]


def canonical(node: object) -> str:
    """A syntax tree as text that does not depend on the version of Python.

    ``ast.dump`` does: newer versions add fields to nodes and leave out empty ones. Here every field
    that is None or empty is left out, and so are docstrings.
    """
    if isinstance(node, list):
        return "[" + ",".join(canonical(item) for item in node if not is_docstring(item)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []))
    # `kind` tells u"" from "", which are one string.
    inside = ",".join(f"{name}={canonical(value)}" for name, value in fields if name != "kind")
    return f"{type(node).__name__}({inside})"


def is_docstring(node: object) -> bool:
    """Whether a statement is a bare string: it documents, and does nothing."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )

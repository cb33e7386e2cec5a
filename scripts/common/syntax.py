"""Digests of programs: equal for programs that do the same, whatever their comments and messages.

The rules hold such digests as params, so that a stage reruns when its code changes; the identity of
a checkpoint holds them, so that a training goes on under the code that it began with. Both must see
whatever can change a result, and nothing else. Not part of a digest are:

- comments, layout and docstrings;
- what a person reads: arguments of `raise` and of exceptions (names that end in "Error"), lines of
  a log, the message of an `assert`, and `help=` of `add_argument`. A part of them that may do
  something stays code: a call, `:=`, an item of a mapping (which may have a default), `await`;
- the modules and functions in NEUTRAL.

Imports the standard library alone, since the rules import this module too.
"""

import ast
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

DIGITS = 12

# What cannot change a result: whole modules (None), or functions, classes and constants of one. Not
# here is what converts a value or writes a file that a later stage reads (`cli.whole`,
# `files.write_json`, `seals.digest`), nor what shares out work (`parallel.mapped`,
# `processes.together`).
NEUTRAL: dict[str, frozenset[str] | None] = {
    "common/startup.py": None,
    "common/gpus.py": None,
    "common/cli.py": frozenset(
        {"END_SECONDS", "InputError", "REFUSALS", "SIGNALLED", "StoppedError", "WATCH_SECONDS",
         "WORKFLOW", "children", "end_with_workflow", "namespace", "process_name", "refusal", "run",
         "wait_for_end", "watched"}
    ),
    "common/files.py": frozenset(
        {"LEFT", "LEFT_SECONDS", "PARTIAL", "PUT_ATTEMPTS", "WORK", "is_left", "machine",
         "own_name", "put", "remove", "remove_leftovers", "require_directory", "share", "sync",
         "workspace", "written_aside"}
    ),
    "common/seals.py": frozenset({"check", "damaged"}),
    "common/parallel.py": frozenset({"end_with_parent"}),
    "common/processes.py": frozenset(
        {"FAILED", "GRACE_SECONDS", "STATUS_SECONDS", "end_if_failed", "end_with_first",
         "free_port", "name_failed"}
    ),
}  # fmt: skip

LEVELS = frozenset({"debug", "info", "warning", "error", "exception", "critical", "log"})
# Exceptions that hand a value to whoever catches them.
WITH_VALUE = frozenset({"StopIteration", "StopAsyncIteration", "SystemExit"})
# Calls that change nothing, and take no item from an iterator.
PURE = frozenset({"abs", "bool", "float", "format", "int", "len", "repr", "round", "str", "type"})
# What does nothing itself; the parts of it are looked at.
HARMLESS = (ast.Attribute, ast.BinOp, ast.Compare, ast.Dict, ast.FormattedValue, ast.JoinedStr,
            ast.List, ast.Set, ast.Tuple, ast.UnaryOp, ast.keyword)  # fmt: skip
IDLE = (ast.Constant, ast.Name, ast.expr_context, ast.operator, ast.unaryop, ast.cmpop)
# `kind` tells u"" from "", which are one string; `ctx` follows from where an expression stands.
UNUSED = ("kind", "ctx")
MESSAGES = (ast.Call, ast.Raise, ast.Assert)  # the nodes that may hold what a person reads
FIELDS: dict[type, tuple[str, ...]] = {}  # of each kind of node, filled as they are met


class Program(NamedTuple):
    """What is known of a program.

    Attributes:
        digest: the first hexadecimal digits of a SHA-256; "" for a module that is NEUTRAL.
        imports: every dotted name that it imports, anywhere in it: ``from a import b`` gives a and
            a.b.
    """

    digest: str
    imports: tuple[str, ...]


def code(script: Path, root: Path) -> dict[str, str]:
    """Return the digest of a script, and of each module under ``root`` that it imports, by path.

    Modules that are NEUTRAL as a whole are left out.

    Args:
        script: a Python file under ``root``.
        root: the directory that absolute imports start from.
    """
    found: dict[str, str] = {}
    seen: set[Path] = set()
    todo = [script]
    while todo:
        path = todo.pop()
        if path in seen or not path.exists():
            continue
        seen.add(path)
        name = path.relative_to(root).as_posix()
        program = read(path.read_text(encoding="utf-8"), name)
        if program.digest:
            found[name] = program.digest
        todo += [root / f"{each.replace('.', '/')}.py" for each in program.imports]
    return dict(sorted(found.items()))


@cache  # most modules are of several scripts
def read(program: str, path: str) -> Program:
    """Return the digest and the imports of a program.

    Args:
        program: its text.
        path: below the directory of the scripts, as in NEUTRAL; named where the text is no Python.
    """
    tree = ast.parse(program, filename=path)
    neutral = NEUTRAL.get(path, frozenset())
    if neutral is None:
        return Program("", tuple(imported(tree)))
    writer = Writer(tree, neutral)
    found = sha256(writer.text().encode()).hexdigest()[:DIGITS]
    return Program(found, tuple(writer.imports))


class Writer:
    """Writes a program as text that does not depend on the version of Python.

    ``ast.dump`` does: newer versions add fields to nodes and leave out empty ones. Here every field
    that is None or empty is left out, and so is what cannot change a result.

    Args:
        tree: the program.
        neutral: functions, classes and constants at its top that are left out.

    Attributes:
        imports: as in Program; complete when ``text`` was called.
    """

    def __init__(self, tree: ast.Module, neutral: frozenset[str] = frozenset()) -> None:
        self.tree = tree
        self.neutral = neutral
        self.imports: list[str] = []
        self._loggers = {"logging", *loggers(tree)}
        self._parts: list[str] = []

    def text(self) -> str:
        """Return the program as text."""
        for statement in self.tree.body:
            if self.neutral.isdisjoint(names(statement)):
                self._statement(statement)
            else:
                self.imports.extend(imported(statement))
        return "".join(self._parts)

    def _statement(self, node: ast.AST) -> None:
        """Write an item of a list, unless it is a docstring or a line of a log."""
        if node.__class__ is not ast.Expr:
            self._write(node)
            self._parts.append(",")
            return
        value = node.value
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return
        if isinstance(value, ast.Call) and self._is_log(value):
            for each in effects(*value.args, *value.keywords):
                self._statement(ast.Expr(each))
            return
        self._write(node)
        self._parts.append(",")

    def _write(self, node: Any) -> None:
        """Write a node, a list of nodes, or the value of a constant."""
        kind = node.__class__
        write = self._parts.append
        if kind is list:
            write("[")
            for item in node:
                self._statement(item)
            write("]")
            return
        if kind is ast.Name:
            write(node.id)
            return
        if kind is ast.Constant:
            node = node.value
        if not isinstance(node, ast.AST):
            write(repr(node))
            return
        if kind is ast.Import or kind is ast.ImportFrom:
            self.imports.extend(imported(node))
        fields = FIELDS.get(kind)
        if fields is None:
            fields = FIELDS[kind] = tuple(each for each in kind._fields if each not in UNUSED)
        changed = without_messages(node) if kind in MESSAGES else {}
        write(kind.__name__)
        write("(")
        for field in fields:
            value = changed[field] if field in changed else getattr(node, field, None)
            if value is not None and value != []:
                write(field)
                write("=")
                self._write(value)
                write(",")
        write(")")

    def _is_log(self, call: ast.Call) -> bool:
        """Return whether a call writes a line to a log."""
        function = call.func
        return (
            isinstance(function, ast.Attribute)
            and function.attr in LEVELS
            and isinstance(function.value, ast.Name)
            and function.value.id in self._loggers
        )


def without_messages(node: ast.AST) -> dict[str, Any]:
    """Return the fields of a node that differ when what a person reads is taken out of it."""
    if isinstance(node, ast.Call):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name.endswith("Error"):
            return {"args": effects(*node.args, *node.keywords), "keywords": []}
        if name == "add_argument":
            texts = [each for each in node.keywords if each.arg == "help"]
            rest = [each for each in node.keywords if each.arg != "help"]
            return {"args": [*node.args, *effects(*texts)], "keywords": rest}
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        call = node.exc
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        if name not in WITH_VALUE:
            return {"exc": [call.func, *effects(*call.args, *call.keywords)]}
    if isinstance(node, ast.Assert) and node.msg is not None:
        return {"msg": effects(node.msg)}
    return {}


def effects(*nodes: ast.AST) -> list[ast.expr]:
    """Return the parts of expressions that may change something when they are evaluated."""
    found: list[Any] = []
    for node in nodes:
        if isinstance(node, IDLE):
            continue
        inside = effects(*ast.iter_child_nodes(node))
        if isinstance(node, HARMLESS) or is_pure(node):
            found += inside
        elif inside or not isinstance(node, ast.IfExp | ast.BoolOp):
            found.append(node)  # with a condition, it also counts whether the part is evaluated
    return found


def is_pure(node: ast.AST) -> bool:
    """Return whether a node calls a builtin function that changes nothing."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PURE


def loggers(tree: ast.Module) -> Iterator[str]:
    """Yield the names at the top of a program that ``logging.getLogger`` is assigned to."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            function = node.value.func
            if isinstance(function, ast.Attribute) and function.attr == "getLogger":
                yield from names(node)


def names(statement: ast.stmt) -> tuple[str, ...]:
    """Return the names that a definition or an assignment gives."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return (statement.name,)
    if isinstance(statement, ast.Assign):
        inside = (each for target in statement.targets for each in ast.walk(target))
        return tuple(each.id for each in inside if isinstance(each, ast.Name))
    return ()


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield every dotted name that is imported in a tree."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)

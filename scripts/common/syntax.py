"""Digests of programs: equal for programs that do the same, whatever their comments and messages.

The rules hold such digests as params, so that a stage reruns when its code changes; the identity of
a checkpoint holds them, so that a training goes on under the code that it began with. Both must see
whatever can change a result, and nothing else.

Of a script all counts. Of a module that it imports, what runs on import counts, and every function,
class and constant that is used by what counts (``Reach``): so a module may hold what several stages
use, and an edit of it reruns those that use what was edited. Not part of a digest are:

- comments, layout and docstrings;
- what a person reads: arguments of `raise` and of exceptions (names that end in "Error"), lines of
  a log, the message of an `assert`, and `help=` of `add_argument`. A part of them that may do
  something stays code: a call, `:=`, an item of a mapping (which may have a default), `await`;
- the modules and functions in NEUTRAL.

Imports the standard library alone, since the rules import this module too.
"""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

DIGITS = 12

# What cannot change a result: whole modules (None), or functions, classes and constants of one. Not
# here is what converts a value or writes a file that a later stage reads (`cli.whole`,
# `files.write_json`, `checksums.digest`), nor what shares out work (`parallel.mapped`,
# `processes.together`).
NEUTRAL: dict[str, frozenset[str] | None] = {
    "common/startup.py": None,
    "common/gpus.py": None,
    "common/warm.py": None,
    "common/cli.py": frozenset(
        {"END_SECONDS", "InputError", "REFUSALS", "SIGNALLED", "StoppedError", "WATCH_SECONDS",
         "WORKFLOW", "begin", "children", "end_with_workflow", "namespace", "is_interactive",
         "os_error_hint", "process_name", "reported", "run", "wait_for_end"}
    ),
    "common/files.py": frozenset(
        {"LEFT", "LEFT_SECONDS", "PARTIAL", "PUT_ATTEMPTS", "WORK", "is_left", "machine",
         "own_name", "private_directory", "put", "remove", "remove_leftovers",
         "require_directory", "share", "sync", "workspace", "atomic_write"}
    ),
    "common/checksums.py": frozenset({"verify", "damaged"}),
    "common/parallel.py": frozenset(
        {"FAILED", "GRACE_SECONDS", "STATUS_SECONDS", "exit_if_failed", "exit_with_first",
         "exit_with_parent", "free_port", "name_failed"}
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
IMPORTS = (ast.Import, ast.ImportFrom)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
NAMES = (ast.Name, ast.Tuple, ast.Store)  # the nodes of a target that is no item and no attribute
# Decorators that do nothing but change what they decorate.
DECORATORS = frozenset(
    {"asynccontextmanager", "cache", "contextmanager", "dataclass", "lru_cache", "total_ordering"}
)
# Calls at the top of a module that make a value and do nothing else.
BUILDERS = frozenset(
    {"TypeVar", "compile", "dict", "field", "float", "frozenset", "fromkeys", "getLogger", "int",
     "items", "join", "keys", "len", "list", "namedtuple", "partial", "range", "set", "sorted",
     "split", "sqrt", "str", "tuple", "values", "Path"}
)  # fmt: skip
MESSAGES = (ast.Call, ast.Raise, ast.Assert)  # the nodes that may hold what a person reads
FIELDS: dict[type, tuple[str, ...]] = {}  # of each kind of node, filled as they are met


class Part(NamedTuple):
    """A statement at the top of a module.

    Attributes:
        names: that it defines and that can be looked at alone; none where it runs on import.
        text: as ``Writer`` writes it; "" where it cannot change a result.
        uses: names and dotted names in it, as ``rows.read`` or ``read``.
        imports: dotted names that are imported inside of it, by the name that they are given there.
    """

    names: frozenset[str]
    text: str
    uses: frozenset[str]
    imports: dict[str, str]


class Program(NamedTuple):
    """What is known of a module.

    Attributes:
        parts: its statements but imports, in their order.
        imports: dotted names that are imported at its top, by the name that they are given.
        unused: those of them that no part uses: they may be there for what they do on import.
        names: all that a part defines.
    """

    parts: tuple[Part, ...]
    imports: dict[str, str]
    unused: tuple[str, ...]
    names: frozenset[str]

    @property
    def digest(self) -> str:
        """Return the digest of all parts."""
        return digest(self.parts, self.imports)


def code(script: Path, root: Path) -> dict[str, str]:
    """Return a digest of a script and of what it uses of each module under ``root``, by path.

    Of a module that is imported, what runs on import counts, and the functions, classes and
    constants that are used by what counts. Where a module is handed on as an object, or a name is
    not found in it, all of it counts. Modules of which nothing counts are left out.

    Args:
        script: a Python file under ``root``.
        root: the directory that absolute imports start from.
    """
    return {
        path: digest(parts, libraries)
        for path, parts, libraries in sorted(Reach(script, root).found())
        if any(part.text for part in parts)
    }


class Reach:
    """What a script uses, of itself and of the modules under a directory.

    Args:
        script: a Python file under ``root``.
        root: the directory that absolute imports start from.
    """

    def __init__(self, script: Path, root: Path) -> None:
        self.root = root
        self._programs: dict[str, Program] = {}  # by path below the root
        self._reached: dict[str, set[int]] = {}  # the places of parts
        self._seen: set[tuple[str, str]] = set()
        self._todo: list[tuple[str, Part]] = []
        self._libraries: dict[str, bool] = {}  # by the first word of a dotted name
        name = script.relative_to(root).as_posix()
        self._import(name)
        self._whole(name)
        while self._todo:
            self._follow(*self._todo.pop())

    def found(self) -> Iterator[tuple[str, list[Part], dict[str, str]]]:
        """Yield the path of each module, the parts of it that are used, and imports of libraries.

        Those are the imports that the parts use, and those that no part of the module does, which
        may be there for what they do when they are imported.
        """
        for path, program in self._programs.items():
            parts = [program.parts[place] for place in sorted(self._reached[path])]
            firsts = {used.partition(".")[0] for part in parts if part.text for used in part.uses}
            libraries = {
                name: dotted
                for name, dotted in program.imports.items()
                if (name in firsts or name in program.unused) and self._is_library(dotted)
            }
            yield path, parts, libraries

    def _import(self, path: str) -> None:
        """Reach what runs when a module is imported."""
        if path in self._programs:
            return
        program = read((self.root / path).read_text(encoding="utf-8"), path)
        self._programs[path] = program
        self._reached[path] = set()
        for place, part in enumerate(program.parts):
            if not part.names:
                self._add(path, place)
        for dotted in program.imports.values():
            module, rest = self._module_of(dotted)
            if module and rest == "*":
                self._whole(module)

    def _whole(self, path: str) -> None:
        """Reach all of a module."""
        for place, _ in enumerate(self._programs[path].parts):
            self._add(path, place)

    def _add(self, path: str, place: int) -> None:
        """Reach one part of a module."""
        if place not in self._reached[path]:
            self._reached[path].add(place)
            self._todo.append((path, self._programs[path].parts[place]))

    def _follow(self, path: str, part: Part) -> None:
        """Reach what a part uses."""
        for dotted in part.imports.values():
            self._module_of(dotted)
        for used in part.uses:
            first, _, rest = used.partition(".")
            if first in part.imports:
                self._use(f"{part.imports[first]}.{rest}".rstrip("."))
            self._name(path, first, rest)

    def _name(self, path: str, name: str, rest: str) -> None:
        """Reach a name at the top of a module, if it is one, and an attribute of what it names."""
        program = self._programs[path]
        if (path, f"{name}.{rest}") in self._seen:
            return
        self._seen.add((path, f"{name}.{rest}"))
        if name in program.names:
            for place, part in enumerate(program.parts):
                if name in part.names:
                    self._add(path, place)
        if name in program.imports:
            self._use(f"{program.imports[name]}.{rest}".rstrip("."))

    def _use(self, dotted: str) -> None:
        """Reach what a dotted name stands for: an attribute of a module, or a module as an object.

        What is in no module under the root is of a library.
        """
        path, rest = self._module_of(dotted)
        if path is None:
            return
        name, _, more = rest.partition(".")
        program = self._programs[path]
        if name in program.names or name in program.imports:
            self._name(path, name, more)
        elif name not in ("__doc__", "__name__"):
            self._whole(path)

    def _is_library(self, dotted: str) -> bool:
        """Return whether a dotted name begins with nothing that is under the root."""
        first = dotted.partition(".")[0]
        if first not in self._libraries:
            place = self.root / first
            self._libraries[first] = not (place.is_dir() or place.with_suffix(".py").exists())
        return self._libraries[first]

    def _module_of(self, dotted: str) -> tuple[str | None, str]:
        """Import the module that a dotted name begins with; return its path, and the rest."""
        words = dotted.split(".")
        if self._is_library(dotted):
            return None, dotted
        for count in range(len(words), 0, -1):
            path = f"{'/'.join(words[:count])}.py"
            if path in self._programs or (self.root / path).exists():
                self._import(path)
                return path, ".".join(words[count:])
        return None, dotted


def digest(parts: Iterable[Part], imports: dict[str, str]) -> str:
    """Return the first hexadecimal digits of a SHA-256 of parts of a program and their imports."""
    text = "".join(part.text for part in parts) + repr(sorted(imports.items()))
    return sha256(text.encode()).hexdigest()[:DIGITS]


@cache  # most modules are of several scripts
def read(program: str, path: str) -> Program:
    """Return the parts of a program.

    Args:
        program: its text.
        path: below the directory of the scripts, as in NEUTRAL; named where the text is no Python.
    """
    tree = ast.parse(program, filename=path)
    neutral = NEUTRAL.get(path, frozenset())
    writer = Writer(tree)
    parts: list[Part] = []
    imports: dict[str, str] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imports |= bindings(statement)
        elif not (is_docstring(statement) or is_for_types(statement)):
            alone = names(statement) if is_lazy(statement) else ()
            left_out = neutral is None or not neutral.isdisjoint(names(statement))
            scope = Scope([])
            scope.walk(statement)
            local = {name: what for each in scope.imports for name, what in bindings(each).items()}
            if not alone:
                imports |= local  # what is imported under a condition at the top
            text = "" if left_out else writer.text(statement)
            parts.append(Part(frozenset(alone), text, frozenset(scope.uses), local))
    firsts = {use.partition(".")[0] for part in parts for use in part.uses}
    defined = {name for part in parts for name in part.names} | {
        name for statement in tree.body for name in names(statement)
    }
    unused = tuple(name for name in imports if name not in firsts) if neutral is not None else ()
    return Program(tuple(parts), imports, unused, frozenset(defined))


class Writer:
    """Writes statements as text that does not depend on the version of Python.

    ``ast.dump`` does: newer versions add fields to nodes and leave out empty ones. Here every field
    that is None or empty is left out, and so is what cannot change a result.

    Args:
        tree: the program, whose loggers have to be known.
    """

    def __init__(self, tree: ast.Module) -> None:
        self._loggers = {"logging", *loggers(tree)}
        self._parts: list[str] = []

    def text(self, statement: ast.stmt) -> str:
        """Return a statement as text."""
        self._parts = []
        self._statement(statement)
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
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        inside = (each for target in targets for each in ast.walk(target))
        return tuple(each.id for each in inside if isinstance(each, ast.Name))
    return ()


def is_lazy(statement: ast.stmt) -> bool:
    """Return whether a statement only gives names, so that it counts where one of them is used."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return all(last_name(each) in DECORATORS for each in statement.decorator_list)
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        inside = [each for target in targets for each in ast.walk(target)]
        calls = [each for each in ast.walk(statement) if isinstance(each, ast.Call)]
        return all(isinstance(each, NAMES) for each in inside) and all(
            last_name(each) in BUILDERS for each in calls
        )
    return False


def last_name(node: ast.AST) -> str:
    """Return the last word of a name, an attribute, or what is called."""
    function = node.func if isinstance(node, ast.Call) else node
    return getattr(function, "attr", getattr(function, "id", ""))


def is_docstring(statement: ast.stmt) -> bool:
    """Return whether a statement is a text that nothing is done with."""
    return isinstance(statement, ast.Expr) and isinstance(
        getattr(statement.value, "value", None), str
    )


def is_for_types(statement: ast.stmt) -> bool:
    """Return whether a statement is never run, but read by a checker of types."""
    return (
        isinstance(statement, ast.If)
        and last_name(statement.test) == "TYPE_CHECKING"
        and not statement.orelse
    )


def bindings(statement: ast.AST) -> dict[str, str]:
    """Return what an import statement imports, by the names that it gives."""
    if isinstance(statement, ast.ImportFrom):
        return {
            each.asname or each.name: f"{statement.module}.{each.name}" for each in statement.names
        }
    found = {}
    for each in getattr(statement, "names", ()):
        found[each.asname or each.name] = each.name
        if not each.asname:
            first = each.name.partition(".")[0]
            found[first] = first
    return found


class Scope:
    """What is used and imported in a statement, found in one walk over it.

    Attributes:
        uses: names that may be those of the module, with their attributes: ``rows.read(x)`` gives
            ``rows.read``. Parameters and variables of functions are none of them.
        imports: the import statements.
    """

    def __init__(self, imports: list[ast.AST]) -> None:
        self.uses: set[str] = set()
        self.imports = imports
        self._own: set[str] = set()  # names that are given in it
        self._outer: set[str] = set()  # of those, names that are declared to be of outside

    def walk(self, node: ast.AST) -> None:
        """Look at a node and all below it."""
        kind = node.__class__
        if kind is ast.Name:
            self._name(node)
        elif kind is ast.Attribute:
            self._attribute(node)
        elif kind in FUNCTIONS:
            self._function(node)
        elif kind in COMPREHENSIONS:
            # What the first `for` goes through is of outside, if it has the name of a variable.
            self.walk(node.generators[0].iter)  # type: ignore[attr-defined]
            inner = Scope(self.imports)
            inner.children(node)
            self.uses |= inner.leaving()
        elif kind is ast.ClassDef:
            inner = Scope(self.imports)  # whose names are not those of its methods
            inner.children(node)
            self.uses |= inner.uses
        elif kind is ast.Global or kind is ast.Nonlocal:
            self._outer.update(node.names)  # type: ignore[attr-defined]
        else:
            if kind in IMPORTS:
                self.imports.append(node)
            self.children(node)

    def children(self, node: ast.AST, but: str = "") -> None:
        """Look at what is below a node, but one field of it."""
        for field in node._fields:
            if field == but:
                continue
            value = getattr(node, field, None)
            for child in value if value.__class__ is list else (value,):
                if isinstance(child, ast.AST):
                    self.walk(child)

    def leaving(self) -> set[str]:
        """Return the names that are used and not given here."""
        own = self._own - self._outer
        return {use for use in self.uses if use.partition(".")[0] not in own}

    def _name(self, node: Any) -> None:
        if node.ctx.__class__ is ast.Load:
            self.uses.add(node.id)
        else:
            self._own.add(node.id)

    def _attribute(self, node: Any) -> None:
        words = []
        while node.__class__ is ast.Attribute:
            words.append(node.attr)
            node = node.value
        if node.__class__ is ast.Name:
            self.uses.add(".".join([node.id, *reversed(words)]))
        else:
            self.walk(node)

    def _function(self, node: Any) -> None:
        self.children(node, but="body")  # decorators, defaults and annotations are of outside
        inner = Scope(self.imports)
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        inner._own = {each.arg for each in (*every, arguments.vararg, arguments.kwarg) if each}
        for child in node.body if node.body.__class__ is list else [node.body]:
            inner.walk(child)
        self.uses |= inner.leaving()

"""Digests of code change with what a program does, and with nothing else."""

import json
import re
import shlex
from pathlib import Path

import pytest

from common import syntax
from rules.digest import code_params

SCRIPTS = Path(__file__).parents[1] / "scripts"
PREDICTIONS = "predictions: {new: {input: data/news.csv, dataset: news, cell: bert/lora-r2/seed0}}"

PROGRAM = '''
"""A module."""
import os

LIMITS = [1, 2.5, "a", b"b", None, True, ...]


def f(x: int = 3, *args, key="v", **rest) -> str:
    """Do."""
    return f"{x!r:>{len(args)}} {key}" if x else os.sep


class A(dict):
    async def g(self):
        return [y async for y in self if (z := y)]
'''


def of(program: str, path: str = "stage.py") -> str:
    return syntax.read(program, path).digest


def test_the_digest_is_the_same_under_every_python():
    # Recorded with Python 3.11. A version that parses to another tree would rerun everything.
    assert of(PROGRAM) == "8cb41d35df62"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import os", "import os  # the system"),
        ('"""A module."""', '"""Another text."""'),
        ('"""Do."""', ""),
        ("x: int = 3, *args", "x: int = 3,\n      *args"),
        ('"a"', "'a'"),
        ('"a"', 'u"a"'),
    ],
)
def test_what_does_nothing_does_not_count(old, new):
    assert old in PROGRAM
    assert of(PROGRAM.replace(old, new)) == of(PROGRAM)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2.5", "2.50001"),
        ('b"b"', '"b"'),
        ("x: int = 3", "x: int = 4"),
        ("True", "1"),
        ("!r", "!s"),
        ("f(x", "h(x"),
        ("if x else", "if not x else"),
        ("async for", "for"),
        ('key="v"', 'key=""'),
        ("A(dict)", "A(list)"),
    ],
)
def test_what_does_something_counts(old, new):
    assert old in PROGRAM
    assert of(PROGRAM.replace(old, new, 1)) != of(PROGRAM)


MESSAGES = """
import argparse
import logging

log = logging.getLogger("stage")


def f(parser, rows, path, sizes):
    parser.add_argument("--rows", help="how many", default=3)
    log.info("%d rows in %s", len(rows), path)
    logging.warning("few rows")
    assert rows, "no rows"
    if path:
        raise ValueError(f"{path.name} has {len(rows)} rows") from None
    raise broken(path, "no " + "path")


def broken(path, why):
    return ValueError(f"{path} is broken: {why}")
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"how many"', '"so many"'),
        (', help="how many"', ""),
        ('"%d rows in %s", len(rows), path', '"%s", path'),
        ('    logging.warning("few rows")\n', ""),
        ("    assert rows", '    log.debug("here: %s", [path])\n    assert rows'),
        ('"no rows"', '"none"'),
        ("has {len(rows)} rows", "has {len(rows):,} lines, {path.parent!r}"),
        ('"no " + "path"', '"no path at all"'),
        ("{path} is broken", "{path} is whole"),
    ],
)
def test_what_a_person_reads_does_not_count(old, new):
    assert old in MESSAGES
    assert of(MESSAGES.replace(old, new)) == of(MESSAGES)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("default=3", "default=4"),
        ('"--rows"', '"--row"'),
        ("ValueError(f", "KeyError(f"),
        ("from None", ""),
        ("broken(path, ", "other(path, "),
        ("assert rows", "assert path"),
        # A message that does something as it is made.
        ("{len(rows)} rows", "{next(rows)} rows"),
        ("{len(rows)} rows", "{(rows := 1)} rows"),
        ("len(rows), path", "len(rows), rows.pop()"),
        ("len(rows), path", "len(rows), sum(rows)"),
        ("len(rows), path", "len(rows), sizes['few']"),  # a mapping may have a default
        ('"few rows"', "[row for row in rows]"),
        ('"few rows"', "*rows"),
        ('"no rows"', "rows.clear()"),
        ('"no " + "path"', 'path.unlink() or "gone"'),
        ('"how many"', "str(next(rows))"),
        # What is no logger.
        ("log.info(", "rows.info("),
        ("log.info(", "log.addHandler("),
        ('log = logging.getLogger("stage")', "log = print"),
    ],
)
def test_a_message_that_does_something_counts(old, new):
    assert old in MESSAGES
    assert of(MESSAGES.replace(old, new, 1)) != of(MESSAGES)


def test_of_a_condition_in_a_message_all_counts():
    first = 'log = logging.getLogger()\nlog.info("%s", rows.pop() if rows else "none")\n'
    assert of(first) != of(first.replace("if rows", "if more"))
    assert of(first.replace("rows.pop()", "1")) == of("log = logging.getLogger()\n")


def test_the_value_of_an_exception_counts():
    assert of("raise StopIteration(1)") != of("raise StopIteration(2)")


def test_what_is_neutral_is_there():
    """A function that is renamed or moved must not stay on the list for another one."""
    for name, functions in syntax.NEUTRAL.items():
        tree = syntax.ast.parse((SCRIPTS / name).read_text())
        there = {each for statement in tree.body for each in syntax.names(statement)}
        assert (functions or set()) <= there, name


@pytest.mark.parametrize(
    ("name", "changed", "counts"),
    [
        ("cli", "run", False),
        ("cli", "int_at_least", True),  # converts what a user set
        ("files", "atomic_write", False),
        ("files", "write_json", True),  # what is written is a result
        ("files", "weights_bytes", True),
        ("checksums", "verify", False),
        ("checksums", "digest", True),  # is written into what is sealed
        ("parallel", "exit_with_parent", False),
        ("parallel", "in_order", True),
        ("parallel", "exit_if_failed", False),
        ("parallel", "launch_workers", True),
    ],
)
def test_only_what_cannot_change_a_result_is_left_out(name, changed, counts):
    path = f"common/{name}.py"
    program = (SCRIPTS / path).read_text()
    edited = program.replace(f"def {changed}(", f"@cache\ndef {changed}(")
    assert edited != program
    assert (of(edited, path) != of(program, path)) == counts


def test_a_module_that_cannot_change_a_result_is_no_param_and_its_imports_are(tree):
    (tree / "common" / "gpus.py").write_text("from common import c\ndef f(): c.helper()\n")
    (tree / "stage.py").write_text("from common import gpus\ngpus.f()\n")
    assert set(code_params(tree / "stage.py", tree)) == {"stage", "common_c"}


STAGE = """
import json

from common import a, b
from common.c import LIMIT, helper


def main():
    rows = a.read(json)
    return helper(rows, LIMIT)
"""
MODULES = {
    "a": """
import csv
import logging

from common import b

log = logging.getLogger("a")
SEPARATOR = ","


def read(path):
    return csv.reader(path, SEPARATOR), b.parse


def write(path):
    return csv.writer(path, b)
""",
    "b": """
import math as m
import registry_of_a_library

WIDTH, HEIGHT = 1, 2
KNOWN = {}


def parse(text):
    return Parser(text).run()


class Parser(dict):
    def run(self):
        return size(self)


def size(each, WIDTH=WIDTH):
    return m.sqrt(WIDTH)


def unused():
    return HEIGHT


if m.pi > 3:
    KNOWN["pi"] = 3
""",
    "c": """
from functools import cache

import pandas as pd

LIMIT = 3
OTHER = 4
TABLE = pd.read("x")


@cache
def helper(rows, limit):
    return [size for size in rows if size < limit]


def size(x):
    return [x]
""",
}


@pytest.fixture
def tree(tmp_path) -> Path:
    (tmp_path / "common").mkdir()
    (tmp_path / "stage.py").write_text(STAGE)
    for name, text in MODULES.items():
        (tmp_path / "common" / f"{name}.py").write_text(text)
    return tmp_path


def changed(tree: Path, name: str, old: str, new: str) -> set[str]:
    """Edit a file, and return the params that differ."""
    file = tree / f"{name}.py"
    before, text = code_params(tree / "stage.py", tree), file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    after = code_params(tree / "stage.py", tree)
    return {key for key in before | after if before.get(key) != after.get(key)}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("a", "SEPARATOR)", "SEPARATOR, 1)"),
        ("a", '","', '";"'),  # a constant that a function uses
        ("a", "import csv", "import unicodecsv as csv"),  # another library under the same name
        ("b", "Parser(text).run", "Parser(text).walk"),  # a function that a function names
        ("b", "Parser(dict)", "Parser(list)"),
        ("b", "return m.sqrt(WIDTH)", "return m.exp(WIDTH)"),  # that a method calls
        ("b", "WIDTH, HEIGHT = 1", "WIDTH, HEIGHT = 3"),  # of a default
        ("b", "import math as m", "import cmath as m"),
        ("b", "import registry_of_a_library", "import another_registry"),
        ("b", "m.pi > 3", "m.pi > 4"),  # what runs on import
        ("b", 'KNOWN["pi"] = 3', 'KNOWN["pi"] = 4'),
        ("c", "LIMIT = 3", "LIMIT = 4"),
        ("c", "size < limit", "size > limit"),
        ("c", 'read("x")', 'read("y")'),
        ("c", "@cache", "@register"),
        ("stage", "return helper", "return not helper"),
    ],
)
def test_what_is_used_counts(tree, name, old, new):
    path = name if name == "stage" else f"common/{name}"
    assert changed(tree, path, old, new) == {path.replace("/", "_")}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("a", "csv.writer(path, b)", "csv.writer(path)"),
        ("b", "return HEIGHT", "return 1"),
        ("b", "def unused", "def unknown"),
        ("c", "OTHER = 4", "OTHER = 5"),
        ("c", "return [x]", "return (x,)"),  # `size` of `helper` is a variable of its own
        ("c", "import pandas as pd", "import json\nimport pandas as pd\ndef f(): json.load()"),
    ],
)
def test_what_is_not_used_does_not_count(tree, name, old, new):
    assert changed(tree, f"common/{name}", old, new) == set()


@pytest.mark.parametrize(
    "use",
    [
        "print(b)",
        "getattr(b, 'unused')()",
        "vars(b)",
        "b.nowhere",
        "from common.b import *",
        "more = b",
        "lambda x=b: x",
    ],
)
def test_of_a_module_that_is_handed_on_all_counts(tree, use):
    (tree / "stage.py").write_text(f"from common import b\n{use}\n")
    assert changed(tree, "common/b", "return HEIGHT", "return 1") == {"common_b"}


@pytest.mark.parametrize(
    "use",
    [
        "from common.b import unused as f\nf()",
        "import common.b\ncommon.b.unused()",
        "import common.b as c\nc.unused()",
        "def f():\n    from common import b\n    b.unused.more()",
        "def f():\n    b = 1\ndef g():\n    return b.unused\nfrom common import b",
        "def f():\n    global b\n    b = b.unused\nfrom common import b",
        "from common import b\nclass C:\n    unused = b.unused",
        "from common import b\nclass C:\n    b = 1\n    def f(self):\n        return b.unused",
        "from common import b\n[b.unused for x in y]\n[b for b in x]",
        "from common import b\n[b for b in b.unused()]",
        "from common import b\ndef f():\n    return {b for b in sorted(b.unused())}",
        "from common import b\ndef f(x=b.unused): pass",
        "from common import d\nd.unused()",
        "from common.d import f\nf()",
        "try:\n    from common.b import unused\nexcept ImportError:\n    pass\nunused()",
    ],
)
def test_a_function_is_found_however_it_is_named(tree, use):
    (tree / "common" / "d.py").write_text(
        "from common.b import unused\nfrom common import b\nf = b.unused\n"
    )
    (tree / "stage.py").write_text(use + "\n")
    assert changed(tree, "common/b", "return HEIGHT", "return 1") == {"common_b"}


def test_what_is_read_by_a_checker_of_types_alone_does_not_count(tree):
    lines = ["from typing import TYPE_CHECKING", "if TYPE_CHECKING:", "    from common import b"]
    (tree / "stage.py").write_text("\n".join([*lines, "def f(x: 'b.Parser'): pass"]))
    assert set(code_params(tree / "stage.py", tree)) == {"stage"}


def test_modules_may_import_each_other(tree):
    (tree / "common" / "a.py").write_text("from common import b\ndef f(): return b.g()\n")
    (tree / "common" / "b.py").write_text("from common import a\ndef g(): return a.f()\n")
    (tree / "stage.py").write_text("def main():\n    from common import a\n    a.f()\n")
    params = code_params(tree / "stage.py", tree)
    assert set(params) == {"stage", "common_a", "common_b"}
    assert params["common_b"].startswith("common/b.py ")


def test_a_module_of_several_scripts_is_read_once(tree):
    syntax.read.cache_clear()
    (tree / "other.py").write_text("from common import a, b, c\n")
    for script in ("stage", "other", "stage"):
        code_params(tree / f"{script}.py", tree)
    assert syntax.read.cache_info().misses == 5  # stage, other, a, b, c


# Runs a script, and writes which functions at the top of which files were called.
TRACED = """
import inspect, json, runpy, sys, threading
output, *sys.argv = sys.argv[1:]
seen = set()

def note(frame, event, _):
    # The bodies of modules and classes, which run on import, are not "optimized".
    if event == "call" and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        seen.add((frame.f_code.co_filename, frame.f_code.co_qualname.partition(".")[0]))

sys.path.insert(0, "scripts")
threading.setprofile(note)
sys.setprofile(note)
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
finally:
    sys.setprofile(None)
    open(output, "w").write(json.dumps(sorted(seen)))
"""


@pytest.mark.full
def test_whatever_a_stage_calls_is_in_its_digest(work, snakemake, warm, tmp_path):
    """Of one job of each stage, as they run in a workflow."""
    config = work / "config/config.yaml"
    config.write_text(f"{config.read_text()}{PREDICTIONS}\n")
    plan = snakemake("-n", "-p", "--forceall", "--verbose", cwd=work).stdout
    lines = re.sub(r" *\\\n *", " ", plan).splitlines()
    commands = {
        line.split()[1]: shlex.split(line.partition("&>")[0])[1:]
        for line in lines
        if line.strip().startswith("python scripts/")
    }
    assert len(commands) == len([*SCRIPTS.glob("*.py")]) - 2  # diff and partial are no stages
    missed = set()
    for script, words in commands.items():
        if script == "scripts/fetch_package.py":
            continue  # asks pip
        output = tmp_path / "called.json"
        done = warm.run(["-c", TRACED, output, *words], cwd=work, capture_output=True)
        assert output.exists(), done.stderr
        reached = syntax.Reach(work / script, work / "scripts")
        counted = {path: {name for part in parts for name in part.names}
                   for path, parts, _ in reached.found()}  # fmt: skip
        called = [(Path(file), name) for file, name in json.loads(output.read_text())]
        below = [(file.relative_to(work / "scripts").as_posix(), name) for file, name in called
                 if file.is_relative_to(work / "scripts")]  # fmt: skip
        assert len({name for _, name in below}) > 10
        for path, name in below:
            program = syntax.read((work / "scripts" / path).read_text(), path)
            alone = {each for part in program.parts for each in part.names}
            if path not in counted or (name in alone and name not in counted[path]):
                missed.add((script, path, name))
    assert missed == set()


@pytest.mark.parametrize(
    ("stage", "path"),
    [
        ("train_lora", "common/baselines.py"),
        ("train_lora", "common/metrics.py"),
        ("train_lora", "common/statistics/verdict.py"),
        ("tokenize_data", "common/baselines.py"),
        ("eval_lora", "common/baselines.py"),
    ],
)
def test_what_is_edited_often_is_far_from_what_is_dear(stage, path):
    """An edit of a baseline, a metric or a verdict trains nothing."""
    reached = syntax.Reach(SCRIPTS / f"{stage}.py", SCRIPTS)
    assert path not in {place for place, *_ in reached.found()}

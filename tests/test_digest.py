"""Digests of code change with what a program does, and with nothing else."""

from pathlib import Path

import pytest

from common import syntax
from rules.digest import code_params

SCRIPTS = Path(__file__).parents[1] / "scripts"

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
    assert of(PROGRAM) == "db81f5cd111e"


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
        ("cli", "whole", True),  # converts what a user set
        ("files", "written_aside", False),
        ("files", "write_json", True),  # what is written is a result
        ("files", "weights_bytes", True),
        ("seals", "check", False),
        ("seals", "digest", True),  # is written into what is sealed
        ("parallel", "end_with_parent", False),
        ("parallel", "in_order", True),
        ("processes", "end_if_failed", False),
        ("processes", "together", True),
    ],
)
def test_only_what_cannot_change_a_result_is_left_out(name, changed, counts):
    path = f"common/{name}.py"
    program = (SCRIPTS / path).read_text()
    edited = program.replace(f"def {changed}(", f"@cache\ndef {changed}(")
    assert edited != program
    assert (of(edited, path) != of(program, path)) == counts


def test_a_module_that_cannot_change_a_result_is_no_param_and_its_imports_are(tree):
    (tree / "common" / "gpus.py").write_text("from common import c\n")
    (tree / "stage.py").write_text("from common import gpus\n")
    assert set(code_params(tree / "stage.py", tree)) == {"script", "stage", "common_c"}


@pytest.fixture
def tree(tmp_path) -> Path:
    (tmp_path / "common").mkdir()
    (tmp_path / "stage.py").write_text("import json\ndef main():\n    from common import a\n")
    (tmp_path / "common" / "a.py").write_text("from common.b import x\n")
    (tmp_path / "common" / "b.py").write_text("import common.a\nx = 1\n")
    (tmp_path / "common" / "c.py").write_text("x = 1\n")
    return tmp_path


def test_the_params_follow_imports_in_functions_and_in_circles(tree):
    params = code_params(tree / "stage.py", tree)
    assert set(params) == {"script", "stage", "common_a", "common_b"}
    assert params["common_b"].startswith("common/b.py ")


def test_a_change_shows_in_the_param_of_its_file_alone(tree):
    before = code_params(tree / "stage.py", tree)
    (tree / "common" / "b.py").write_text("import common.a\nx = 2\n")
    after = code_params(tree / "stage.py", tree)
    assert {key for key in before if before[key] != after[key]} == {"common_b"}


def test_a_module_of_several_scripts_is_read_once(tree):
    syntax.read.cache_clear()
    (tree / "other.py").write_text("from common import a, b, c\n")
    for script in ("stage", "other", "stage"):
        code_params(tree / f"{script}.py", tree)
    assert syntax.read.cache_info().misses == 5  # stage, other, a, b, c

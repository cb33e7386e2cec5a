"""Digests of code change with what a program does, and with nothing else."""

import ast
from pathlib import Path

import pytest

from rules import digest as digests
from rules.digest import code_params, digest

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


def of(program: str) -> str:
    return digest(ast.parse(program))


def test_the_digest_is_the_same_under_every_python():
    # Recorded with Python 3.11. A version that parses to another tree would rerun everything.
    assert of(PROGRAM) == "7cd4c85eff4d"


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
    digests.read.cache_clear()
    (tree / "other.py").write_text("from common import a, b, c\n")
    for script in ("stage", "other", "stage"):
        code_params(tree / f"{script}.py", tree)
    assert digests.read.cache_info().misses == 5  # stage, other, a, b, c

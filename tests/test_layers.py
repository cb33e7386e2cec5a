"""Imports go one way: from commands to reports, statistics, models and data, and never round."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from common import syntax

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts"
# What the modules of each folder of scripts/common may import, beside their own folder.
LAYERS: dict[str, set[str]] = {
    "": set(),
    "data": {""},
    "model": {"", "data"},
    "statistics": {""},
    "report": {"", "statistics"},
}
OF_TESTS = {"tests", "benchmarks", "docs"}


def imported(file: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from syntax.bindings(node).values()


def modules_of(file: Path) -> set[str]:
    """Return the modules of scripts/common that a file imports."""
    found = set()
    for dotted in imported(file):
        words = dotted.split(".")
        for count in range(len(words), 1, -1):
            if (SCRIPTS / "/".join(words[:count])).with_suffix(".py").exists():
                found.add(".".join(words[:count]))
                break
    return found


MODULES = {
    ".".join(file.relative_to(SCRIPTS).with_suffix("").parts): modules_of(file)
    for file in sorted((SCRIPTS / "common").rglob("*.py"))
    if file.name != "__init__.py"
}


def folder(module: str) -> str:
    """Return the folder of scripts/common that a module is in; "" for none."""
    return module.removeprefix("common.").rpartition(".")[0]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_layers_below(module):
    own = folder(module)
    allowed = LAYERS[own] | {own}
    assert [each for each in MODULES[module] if folder(each) not in allowed] == []


def test_no_modules_import_each_other_in_a_circle():
    left = {module: set(names) for module, names in MODULES.items()}
    while free := [module for module, names in left.items() if not names & left.keys()]:
        for module in free:
            del left[module]
    assert sorted(left) == []


@pytest.mark.parametrize("folder", ["scripts", "rules"])
def test_the_workflow_imports_nothing_of_its_tests(folder):
    files = [*(ROOT / folder).rglob("*.py"), *(ROOT / folder).rglob("*.smk")]
    python = [file for file in files if file.suffix == ".py"]
    firsts = {(file.name, dotted.partition(".")[0]) for file in python for dotted in imported(file)}
    assert [each for each in firsts if each[1] in OF_TESTS] == []


def test_packages_hold_no_code():
    """What runs when a package is imported is in no digest."""
    found = [file for file in SCRIPTS.rglob("__init__.py") if file.read_text().strip()]
    assert found == []

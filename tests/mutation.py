"""Count the mutants of a module that its tests notice: wrong programs that pass are missing tests.

    nice python tests/mutation.py --sample 20
    nice python tests/mutation.py --module scripts/common/statistics/significance.py --sample 0

A mutant is a module with one operator or constant changed: ``<`` to ``<=``, ``+`` to ``-``, ``and``
to ``or``, 1 to 2. This process imports the libraries once; each mutant is a fork of it, in which an
import hook gives the changed module to the tests of TESTS. Survivors are printed with their line.
"""

import argparse
import ast
import contextlib
import copy
import gc
import importlib
import importlib.abc
import importlib.util
import os
import random
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
STATISTICS, COMMON = "scripts/common/statistics", "scripts/common"
# The tests of each module, the fastest first: they stop at the first that fails.
TESTS = {
    f"{STATISTICS}/predictions.py": "test_verdicts.py",
    f"{STATISTICS}/calibration.py": "test_calibration.py",
    f"{COMMON}/cells.py": "test_verdicts.py test_bad_input.py test_cells.py",
    f"{STATISTICS}/intervals.py": "test_intervals.py test_resampling.py test_verdicts.py",
    f"{STATISTICS}/planning.py": "test_planning.py",
    f"{STATISTICS}/ranking.py": "test_gap.py test_verdicts.py",
    f"{STATISTICS}/resampling.py": "test_resampling.py test_significance.py test_intervals.py",
    f"{STATISTICS}/significance.py": "test_significance.py test_ties.py test_verdicts.py",
    f"{STATISTICS}/variance.py": "test_variance.py test_significance.py test_verdicts.py",
    f"{STATISTICS}/verdict.py": "test_verdict.py test_verdicts.py",
    f"{COMMON}/model/roundtrip.py": "test_roundtrip.py",
    f"{COMMON}/model/training.py": "test_training.py",
    f"{COMMON}/data/leakage.py": "test_leakage.py test_corpus.py",
    f"{COMMON}/syntax.py": "test_digest.py",
}
SWAPS: dict[type, list[type]] = {
    ast.Lt: [ast.LtE, ast.Gt], ast.LtE: [ast.Lt, ast.Gt], ast.Gt: [ast.GtE, ast.Lt],
    ast.GtE: [ast.Gt, ast.Lt], ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq], ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is], ast.In: [ast.NotIn], ast.NotIn: [ast.In], ast.Add: [ast.Sub],
    ast.Sub: [ast.Add], ast.Mult: [ast.Div], ast.Div: [ast.Mult], ast.FloorDiv: [ast.Div],
    ast.Pow: [ast.Mult], ast.Mod: [ast.Mult], ast.And: [ast.Or], ast.Or: [ast.And],
    ast.BitAnd: [ast.BitOr], ast.BitOr: [ast.BitAnd], ast.USub: [ast.UAdd],
}  # fmt: skip
SKIPPED = ("annotation", "returns")  # types, which nothing computes with
SECONDS = 120  # after which a mutant counts as noticed, since it hangs


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--module", nargs="+", choices=[*TESTS], default=[*TESTS])
    parser.add_argument("--sample", type=int, default=20, help="mutants of each module; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    args = parser.parse_args()
    sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
    from tests.warm import LIBRARIES, OFFLINE

    os.environ.update(OFFLINE)
    os.chdir(ROOT)
    for name in ("pytest", "scipy.special", *LIBRARIES):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # else each fork would copy all memory to count references in it
    for path in args.module:
        started, source = time.monotonic(), (ROOT / path).read_text()
        if (status := tested(path, ast.parse(source))) != "survived":
            raise SystemExit(f"{path}: its tests fail without a mutation ({status})")
        found = [*mutants(ast.parse(source))]
        chosen = random.Random(args.seed).sample(found, min(args.sample or len(found), len(found)))
        counted: Counter[str] = Counter()
        for told, tree in sorted(chosen, key=lambda each: each[0]):
            outcome = tested(path, tree)
            counted[outcome] += 1
            if outcome == "survived":
                print(f"  {path}:{told[0]}: {told[1]}", flush=True)
        counts = ", ".join(f"{counted[key]} {key}" for key in ("killed", "survived", "timed out"))
        spent = time.monotonic() - started
        print(f"{path}: {len(chosen)} of {len(found)} mutants: {counts}; {spent:.0f} s", flush=True)


def mutants(tree: ast.Module) -> Iterator[tuple[tuple[int, str], ast.Module]]:
    """Yield each mutant of a module with the number of its line and what was changed there."""
    for place, _ in enumerate(sites(tree)):
        for number in range(3):
            changed = copy.deepcopy(tree)
            node, field, index, statement = [*sites(changed)][place]
            before, options = ast.unparse(statement), alternatives(element(node, field, index))
            if number >= len(options):
                break
            if index is None:
                setattr(node, field, options[number])
            else:
                getattr(node, field)[index] = options[number]
            line = getattr(node, "lineno", statement.lineno)
            told = difference(before, ast.unparse(ast.fix_missing_locations(statement)))
            yield (line, told), changed


def sites(tree: ast.Module) -> list[tuple[ast.AST, str, int | None, Any]]:
    """Return the places of a tree that can be mutated: node, field, index, and the statement."""
    found: list[tuple[ast.AST, str, int | None, Any]] = []

    def walk(node: ast.AST, statement: Any) -> None:
        if isinstance(node, ast.Raise):  # texts of errors are not tested word by word
            return
        statement = node if isinstance(node, ast.stmt) else statement
        for field, value in ast.iter_fields(node):
            for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if not isinstance(child, ast.AST) or field in SKIPPED:
                    continue
                if alternatives(child):
                    found.append((node, field, index, statement))
                walk(child, statement)

    walk(tree, None)
    return found


def element(node: ast.AST, field: str, index: int | None) -> Any:
    """Return the child of a node at a field, and an index where it is a list."""
    value = getattr(node, field)
    return value if index is None else value[index]


def alternatives(node: ast.AST) -> list[ast.AST]:
    """Return what a node may be changed to; nothing for most."""
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return [ast.Constant(not node.value)]
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return [ast.Constant(node.value + 1)]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return [node.operand]
    return [swap() for swap in SWAPS.get(type(node), [])]


def difference(before: str, after: str) -> str:
    """Return the line of a statement that was changed, before and after."""
    lines = zip(before.splitlines(), after.splitlines(), strict=False)
    one, other = next((pair for pair in lines if pair[0] != pair[1]), (before, after))
    return f"{one.strip()}  ->  {other.strip()}"


def tested(path: str, tree: ast.Module) -> str:
    """Run the tests of a module on a tree in its place; return killed, survived or timed out."""
    child = os.fork()
    if child == 0:
        os.setsid()  # so that what it starts ends with it
        os._exit(run_tests(path, tree))
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        finished, status = os.waitpid(child, os.WNOHANG)
        if finished:
            return "survived" if status == 0 else "killed"
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timed out"


def run_tests(path: str, tree: ast.Module) -> int:
    """Return the exit status of pytest on the tests of a module, in this process."""
    import pytest

    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    name = path.removeprefix("scripts/").removesuffix(".py").replace("/", ".")
    sys.meta_path.insert(0, Mutated(name, ROOT / path, tree))
    words = ["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist"]
    try:
        for word in shlex.split(TESTS[path]):
            words.append(f"tests/{word}" if word.endswith(".py") else word)
        return int(pytest.main(words))
    except BaseException:
        return 1


class Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Give one module from a syntax tree."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self.name, self.path, self.tree = name, path, tree

    def find_spec(self, fullname: str, *_: Any) -> Any:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def exec_module(self, module: Any) -> None:
        exec(compile(self.tree, str(self.path), "exec"), module.__dict__)


if __name__ == "__main__":
    main()

"""What the workflow uses of libraries that they do not promise: all of it is listed, and is there.

A new release may rename any of it. So that this is noticed when a release is adopted, and not by a
wrong result, nothing private is used but what PRIVATE names.
"""

import ast
import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path

import datasets
import evaluate
import pytest
import snakemake.api
import snakemake.workflow
import torch
import transformers

from common.model import pack, trainer

ROOT = Path(__file__).parents[1]
BY_NAME = ("getattr", "hasattr", "setattr", "delattr")
PUBLIC = {"_asdict", "_fields", "_exit"}  # of named tuples, ast and os, and documented


def initialised(kind: type, name: str) -> bool:
    """Return whether an object of a class gets an attribute when it is made or used."""
    return f"self.{name}" in inspect.getsource(kind)


# By name, whether it is still there.
PRIVATE: dict[str, Callable[[], bool]] = {
    "_attn_implementation": lambda: hasattr(transformers.BertConfig(), "_attn_implementation"),
    "_attn_implementation_internal": lambda: hasattr(
        transformers.BertConfig(), "_attn_implementation_internal"
    ),
    "_can_set_attn_implementation": lambda: hasattr(
        transformers.PreTrainedModel, "_can_set_attn_implementation"
    ),
    "_compute": lambda: hasattr(evaluate.Metric, "_compute"),
    "_fingerprint": lambda: initialised(datasets.Dataset, "_fingerprint"),
    "_info": lambda: hasattr(evaluate.Metric, "_info"),
    "_name_or_path": lambda: hasattr(transformers.BertConfig(), "_name_or_path"),
    "_linear_pointwise": lambda: (
        hasattr(torch.ops.mkldnn, "_linear_pointwise") or not torch.backends.mkldnn.is_available()
    ),
    **{
        name: partial(hasattr, transformers.Trainer, name)
        for name in (*trainer.SAVING, *trainer.LOADING, *pack.EPOCH)
    },
    **{
        name: partial(initialised, transformers.Trainer, name)
        for name in (*trainer.SUMS[:-1], trainer.FIRST_STEP)
    },
}
# Not underscored, and in no documentation: attributes of Snakemake's workflow.
UNDOCUMENTED = ("basedir", "configfiles", "is_main_process", "local_exec", "overwrite_configfiles")


def private_names() -> set[str]:
    """Return the private names of libraries in the workflow: attributes and methods.

    What a class of ours defines for itself, and uses of itself, is not of a library.
    """
    found: set[object] = set()
    for file in [*(ROOT / "scripts").rglob("*.py"), *(ROOT / "rules").rglob("*.py")]:
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                if ast.unparse(node.value) not in ("self", "cls", "inner"):
                    found.add(node.attr)
            elif isinstance(node, ast.ClassDef) and node.bases:
                found |= {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in BY_NAME:
                found |= {each.value for each in node.args if isinstance(each, ast.Constant)}
    return {
        name
        for name in found - {"_"}
        if isinstance(name, str)
        and name.startswith("_")
        and name.isidentifier()
        and not name.startswith("__")
    }


def test_nothing_private_is_used_but_what_is_listed():
    assert private_names() - PUBLIC <= {*PRIVATE}


@pytest.mark.parametrize("name", PRIVATE)
def test_what_is_listed_is_used(name):
    assert any(name in file.read_text() for file in (ROOT / "scripts").rglob("*.py"))


@pytest.mark.parametrize("name", PRIVATE)
def test_what_is_private_is_there(name):
    assert PRIVATE[name]()


@pytest.mark.parametrize("name", UNDOCUMENTED)
def test_what_is_undocumented_is_there(name):
    source = inspect.getsource(snakemake.workflow)
    assert f"def {name}(" in source or f"self.{name}" in source or f"\n    {name}:" in source

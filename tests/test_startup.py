"""Libraries are imported without the collector of garbage, which is as it was afterwards."""

import gc
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from common import startup


@pytest.fixture(autouse=True)
def unfrozen():
    gc.unfreeze()
    startup.freeze_once.cache_clear()
    yield
    gc.freeze()  # as in conftest.py


def test_nothing_is_collected_inside():
    with startup.importing():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_collector_is_on_again_where_a_package_is_missing():
    with pytest.raises(ModuleNotFoundError), startup.importing():
        raise ModuleNotFoundError
    assert gc.isenabled()


def test_who_has_switched_it_off_finds_it_off():
    gc.disable()
    try:
        with startup.importing():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_was_imported_is_never_looked_at_and_what_comes_later_is():
    with startup.importing():
        imported: dict[str, list[int]] = {"name": []}
    assert gc.is_tracked(imported)
    assert gc.get_freeze_count()
    later: list[list[int]] = [[]]
    with startup.importing():
        pass
    assert any(found is later for found in gc.get_objects())
    assert not any(found is imported for found in gc.get_objects())


def test_a_library_that_is_left_out_can_be_imported_later():
    name = "this"  # prints on import, and nothing imports it
    with startup.without(name), pytest.raises(ModuleNotFoundError):
        importlib.import_module(name)
    assert importlib.import_module(name)
    with startup.without(name):
        assert importlib.import_module(name)
    del sys.modules[name]


def test_a_baseline_is_evaluated_without_torch():
    code = (
        "import sys; from common import startup\n"
        "with startup.without('transformers'): import evaluate, sklearn.metrics\n"
        "from common.model import scoring; evaluate.Metric\n"
        "assert 'transformers' not in sys.modules; assert 'torch' not in sys.modules"
    )
    scripts = Path(startup.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=scripts, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

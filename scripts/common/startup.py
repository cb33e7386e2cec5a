"""The start of a job, most of which is the import of libraries."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


@cache
def freeze_once() -> None:
    """Freeze what there is, at the first call; ``gc.get_freeze_count`` would count a million."""
    gc.freeze()


@contextmanager
def importing() -> Iterator[None]:
    """Import libraries inside of it: with those that train or evaluate, in four fifths of the time.

    They make a million objects that stay. Left on, the garbage collector looks through those that
    there are again and again meanwhile; and once more, for half a second, when a Trainer begins.
    So it is off inside, and what is there in the end it never looks at (``gc.freeze``). That is
    done once in a process: later, there may be garbage among it.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        freeze_once()
        if was_on:
            gc.enable()


@contextmanager
def without(library: str) -> Iterator[None]:
    """Import libraries inside of it that go on without another one, unless that is there.

    ``evaluate`` would import transformers, and torch with it, for pipelines that nobody asks for
    here: two thirds of a job that evaluates a baseline.
    """
    if library in sys.modules:
        yield
        return
    sys.modules[library] = None  # type: ignore[assignment] # its import raises ImportError
    try:
        yield
    finally:
        del sys.modules[library]

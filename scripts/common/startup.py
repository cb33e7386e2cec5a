"""The start of a job, most of which is the import of libraries."""

import gc
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

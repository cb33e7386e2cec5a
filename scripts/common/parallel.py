"""Work on several processes: results in order, and few items held at a time."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing import connection, get_context
from typing import TypeVar

from common.cli import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

ALONE = 4  # items done here before others are asked: to start a process takes about a second
AHEAD = 2  # items per process that wait or are done, which bounds the memory


def mapped(
    function: Callable[[Item], Result], items: Iterable[Item], processes: int
) -> Iterator[Result]:
    """What a function makes of each item, in order, whatever the number of processes.

    Args:
        function: of a module, since other processes import it; or a ``functools.partial`` of one.
        items: taken as they are needed.
        processes: at most so many beside this one; 1: none.

    Raises:
        InputError: a process was killed, as a system does that is short of memory.
    """
    rest = iter(items)
    yield from map(function, rest if processes == 1 else islice(rest, ALONE))
    first = list(islice(rest, 1))
    if not first:
        return
    # A fork of a process that has threads, as Arrow's, may hang.
    with ProcessPoolExecutor(processes, get_context("spawn"), end_with_parent) as pool:
        try:
            yield from in_order(pool, function, chain(first, rest), AHEAD * processes)
        except BrokenProcessPool as error:
            raise InputError(
                "a process that helped was killed, perhaps for want of memory: give the job more "
                "memory or fewer processes"
            ) from error


def end_with_parent() -> None:
    """Let this process end when the one that started it does, be it killed: nobody else would."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def in_order(
    pool: ProcessPoolExecutor,
    function: Callable[[Item], Result],
    items: Iterator[Item],
    ahead: int,
) -> Iterator[Result]:
    """The results of a pool, in order, with so many items handed out ahead."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()

"""Work in several processes: mapped over items in order, or one training on several GPUs.

``mapped`` holds few items at a time. ``launch_workers`` starts the other processes of a training
with its own command line, and the names by which Accelerate finds that they belong together. They
end with the first, even if it is killed; and it ends when one of them fails, instead of waiting for
it.
"""

import logging
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from itertools import chain, islice
from multiprocessing import connection, get_context
from typing import TypeVar

from common.cli import InputError

log = logging.getLogger("parallel")


Item = TypeVar("Item")

Result = TypeVar("Result")

ALONE = 4  # items done here before others are asked: to start a process takes about a second

AHEAD = 2  # items per process that wait or are done, which bounds the memory


def mapped(
    function: Callable[[Item], Result], items: Iterable[Item], processes: int
) -> Iterator[Result]:
    """Yield what a function makes of each item, in order, whatever the number of processes.

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
    with ProcessPoolExecutor(processes, get_context("spawn"), exit_with_parent) as pool:
        try:
            yield from in_order(pool, function, chain(first, rest), AHEAD * processes)
        except BrokenProcessPool as error:
            raise InputError(
                "a process that helped was killed, perhaps for want of memory: give the job more "
                "memory or fewer processes"
            ) from error


def exit_with_parent() -> None:
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
    """Yield the results of a pool, in order, with so many items handed out ahead."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


FAILED = "process %d of this training ended with status %d"

GRACE_SECONDS = 5

STATUS_SECONDS = 2  # from the end of a connection to that of the process, at most

RANK = "LORA_BENCH_RANK"  # set in the processes that were started here


def is_worker() -> bool:
    """Return whether this process was started by the first one of a training."""
    return RANK in os.environ


@contextmanager
def launch_workers(count: int, command: Sequence[str]) -> Iterator[bool]:
    """Work in so many processes within a ``with`` block.

    Args:
        count: how many in all; 1: this one alone.
        command: script and words that start another one like this.

    Yields:
        whether this is the first one, whose results count.
    """
    if is_worker():
        exit_with_first()
        logging.disable(logging.INFO)  # the first one says it
        yield False
        return
    helpers: list[subprocess.Popen[bytes]] = []
    over = threading.Event()
    if count > 1:
        shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
        os.environ.update(shared, RANK="0", LOCAL_RANK="0")
        helpers = [start(rank, command, over) for rank in range(1, count)]
    try:
        yield True
    except Exception:
        name_failed(helpers)
        raise
    finally:
        over.set()
        for helper in helpers:
            if sys.exc_info()[0]:
                helper.kill()
            helper.wait()


def start(rank: int, command: Sequence[str], over: threading.Event) -> subprocess.Popen[bytes]:
    """Start one more process, and watch it until the work is over."""
    names = {"RANK": str(rank), "LOCAL_RANK": str(rank), RANK: str(rank)}
    # Its standard input is a pipe that nobody writes to: it closes when this process ends.
    helper = subprocess.Popen(
        [sys.executable, *command], env=os.environ | names, stdin=subprocess.PIPE
    )
    threading.Thread(target=exit_if_failed, args=(helper, rank, over), daemon=True).start()
    return helper


def exit_if_failed(helper: "subprocess.Popen[bytes]", rank: int, over: threading.Event) -> None:
    """Wait for a process; where it failed, the others would wait for it in vain.

    What fails in one of them often fails in all: the first has some time to say so itself.
    """
    status = helper.wait()
    if status and not over.wait(GRACE_SECONDS):
        log.error(FAILED, rank, status)
        os._exit(1)


def name_failed(helpers: "Sequence[subprocess.Popen[bytes]]") -> None:
    """Say which of the others failed: an error of the first one may come of that alone.

    The connections of a process that was killed close before its status can be had: it is awaited.
    """
    end = time.monotonic() + STATUS_SECONDS
    for rank, helper in enumerate(helpers, 1):
        with suppress(subprocess.TimeoutExpired):
            if status := helper.wait(max(0.0, end - time.monotonic())):
                log.error(FAILED, rank, status)


def exit_with_first() -> None:
    """Let this process end when the first one does."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def free_port() -> str:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])

"""Work on several processes: in order, bounded, and a killed helper is one line."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from common import parallel
from common.cli import InputError

TESTS = Path(__file__).parent


def process_and_square(number: int) -> tuple[int, int]:
    return os.getpid(), number**2


def end_of(number: int) -> int:
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def refuse(number: int) -> int:
    if number >= parallel.ALONE:
        raise InputError("not so many")
    return number


@pytest.mark.parametrize("processes", [1, 2])
def test_results_are_in_order_whatever_the_number_of_processes(processes):
    found = list(parallel.mapped(process_and_square, range(20), processes))
    assert [square for _, square in found] == [number**2 for number in range(20)]
    others = {process for process, _ in found} - {os.getpid()}
    assert bool(others) == (processes > 1)


def test_few_items_start_no_process():
    found = parallel.mapped(process_and_square, range(parallel.ALONE), 2)
    assert {process for process, _ in found} == {os.getpid()}


@pytest.mark.parametrize("processes", [1, 2])
def test_items_are_taken_as_they_are_needed(processes):
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    results = parallel.mapped(process_and_square, endless(), processes)
    for _ in range(8):
        next(results)
    assert taken <= 8 + parallel.AHEAD * processes + 1


def test_a_killed_process_is_one_line():
    with pytest.raises(InputError, match="was killed, perhaps for want of memory: give the job"):
        list(parallel.mapped(end_of, range(20), 2))


def test_a_mistake_in_another_process_is_told_as_it_is():
    with pytest.raises(InputError, match="not so many"):
        list(parallel.mapped(refuse, range(20), 2))


PARENT = """
import sys, time
sys.path[:0] = {paths!r}
from common import parallel
from test_parallel import process_and_square

if __name__ == "__main__":
    results = parallel.mapped(process_and_square, iter(int, 1), 2)
    others = {{next(results)[0] for _ in range(20)}}
    print(*others, flush=True)
    time.sleep(60)
"""


@pytest.mark.quick(1)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_the_one_that_started_it(tmp_path, how):
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(paths=[str(TESTS), str(TESTS.parent / "scripts")]))
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        started = {int(word) for word in parent.stdout.readline().split()} - {parent.pid}
        parent.send_signal(how)
    assert started
    ends = time.monotonic() + 20
    while any(map(psutil.pid_exists, started)) and time.monotonic() < ends:
        time.sleep(0.1)
    assert not any(map(psutil.pid_exists, started))

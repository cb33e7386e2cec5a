"""Work on several processes: in order, bounded, and a killed helper is one line."""

import os
import signal
from collections.abc import Iterator

import pytest

from common import parallel
from common.cli import InputError


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

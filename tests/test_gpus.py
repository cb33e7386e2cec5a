"""Leases of GPUs, with stand-ins: a list of names and processes that are killed."""

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from common import files, gpus
from common.cli import InputError

ROOT = Path(__file__).parents[1]

# Takes a GPU, says which, and holds it until it is told to go.
HOLDER = """
import sys
from common import gpus
print(*gpus.lease(int(sys.argv[1]), int(sys.argv[2])), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with GPUs of these names, and nobody on them."""

    def make(*names: str) -> None:
        monkeypatch.setenv(gpus.VISIBLE, ",".join(names))
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setenv("PYTHONPATH", str(ROOT / "scripts"))
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    yield make
    for lock in gpus._held:
        lock.release()
    gpus._held.clear()


@pytest.fixture
def hold():
    """Start a process that takes GPUs; returns it once it has them, with their names."""
    started = []

    def start(count: int = 1, jobs_per_gpu: int = 1, wait: bool = True):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(count), str(jobs_per_gpu)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().split() if wait else []

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_every_job_has_a_gpu_of_its_own(machine, hold):
    machine("a", "b", "c")
    held = [hold()[1] for _ in range(3)]
    assert sorted(held) == [["a"], ["b"], ["c"]]


def test_a_job_waits_for_one_that_ends(machine, hold):
    machine("a")
    first, _ = hold()
    second, _ = hold(wait=False)
    time.sleep(1)
    assert second.poll() is None
    first.communicate("\n")
    assert second.stdout.readline().split() == ["a"]


@pytest.mark.parametrize("killed_by", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_lease_does_not_outlive_a_job_that_is_killed(machine, hold, killed_by):
    machine("a", "b")
    first, (lost,) = hold()
    hold()
    first.send_signal(killed_by)
    first.wait()
    assert hold()[1] == [lost]


def test_many_jobs_that_are_killed_at_random_never_share(machine, hold):
    """Twelve jobs on two GPUs, each killed as soon as it has one: at no time two on one."""
    machine("a", "b")
    waiting = [hold(wait=False)[0] for _ in range(12)]
    seen: Counter[str] = Counter()
    holders: dict[str, subprocess.Popen] = {}
    for process in waiting:
        os.set_blocking(process.stdout.fileno(), False)
    deadline = time.monotonic() + 60
    while sum(seen.values()) < 12 and time.monotonic() < deadline:
        for process in waiting:
            name = (process.stdout.readline() or "").strip()
            if not name:
                continue
            before = holders.get(name)
            assert before is None or before.poll() is not None, f"two jobs on {name}"
            holders[name] = process
            seen[name] += 1
        for process in [*holders.values()]:
            process.kill()
            process.wait()
    assert seen["a"] + seen["b"] == 12
    assert min(seen.values()) > 0


def test_small_jobs_share_a_gpu_where_they_may(machine, hold):
    machine("a", "b")
    held = [hold(jobs_per_gpu=2)[1][0] for _ in range(4)]
    assert sorted(held[:2]) == ["a", "b"]  # the second share of one is taken last
    assert Counter(held) == {"a": 2, "b": 2}
    fifth, _ = hold(jobs_per_gpu=2, wait=False)
    time.sleep(1)
    assert fifth.poll() is None


def test_a_job_of_several_gpus_has_them_for_itself(machine, hold):
    machine("a", "b", "c")
    small, (name,) = hold(jobs_per_gpu=2)
    assert hold(count=2, jobs_per_gpu=2)[1] == [other for other in "abc" if other != name]
    assert hold(jobs_per_gpu=2)[1] == [name]
    assert small.poll() is None


@pytest.mark.full
def test_who_waits_for_two_is_not_overtaken_for_ever(machine, hold):
    machine("a", "b")
    first, _ = hold()
    second, _ = hold()
    large, _ = hold(count=2, wait=False)
    time.sleep(1)
    later, _ = hold(wait=False)
    time.sleep(1)
    first.communicate("\n")
    time.sleep(1)
    assert later.poll() is None
    second.communicate("\n")
    ready, _, _ = select.select([large.stdout], [], [], 10)
    assert ready
    assert sorted(large.stdout.readline().split()) == ["a", "b"]
    large.communicate("\n")
    assert later.stdout.readline().split() in (["a"], ["b"])


def test_who_sees_another_gpu_does_not_wait_at_the_door(machine, hold):
    """Jobs of two allocations on one node of a cluster."""
    machine("a")
    hold()
    hold(wait=False)
    time.sleep(1)
    machine("b")
    assert hold()[1] == ["b"]


def test_more_gpus_than_there_are_is_a_mistake(machine):
    machine("a")
    with pytest.raises(InputError, match="`gpus` is 2, and 1 can be seen here"):
        gpus.lease(2)


def test_this_process_sees_what_it_took(machine):
    machine("a", "b")
    assert gpus.lease() == ["a"]
    assert os.environ[gpus.VISIBLE] == "a"
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


@pytest.mark.parametrize("value", ["", "-1"])
def test_where_none_is_visible_nothing_is_done(machine, value):
    machine(value)
    assert gpus.lease() == []
    assert os.environ[gpus.VISIBLE] == value


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (None, ["GPU-x", "GPU-y"]),
        ("1", ["GPU-y"]),
        ("GPU-x", ["GPU-x"]),
        ("1,0", ["GPU-y", "GPU-x"]),
    ],
)
def test_gpus_are_known_by_their_uuid(monkeypatch, tmp_path, chosen, expected):
    """Two jobs of a cluster may each see one GPU as number 0, and must not wait for each other."""
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\nprintf 'GPU-x\\nGPU-y\\n'\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    if chosen is None:
        monkeypatch.delenv(gpus.VISIBLE, raising=False)
    else:
        monkeypatch.setenv(gpus.VISIBLE, chosen)
    assert gpus.visible() == expected


@pytest.mark.parametrize(
    ("device", "counted", "expected"),
    [(True, "2", ["0", "1"]), (True, "", []), (False, "2", [])],
)
def test_without_a_tool_of_the_driver_torch_is_asked(
    monkeypatch, tmp_path, device, counted, expected
):
    """As in a container: else every job would take the first GPU, or all of them."""
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'no driver'; exit 9\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    monkeypatch.setattr(gpus, "DEVICES", ("null",) if device else ())  # /dev/null is there
    monkeypatch.setattr(gpus, "COUNT", (sys.executable, "-c", f"print({counted!r})"))
    assert gpus.visible() == expected


def opened(place: Path) -> None:
    place.mkdir()
    place.chmod(0o777)


def linked(place: Path) -> None:
    place.with_name("of another").mkdir(mode=0o700)
    place.symlink_to("of another")


@pytest.mark.parametrize("make", [opened, linked, Path.touch])
def test_a_directory_of_locks_that_others_may_change_is_refused(machine, tmp_path, make):
    machine("a")
    make(tmp_path / f"lora-bench-gpus-{os.getuid()}")
    with pytest.raises(InputError, match="no directory of yours alone") as refused:
        gpus.lease()
    assert "\n" not in str(refused.value)


def test_a_directory_of_locks_of_another_user_is_refused(machine, monkeypatch):
    machine("a")
    place = files.private_directory("gpus")
    monkeypatch.setattr(gpus.os, "getuid", lambda: 12345)
    place.rename(place.with_name("lora-bench-gpus-12345"))
    with pytest.raises(InputError, match="no directory of yours alone"):
        gpus.lease()

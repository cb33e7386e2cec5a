"""Leases of GPUs: each job of this machine computes on GPUs of its own, or on a share of one.

Without them every job would take the first GPU that it sees. A lease is a lock of the operating
system on a file of the machine, so it ends with the process that holds it, be it killed. Nothing
heavy is imported: CUDA looks at what is visible when torch is first asked for a GPU.
"""

import logging
import os
import re
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from common import cli, files
from common.cli import InputError

if TYPE_CHECKING:
    from filelock import FileLock

log = logging.getLogger("gpus")

VISIBLE = "CUDA_VISIBLE_DEVICES"
LIST = ("nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader")
COUNT = (sys.executable, "-c", "import torch; print(torch.cuda.device_count())")
DEVICES = ("nvidia[0-9]*", "dxg", "kfd")  # below /dev: of NVIDIA, of WSL and of ROCm
POLL_SECONDS = 0.2

_held: list["FileLock"] = []  # until this process ends


def add_option(parser: ArgumentParser) -> None:
    """The option of the stages that compute on a GPU where there is one."""
    parser.add_argument(
        "--jobs-per-gpu",
        type=cli.int_at_least(1),
        default=1,
        help="on this machine at the same time",
    )


def lease(count: int = 1, jobs_per_gpu: int = 1) -> list[str]:
    """Wait for free GPUs and let this process see them alone, until it ends.

    Called before torch is asked for a GPU. Where there is none, nothing is done.

    Args:
        count: how many.
        jobs_per_gpu: that may compute on one at the same time. A job of several GPUs has them for
            itself.

    Returns:
        what is visible now.

    Raises:
        InputError: there are not so many.
    """
    devices = visible()
    if not devices or _held:  # jobs that are done together share what the first of them got
        return devices
    if count > len(devices):
        raise InputError(
            f"`gpus` is {count}, and {len(devices)} can be seen here: lower it, or run this where "
            "there are more"
        )
    with doors(devices):
        taken = take(devices, count, jobs_per_gpu)
        if not taken:
            log.info("waiting for %d free of %d GPUs", count, len(devices))
        while not taken:
            time.sleep(POLL_SECONDS)
            taken = take(devices, count, jobs_per_gpu)
    os.environ[VISIBLE] = ",".join(taken)
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # in which the driver numbers them
    return taken


def take(devices: Sequence[str], count: int, jobs_per_gpu: int) -> list[str]:
    """Take so many free devices; none of them if there are fewer, so that nobody waits in a circle.

    One device is the least used one: a second job goes to it when every device has its first.
    """
    shares = range(jobs_per_gpu)
    wanted = (
        [(device, [share]) for share in shares for device in devices]
        if count == 1
        else [(device, list(shares)) for device in devices]
    )
    taken: list[str] = []
    locks: list[FileLock] = []
    for device, parts in wanted:
        if got := lock_all(device, parts):
            locks += got
            taken.append(device)
        if len(taken) == count:
            _held.extend(locks)
            return taken
    for lock in locks:
        lock.release()
    return []


def lock_all(device: str, shares: Sequence[int]) -> list["FileLock"]:
    """Return locks on shares of a device; none if one of them is taken."""
    from filelock import FileLock, Timeout

    locks: list[FileLock] = []
    for share in shares:
        lock = FileLock(files.private_directory("gpus") / f"{lock_name(device)}.{share}", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            for other in locks:
                other.release()
            return []
        locks.append(lock)
    return locks


@contextmanager
def doors(devices: Sequence[str]) -> Iterator[None]:
    """Let one job at a time wait for devices: who comes later takes none of them from it.

    Else a job that waits for two free GPUs would starve behind jobs that take each as it gets free.
    Jobs of which each sees another GPU do not wait for each other. Doors are taken in one order, so
    that nobody waits in a circle.
    """
    from filelock import FileLock

    with ExitStack() as stack:
        for device in sorted(set(devices)):
            lock = FileLock(files.private_directory("gpus") / f"{lock_name(device)}.door")
            stack.enter_context(lock.acquire(poll_interval=POLL_SECONDS))
        yield


def lock_name(device: str) -> str:
    """Return the name of a device as part of a file name."""
    return re.sub(r"[^A-Za-z0-9-]", "_", device)


def visible() -> list[str]:
    """Return the GPUs that this process may use, by their UUIDs where the driver tells them.

    Numbers are not enough: jobs of one cluster node may each see one GPU, and call it 0. They are
    taken in the order of the driver, which is that of the bus; ``lease`` lets CUDA do the same.
    """
    chosen = os.environ.get(VISIBLE)
    if chosen is None:
        return installed() or counted()
    names = [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1")]
    found = installed() if any(name.isdecimal() for name in names) else []
    return [found[int(n)] if n.isdecimal() and int(n) < len(found) else n for n in names]


def installed() -> list[str]:
    """Return the UUIDs of the GPUs of this machine that the driver shows to this process."""
    try:
        listed = subprocess.run(LIST, capture_output=True, text=True, check=False)
    except OSError:
        return []
    return listed.stdout.split() if listed.returncode == 0 else []


def counted() -> list[str]:
    """Return the numbers of the GPUs that torch finds where the driver has no tool to list them.

    In many containers there is no nvidia-smi. torch is asked in a process of its own, since CUDA
    looks but once at what is visible; and only where the system has a device of a GPU.
    """
    if not any(found for pattern in DEVICES for found in Path("/dev").glob(pattern)):
        return []
    count = subprocess.run(COUNT, capture_output=True, text=True, check=False).stdout.strip()
    return [str(number) for number in range(int(count or 0))]

"""Leases of GPUs: each job of this machine computes on GPUs of its own, or on a share of one.

Without them every job would take the first GPU that it sees. A lease is a lock of the operating
system on a file of the machine, so it ends with the process that holds it, be it killed. Nothing
heavy is imported: CUDA looks at what is visible when torch is first asked for a GPU.
"""

import logging
import os
import re
import subprocess
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common import cli
from common.cli import InputError

if TYPE_CHECKING:
    from filelock import FileLock

log = logging.getLogger("gpus")

VISIBLE = "CUDA_VISIBLE_DEVICES"
LIST = ("nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader")
POLL_SECONDS = 0.2

_held: list["FileLock"] = []  # until this process ends


def add_option(parser: ArgumentParser) -> None:
    """The option of the stages that compute on a GPU where there is one."""
    parser.add_argument(
        "--jobs-per-gpu", type=cli.whole(1), default=1, help="on this machine at the same time"
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
    if not devices:
        return []
    if count > len(devices):
        raise InputError(
            f"`gpus` is {count}, and {len(devices)} can be seen here: lower it, or run this where "
            "there are more"
        )
    taken = take(devices, count, jobs_per_gpu)
    if not taken:
        log.info("waiting for a free GPU of %d", len(devices))
    while not taken:
        time.sleep(POLL_SECONDS)
        taken = take(devices, count, jobs_per_gpu)
    os.environ[VISIBLE] = ",".join(taken)
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
    """Locks on shares of a device; none if one of them is taken."""
    from filelock import FileLock, Timeout

    locks: list[FileLock] = []
    for share in shares:
        lock = FileLock(place() / f"{re.sub(r'[^A-Za-z0-9-]', '_', device)}.{share}", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            for other in locks:
                other.release()
            return []
        locks.append(lock)
    return locks


def place() -> Path:
    """The directory of the locks: of this machine and this user."""
    directory = Path(tempfile.gettempdir()) / f"lora-bench-gpus-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


def visible() -> list[str]:
    """The GPUs that this process may use, by their UUIDs where the driver tells them.

    Numbers are not enough: jobs of one cluster node may each see one GPU, and call it 0.
    """
    found = installed()
    chosen = os.environ.get(VISIBLE)
    if chosen is None:
        return found
    names = [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1")]
    return [found[int(n)] if n.isdecimal() and int(n) < len(found) else n for n in names]


def installed() -> list[str]:
    """The UUIDs of the GPUs of this machine that the driver shows to this process."""
    try:
        listed = subprocess.run(LIST, capture_output=True, text=True, check=False)
    except OSError:
        return []
    return listed.stdout.split() if listed.returncode == 0 else []

"""End a run while a stage runs, as Ctrl-C, a signal to Snakemake alone or a kill -9 of it do.

    python -m pytest --full -n 0 tests/torture -k "stage"

tries every stage, and prints how many seconds the end took, which jobs were left, and whether the
directory stayed locked.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

SCRIPTS = {"tokenize": "tokenize_data"}  # of the stages whose script has another name
STARTS_WITHIN_SECONDS = 120
ENDS_WITHIN_SECONDS = 60
GROUP, ALONE, KILLED = "Ctrl-C", "SIGINT to Snakemake", "kill -9 of Snakemake"


@dataclass(frozen=True)
class Stopped:
    """How a run ended.

    Attributes:
        seconds: from the signal to the end of Snakemake and of its jobs.
        orphans: command lines of jobs that ran on after so many seconds.
        locks: whether the directory is locked.
        log: what Snakemake said.
    """

    seconds: float
    orphans: list[str]
    locks: bool
    log: str


def stop(
    python: str, place: Path, words: Sequence[str], stage: str, how: str, after: float = 0.3
) -> Stopped:
    """Run Snakemake, and end it when a stage has run for some time.

    Args:
        python: what to run it with.
        place: the workflow.
        words: of the command line of Snakemake.
        stage: to wait for.
        how: GROUP, ALONE or KILLED.
        after: seconds from the start of the stage's script to the signal.
    """
    log = place / "stopped.log"
    wheels = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(place / "wheels")}
    with open(log, "w") as file:
        run = subprocess.Popen(
            [python, "-m", "snakemake", "--cores", "2", *words],
            cwd=place, env=os.environ | wheels | {"HF_HUB_OFFLINE": "1"},
            stdin=subprocess.DEVNULL, stdout=file, stderr=file, process_group=0,
            # What a shell starts in the background ignores SIGINT.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
    try:
        wait_for(run, place, stage)
        time.sleep(after)
        started = time.monotonic()
        if how == GROUP:
            os.killpg(run.pid, signal.SIGINT)
        else:
            run.send_signal(signal.SIGINT if how == ALONE else signal.SIGKILL)
        while (run.poll() is None or jobs(place)) and seconds(started) < ENDS_WITHIN_SECONDS:
            time.sleep(0.02)
        taken = seconds(started)
        orphans = [" ".join(words[:3]) for words in jobs(place).values()]
    finally:
        for pid in jobs(place):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        run.kill()
        run.wait()
    locks = place / ".snakemake" / "locks"
    return Stopped(taken, orphans, any(locks.glob("*")), log.read_text())


def seconds(since: float) -> float:
    """Return the seconds since a time of the monotonic clock."""
    return time.monotonic() - since


def wait_for(run: subprocess.Popen, place: Path, stage: str) -> None:
    """Wait until a job of a stage runs.

    Raises:
        TimeoutError: there was none, or the run ended before.
    """
    script = f"scripts/{SCRIPTS.get(stage, stage)}.py"
    end = time.monotonic() + STARTS_WITHIN_SECONDS
    while time.monotonic() < end and run.poll() is None:
        if any(script in words for words in jobs(place).values()):
            return
        time.sleep(0.01)
    raise TimeoutError(f"no job of {stage}: {(place / 'stopped.log').read_text()}")


def jobs(place: Path) -> dict[int, list[str]]:
    """Return the command line of each process that works in a directory, but Snakemake, by number.

    A fork of the warm process of the tests has a client that waits for it, which counts.
    """
    found = {}
    for process in psutil.process_iter():
        try:
            words = process.cmdline()  # none of a zombie
            is_job = len(words) > 1 and "snakemake" not in words and "tests/warm.py" not in words[1]
            if is_job and process.cwd() == str(place):
                found[process.pid] = words
        except psutil.Error:
            continue  # it has ended
    return found

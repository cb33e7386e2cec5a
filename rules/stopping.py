"""The end of a run by Ctrl-C or SIGINT: jobs end with it, within seconds.

Snakemake itself waits for its jobs to end. Ctrl-C reaches them too, since a terminal signals all
processes of a group; a SIGINT to Snakemake alone does not, and a long job then goes on for hours.
"""

import os
import signal
import threading
import time
from types import FrameType

import psutil

ASK_SECONDS = 0.5  # after Ctrl-C, until jobs that did not get it are asked to end
KILL_SECONDS = 3.5  # until those that still run are killed: a training has so long to keep its step
LOOK_SECONDS = 0.2


def end_jobs_on_interrupt() -> None:
    """Let SIGINT end the jobs of this Snakemake, unless something else handles it."""
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupted)


def interrupted(received: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, as Python does, and see to the jobs beside it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a second time: at once
    threading.Thread(target=end_jobs, daemon=True).start()
    signal.default_int_handler(received, frame)


def end_jobs() -> None:
    """Ask the jobs of this process to end, then kill them; until this process ends."""
    time.sleep(ASK_SECONDS)
    send(signal.SIGINT)
    time.sleep(KILL_SECONDS - ASK_SECONDS)
    while True:
        if send(signal.SIGKILL):
            # With jobs still there, Snakemake may have been where an exception gets lost.
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(LOOK_SECONDS)


def send(number: signal.Signals) -> bool:
    """Send a signal to all jobs and their processes; return whether there were any."""
    found = psutil.Process().children(recursive=True)
    for process in found:
        try:
            process.send_signal(number)
        except psutil.Error:
            continue  # it has ended
    return bool(found)

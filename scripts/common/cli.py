"""What every script's command line has in common: its parser, its log, its errors.

Nothing heavy is imported here, so that ``--help`` answers at once.
"""

import argparse
import errno
import logging
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# What a system refuses, and what to do about it.
REFUSALS = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EROFS: "write elsewhere, or have it mounted for writing",
    errno.EACCES: "have the access rights changed, or write elsewhere",
    errno.EPERM: "have the access rights changed, or write elsewhere",
    errno.ENOTDIR: "move away the file that stands where a directory is needed",
    errno.EEXIST: "move away the file that stands where a directory is needed",
    errno.EISDIR: "move away the directory that stands where a file is needed",
}
LARGEST_NUMBER = 2**53  # of an option
SIGNALLED = 128  # added to the number of a signal, it is the exit status of what it ended
WORKFLOW = "LORA_BENCH_WORKFLOW"  # the environment variable that names the Snakemake of a job
WATCH_SECONDS = 0.5  # between two looks where the system tells of no end
END_SECONDS = 1.0  # to keep what there is, when Snakemake is gone


class InputError(Exception):
    """A mistake that the user can mend; its text is the one line that the user reads.

    The line says what is wrong, where, and what to do.
    """


class StoppedError(Exception):
    """The process was asked to end and has kept what it had; its text is what the user reads.

    Args:
        text: the line.
        received: the signal that asked.
    """

    def __init__(self, text: str, received: int) -> None:
        super().__init__(text)
        self.received = received


def parser(doc: str) -> argparse.ArgumentParser:
    """Return an argument parser whose help is a script's docstring; abbreviations are refused."""
    return argparse.ArgumentParser(
        description=doc,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def run(main: Callable[[], None]) -> None:
    """Run a script's ``main``: log to stderr; a user's mistake ends in one line and status 1.

    What was asked to end by a signal has the status that shells give it, 128 and its number.

    What the system refuses (a full disk, say) and a missing package are such mistakes too; the
    latter nearly always means that another Python than the workflow's came first on PATH.
    """
    begin()
    with reported():
        main()


def begin() -> None:
    """Begin to log, and end with the workflow."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    end_with_workflow()


@contextmanager
def reported() -> Iterator[None]:
    """Turn what is raised within a ``with`` block into one line and a status, as ``run`` says.

    Raises:
        SystemExit: with them.
    """
    try:
        yield
    except InputError as error:
        sys.exit(f"error: {error}")
    except StoppedError as stopped:
        logging.getLogger(Path(sys.argv[0]).stem).info("%s", stopped)
        sys.exit(SIGNALLED + stopped.received)
    except KeyboardInterrupt:
        sys.exit(SIGNALLED + signal.SIGINT)
    except ModuleNotFoundError as error:
        sys.exit(
            f"error: {sys.executable} has no package {error.name or one_line(error)!r}: run `make "
            "run`, activate the environment that `make` creates (.venv), or pass --use-conda"
        )
    except Exception as error:
        if line := os_error_hint(error):
            sys.exit(f"error: {line}")
        raise


def process_name(pid: int) -> str:
    """Return a name of a running process that no later one of the same number has; "" if it ended.

    It holds the number, when the process began, and of which namespace the number is; where the
    system has no /proc, the number alone.
    """
    try:
        # The name of the program, in parentheses, may hold blanks and parentheses itself.
        about = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        if namespace():
            return ""
    else:
        return "" if about[0] in "ZX" else f"{pid} {about[19]} {namespace()}"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return f"{pid}  "


def namespace() -> str:
    """Return the namespace that the numbers of processes are of; "" where the system has none."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def end_with_workflow() -> None:
    """Let this process end when the Snakemake that started it is gone, as after a kill -9.

    Else it would go on computing beside the same job of the next run. Where no Snakemake is named,
    as in a script that is run by hand, or one that cannot be seen from here, nothing is done.
    """
    name = os.environ.get(WORKFLOW, "")
    pid, _, where = name.partition(" ")
    if not name or where.rpartition(" ")[2] != namespace():
        return

    def wait() -> None:
        wait_for_end(int(pid), name)
        logging.getLogger(Path(sys.argv[0]).stem).error("Snakemake is gone: this job ends, too")
        for child in children():
            with suppress(OSError):
                os.kill(child, signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # a training keeps its step, if that is soon done
        time.sleep(END_SECONDS)
        os._exit(SIGNALLED + signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def wait_for_end(pid: int, name: str) -> None:
    """Wait until a process is gone.

    Args:
        pid: its number.
        name: ``process_name`` of it.
    """
    with suppress(AttributeError, OSError):  # neither on every system nor in every container
        handle = os.pidfd_open(pid)
        if process_name(pid) == name:
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            poll.poll()
        os.close(handle)
    while process_name(pid) == name:
        time.sleep(WATCH_SECONDS)


def children() -> list[int]:
    """Return the numbers of the processes that this one started and that run, where it is known."""
    listed = Path("/proc/self/task").glob("*/children")
    return [int(pid) for file in listed for pid in file.read_text().split()]


def os_error_hint(error: BaseException | None) -> str:
    """Return one line about what the system refused, if that is what an error comes from; else "".

    Libraries pass it on as errors of their own: then the cause is looked at, and the text.
    """
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        if number not in REFUSALS:
            said = (number for number in REFUSALS if os.strerror(number) in str(error))
            number = next(said, None)
        if number is not None:
            where = getattr(error, "filename", None) or one_line(error)
            return f"{where}: {os.strerror(number)}; {REFUSALS[number]}, and run again"
        error = error.__cause__ or error.__context__
    return ""


class Collect(argparse.Action):
    """The values of an option that may be named several times: `--x a b`, or `--x=a --x=-b`.

    The first time, they take the place of the default.
    """

    def __call__(self, parser, namespace, values, option_string=None) -> None:  # noqa: ARG002
        """Take the values of one naming of the option."""
        before = getattr(namespace, self.dest)
        known = [] if before is self.default or before is None else before
        setattr(namespace, self.dest, [*known, *values])


def finite(minimum: float = -math.inf) -> Callable[[str], float]:
    """Return the type of an option: finite numbers from ``minimum``."""

    def convert(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and number >= minimum):
            bound = f" from {minimum:g}" if minimum > -math.inf else ""
            raise argparse.ArgumentTypeError(f"{text!r} is no finite number{bound}")
        return number

    return convert


def int_at_least(minimum: int) -> Callable[[str], int]:
    """Return the type of an option: whole numbers from ``minimum``."""

    def convert(text: str) -> int:
        if not text.isdecimal() or not minimum <= int(text) <= LARGEST_NUMBER:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {minimum}")
        return int(text)

    return convert


def one_line(error: BaseException) -> str:
    """Return a library's complaint on one line of at most 300 characters."""
    return " ".join(str(error).split())[:300]


def go_offline() -> None:
    """Cut this process off from the hub: only the fetch stages may download.

    A stage that reads files is then the same with and without a network, and never waits for one.
    Called before the libraries are imported, since they read these variables then.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_DATASETS_OFFLINE"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "true"


def is_interactive() -> bool:
    """Return whether a person watches.

    Progress bars are drawn on a terminal, never into a log file.
    """
    return sys.stderr.isatty()

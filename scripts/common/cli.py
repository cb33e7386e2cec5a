"""What every script's command line has in common: its parser, its log, its errors.

Nothing heavy is imported here, so that ``--help`` answers at once.
"""

import argparse
import errno
import logging
import math
import os
import signal
import sys
from collections.abc import Callable
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
    """An argument parser whose help is a script's docstring; abbreviations are refused."""
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
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        main()
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
        if line := refusal(error):
            sys.exit(f"error: {line}")
        raise


def refusal(error: BaseException | None) -> str:
    """One line about what the system refused, if that is what an error comes from; else "".

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


def whole(minimum: int) -> Callable[[str], int]:
    """The type of an option: whole numbers from ``minimum``."""

    def convert(text: str) -> int:
        if not text.isdecimal() or not minimum <= int(text) <= LARGEST_NUMBER:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {minimum}")
        return int(text)

    return convert


def one_line(error: BaseException) -> str:
    """A library's complaint on one line of at most 300 characters."""
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


def watched() -> bool:
    """Whether a person watches: progress bars are drawn on a terminal, never into a log file."""
    return sys.stderr.isatty()

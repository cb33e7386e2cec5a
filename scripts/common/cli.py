"""What every script's command line has in common: its parser, its log, its errors.

Nothing heavy is imported here, so that ``--help`` answers at once.
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable


class InputError(Exception):
    """A mistake that the user can mend; its text is the one line that the user reads.

    The line says what is wrong, where, and what to do.
    """


def parser(doc: str) -> argparse.ArgumentParser:
    """An argument parser whose help is a script's docstring; abbreviations are refused."""
    return argparse.ArgumentParser(
        description=doc,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def run(main: Callable[[], None]) -> None:
    """Run a script's ``main``: log to stderr; a user's mistake ends in one line and status 1.

    A missing package is such a mistake too: it nearly always means that another Python than the
    workflow's came first on PATH.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
    except ModuleNotFoundError as error:
        sys.exit(
            f"error: {sys.executable} has no package {error.name!r}: run `make run`, activate the "
            "environment that `make` creates (.venv), or pass --use-conda"
        )


def whole(minimum: int) -> Callable[[str], int]:
    """The type of an option: whole numbers from ``minimum``."""

    def convert(text: str) -> int:
        if not text.isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {minimum}")
        return int(text)

    return convert


def one_line(error: Exception) -> str:
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

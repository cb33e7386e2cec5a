"""Lines of text files of any size and encoding."""

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from common.cli import InputError

# A field or a line of more ends there: where a quote never closes, all to the end is one field.
FIELD_CHARACTERS = 1 << 24
DRAINED_CHARACTERS = 1 << 20
MARKS = {  # byte-order marks; that of UTF-16 begins the one of UTF-32
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8",
}


@contextmanager
def opened(path: Path, encoding: str, newline: str | None) -> Iterator[IO[str]]:
    """The file as text, in which undecodable bytes are surrogates, so that reading goes on.

    Raises:
        InputError: Python has no such encoding of text, or the file has the mark of another.
    """
    with open(path, "rb") as stream:
        try:
            codec = codecs.lookup(encoding).name
            for mark, family in MARKS.items():
                if stream.peek(len(mark)).startswith(mark):
                    codec = without_mark(path, codec, family)
                    break
            text = io.TextIOWrapper(stream, codec, errors="surrogateescape", newline=newline)
        except (LookupError, ValueError) as error:
            raise InputError(
                f"{path}: Python knows no encoding {encoding!r} of text; set `encoding` to one it "
                "knows, such as utf-8 or latin-1"
            ) from error
        yield text


def without_mark(path: Path, codec: str, family: str) -> str:
    """The codec that takes a byte-order mark away.

    Raises:
        InputError: the mark is that of another encoding.
    """
    if not codec.startswith(family):
        raise InputError(
            f"{path} begins with the byte-order mark of {family}, and is read as {codec}: set "
            f"`encoding` to {family}"
        )
    return "utf-8-sig" if family == "utf-8" else family


class LongLineError(Exception):
    """A line of more characters than are held."""


class Lines:
    """The lines of a text, counted; one that is too long is passed over, and never held as a whole.

    Attributes:
        number: of the last line given, from 1.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.readline, self.limit, self.number = stream.readline, FIELD_CHARACTERS, 0

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        """The next line, with its end.

        Raises:
            LongLineError: it is too long; the one after it is the next.
        """
        line = self.readline(self.limit)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) == self.limit and line[-1] not in "\r\n":
            while (rest := self.readline(DRAINED_CHARACTERS)) and rest[-1] not in "\r\n":
                pass
            raise LongLineError(f"a line of more than {self.limit:,} characters")
        return line

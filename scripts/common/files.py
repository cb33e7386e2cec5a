"""Files that are whole or not there: written aside, then renamed into place."""

import errno
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from common import cli
from common.cli import InputError

DIGEST = "digest"  # in a JSON file: of all else in it
SOURCE = "source.json"  # in a directory of rows or of a model: where they came from
PREPARATION = "preparation.json"  # in a directory of splits: what the rows are like, what was done
STATISTICS = "statistics.json"  # in a directory of tokens: their lengths, where the rows came from
CLASSIFIER = "classifier.json"  # in a directory of a trained cell: what it takes to use it
MARKERS = (SOURCE, PREPARATION, STATISTICS, CLASSIFIER)  # a directory with one of them is ours
MANIFEST = "digests.json"  # in a directory: of its other files, see common.checksums


PARTIAL, WORK = ".partial", ".work"  # end the names of what is written, and of what helps in it
PUT_ATTEMPTS = 5
LEFT_SECONDS = 86_400  # after which what another machine began counts as left
# What follows on the name of the output; earlier versions had no more than the end.
LEFT = re.compile(r"(\.(?P<machine>\w+)-(?P<process>\d+)-\w+)?\.(partial|work)")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write a file or directory to; it takes its place on success.

    A job that fails or is killed leaves ``path`` as it was. Renaming within one directory is atomic
    on POSIX file systems; what cannot be replaced, since it or the new one is a directory, is
    removed first. What is renamed is on the disk by then, so that what is there is whole after a
    power failure too. Two processes that write the same path do not meet: the later one wins.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, path.name)
    aside = path.with_name(own_name(path.name, PARTIAL))
    try:
        yield aside
        sync(aside)
        put(aside, path)
        sync(path.parent, deep=False)
    finally:
        remove(aside)


def put(aside: Path, path: Path) -> None:
    """Rename a file or directory to the path that it is for, where another process may do the same.

    Raises:
        OSError: the system refuses it.
    """
    for attempt in range(PUT_ATTEMPTS):
        if path.is_dir() or aside.is_dir():
            with suppress(FileNotFoundError):  # the other one has removed some of it
                remove(path)
        try:
            aside.replace(path)
            return
        except OSError as error:
            taken = error.errno in (errno.ENOTEMPTY, errno.EEXIST)
            if not taken or attempt == PUT_ATTEMPTS - 1:
                raise


@contextmanager
def workspace(beside: Path | None = None) -> Iterator[Path]:
    """Yield a directory to work in, which is removed in the end.

    What a process that was killed left in such a place is removed by the next one that works there.

    Args:
        beside: an output to work beside, on the disk that has room for it; None: in the temporary
            folder of the machine, for small things.
    """
    parent = Path(tempfile.gettempdir()) if beside is None else Path(beside).parent
    name = f"lora-bench-{os.getuid()}" if beside is None else Path(beside).name
    parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(parent, name)
    place = parent / own_name(name, WORK)
    place.mkdir(mode=0o700)
    try:
        yield place
    finally:
        remove(place)


def private_directory(name: str) -> Path:
    """Return a directory of this machine and this user, for locks and sockets.

    Not below XDG_RUNTIME_DIR, which not every session of a user has, as those of cron and Slurm.

    Raises:
        InputError: another user made it, or may write there.
    """
    directory = Path(tempfile.gettempdir()) / f"lora-bench-{name}-{os.getuid()}"
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    status = directory.lstat()
    if (
        not stat.S_ISDIR(status.st_mode)
        or status.st_uid != os.getuid()
        or stat.S_IMODE(status.st_mode) & 0o077
    ):
        raise InputError(
            f"{directory} is shared by your jobs, and no directory of yours alone (mode 0700): "
            "have it removed, or set TMPDIR to another place for all of your runs"
        )
    return directory


def own_name(name: str, kind: str) -> str:
    """Return a hidden name that no other process uses, with the machine and the process in it.

    Args:
        name: of the output.
        kind: PARTIAL or WORK.
    """
    return f".{name}.{machine()}-{os.getpid()}-{secrets.token_hex(4)}{kind}"


def machine() -> str:
    """Return a short name of this machine."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def remove_leftovers(directory: Path, name: str | None = None) -> None:
    """Remove what processes that were killed have left in a directory.

    Args:
        directory: where they wrote.
        name: of their output; None: of any.
    """
    for path in directory.iterdir():
        if path.name.startswith("." if name is None else f".{name}."):
            with suppress(OSError):  # another process is faster, or it is another user's
                if is_left(path, name or path.name.split(".")[1]):
                    remove(path)


def is_left(path: Path, name: str) -> bool:
    """Return whether a path is of a process that has ended.

    Args:
        path: of a file or directory.
        name: of the output that it would have become.
    """
    found = LEFT.fullmatch(path.name.removeprefix(f".{name}"))
    if not found or path.is_symlink() or path.stat().st_uid != os.getuid():
        return False
    if found["machine"] == machine():
        return not cli.process_name(int(found["process"]))
    written = max(each.stat().st_mtime for each in (path, *path.rglob("*")))
    return time.time() - written > LEFT_SECONDS


def sync(path: Path, deep: bool = True) -> None:
    """Wait until a file, or a directory with all below, is on the disk.

    Args:
        path: of the file or directory.
        deep: with all below.
    """
    for each in [path, *(path.rglob("*") if deep else ())]:
        handle = os.open(each, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def share(directory: Path) -> None:
    """Let others read the files of a directory, as far as the user's umask lets them.

    safetensors writes its files for their owner alone, which on a cluster is not who evaluates.
    """
    mask = os.umask(0)
    os.umask(mask)
    for file in directory.iterdir():
        file.chmod(0o666 & ~mask)


def remove(path: Path) -> None:
    """Remove a file or a directory, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(content: Any, path: Path) -> None:
    """Write JSON for people and programs: indented, keys in the order given.

    The last key of a mapping, DIGEST, tells what the others are like, so that ``read_json`` sees
    damage.

    Raises:
        InputError: a number is not finite.
    """
    try:  # as it will be read: texts as keys, lists for tuples
        content = json.loads(json.dumps(content, allow_nan=False))
    except ValueError as error:
        raise InputError(
            f"{path} would hold a number that is not finite, and is not written: look for the "
            "cause in the log above"
        ) from error
    if isinstance(content, dict):
        content |= {DIGEST: content_digest(content)}
    with atomic_write(path) as aside:
        aside.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def content_digest(content: dict[str, Any]) -> str:
    """Return the SHA-256 of the content of a JSON file, whatever its layout."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def require_directory(directory: Path) -> None:
    """Refuse a path that is not there: transformers would take it for an id on the hub."""
    if not Path(directory).is_dir():
        raise InputError(f"{directory} is no directory: name one that `fetch_model` wrote")


def read_json(
    path: Path, keys: Collection[str] = (), renamed: Mapping[str, str] | None = None
) -> Any:
    """Return the content of a JSON file.

    Args:
        path: of the file.
        keys: that it must have at its top.
        renamed: keys as older releases wrote them, with their names of today.

    Raises:
        InputError: the file is not there, not whole or not as it was written, or lacks a key:
            another version wrote it.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): {remedy(path)}") from error
    except ValueError as error:  # of JSON and of UTF-8
        raise InputError(
            f"{path} is no whole JSON file ({cli.one_line(error)}): {remedy(path)}"
        ) from error
    if isinstance(content, dict) and DIGEST in content:
        written = content.pop(DIGEST)
        if written != content_digest(content):
            raise InputError(f"{path} was altered after it was written: {remedy(path)}")
    for old, new in (renamed or {}).items():
        if isinstance(content, dict) and old in content:
            content[new] = content.pop(old)
    if missing := [key for key in keys if key not in content]:
        raise InputError(f"{path} has no {missing[0]!r}: another version wrote it; {remedy(path)}")
    return content


def remedy(*paths: Path) -> str:
    """Return what to do about damaged or missing files: delete the outputs and run again.

    A file inside a directory that one stage writes as a whole is not an output of its own: its
    absence starts no job. There it is the directory that has to go.
    """
    outputs = dict.fromkeys(output_of(Path(path)) for path in paths)
    if not any(output.exists() for output in outputs):
        return "run the stage that writes it"
    return f"delete {' and '.join(map(str, outputs))} and run again"


def output_of(path: Path) -> Path:
    """Return the directory that was written as a whole and holds a path; else the path itself."""
    return next((each for each in (path, *path.parents) if is_whole(each)), path)


def is_whole(directory: Path) -> bool:
    """Return whether a directory has a manifest, or a file that marks it as one of ours.

    Never one that holds the working directory, where a person may keep files of those names.
    """
    if Path.cwd().is_relative_to(directory.resolve()):
        return False
    return (directory / MANIFEST).exists() or bool(marked(directory))


def marked(directory: Path) -> list[str]:
    """Return the names of the files by which a directory is known as one of ours.

    A person's own source.json has no digest of its content.
    """
    paths = (directory / name for name in MARKERS)
    return [path.name for path in paths if path.is_file() and is_digested(path)]


def is_digested(path: Path) -> bool:
    """Return whether ``write_json`` wrote a file."""
    return f'"{DIGEST}": "'.encode() in path.read_bytes()


def read_source(directory: Path) -> dict[str, Any]:
    """Where the rows or the model in a directory came from, as they were fetched or prepared."""
    return read_json(directory / SOURCE)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_bytes(directory: Path) -> int:
    """Return the bytes of the weights in a directory: what a user would ship per task."""
    return sum(file.stat().st_size for file in Path(directory).glob("*.safetensors"))


def size_bytes(directory: Path) -> int:
    """Return the bytes of all files in a directory and below."""
    return sum(file.stat().st_size for file in Path(directory).rglob("*") if file.is_file())

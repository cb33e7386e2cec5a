"""Seals of directories: digests of their files, by which damage shows before it becomes a figure.

A disk that filled up, a copy that broke off or a bit that turned leaves files that often still
load. Their checksums refuse them. They are no protection against people: anyone who alters a file
can write its checksum anew.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from common import files
from common.cli import InputError
from common.files import MANIFEST

OF_PREDICTIONS = "predictions_digest"  # in metrics.json: of predictions.parquet beside it
DIGEST = ".sha256"  # takes the place after the name of a directory
SIDECAR = (
    ".digests.json"  # takes the place of a file's suffix: the digests of files written together
)

# By directory: its manifest, and size, times and inode of every listed file when it was verified.
# What several parts of a job use is read once, unless a file was touched since.
_verified: dict[Path, tuple[object, ...]] = {}


def write(directory: Path) -> None:
    """Write the digests of all files in a directory and below, as the last of them."""
    files.write_json(digests(inside(directory), directory), directory / MANIFEST)


def write_digest(directory: Path) -> None:
    """Write the digest of a directory's manifest beside it: of ``data`` into ``data.sha256``.

    Rules that read the directory depend on this file, so that a stage that ran again and wrote the
    same bytes makes nothing after it stale.
    """
    content = (directory / MANIFEST).read_bytes()
    with files.atomic_write(directory.with_name(directory.name + DIGEST)) as aside:
        aside.write_text(hashlib.sha256(content).hexdigest() + "\n")


def verify(directory: Path) -> None:
    """Raise if a file differs from the manifest of its directory; later files do not count.

    A directory that this project did not make has no manifest, and passes: it has none of the files
    that mark ours (``files.MARKERS``) either.

    Raises:
        InputError: a file is missing or differs, or the manifest is missing or damaged. The line
            names the file, and the directory that has to be deleted to have it made anew.
    """
    directory = Path(directory)
    if not (directory / MANIFEST).exists():
        require_unmarked(directory)
        return
    listed = files.read_json(directory / MANIFEST)
    before = fingerprint(directory, listed)
    if _verified.get(directory.resolve()) == before:
        return
    for name, written in listed.items():
        path = directory / name
        try:
            found = digest(path)
        except OSError as error:
            raise damaged(path, f"it cannot be read ({error.strerror})") from error
        if found != written:
            raise damaged(path, "it is not what was written")
    _verified[directory.resolve()] = before


def require_unmarked(directory: Path) -> None:
    """Raise if a directory of ours has no manifest: a copy broke off, or it was removed."""
    if names := files.marked(directory):
        raise InputError(
            f"{directory} has a {names[0]} and no {MANIFEST}, so it is not whole: "
            f"{files.remedy(directory)}"
        )


def fingerprint(directory: Path, listed: dict[str, str]) -> tuple[object, ...]:
    """Return what changes when a listed file is written, replaced or removed."""
    found: list[object] = [tuple(sorted(listed.items()))]
    for name in listed:
        path = directory / name
        if path.exists():
            status = path.stat()
            found.append((status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino))
        else:
            found.append(None)
    return tuple(found)


def verified_digests(directory: Path) -> dict[str, str]:
    """Return the digests of a directory's files, verified if it has a manifest, else computed."""
    verify(directory)
    if (directory / MANIFEST).exists():
        return files.read_json(directory / MANIFEST)
    return digests(inside(directory), directory)


def write_beside(paths: Iterable[Path], sidecar: Path) -> None:
    """Write the digests of files of one directory into a file beside them."""
    files.write_json({path.name: digest(path) for path in paths}, sidecar)


def verify_file(path: Path) -> None:
    """Raise if a file is not as ``seal_files`` found it.

    Raises:
        InputError: the file was altered, or the digests beside it are missing or damaged.
    """
    try:
        found = digest(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}): {files.remedy(path)}"
        ) from error
    if files.read_json(path.with_suffix(SIDECAR), [path.name])[path.name] != found:
        raise damaged(path, "it is not what was written")


def damaged(path: Path, why: str) -> InputError:
    """Return the error of a file that differs from its checksum."""
    return InputError(f"{path} is damaged: {why}; {files.remedy(path)}")


def inside(directory: Path) -> list[Path]:
    """Return all files of a directory and below, in order."""
    paths = (path for path in directory.rglob("*") if path.is_file())
    return sorted(path for path in paths if path != directory / MANIFEST)


def digests(paths: Iterable[Path], root: Path) -> dict[str, str]:
    """Return the digest of each file, by its path below a directory."""
    return {str(path.relative_to(root)): digest(path) for path in paths}


def digest(path: Path) -> str:
    """Return the XXH3 digest of a file, of 128 bits: computed at the speed of the memory."""
    import xxhash

    with open(path, "rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()

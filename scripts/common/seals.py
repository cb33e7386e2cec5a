"""Seals of directories: digests of their files, by which damage shows before it becomes a figure.

A disk that filled up, a copy that broke off or a bit that turned leaves files that often still
load. They do not get past their seal. It is no protection against people: who alters a file can
seal it anew.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from common import files
from common.cli import InputError

SEAL = "digests.json"
OF_PREDICTIONS = "predictions_digest"  # in metrics.json: of predictions.parquet beside it


def seal(directory: Path) -> None:
    """Write down what all files in a directory and below are like, as the last of them."""
    files.write_json(digests(inside(directory), directory), directory / SEAL)


def check(directory: Path) -> None:
    """Refuse a directory that is not as it was sealed; files that came later do not count.

    One without a seal was not made by this project, and passes.

    Raises:
        InputError: a file is missing or another one. It names the file.
    """
    directory = Path(directory)
    if not (directory / SEAL).exists():
        return
    for name, sealed in files.read_json(directory / SEAL).items():
        path = directory / name
        try:
            found = digest(path)
        except OSError as error:
            raise damaged(path, f"it cannot be read ({error.strerror})") from error
        if found != sealed:
            raise damaged(path, "it is not what was written")


def damaged(path: Path, why: str) -> InputError:
    """The error of a file that is not as it was sealed."""
    return InputError(f"{path} is damaged: {why}; delete {path.parent} and run again")


def inside(directory: Path) -> list[Path]:
    """All files of a directory and below, in order."""
    paths = (path for path in directory.rglob("*") if path.is_file())
    return sorted(path for path in paths if path != directory / SEAL)


def digests(paths: Iterable[Path], root: Path) -> dict[str, str]:
    """The digest of each file, by its path below a directory."""
    return {str(path.relative_to(root)): digest(path) for path in paths}


def digest(path: Path) -> str:
    """The XXH3 digest of a file, of 128 bits: made at the speed of the memory, unlike a SHA-256."""
    import xxhash

    with open(path, "rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()

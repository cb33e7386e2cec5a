"""Seals of directories: digests of their files, by which damage shows before it becomes a figure.

A disk that filled up, a copy that broke off or a bit that turned leaves files that often still
load. They do not get past their seal. It is no protection against people: who alters a file can
seal it anew.
"""

from pathlib import Path

from common import files
from common.cli import InputError

SEAL = "digests.json"
OF_PREDICTIONS = "predictions_digest"  # in metrics.json: of predictions.parquet beside it
CHUNK_BYTES = 1 << 22


def seal(directory: Path) -> None:
    """Write down what all files in a directory and below are like, as the last of them."""
    digests = {str(path.relative_to(directory)): digest(path) for path in inside(directory)}
    files.write_json(digests, directory / SEAL)


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


def digest(path: Path) -> str:
    """The XXH3 digest of a file, of 128 bits: made at the speed of the memory, unlike a SHA-256."""
    import xxhash

    found = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            found.update(chunk)
    return found.hexdigest()

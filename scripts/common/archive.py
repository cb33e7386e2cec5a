"""Results that are under version control, taken out of a revision for a while."""

import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from common.cli import InputError

RESULTS = "results"


@contextmanager
def results_of(place: str) -> Iterator[Path]:
    """The results directory that a place means; one out of a revision is there for the while.

    Args:
        place: a directory, which wins; a git revision, whose ``results`` are meant; or both, as
            ``REVISION:DIRECTORY``. Revision and directory are those of the working directory.

    Raises:
        InputError: it is none of these, or the revision holds no such directory.
    """
    if Path(place).is_dir():
        yield Path(place)
        return
    revision, _, path = place.partition(":")
    with TemporaryDirectory(prefix="results-") as folder:
        extract(commit_of(revision, place), path or RESULTS, place, Path(folder))
        yield Path(folder) / (path or RESULTS)


def commit_of(revision: str, place: str) -> str:
    """The commit that a revision means."""
    done = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if not revision or done.returncode:
        raise InputError(
            f"{place!r} is neither a directory nor a git revision: name one, or REVISION:DIRECTORY"
        )
    return done.stdout.decode().strip()


def extract(commit: str, path: str, place: str, folder: Path) -> None:
    """Write a directory as a commit holds it below a folder."""
    tar = folder / ".results.tar"
    done = git("archive", "--format=tar", f"--output={tar}", commit, path)
    if done.returncode:
        said = " ".join(done.stderr.decode().split())
        raise InputError(
            f"{place!r} holds no {path}/ ({said}): git ignores results by default, so keep those "
            "of a run with `git add --force` of its comparison.csv, metrics.json, "
            "predictions.parquet and passport.json"
        )
    with tarfile.open(tar) as archive:
        archive.extractall(folder, filter="data")


def git(*words: str) -> subprocess.CompletedProcess[bytes]:
    """Run git in the working directory; a machine without it has no revisions either."""
    try:
        return subprocess.run(["git", *words], capture_output=True, check=False)
    except FileNotFoundError as error:
        raise InputError("there is no `git` to read a revision with: name a directory") from error

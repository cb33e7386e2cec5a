"""Results that are under version control, taken out of a revision for a while."""

import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import cli, files
from common.cli import InputError

RESULTS = "results"


@contextmanager
def results_of(place: str) -> Iterator[Path]:
    """Yield the results directory that a place means; one out of a revision is there for the while.

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
    path = path or RESULTS
    commit = commit_of(revision, place)
    require_inside(path, place)
    with files.workspace() as folder:
        extract(commit, path, place, folder)
        yield folder / path


def commit_of(revision: str, place: str) -> str:
    """Return the commit that a revision means."""
    done = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if not revision or done.returncode:
        raise InputError(
            f"{place!r} is neither a directory nor a git revision: name one, or REVISION:DIRECTORY"
        )
    return done.stdout.decode().strip()


def require_inside(path: str, place: str) -> None:
    """Refuse a directory that would lie outside of where the revision is taken out to."""
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise InputError(
            f"{place!r}: {path} leads out of the revision: name a directory below the working one"
        )


def extract(commit: str, path: str, place: str, folder: Path) -> None:
    """Write a directory as a commit holds it below a folder; its path is a path and no pattern."""
    tar = folder / ".results.tar"
    words = ("archive", "--format=tar", f"--output={tar}", commit, "--", path)
    done = git("--literal-pathspecs", *words)
    if done.returncode:
        raise nothing_there(path, place, " ".join(done.stderr.decode().split()))
    try:
        with tarfile.open(tar) as archive:
            archive.extractall(folder, filter="data")
    except tarfile.FilterError as error:
        raise InputError(
            f"{place!r} holds what is no plain file ({cli.one_line(error)}): name a directory "
            "without links that lead out of it"
        ) from error
    if not (folder / path).is_dir():
        raise nothing_there(path, place, "it is a file")


def nothing_there(path: str, place: str, why: str) -> InputError:
    """Return what to say of a revision without such a directory."""
    return InputError(
        f"{place!r} holds no {path}/ ({why}): git ignores results by default, so keep those of a "
        "run with `git add --force` of its comparison.csv, metrics.json, predictions.parquet and "
        "passport.json"
    )


def git(*words: str) -> subprocess.CompletedProcess[bytes]:
    """Run git in the working directory; a machine without it has no revisions either."""
    try:
        return subprocess.run(["git", *words], capture_output=True, check=False)
    except FileNotFoundError as error:
        raise InputError("there is no `git` to read a revision with: name a directory") from error

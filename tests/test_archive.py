"""Results out of a directory, or out of a git revision."""

import subprocess
from pathlib import Path

import pytest

from common.archive import results_of
from common.cli import InputError


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A repository, the working directory, whose tag `old` holds two directories of results."""
    monkeypatch.chdir(tmp_path)
    for name in ("results", "kept/before"):
        Path(name).mkdir(parents=True)
        Path(name, "file").write_text(f"{name}, as committed")
    Path(".gitignore").write_text("/results/\n")
    who = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]
    for words in (
        ["init", "-q"],
        ["add", "--force", ".gitignore", "results", "kept"],
        [*who, "commit", "-qm", "Results"],
        ["tag", "old"],
        ["rm", "-rq", "--cached", "results"],
        [*who, "commit", "-qm", "None"],
    ):
        subprocess.run(["git", *words], check=True)
    Path("results/file").write_text("results, as they are now")
    return tmp_path


def read(place: str) -> str:
    with results_of(place) as root:
        return (root / "file").read_text()


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("results", "results, as they are now"),
        ("old", "results, as committed"),
        ("old:results", "results, as committed"),
        ("old:kept/before", "kept/before, as committed"),
        ("HEAD~1", "results, as committed"),
    ],
)
@pytest.mark.usefixtures("repository")
def test_a_place_is_a_directory_or_a_revision(place, expected):
    assert read(place) == expected


@pytest.mark.usefixtures("repository")
def test_what_a_revision_holds_is_there_for_the_while():
    with results_of("old") as root:
        assert root.is_dir()
    assert not root.exists()
    assert Path("results/file").read_text() == "results, as they are now"


@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ("HEAD", "'HEAD' holds no results/ .*git ignores results by default.*git add --force"),
        ("old:nothing", "'old:nothing' holds no nothing/"),
        ("nothing", "'nothing' is neither a directory nor a git revision"),
        (":results", "':results' is neither"),
        ("--help", "'--help' is neither"),
    ],
)
@pytest.mark.usefixtures("repository")
def test_a_place_that_holds_nothing_is_one_line(place, complaint):
    with pytest.raises(InputError, match=complaint) as caught, results_of(place):
        raise AssertionError("there is nothing to compare")
    assert "\n" not in str(caught.value)


def test_a_machine_without_git_has_directories(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with results_of(str(tmp_path)) as root:
        assert root == tmp_path
    with pytest.raises(InputError, match="there is no `git`"), results_of("HEAD"):
        raise AssertionError("no git, and yet a revision")

"""Results out of a directory, or out of a git revision."""

import subprocess
from pathlib import Path

import pytest

from common.cli import InputError
from common.report.archive import results_of


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
        ("--output=x", "'--output=x' is neither"),
        ("--output=x:results", "'--output=x:results' is neither"),
        ("old:--output=x", "'old:--output=x' holds no --output=x/"),
        ("old:--remote=x", "'old:--remote=x' holds no --remote=x/"),
        ("old::(top)results", r"holds no :\(top\)results/"),
        ("old:res*", r"holds no res\*/"),
        ("old:results/file", "holds no results/file/ .it is a file"),
        ("old:kept/../..", "kept/../.. leads out of the revision"),
        ("old:/etc", "/etc leads out of the revision"),
    ],
)
@pytest.mark.usefixtures("repository")
def test_a_place_that_holds_nothing_is_one_line(place, complaint):
    with pytest.raises(InputError, match=complaint) as caught, results_of(place):
        raise AssertionError("there is nothing to compare")
    assert "\n" not in str(caught.value)
    assert not Path("x").exists()


def test_a_link_that_leads_out_of_the_results_is_not_followed(repository):
    Path("results/link").symlink_to("/etc")
    who = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]
    for words in (["add", "--force", "results"], [*who, "commit", "-qm", "A link"]):
        subprocess.run(["git", *words], cwd=repository, check=True)
    with pytest.raises(InputError, match="'HEAD' holds what is no plain file"), results_of("HEAD"):
        raise AssertionError("the link was followed")


def test_a_machine_without_git_has_directories(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with results_of(str(tmp_path)) as root:
        assert root == tmp_path
    with pytest.raises(InputError, match="there is no `git`"), results_of("HEAD"):
        raise AssertionError("no git, and yet a revision")

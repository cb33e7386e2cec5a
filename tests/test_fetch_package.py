"""One wheel is downloaded and verified; pip looks for it in a directory, never in the network."""

import hashlib
import zipfile
from pathlib import Path

import pytest

import fetch_package
from common.cli import InputError


@pytest.fixture
def wheel(tmp_path, monkeypatch) -> Path:
    """The wheel of `toy`, version 1.0, where pip finds it."""
    path = tmp_path / "index" / "toy-1.0-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toy/data.csv", "text,label\nhello,ham\n")
        archive.writestr("toy-1.0.dist-info/METADATA", "Name: toy\nVersion: 1.0\n")
        archive.writestr("toy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetch(requirement: str, digest: str, output: Path) -> None:
    fetch_package.main(["--requirement", requirement, "--sha256", digest, "--output", str(output)])


def refusal(requirement: str, digest: str, output: Path) -> str:
    """Return the one line of a refused download, which leaves nothing behind."""
    with pytest.raises(InputError) as error:
        fetch(requirement, digest, output)
    assert not output.parent.exists() or not list(output.parent.iterdir())
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("spell", [str.lower, str.upper])
def test_a_verified_wheel_is_written_as_it_is(wheel, tmp_path, spell):
    output = tmp_path / "packages" / "toy.whl"
    fetch("toy==1.0", spell(sha256(wheel)), output)
    assert output.read_bytes() == wheel.read_bytes()
    assert [file.name for file in output.parent.iterdir()] == ["toy.whl"]


def test_another_content_than_the_configured_one_is_refused(wheel, tmp_path):
    message = refusal("toy==1.0", "0" * 64, tmp_path / "packages" / "toy.whl")
    assert "toy==1.0" in message
    assert sha256(wheel) in message
    assert "set `sha256` only if you trust it" in message


def test_a_refused_wheel_does_not_replace_the_one_in_place(wheel, tmp_path):
    output = tmp_path / "packages" / "toy.whl"
    fetch("toy==1.0", sha256(wheel), output)
    with pytest.raises(InputError):
        fetch("toy==1.0", "0" * 64, output)
    assert output.read_bytes() == wheel.read_bytes()


@pytest.mark.usefixtures("wheel")
@pytest.mark.parametrize("requirement", ["nonesuch==1.0", "toy==2.0"])
def test_an_unknown_package_or_version_is_refused(tmp_path, requirement):
    message = refusal(requirement, "0" * 64, tmp_path / "packages" / "toy.whl")
    assert f"cannot download {requirement}: ERROR: No matching distribution found" in message
    assert "check the name, the network and `pip config list`" in message


@pytest.mark.parametrize(
    "requirement", ["toy", "./toy", "toy @ file:///toy", "toy>=1.0", "toy==1.*"]
)
def test_only_a_pinned_package_is_downloaded(wheel, tmp_path, requirement):
    message = refusal(requirement, sha256(wheel), tmp_path / "packages" / "toy.whl")
    assert message == f"{requirement!r} is no pinned package: write NAME==VERSION"


def test_a_source_distribution_is_not_built(wheel, tmp_path):
    wheel.unlink()
    trace = tmp_path / "executed"
    with zipfile.ZipFile(wheel.with_name("toy-1.0.zip"), "w") as archive:
        archive.writestr("toy-1.0/setup.py", f"open({str(trace)!r}, 'w')")
    assert "No matching distribution" in refusal("toy==1.0", "0" * 64, tmp_path / "out" / "toy.whl")
    assert not trace.exists()


@pytest.mark.usefixtures("wheel")
def test_a_mistake_ends_in_one_line_and_status_1(tmp_path, run_script):
    words = ["--requirement", "nonesuch==1", "--sha256", "0", "--output", tmp_path / "x"]
    done = run_script("fetch_package", *words)
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot download nonesuch==1")
    assert done.stderr.count("\n") == 1

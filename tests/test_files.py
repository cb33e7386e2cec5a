"""A file or directory is whole or not there, and hashes and sizes are exact."""

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from common import files
from common.cli import InputError


def names(directory: Path) -> list[str]:
    return sorted(file.name for file in directory.iterdir())


def test_a_file_takes_its_place_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with files.atomic_write(path) as aside:
        aside.write_text("content")
        assert aside.parent == path.parent  # one file system, so that renaming is atomic
        assert not path.exists()
    assert path.read_text() == "content"
    assert names(path.parent) == ["a.txt"]


def test_a_failure_leaves_what_was_there_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), files.atomic_write(path) as aside:
        aside.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_failure_leaves_no_directory(tmp_path):
    with pytest.raises(ValueError), files.atomic_write(tmp_path / "d") as aside:
        aside.mkdir()
        (aside / "a.txt").write_text("half")
        raise ValueError
    assert names(tmp_path) == []


def test_a_directory_replaces_the_whole_old_one(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "old.txt").write_text("old")
    with files.atomic_write(tmp_path / "d") as aside:
        aside.mkdir()
        (aside / "new.txt").write_text("new")
    assert names(tmp_path) == ["d"]
    assert names(tmp_path / "d") == ["new.txt"]


def test_a_link_to_a_directory_is_replaced_and_its_target_kept(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "a.txt").write_text("kept")
    (tmp_path / "link").symlink_to("kept")
    with files.atomic_write(tmp_path / "link") as aside:
        aside.mkdir()
    assert not (tmp_path / "link").is_symlink()
    assert names(tmp_path / "link") == []
    assert names(tmp_path / "kept") == ["a.txt"]


def test_json_keeps_the_order_and_ends_in_a_newline(tmp_path):
    files.write_json({"b": 1, "a": [0.5, None]}, tmp_path / "a.json")
    assert files.read_json(tmp_path / "a.json") == {"b": 1, "a": [0.5, None]}
    assert list(files.read_json(tmp_path / "a.json")) == ["b", "a"]
    assert (tmp_path / "a.json").read_text().endswith("}\n")


def test_json_refuses_nan_and_writes_nothing(tmp_path):
    with pytest.raises(InputError, match="would hold a number that is not finite"):
        files.write_json({"loss": float("nan")}, tmp_path / "a.json")
    assert names(tmp_path) == []


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1])
def test_sha256_is_that_of_the_whole_content(tmp_path, size):
    (tmp_path / "a").write_bytes(b"x" * size)
    assert files.sha256(tmp_path / "a") == hashlib.sha256(b"x" * size).hexdigest()


def test_size_counts_every_file_below(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "deep" / "b").write_bytes(b"45")
    assert files.size_bytes(tmp_path) == 5


def test_remove_takes_files_directories_and_nothing(tmp_path):
    (tmp_path / "a").write_text("")
    (tmp_path / "d").mkdir()
    for name in ("a", "d", "nothing"):
        files.remove(tmp_path / name)
    assert names(tmp_path) == []


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o007, 0o660)])
def test_shared_files_are_as_open_as_the_umask_lets_them(tmp_path, mask, mode):
    file = tmp_path / "weights"
    file.touch(0o600)
    before = os.umask(mask)
    try:
        files.share(tmp_path)
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == mode


def test_source_is_what_fetch_model_recorded(tiny_models, tmp_path):
    assert files.read_source(tiny_models["gpt2"])["name"] == "gpt2"
    with pytest.raises(InputError, match=r"source\.json cannot be read"):
        files.read_source(tmp_path)


def test_two_that_write_the_same_file_do_not_meet(tmp_path):
    """As a job that was given to another node while it still ran."""
    path = tmp_path / "a.txt"
    with files.atomic_write(path) as first:
        first.write_text("first")
        with files.atomic_write(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert names(tmp_path) == ["a.txt"]


def test_two_that_write_the_same_directory_do_not_fail(tmp_path, monkeypatch):
    path = tmp_path / "d"
    removed = files.remove

    def remove(place: Path) -> None:
        removed(place)
        if place == path and not path.exists():
            monkeypatch.setattr(files, "remove", removed)
            (path / "of another").mkdir(parents=True)  # between removal and renaming

    with files.atomic_write(path) as aside:
        (aside / "own").mkdir(parents=True)
        monkeypatch.setattr(files, "remove", remove)
    assert names(path) == ["own"]


@pytest.fixture
def ended() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize("kind", [files.PARTIAL, files.WORK])
def test_what_a_process_left_that_was_killed_is_removed(tmp_path, ended, kind, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: ended)
        left = tmp_path / files.own_name("model", kind)
        other = tmp_path / files.own_name("model2", kind)
    living = tmp_path / files.own_name("model", kind)
    with monkeypatch.context() as patch:
        patch.setattr(files, "machine", lambda: "elsewhere")
        far, far_and_old = (tmp_path / files.own_name("model", kind) for _ in range(2))
    for path in (left, other, living, far, far_and_old):
        path.mkdir()
        (path / "weights").write_text("many")
    for each in (far_and_old, far_and_old / "weights"):
        os.utime(each, (0, 0))
    with files.atomic_write(tmp_path / "model") as aside:
        aside.mkdir()
    assert names(tmp_path) == sorted(path.name for path in (other, living, far, tmp_path / "model"))
    with files.workspace(tmp_path / "model2") as place:
        assert place.parent == tmp_path
        assert not other.exists()
    assert not place.exists()


def test_what_stands_in_the_temporary_folder_is_cleaned_too(tmp_path, ended, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: ended)
        patch.setattr(files, "remove", lambda _: None)  # as one that is killed
        with files.workspace() as left:
            pass
    assert left.exists()
    with files.workspace() as place:
        assert names(tmp_path) == [place.name]
    assert names(tmp_path) == []


def test_nothing_but_workspaces_is_temporary():
    """What tempfile makes stays when its process is killed."""
    scripts = Path(files.__file__).parents[1]
    users = {path.name for path in scripts.rglob("*.py") if "tempfile" in path.read_text()}
    assert users == {"files.py"}

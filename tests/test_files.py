"""A file or directory is whole or not there, and hashes and sizes are exact."""

import hashlib
import os
from pathlib import Path

import pytest

from common import files
from common.cli import InputError


def names(directory: Path) -> list[str]:
    return sorted(file.name for file in directory.iterdir())


def test_a_file_takes_its_place_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with files.written_aside(path) as aside:
        aside.write_text("content")
        assert aside.parent == path.parent  # one file system, so that renaming is atomic
        assert not path.exists()
    assert path.read_text() == "content"
    assert names(path.parent) == ["a.txt"]


def test_a_failure_leaves_what_was_there_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), files.written_aside(path) as aside:
        aside.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_failure_leaves_no_directory(tmp_path):
    with pytest.raises(ValueError), files.written_aside(tmp_path / "d") as aside:
        aside.mkdir()
        (aside / "a.txt").write_text("half")
        raise ValueError
    assert names(tmp_path) == []


def test_a_directory_replaces_the_whole_old_one(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "old.txt").write_text("old")
    with files.written_aside(tmp_path / "d") as aside:
        aside.mkdir()
        (aside / "new.txt").write_text("new")
    assert names(tmp_path) == ["d"]
    assert names(tmp_path / "d") == ["new.txt"]


def test_a_link_to_a_directory_is_replaced_and_its_target_kept(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "a.txt").write_text("kept")
    (tmp_path / "link").symlink_to("kept")
    with files.written_aside(tmp_path / "link") as aside:
        aside.mkdir()
    assert not (tmp_path / "link").is_symlink()
    assert names(tmp_path / "link") == []
    assert names(tmp_path / "kept") == ["a.txt"]


def test_what_a_killed_job_left_is_swept_away(tmp_path):
    with files.written_aside(tmp_path / "d") as left:
        left.mkdir()
    left.mkdir()
    (left / "stale.txt").write_text("of a killed job")
    with files.written_aside(tmp_path / "d") as aside:
        assert not aside.exists()
        aside.mkdir()
    assert names(tmp_path) == ["d"]
    assert names(tmp_path / "d") == []


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

"""Members of a wheel come out whole, or not at all, and never outside their directory."""

import zipfile
from pathlib import Path

import pytest

from common.cli import InputError
from common.data import wheels

FILES = {"toy/__init__.py": "", "toy/data/rows.csv": "a" * 90, "toy/data/deep/more.txt": "b" * 50}


@pytest.fixture
def wheel(tmp_path) -> Path:
    return pack(tmp_path / "toy.whl", FILES)


def pack(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def written(directory: Path) -> dict[str, str]:
    found = [file for file in directory.rglob("*") if file.is_file()]
    return {file.relative_to(directory).as_posix(): file.read_text() for file in found}


@pytest.mark.parametrize(
    "member", ["toy/data/rows.csv", "./toy/data/rows.csv", "toy//data/rows.csv"]
)
def test_copy_file_copies_one_file(wheel, tmp_path, member):
    wheels.copy_file(wheel, member, tmp_path / "train.csv")
    assert (tmp_path / "train.csv").read_text() == "a" * 90


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ("toy/data", {"rows.csv": "a" * 90, "deep/more.txt": "b" * 50}),
        ("toy/data/", {"rows.csv": "a" * 90, "deep/more.txt": "b" * 50}),
        ("toy/data/rows.csv", {"rows.csv": "a" * 90}),
    ],
)
def test_copy_members_copies_a_folder_or_one_file(wheel, tmp_path, member, expected):
    wheels.copy_members(wheel, member, tmp_path / "out")
    assert written(tmp_path / "out") == expected


def test_a_folder_is_not_a_prefix_of_another_name(tmp_path):
    wheel = pack(tmp_path / "toy.whl", {"toy/data/a": "", "toy/database/b": ""})
    wheels.copy_members(wheel, "toy/data", tmp_path / "out")
    assert written(tmp_path / "out") == {"a": ""}


@pytest.mark.parametrize("copy", [wheels.copy_file, wheels.copy_members])
@pytest.mark.parametrize("member", ["../x", "/etc/passwd", "toy/../../x", "toy\\..\\x"])
def test_a_member_outside_the_archive_is_refused(wheel, tmp_path, copy, member):
    with pytest.raises(InputError, match="leads out of the archive: name a path inside it"):
        copy(wheel, member, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_archive_with_a_name_that_leads_out_is_refused_whole(tmp_path):
    wheel = pack(tmp_path / "toy.whl", {"toy/good": "", "toy/../../evil": ""})
    with pytest.raises(InputError, match="evil"):
        wheels.copy_members(wheel, "toy", tmp_path / "in" / "out")
    assert not list(tmp_path.rglob("evil"))
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize("copy", [wheels.copy_file, wheels.copy_members])
def test_a_missing_member_names_the_largest_files(wheel, tmp_path, copy):
    with pytest.raises(InputError) as error:
        copy(wheel, "toy/rows.csv", tmp_path / "out")
    assert str(error.value) == (
        "no member 'toy/rows.csv' in toy.whl: set `member` to one of its files, such as "
        "toy/data/rows.csv, toy/data/deep/more.txt, toy/__init__.py"
    )


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "toy.whl").write_text("not a zip")
    with pytest.raises(InputError, match=r"toy\.whl is not a wheel .*: delete .* and run again"):
        wheels.copy_file(tmp_path / "toy.whl", "a", tmp_path / "out")


def test_a_wheel_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.whl does not exist: download it with"):
        wheels.copy_file(tmp_path / "nowhere.whl", "a", tmp_path / "out")


def test_a_damaged_member_is_refused(wheel, tmp_path):
    wheel.write_bytes(wheel.read_bytes().replace(b"a" * 90, b"a" * 89 + b"X"))
    with pytest.raises(InputError, match=r"toy\.whl is not a wheel .*CRC.*: delete .* and run"):
        wheels.copy_file(wheel, "toy/data/rows.csv", tmp_path / "out")

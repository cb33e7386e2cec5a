"""Members of a wheel: read or copied out of the archive, never imported or executed."""

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from common import files
from common.cli import InputError


@contextmanager
def opened(wheel: Path) -> Iterator[zipfile.ZipFile]:
    """Yield an open wheel; one that is not there, or is no zip archive, is the user's mistake."""
    if not wheel.is_file():
        raise InputError(f"{wheel} does not exist: download it with fetch_package.py")
    try:
        with zipfile.ZipFile(wheel) as archive:
            yield archive
    except zipfile.BadZipFile as error:
        raise InputError(f"{wheel} is not a wheel ({error}): {files.remedy(wheel)}") from error


def checked(member: str) -> PurePosixPath:
    """Return a member's path, refused if it could lead out of the directory it is copied to."""
    path = PurePosixPath(member)
    if path.is_absolute() or ".." in path.parts or "\\" in member:
        raise InputError(f"member {member!r} leads out of the archive: name a path inside it")
    return path


def copy_file(wheel: Path, member: str, target: Path) -> None:
    """Copy one file of a wheel to ``target``."""
    name = str(checked(member))
    with opened(wheel) as archive:
        if name not in archive.namelist():
            raise InputError(missing(wheel, member, archive))
        with archive.open(name) as source, open(target, "wb") as copy:
            shutil.copyfileobj(source, copy)


def copy_members(wheel: Path, member: str, directory: Path) -> None:
    """Copy one file, or all files of one folder of a wheel, into ``directory``."""
    root = checked(member)
    with opened(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        inside = [name for name in names if root in (path := checked(name), *path.parents)]
        if not inside:
            raise InputError(missing(wheel, member, archive))
        for name in inside:
            relative = checked(name).relative_to(root)
            target = directory / (relative if relative.parts else root.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_file(wheel, name, target)


def missing(wheel: Path, member: str, archive: zipfile.ZipFile) -> str:
    """Return the error line for a member that is not there, with the largest files as a hint."""
    largest = sorted(archive.infolist(), key=lambda info: -info.file_size)[:3]
    hint = ", ".join(info.filename for info in largest)
    return f"no member {member!r} in {wheel.name}: set `member` to one of its files, such as {hint}"

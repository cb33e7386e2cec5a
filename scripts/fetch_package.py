"""Download the wheel of one Python package, verified; nothing of it is installed or executed.

    python scripts/fetch_package.py --requirement textdescriptives==2.8.4 \\
        --sha256 de97af21c622918196523f0692059c0680a8afe0ca4a63d41bd0789c69899d78 \\
        --output resources/packages/textdescriptives-2.8.4.whl

pip downloads it, so the user's own index, mirror, proxy and cache settings hold.
"""

import logging
import re
import subprocess
import sys
from pathlib import Path

from common import cli, files

log = logging.getLogger("fetch_package")

PINNED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.+!]+")


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--requirement", required=True, help="package and version: NAME==VERSION")
    parser.add_argument("--sha256", required=True, help="SHA-256 of the wheel")
    parser.add_argument("--output", required=True, type=Path, help="the wheel to write")
    args = parser.parse_args(argv)
    with files.workspace(args.output) as folder:
        wheel = download(args.requirement, folder)
        verify(wheel, args.sha256, args.requirement)
        with files.atomic_write(args.output) as aside:
            aside.write_bytes(wheel.read_bytes())
    log.info("%s verified: %s, %d bytes", args.requirement, args.output, args.output.stat().st_size)


def download(requirement: str, folder: Path) -> Path:
    """The wheel of ``requirement``, downloaded by pip into ``folder`` without its dependencies.

    Raises:
        InputError: it names no pinned package (pip would build a path or an address, and so execute
            its code), or pip found or fetched none; its last line of complaint is passed on.
    """
    if not PINNED.fullmatch(requirement):
        raise cli.InputError(f"{requirement!r} is no pinned package: write NAME==VERSION")
    # Only wheels: building a source distribution would execute the package's code.
    words = [
        "--no-deps",
        "--only-binary=:all:",
        "--disable-pip-version-check",
        "--dest",
        str(folder),
    ]
    words += [] if cli.is_interactive() else ["--quiet"]
    command = [sys.executable, "-m", "pip", "download", *words, requirement]
    # The progress bar of pip goes to standard output, which file descriptor 2 shows.
    process = subprocess.Popen(command, stdout=2, stderr=subprocess.PIPE, text=True)
    _, complaints = process.communicate()
    if process.returncode:
        lines = complaints.splitlines()
        last = ([line for line in lines if line.startswith("ERROR")] or lines)[-1:]
        reason = " ".join(last) or f"pip ended with status {process.returncode}"
        raise cli.InputError(
            f"cannot download {requirement}: {reason}; check the name, the network and "
            "`pip config list`"
        )
    (wheel,) = folder.glob("*.whl")
    return wheel


def verify(wheel: Path, expected: str, requirement: str) -> None:
    """Refuse a wheel whose content is not the one that the config names."""
    found = files.sha256(wheel)
    if found != expected.lower():
        raise cli.InputError(
            f"{requirement} has sha256 {found}, the config says {expected}: the package index "
            "served another file; set `sha256` only if you trust it"
        )


if __name__ == "__main__":
    cli.run(main)

"""Look the locked packages up in the database of known vulnerabilities, with pip-audit.

    python envs/audit.py --tool .venv-audit/bin/pip-audit

Exit status 1 where a package has one. Where the database cannot be reached, that is said, and no
package counts as looked up.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ENVS = Path(__file__).parent
LOCKS = ("requirements.txt", "requirements-dev.txt")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tool", type=Path, required=True, help="pip-audit")
    args = parser.parse_args(argv)
    print(judge([package for lock in LOCKS for package in look_up(args.tool, ENVS / lock)]))


def look_up(tool: Path, lock: Path) -> list[dict[str, Any]]:
    """What pip-audit says of each package of a lock file.

    Raises:
        SystemExit: it failed, and said so.
    """
    command = [str(tool), "--requirement", str(lock), "--no-deps", "--disable-pip"]
    done = subprocess.run(
        [*command, "--format", "json", "--progress-spinner", "off"], capture_output=True, text=True
    )
    try:
        return json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        sys.exit(f"error: {' '.join(command)} failed: {done.stderr.strip()[-500:]}")


def judge(packages: list[dict[str, Any]]) -> str:
    """One line about packages without known vulnerabilities.

    Raises:
        SystemExit: there are some; a line about each.
    """
    found = [
        f"error: {package['name']} {package['version']}: {each['id']}, fixed in "
        f"{', '.join(each['fix_versions']) or 'no version yet'}; raise the bound and `make lock`"
        for package in packages
        for each in package.get("vulns", [])
    ]
    if found:
        sys.exit("\n".join(found))
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if len(skipped) == len(packages):
        return "Nothing was audited: the database of vulnerabilities cannot be reached from here."
    known = f"{len(packages) - len(skipped)} packages have no known vulnerability"
    return f"{known}; not in the database: {', '.join(skipped) or 'none'}"


if __name__ == "__main__":
    main()

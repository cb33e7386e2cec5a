"""The environments agree: the exact versions lie within the bounds that are declared."""

import re
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from common.model import quantization
from envs import audit

ENVS = Path(__file__).parents[1] / "envs"
WORKFLOW = yaml.safe_load((ENVS / "workflow.yaml").read_text())


def requirements(lines: list[str]) -> dict[str, Requirement]:
    plain = [line.partition("#")[0].strip() for line in lines]
    parsed = [Requirement(line) for line in plain if line and not line.startswith("-")]
    return {canonicalize_name(each.name): each for each in parsed}


def read(name: str) -> dict[str, Requirement]:
    return requirements((ENVS / name).read_text().splitlines())


LOCK = read("requirements.txt")
BOUNDS = requirements(WORKFLOW["dependencies"][-1]["pip"]) | read("requirements.in")


def version(pin: Requirement) -> str:
    (specifier,) = pin.specifier
    assert specifier.operator == "==", pin
    return specifier.version


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_the_locked_version_lies_within_the_bounds(name):
    assert BOUNDS[name].specifier.contains(version(LOCK[name]))


def test_no_release_of_transformers_is_admitted_that_was_not_tested():
    """Private methods of its Trainer are overridden (common.model.trainer)."""
    tested = Version(version(LOCK["transformers"]))
    assert not BOUNDS["transformers"].specifier.contains(f"{tested.major}.{tested.minor + 1}")


def test_every_locked_version_is_exact_and_public():
    assert not [pin for pin in LOCK.values() if "+" in version(pin)]


def test_the_lock_names_no_index():
    assert not re.search(r"https?:|--", (ENVS / "requirements.txt").read_text())


def test_the_package_of_quantization_is_the_one_that_is_tested():
    (tested,) = [
        pin for name, pin in read("requirements-dev.txt").items() if name == "bitsandbytes"
    ]
    assert Requirement(quantization.PACKAGE).specifier.contains(version(tested))
    assert Requirement(quantization.PACKAGE) == read("requirements-dev.in")["bitsandbytes"]


def test_conda_is_asked_for_python_and_pip_alone():
    names = [line.split()[0] for line in WORKFLOW["dependencies"][:-1]]
    assert names == ["python", "pip"]
    assert WORKFLOW["channels"] == ["conda-forge"]


SAFE = {"name": "safe", "version": "1", "vulns": []}
SKIPPED = {"name": "local", "skip_reason": "not found"}


def test_the_audit_tells_of_each_vulnerability():
    bad = {"name": "bad", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2", "3"]}]}
    with pytest.raises(SystemExit, match=r"error: bad 1: CVE-1, fixed in 2, 3"):
        audit.judge([SAFE, bad])


def test_the_audit_does_not_call_safe_what_it_did_not_look_up():
    assert audit.judge([SAFE, SKIPPED]) == (
        "1 packages have no known vulnerability; not in the database: local"
    )
    assert audit.judge([SKIPPED]).startswith("Nothing was audited")

"""Two results directories, compared file by file, apart from what the clock and the host do."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# Files about the run itself.
ABOUT_THE_RUN = (".log", ".benchmark.tsv", ".snakemake_timestamp")
# Keys of JSON files whose values are times, memory, speeds or hosts, or digests of those.
OF_TIME_AND_HOST = {
    "created_at",
    "total_time",
    "train_time",
    "train_seconds",
    "seconds",
    "train_samples_per_second",
    "train_tokens_per_second",
    "eval_seconds",
    "eval_samples_per_second",
    "eval_runtime",
    "eval_steps_per_second",
    "peak_memory_bytes",
    "system_info",
    "digest",
}
# What is made of the others by the last rules, with times in it: it is made anew to be compared.
CARD = "adapter/README.md"
INPUTS_AT_TOP = ("config.yaml", "verdicts.json")


def differences(found: Path, wanted: Path) -> list[str]:
    """Files of two results directories that are not the same, and why."""
    names = {path for root in (found, wanted) for path in files(root)}
    told = []
    for name in sorted(names):
        first, second = found / name, wanted / name
        if not (first.exists() and second.exists()):
            told.append(f"{name} is in one alone")
        elif not is_rendered(name) and (one := content(first)) != (other := content(second)):
            told.append(f"{name} differs{place(one, other) if first.suffix == '.json' else ''}")
    return told


def files(root: Path) -> set[str]:
    """Return the files of a results directory that tell of results."""
    paths = (str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    return {path for path in paths if not path.endswith(ABOUT_THE_RUN)}


def is_rendered(name: str) -> bool:
    """Whether a file is made of others and shows times; ``rendered_otherwise`` sees to it."""
    return name.endswith(CARD) or ("/" not in name and name not in INPUTS_AT_TOP)


def content(path: Path) -> Any:
    """Return what is compared of a file."""
    if path.suffix == ".json":
        return without_times(json.loads(path.read_text(encoding="utf-8")))
    return path.read_bytes()


def without_times(value: Any) -> Any:
    """Return a JSON value without what depends on the clock or the host."""
    if isinstance(value, dict):
        kept = {key: part for key, part in value.items() if key not in OF_TIME_AND_HOST}
        return {key: without_times(part) for key, part in kept.items()}
    return [without_times(part) for part in value] if isinstance(value, list) else value


def place(first: Any, second: Any, path: str = "") -> str:
    """Return the first place in which two JSON values differ, as a path of keys and both values."""
    if isinstance(first, dict) and isinstance(second, dict):
        for key in first.keys() | second.keys():
            if first.get(key) != second.get(key):
                return place(first.get(key), second.get(key), f"{path}.{key}")
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for number, (one, other) in enumerate(zip(first, second, strict=True)):
            if one != other:
                return place(one, other, f"{path}.{number}")
    return f" at {path.lstrip('.')}: {first!r:.80} and {second!r:.80}"


def rendered_otherwise(workflow: Path) -> list[str]:
    """Files that people read which are not what their inputs make, byte for byte.

    Args:
        workflow: a directory with a run that has ended; it is left alone.
    """
    with tempfile.TemporaryDirectory(prefix="rendered-") as folder:
        again = Path(shutil.copytree(workflow, Path(folder) / "workflow", symlinks=True))
        shown = [name for name in files(again / "results") if "/" not in name and is_rendered(name)]
        for name in shown:
            (again / "results" / name).unlink()
        command = [sys.executable, "-m", "snakemake", "--quiet", "all"]
        subprocess.run(command, cwd=again, check=True, capture_output=True)
        return [
            f"{name} is not what its inputs make"
            for name in sorted(shown)
            if (again / "results" / name).read_bytes() != (workflow / "results" / name).read_bytes()
        ]

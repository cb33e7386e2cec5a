"""What a result was made with, as flat settings, and in what two results differ by them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from common import cli, files
from common.cells import Cell
from common.cli import InputError

DIGITS = 12  # shown of a hash
HASH_LETTERS = 64
OF_EVALUATION = ("positive_label", "threads")
OF_MACHINE = ("processor", "accelerator")

Flat = dict[str, Any]
Change = tuple[str, str, str]  # name of a setting, before, after; as they are shown


def settings(record: dict[str, Any], splits: dict[str, str]) -> Flat:
    """Return the settings of a result by their names, such as ``train_config.max_steps``.

    Args:
        record: the content of a metrics.json.
        splits: hashes of the splits of its dataset, by name of the split.
    """
    run, meta = record["run_info"], record["meta_info"]
    source = meta["dataset_info"].get("source") or {}
    return {
        **flat("train_config", run.get("train_config") or {}),
        **flat("peft_config", run.get("peft_config") or {}),
        **{key: run[key] for key in ("kind", "quantization") if key in run},
        **{key: run.get("options", {}).get(key) for key in OF_EVALUATION},
        **flat("model", meta.get("model_info") or {}),
        **flat("data", {"labels": meta["dataset_info"]["labels"], **source}),
        **{f"data.{split}.sha256": digest for split, digest in splits.items()},
        **{
            name.removesuffix("-version"): version
            for name, version in meta.get("package_info", {}).items()
        },
        **{key: meta.get("system_info", {}).get(key) for key in OF_MACHINE},
    }


def flat(name: str, value: Any) -> Flat:
    """Return a mapping in mappings as one, whose keys are paths with dots."""
    if not isinstance(value, dict):
        return {name: value}
    return {key: v for part in value for key, v in flat(f"{name}.{part}", value[part]).items()}


def hashes(results: Path, dataset: str) -> dict[str, str]:
    """Return the hash of each split of a dataset, as its passport has it; {} where there is none.

    Raises:
        InputError: the passport is damaged.
    """
    path = results / dataset / "passport.json"
    if not path.exists():
        return {}
    content = files.read_json(path)
    try:
        splits = content["splits"].items()
        return {split: part["sha256"] for split, part in splits if "sha256" in part}
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is no passport ({cli.one_line(error)}): run `passport`"
        ) from error


def changes(before: Flat, after: Flat) -> list[Change]:
    """Return the settings that differ, those of ``after`` first, each in the order it is in."""
    names = dict.fromkeys((*after, *before))
    return [
        (name, written(before.get(name)), written(after.get(name)))
        for name in names
        if before.get(name) != after.get(name)
    ]


def written(value: Any) -> str:
    """Return a setting as one would write it; the first digits of a hash.

    `none` where there is none.
    """
    if value is None:
        return "none"
    if isinstance(value, str):
        hexadecimal = len(value) == HASH_LETTERS and set(value) <= set("0123456789abcdef")
        return value[:DIGITS] if hexadecimal else value
    return json.dumps(value, ensure_ascii=False)


def by_cells(found: Iterable[tuple[Cell, list[Change]]]) -> dict[tuple[Cell, ...], list[Change]]:
    """Return the changes that befell the same cells, by these cells.

    A new version that all cells have is listed once so, apart from the settings of some.
    """
    cells: dict[Change, list[Cell]] = {}
    for cell, changed in found:
        for change in changed:
            cells.setdefault(change, []).append(cell)
    groups: dict[tuple[Cell, ...], list[Change]] = {}
    for change, having in cells.items():
        groups.setdefault(tuple(having), []).append(change)
    return groups

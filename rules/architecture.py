"""The architecture of a model, read from files that are already on this machine."""

import json
from pathlib import Path
from typing import Any

from common.source import of_config

FETCHED = Path("resources/models")


def model_type(name: str, source: dict[str, Any]) -> str | None:
    """Return the `model_type` of a model's config.json; None where the file is not here yet.

    Nothing is downloaded: it is looked for where the source has it on this machine, and where
    `fetch_model` put it, if that came from this very source.

    Args:
        name: of the model in the config.
        source: of the model, as in the config.
    """
    kind = of_config(source)
    if content := kind.read(source, "config.json"):
        return type_in(content)
    directory = FETCHED / name
    try:
        record = json.loads((directory / "source.json").read_text(encoding="utf-8"))
        content = (directory / "config.json").read_bytes()
    except (OSError, ValueError):
        return None
    same = record.get("kind") == kind.kind and kind.is_recorded(source, record)
    return type_in(content) if same else None


def type_in(content: bytes) -> str | None:
    """Return the `model_type` in the content of a config.json."""
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found.get("model_type") if isinstance(found, dict) else None

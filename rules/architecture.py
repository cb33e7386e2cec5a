"""The architecture of a model, read from files that are already on this machine."""

import json
import zipfile
from pathlib import Path
from typing import Any

FETCHED = Path("resources/models")
PACKAGES = Path("resources/packages")


def model_type(name: str, source: dict[str, Any]) -> str | None:
    """Return the `model_type` of a model's config.json; None where the file is not here yet.

    Nothing is downloaded: it is looked for in a local path, in the wheel of a package, in the hub's
    cache, and where `fetch_model` put it.

    Args:
        name: of the model in the config.
        source: of the model, as in the config.
    """
    for look in (in_path, in_wheel, in_cache):
        if found := look(source):
            return found
    return as_fetched(name, source)


def in_path(source: dict[str, Any]) -> str | None:
    """In a local directory."""
    path = Path(source["path"]) / "config.json" if "path" in source else None
    return type_in(path.read_bytes()) if path and path.is_file() else None


def in_wheel(source: dict[str, Any]) -> str | None:
    """In a wheel that was downloaded; a GGUF file in it tells after conversion only."""
    if "package" not in source:
        return None
    wheel = PACKAGES / f"{source['package'].replace('==', '-')}.whl"
    try:
        with zipfile.ZipFile(wheel) as archive:
            return type_in(archive.read(f"{source['member'].rstrip('/')}/config.json"))
    except (OSError, KeyError, zipfile.BadZipFile):
        return None


def in_cache(source: dict[str, Any]) -> str | None:
    """In the hub's cache."""
    if "hub" not in source:
        return None
    try:
        import huggingface_hub  # with --use-conda, perhaps in the environment of the rules alone

        path = huggingface_hub.try_to_load_from_cache(
            source["hub"], "config.json", revision=source["revision"]
        )
    except (ImportError, ValueError):  # the hub's rules for names are stricter than the schema's
        return None
    return type_in(Path(path).read_bytes()) if isinstance(path, str) else None


def as_fetched(name: str, source: dict[str, Any]) -> str | None:
    """Return where `fetch_model` put it, if it came from this very source."""
    directory = FETCHED / name
    try:
        record = json.loads((directory / "source.json").read_text(encoding="utf-8"))
        content = (directory / "config.json").read_bytes()
    except (OSError, ValueError):
        return None
    same = {
        "hub": record.get("name") == source.get("hub")
        and record.get("revision") == source.get("revision"),
        "package": record.get("version") == source.get("package")
        and record.get("member") == source.get("member"),
    }
    return type_in(content) if same.get(record.get("kind")) else None


def type_in(content: bytes) -> str | None:
    """Return the `model_type` in the content of a config.json."""
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found.get("model_type") if isinstance(found, dict) else None

"""Sources: where models and rows come from, one class per kind.

A source is written in the config as a mapping whose key ``kind`` names it, ``{hub: ..., revision:
...}`` for one; what was fetched has a record of it, source.json. A new kind is a class and an entry
of SOURCES, its keys in config/schema.yaml, and what fetches it in fetch_model and fetch_dataset.
"""

import zipfile
from pathlib import Path
from typing import Any

from common.markdown import shown

Config = dict[str, Any]
Record = dict[str, Any]

PACKAGES = "resources/packages"


class Source:
    """One kind of source.

    Attributes:
        kind: the key of the config that names it, and ``kind`` of its record.
        on_hub: whether its name is an id there, which the hub's libraries can load.
        license_origin: who says what the licence is.
        record_keys: of a record, that identify a source; () where nothing does.
        config_keys: of the config, with the same values.
    """

    kind = ""
    on_hub = False
    license_origin = "of the source"
    record_keys: tuple[str, ...] = ()
    config_keys: tuple[str, ...] = ()

    def inputs(self, source: Config) -> list[str]:  # noqa: ARG002 - none, as of the hub
        """Return the files that are there before it is fetched, for the rules."""
        return []

    def read(self, source: Config, name: str) -> bytes | None:
        """Return the content of a file of a model; None where it is not on this machine yet."""
        raise NotImplementedError

    def is_recorded(self, source: Config, record: Record) -> bool:
        """Return whether a record is of this very source."""
        own = zip(self.record_keys, self.config_keys, strict=True)
        return bool(self.record_keys) and all(record.get(a) == source[b] for a, b in own)

    def describe(self, record: Record) -> str:
        """Return where it came from, as Markdown."""
        raise NotImplementedError


class Local(Source):
    """A file or directory of this machine."""

    kind = "path"

    def inputs(self, source: Config) -> list[str]:
        """Return the path, and the files in a directory, so that an edit of one is noticed."""
        path = Path(source["path"])
        return [str(path), *sorted(str(file) for file in path.rglob("*") if file.is_file())]

    def read(self, source: Config, name: str) -> bytes | None:
        """Return the content of a file in the directory."""
        path = Path(source["path"]) / name
        return path.read_bytes() if path.is_file() else None

    def describe(self, record: Record) -> str:
        """Return its name: its place means nothing on another machine."""
        return f"{shown(record['name'])}, a local file or directory"


class Package(Source):
    """A member of a wheel of the package index."""

    kind = "package"
    license_origin = "of the package; that of the rows in it may be another"
    record_keys, config_keys = ("version", "member"), ("package", "member")

    def wheel(self, source: Config) -> str:
        """Return the path of the downloaded wheel."""
        return f"{PACKAGES}/{source['package'].replace('==', '-')}.whl"

    def inputs(self, source: Config) -> list[str]:
        """Return the wheel."""
        return [self.wheel(source)]

    def read(self, source: Config, name: str) -> bytes | None:
        """Return the content of a file of the member; a GGUF file holds none."""
        try:
            with zipfile.ZipFile(self.wheel(source)) as archive:
                return archive.read(f"{source['member'].rstrip('/')}/{name}")
        except (OSError, KeyError, zipfile.BadZipFile):
            return None

    def describe(self, record: Record) -> str:
        """Return member and package."""
        return f"{shown(record.get('member'))} in the Python package {shown(record['version'])}"


class Hub(Source):
    """A repository of the Hugging Face hub at a commit."""

    kind = "hub"
    on_hub = True
    license_origin = "of the dataset card"
    record_keys, config_keys = ("name", "revision"), ("hub", "revision")

    def read(self, source: Config, name: str) -> bytes | None:
        """Return the content of a file in the hub's cache."""
        try:
            # With --use-conda, it is perhaps in the environment of the rules alone.
            import huggingface_hub

            path = huggingface_hub.try_to_load_from_cache(
                source["hub"], name, revision=source["revision"]
            )
        except (ImportError, ValueError):  # the hub's rules for names are stricter than the schema
            return None
        return Path(path).read_bytes() if isinstance(path, str) else None

    def describe(self, record: Record) -> str:
        """Return repository, revision and subset."""
        subset = f", subset {shown(record['subset'])}" if record.get("subset") else ""
        revision = shown(record.get("revision"))
        return f"{shown(record['name'])} on the Hugging Face hub, revision {revision}{subset}"


SOURCES = {each.kind: each for each in (Local(), Package(), Hub())}
KINDS = ("path", "package", "hub")  # those of SOURCES, for stages that need no more


def of_config(source: Config) -> Source:
    """Return the kind of a source in the config."""
    return next(each for kind, each in SOURCES.items() if kind in source)


def of_record(record: Record | None) -> Source:
    """Return the kind of a recorded source; a plain ``Source`` of what is not on record."""
    return SOURCES.get((record or {}).get("kind", ""), Source())


def describe(record: Record | None) -> str:
    """Return where a model or a dataset came from, as Markdown."""
    known = of_record(record)
    return known.describe(record) if record and known.kind else "a source that is not on record"


def pinned(record: Record | None) -> str:
    """Return where data or weights come from, with what pins them, as plain text."""
    if not record:
        return "source not on record"
    name = record.get("version") or record.get("name") or record.get("kind")
    pins = [record.get("member"), record.get("revision") and f"revision {record['revision']}"]
    pins.append(record.get("sha256") and f"SHA-256 {record['sha256']}")
    return ", ".join(str(part) for part in (name, *pins) if part and part != "None")

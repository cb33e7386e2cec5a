"""Put everything that people read of a comparison into one HTML file, which needs no network.

    python scripts/page.py --results results --verdicts results/verdicts.json \\
        --config results/config.yaml --templates scripts/templates --page results/report.html

The verdicts name the cells; of each, metrics.json and predictions.parquet are read; of each
dataset, the passport, its pictures, and the texts of the test rows on which cells disagree. Equal
results give an equal page, byte for byte. Whatever a text, a class or a dataset is named, it is
shown and never run: HTML is escaped, and the page's policy runs no script but its own.
"""

import base64
import hashlib
import json
import logging
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import cli, datadict, disagreements, files
from common.cli import InputError

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger("page")

TEMPLATE, STYLE = "report.html", "report.css"
SCRIPTS = ("dom", "data", "theme", "figures", "charts", "table", "matrices", "rows", "main")
PICTURES = ("classes.svg", "lengths.svg")
VERDICTS = ("metric", "level", "datasets")
TEXT_BYTES = 6_000_000  # of all texts in a page: with the library and the rest, below 20 MB
SIGNIFICANT_DIGITS = 6
MOST_LINES = 14  # of intervals that stand at the head of a page; beyond, the best of them
STEP = 0.05  # of the scale that intervals are drawn on
HEADING_LEVELS = 2  # that a passport's headings go down by, below those of the page

Verdicts = dict[str, Any]


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--results", required=True, type=Path, help="directory of all results")
    parser.add_argument("--verdicts", required=True, type=Path, help="JSON file of `verdicts`")
    parser.add_argument("--config", required=True, type=Path, help="YAML file, shown as it is")
    parser.add_argument("--templates", required=True, type=Path, help="directory of the template")
    parser.add_argument("--page", required=True, type=Path, help="HTML file to write")
    args = parser.parse_args(argv)
    verdicts = files.read_json(args.verdicts, VERDICTS)
    records = read_records(args.results, verdicts)
    page = render(
        args.templates,
        data=compose(args.results, verdicts, records),
        summaries=[
            summary(name, part, part.get("metric", verdicts["metric"]))
            for name, part in verdicts["datasets"].items()
        ],
        passports={name: passport(args.results / name) for name in verdicts["datasets"]},
        configuration=read_text(args.config),
        environment=environment(list(records.values())),
    )
    with files.written_aside(args.page) as aside:
        aside.write_text(page, encoding="utf-8")
    log.info("%s, %.1f MB", args.page, args.page.stat().st_size / 1e6)


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({cli.one_line(error)})") from error


def cells(verdicts: Verdicts) -> Iterator[tuple[str, dict[str, Any], int | None, str]]:
    """Every cell and baseline: its dataset, its variant, its seed, its directory in the results."""
    for dataset, part in verdicts["datasets"].items():
        for variant in part["variants"]:
            if variant["kind"] == "baseline":
                yield dataset, variant, None, f"{dataset}/baselines/{variant['variant']}"
                continue
            for seed in variant["seeds"]:
                place = f"{dataset}/{variant['model']}/{variant['variant']}/seed{seed}"
                yield dataset, variant, seed, place


def read_records(results: Path, verdicts: Verdicts) -> dict[str, dict[str, Any]]:
    """The metrics.json of every cell and baseline, by its directory."""
    blocks = ("run_info", "train_info", "meta_info", "metrics")
    return {
        place: files.read_json(results / place / "metrics.json", blocks)
        for *_, place in cells(verdicts)
    }


def compose(results: Path, verdicts: Verdicts, records: dict[str, Any]) -> dict[str, Any]:
    """What the scripts of the page read: the verdicts, and what lies beside them in the results."""
    names = verdicts["datasets"]
    size = TEXT_BYTES // max(len(names), 1)
    datasets = {}
    for name, part in names.items():
        own = [cell[1:] for cell in cells(verdicts) if cell[0] == name]
        variants = [
            variant | {"rank": rank(variant, own, records), "cells": []}
            for variant in part["variants"]
        ]
        rows = test_rows(results, name, part["classes"], own, size)
        places = {variant["name"]: variant for variant in variants}
        for (variant, seed, place), answers in zip(own, rows.pop("predictions"), strict=True):
            cell = {"seed": seed, "predictions": answers, **of_cell(records[place])}
            places[variant["name"]]["cells"].append(cell)
        datasets[name] = part | {"variants": variants, **rows}
    return compact(verdicts | {"datasets": datasets})


def rank(variant: dict[str, Any], own: list[tuple], records: dict[str, Any]) -> int | None:
    """The rank of an adapter, where it has a single one."""
    found = [records[place] for other, _, place in own if other["name"] == variant["name"]]
    peft = found[0]["run_info"].get("peft_config") or {} if found else {}
    return peft["r"] if isinstance(peft.get("r"), int) else None


def of_cell(record: dict[str, Any]) -> dict[str, Any]:
    """Of one cell: its confusion matrix on the test rows, and its losses by step.

    Returns:
        ``confusion``, shape (classes, classes); ``train`` and ``validation``, lists of pairs of
        step and loss, empty where none were logged.
    """
    history = record["train_info"].get("metrics") or []
    return {
        "collapsed": record["metrics"]["test"].get("collapsed", False),
        "confusion": record["metrics"]["test"]["confusion_matrix"],
        "train": [[line["step"], line["loss"]] for line in history if "loss" in line],
        "validation": [
            [line["step"], line["eval_loss"]] for line in history if "eval_loss" in line
        ],
    }


def test_rows(
    results: Path, dataset: str, classes: list[str], own: list[tuple], size: int
) -> dict[str, Any]:
    """The test rows of a dataset: ids, labels, predictions, and texts where cells disagree.

    Args:
        results: directory of all results.
        dataset: its name.
        classes: names in order.
        own: variant, seed and directory of each cell.
        size: that the texts may take, in bytes.
    """
    import numpy as np

    tables = [read_predictions(results / place, classes) for *_, place in own]
    (ids, labels, _), places = tables[0], [place for *_, place in own]
    for place, table in zip(places, tables, strict=True):
        if table[0] != ids:
            raise InputError(f"{place} was evaluated on other rows than {places[0]}: run it again")
    answers = np.stack([numbers for *_, numbers in tables])
    # Baselines and untrained models split rows without telling which of them are hard.
    trained = [variant["kind"] not in ("baseline", "base") for variant, *_ in own]
    order = disagreements.disputed(answers, labels, np.array(trained, dtype=int))
    texts = datadict.texts(datadict.load(results / dataset / "data")["test"].select(order))
    kept, cut = disagreements.shortened(texts, size)
    return {
        "letters": disagreements.letters_per_class(len(classes)),
        "ids": ids,
        "labels": disagreements.encode(labels, len(classes)),
        "predictions": [disagreements.encode(row, len(classes)) for row in answers],
        "texts": dict(zip(order, kept, strict=False)),
        "disputed": len(order),
        "texts_cut": cut,
    }


def read_predictions(
    directory: Path, classes: list[str]
) -> tuple[list[str], "np.ndarray", "np.ndarray"]:
    """Ids, and class numbers of labels and predictions, in row order.

    Raises:
        InputError: there is no such table, or it names a class that the dataset does not have.
    """
    import pandas as pd

    path = directory / "predictions.parquet"
    try:
        table = pd.read_parquet(path, columns=["id", "label", "prediction"])
    except (OSError, ValueError, KeyError) as error:
        problem = cli.one_line(error)
        raise InputError(f"{path} cannot be read ({problem}): delete it and run again") from error
    index = pd.Index(classes)
    names = (pd.Index(table[key].astype(str)) for key in ("label", "prediction"))
    labels, answers = map(index.get_indexer, names)
    if min(labels.min(initial=0), answers.min(initial=0)) < 0:
        raise InputError(f"{path} has classes that the verdicts do not name: run `verdicts`")
    return table["id"].astype(str).tolist(), labels, answers


def compact(value: Any) -> Any:
    """The same with numbers of few digits: nothing that is drawn or written shows more."""
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    if isinstance(value, dict):
        return {key: compact(inner) for key, inner in value.items()}
    return [compact(inner) for inner in value] if isinstance(value, list) else value


def summary(name: str, part: dict[str, Any], metric: str) -> dict[str, Any]:
    """A dataset in short: its verdict, and its variants on one scale.

    Returns:
        name, rows, classes, verdict, metric, scale (its first and last value), variants and others,
        each a ``forest_line``. Variants stand in the order of the verdicts; of very many, the best
        stand there, best first, and the rest in others.
    """
    figures = [figure for v in part["variants"] if (figure := v["metrics"].get(metric))]
    first = math.floor(min((f["low"] for f in figures), default=0) / STEP) * STEP
    last = max(math.ceil(max((f["high"] for f in figures), default=1) / STEP) * STEP, first + STEP)
    lines = [forest_line(variant, metric, first, last) for variant in part["variants"]]
    if len(lines) > MOST_LINES:
        lines.sort(key=lambda line: -line.get("place", -math.inf))
    return {
        "name": name, **{key: part[key] for key in ("rows", "classes", "verdict")},
        "metric": metric, "scale": [f"{first:.2f}", f"{last:.2f}"],
        "variants": lines[:MOST_LINES], "others": lines[MOST_LINES:],
    }  # fmt: skip


def forest_line(variant: dict[str, Any], metric: str, first: float, last: float) -> dict[str, Any]:
    """A variant on a scale from first to last.

    Returns:
        name, tied, untrained, collapsed, shown (the figure in words; None where there is none) and,
        of a figure, left, right and place, in per cent of the scale.
    """
    found = variant["metrics"].get(metric)
    ends = {"left": "low", "right": "high", "place": "value"} if found else {}
    untrained = variant.get("untrained_head", False)
    return {
        "name": variant["name"],
        "shown": found["shown"] if found else None,
        "collapsed": variant["collapsed"],
        "untrained": untrained,
        # Formally tied, as so few tosses of a coin are no test; the verdict says so in words.
        "tied": variant["tied_for_first"] and not untrained,
        **{key: round(100 * (found[end] - first) / (last - first), 2) for key, end in ends.items()},
    }


def passport(directory: Path) -> str:
    """The passport of a dataset as HTML: its Markdown, its pictures inlined, its texts escaped."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(read_text(directory / "passport.md"))
    if tokens and tokens[0].tag == "h1":  # the page has its own heading of it
        tokens = tokens[3:]
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{int(token.tag[1]) + HEADING_LEVELS}"
        if token.type == "th_open":
            token.attrSet("scope", "col")
        for child in token.children or []:
            if child.type == "image" and child.attrGet("src") in PICTURES:
                child.attrSet("src", data_uri(directory / str(child.attrGet("src"))))
    html = parser.renderer.render(tokens, parser.options, {})
    scroll = '<div class="scroll" tabindex="0" role="region" aria-label="Table of the passport">'
    return html.replace("<table>", f"{scroll}<table>").replace("</table>", "</table></div>")


def data_uri(picture: Path) -> str:
    """An SVG file as an address that holds it."""
    content = base64.b64encode(read_text(picture).encode()).decode()
    return f"data:image/svg+xml;base64,{content}"


def environment(records: list[dict[str, Any]]) -> dict[str, list[tuple[str, str]]]:
    """Versions and hardware of all jobs: a line per fact; of several values, how often each was."""
    titles = {"Versions": "package_info", "Hardware": "system_info"}
    found: dict[str, list[tuple[str, str]]] = {}
    for title, block in titles.items():
        parts = [record["meta_info"][block] for record in records]
        keys = dict.fromkeys(key for part in parts for key in part)
        counts = {key: Counter(part.get(key) or "none" for part in parts) for key in keys}
        found[title] = [
            (key.removesuffix("-version"), values_in_words(count)) for key, count in counts.items()
        ]
    return found


def values_in_words(count: "Counter[str]") -> str:
    """The only value; or all, the most frequent first, each with its number of cells."""
    if len(count) == 1:
        return next(iter(count))
    ordered = sorted(count.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{value} ({times} cells)" for value, times in ordered)


def render(templates: Path, data: dict[str, Any], **parts: Any) -> str:
    """The page: the template filled in, everything within it."""
    import jinja2
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sources = [read_text(templates / "report" / f"{name}.js") for name in SCRIPTS]
    script = '(() => {\n"use strict";\n' + "\n".join(sources) + "\n})();"
    library = get_plotlyjs()
    parts["passports"] = {name: Markup(html) for name, html in parts["passports"].items()}
    return environment.get_template(TEMPLATE).render(
        metric=data["metric"],
        level=data["level"],
        data=Markup(inline_json(data)),
        style=Markup(read_text(templates / STYLE)),
        script=Markup(script),
        library=Markup(library),
        script_hashes=[digest(script), digest(library)],
        **parts,
    )


def inline_json(data: Any) -> str:
    """JSON that stays within its script element: no tag and no comment begins in it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def digest(script: str) -> str:
    """The hash by which the page's policy knows a script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


if __name__ == "__main__":
    cli.run(main)

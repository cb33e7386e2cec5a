"""Put everything that people read of a comparison into one HTML file, which needs no network.

    python scripts/page.py --results results --verdicts results/verdicts.json \\
        --config results/config.yaml --templates scripts/templates --page results/report.html

The verdicts name the cells; of each, metrics.json and predictions.parquet are read; of each
dataset, the passport, its pictures, and the texts of the test rows on which cells disagree. Figures
published elsewhere, --published, stand in a table of their own and enter no figure. Equal results
give an equal page, byte for byte. Whatever a text, a class or a dataset is named, it is
shown and never run: HTML is escaped, and the page's policy runs no script but its own.
"""

import base64
import hashlib
import json
import logging
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import cli, files, warm
from common.baselines import REFERENCE
from common.cells import Cell, full_name
from common.cli import InputError
from common.data import datadict
from common.report import disagreements, frame, vega
from common.report.figures import FIGURES
from common.report.frame import Comparison
from common.report.references import Reference, references

if TYPE_CHECKING:
    from common.statistics.predictions import Cell as Answered
    from common.statistics.predictions import Predictions

log = logging.getLogger("page")

TEMPLATE, STYLE = "report.html", "report.css"
SCRIPTS = ("dom", "data", "theme", "figures", "table", "matrices", "rows", "main")
PICTURES = ("classes.svg", "lengths.svg")
VERDICTS = ("metric", "level", "margin", "datasets")
OF_FIGURE = ("title", "caption", "empty", "across", "one_at_a_time")
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
    parser.add_argument("--published", type=references, default=[], help="figures, as a JSON list")
    parser.add_argument("--templates", required=True, type=Path, help="directory of the template")
    parser.add_argument("--page", required=True, type=Path, help="HTML file to write")
    args = parser.parse_args(argv)
    verdicts, comparison = read_verdicts(args.verdicts, args.results)
    data, records = compose(args.results, verdicts, comparison)
    page = render(
        args.templates,
        data=data,
        summaries=[
            summary(name, part, verdicts["metric"]) for name, part in verdicts["datasets"].items()
        ],
        published=shown_references(args.published, verdicts),
        passports={name: passport(args.results / name) for name in verdicts["datasets"]},
        configuration=read_text(args.config),
        environment=environment(records),
    )
    with files.atomic_write(args.page) as aside:
        aside.write_text(page, encoding="utf-8")
    log.info("%s, %.1f MB", args.page, args.page.stat().st_size / 1e6)


def read_verdicts(path: Path, results: Path) -> tuple[Verdicts, Comparison]:
    """Return the verdicts, checked as far as the page reads them, and what its figures draw.

    Args:
        path: the JSON file of the stage `verdicts`.
        results: directory of all results.

    Raises:
        InputError: a file is missing, damaged, or of another version.
    """
    from common.statistics import verdict

    comparison = frame.read(path, results)
    with frame.written_by("verdicts", path):
        verdicts = files.read_json(path, VERDICTS)
        inline_json(verdicts)
        for name, part in verdicts["datasets"].items():
            if not part["variants"]:
                raise ValueError(f"{name} has no variants")
            summary(name, part, verdicts["metric"])
            for variant in part["variants"]:
                require_name(variant)
            for pair in part["comparisons"]:
                verdict.outcome(pair)
    return verdicts, comparison


def require_name(variant: dict[str, Any]) -> None:
    """Refuse a variant that is not called after its model and what it is of it."""
    expected = full_name(variant["model"] or "", variant["variant"])
    if variant["name"] != expected:
        raise ValueError(f"{variant['name']!r} is {expected!r}")


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({cli.one_line(error)})") from error


def compose(
    results: Path, verdicts: Verdicts, comparison: Comparison
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what the scripts of the page read, and the metrics.json of every cell and baseline.

    Of the verdicts, what is said of each dataset is joined with what lies beside it in the results.
    """
    from common.metrics import LOWER_IS_BETTER

    datasets, records = {}, []
    size = TEXT_BYTES // max(len(verdicts["datasets"]), 1)
    for name, part in verdicts["datasets"].items():
        found = read_answers(results, name, part)
        rows = test_rows(results / name / "data", part["variants"], found, size)
        own = {"variants": with_cells(part["variants"], found)}
        datasets[name] = part | rows | own | {"figures": drawn(comparison, name)}
        records += [cell.record for cell in found.cells]
    figures = [
        {"id": name, **{key: getattr(figure, key) for key in OF_FIGURE}}
        for name, figure in FIGURES.items()
        if figure.page
    ]
    known = {
        "lower_is_better": list(LOWER_IS_BETTER), "datasets": datasets, "figures": figures,
        "reference": REFERENCE, "palette": vega.PALETTE, "vega_config": vega.CONFIG,
    }  # fmt: skip
    return compact(verdicts | known), records


def drawn(comparison: Comparison, name: str) -> dict[str, Any]:
    """Return the figures of a dataset: of each its panels, and header and rows of its table."""
    (part,) = [each for each in comparison.datasets if each.name == name]
    shown = {}
    for figure_name, figure in FIGURES.items():
        if figure.page:
            header, rows = figure.table(part)
            panels = figure.panels(comparison, part)
            shown[figure_name] = {"panels": panels, "header": header, "rows": rows}
    return shown


def read_answers(results: Path, dataset: str, part: dict[str, Any]) -> "Predictions":
    """Return the answers of the cells and baselines that the verdicts name.

    Raises:
        InputError: as for ``predictions.read``; or the verdicts are of other classes.
    """
    from common.statistics import predictions

    identities = [
        Cell(dataset, variant["model"] or "", variant["variant"], seed)._asdict()
        for variant in part["variants"]
        for seed in (variant["seeds"] or [None])  # a baseline has none
    ]
    found = predictions.read(results, identities)
    if found.classes != part["classes"]:
        raise InputError(f"the verdicts on {dataset} are of other classes: run `verdicts`")
    return found


def with_cells(variants: list[dict[str, Any]], found: "Predictions") -> list[dict[str, Any]]:
    """Return the variants with their cells."""
    return [
        variant | {"cells": [of_cell(cell, len(found.classes)) for cell in found.cells
                             if named(cell) == variant["name"]]}
        for variant in variants
    ]  # fmt: skip


def named(cell: "Answered") -> str:
    """Return what the variant of a cell is called among those of its dataset."""
    return full_name(cell.identity["model"], cell.identity["variant"])


def of_cell(cell: "Answered", classes: int) -> dict[str, Any]:
    """Return of one cell its predictions and its confusion matrix on the test rows.

    Returns:
        ``seed``; ``predictions``, as ``disagreements.encode`` writes them; ``confusion``, shape
        (classes, classes).
    """
    return {
        "seed": cell.identity["seed"],
        "predictions": disagreements.encode(cell.predictions, classes),
        "confusion": cell.record["metrics"]["test"]["confusion_matrix"],
    }


def test_rows(
    data: Path, variants: list[dict[str, Any]], found: "Predictions", size: int
) -> dict[str, Any]:
    """Return the test rows of a dataset: ids, labels, and texts where cells disagree.

    Args:
        data: directory of its splits.
        variants: of the verdicts.
        found: the answers on its test rows, in any order.
        size: that the texts may take, in bytes.

    Raises:
        InputError: the splits do not have these rows.
    """
    import numpy as np

    from common.statistics.verdict import UNTRAINED

    kinds = {variant["name"]: variant["kind"] for variant in variants}
    # Baselines and untrained models split rows without telling which of them are hard.
    trained = [kinds[named(cell)] not in UNTRAINED for cell in found.cells]
    predictions = np.stack([cell.predictions for cell in found.cells])
    order = disagreements.disputed(predictions, found.labels, np.array(trained, dtype=int))
    rows = datadict.load(data)["test"]
    places = {str(row_id): place for place, row_id in enumerate(rows["id"])}
    if missing := [row_id for row_id in found.ids if row_id not in places]:
        raise InputError(f"{data} has no test row {missing[0]!r}: evaluate again")
    texts = datadict.texts(rows.select([places[found.ids[row]] for row in order]))
    kept, cut = disagreements.shortened(texts, size)
    return {
        "letters": disagreements.letters_per_class(len(found.classes)),
        "ids": found.ids,
        "labels": disagreements.encode(found.labels, len(found.classes)),
        "texts": dict(zip(order, kept, strict=False)),
        "disputed": len(order),
        "texts_cut": cut,
    }


def compact(value: Any) -> Any:
    """Return the same with numbers of few digits: nothing that is drawn or written shows more."""
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    if isinstance(value, dict):
        return {key: compact(inner) for key, inner in value.items()}
    return [compact(inner) for inner in value] if isinstance(value, list) else value


def summary(name: str, part: dict[str, Any], wanted: str) -> dict[str, Any]:
    """Return a dataset in short: its verdict, and its variants on one scale.

    Args:
        name: of the dataset.
        part: what the verdicts hold of it.
        wanted: the metric that was asked for; that of the dataset may stand in for it.

    Returns:
        name, rows, classes, verdict, metric, in_place_of (the metric wanted, where another stands
        in for it), lower_is_better, scale (its first and last value), variants and others, each a
        ``forest_line``. Variants stand in the order of the verdicts; of very many, the best stand
        there, best first, and the rest in others.
    """
    from common.metrics import LOWER_IS_BETTER
    from common.statistics import verdict

    metric = part["metric"]
    figures = [figure for v in part["variants"] if (figure := v["metrics"].get(metric))]
    first = math.floor(min((f["low"] for f in figures), default=0) / STEP) * STEP
    last = max(math.ceil(max((f["high"] for f in figures), default=1) / STEP) * STEP, first + STEP)
    many = len(part["variants"]) > MOST_LINES
    shown = verdict.by_position(part) if many else part["variants"]
    lines = [forest_line(variant, metric, first, last) for variant in shown]
    return {
        "name": name, **{key: part[key] for key in ("rows", "classes", "verdict", "metric")},
        "in_place_of": wanted if wanted != metric else None,
        "lower_is_better": metric in LOWER_IS_BETTER, "scale": [f"{first:.2f}", f"{last:.2f}"],
        "variants": lines[:MOST_LINES], "others": lines[MOST_LINES:],
    }  # fmt: skip


def forest_line(variant: dict[str, Any], metric: str, first: float, last: float) -> dict[str, Any]:
    """Return a variant on a scale from first to last.

    Returns:
        name, recommended, untrained, collapsed, failed, shown (the figure in words; None where
        there is none) and, of a figure, left, right and place, in per cent of the scale.
    """
    found = variant["metrics"].get(metric)
    ends = {"left": "low", "right": "high", "place": "value"} if found else {}
    return {
        "name": variant["name"],
        "shown": found["shown"] if found else None,
        "collapsed": variant["collapsed"],
        "failed": variant["failed"],
        "untrained": variant["untrained_head"],
        "recommended": variant["recommended"],
        **{key: round(100 * (found[end] - first) / (last - first), 2) for key, end in ends.items()},
    }


def shown_references(published: list[Reference], verdicts: Verdicts) -> dict[str, Any]:
    """Return the figures published elsewhere, on the datasets of the page.

    Returns:
        ``metrics``, the names of all that were published, in the order of their first appearance;
        ``rows``, each a reference with its ``figures``, one for each of these: in words, and "–"
        where it was not published.
    """
    own = [row for row in published if row["dataset"] in verdicts["datasets"]]
    metrics = list(dict.fromkeys(metric for row in own for metric in row["metrics"]))
    rows = [
        row | {"figures": [shown_figure(row["metrics"].get(metric)) for metric in metrics]}
        for row in own
    ]
    return {"metrics": metrics, "rows": rows}


def shown_figure(figure: float | None) -> str:
    """Return a published figure as the page shows it."""
    return "–" if figure is None else f"{figure:.3f}"


def passport(directory: Path) -> str:
    """Return the passport of a dataset as HTML.

    Its Markdown, its pictures inlined, its texts escaped.
    """
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
    """Return an SVG file as an address that holds it."""
    content = base64.b64encode(read_text(picture).encode()).decode()
    return f"data:image/svg+xml;base64,{content}"


def environment(records: list[dict[str, Any]]) -> dict[str, list[tuple[str, str]]]:
    """Return versions and hardware of all jobs: a line per fact.

    Of several values, how often each was.
    """
    titles = {"Versions": "package_info", "Hardware": "system_info"}
    found: dict[str, list[tuple[str, str]]] = {}
    for title, block in titles.items():
        parts = [record["meta_info"].get(block, {}) for record in records]
        keys = dict.fromkeys(key for part in parts for key in part)
        counts = {key: Counter(part.get(key) or "none" for part in parts) for key in keys}
        found[title] = [
            (key.removesuffix("-version"), values_in_words(count)) for key, count in counts.items()
        ]
    return found


def values_in_words(count: "Counter[str]") -> str:
    """Return the only value; or all, the most frequent first, each with its number of cells."""
    if len(count) == 1:
        return next(iter(count))
    ordered = sorted(count.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{value} ({times} cells)" for value, times in ordered)


def render(templates: Path, data: dict[str, Any], **parts: Any) -> str:
    """Return the page: the template filled in, everything within it."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sources = [read_text(templates / "report" / f"{name}.js") for name in SCRIPTS]
    script = '(() => {\n"use strict";\n' + "\n".join(sources) + "\n})();"
    library = vega.library()
    parts["passports"] = {name: Markup(html) for name, html in parts["passports"].items()}
    return environment.get_template(TEMPLATE).render(
        level=data["level"],
        margin=data["margin"],
        data=Markup(inline_json(data)),
        style=Markup(read_text(templates / STYLE)),
        script=Markup(script),
        library=Markup(library),
        script_hashes=[digest(script), digest(library)],
        **parts,
    )


def inline_json(data: Any) -> str:
    """Return JSON that stays within its script element: no tag and no comment begins in it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def digest(script: str) -> str:
    """Return the hash by which the page's policy knows a script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


if __name__ == "__main__":
    warm.run(main, "pandas", "pyarrow.parquet", "scipy.stats", "jinja2", "vl_convert")

"""Write the passport of a dataset: what a comparison on it rests on, as JSON, text and pictures.

    python scripts/passport.py --data results/sms-spam/data \\
        --tokens results/sms-spam/minilm/tokens results/sms-spam/smollm2/tokens \\
        --license "CC BY 4.0" --passport results/sms-spam/passport.json \\
        --markdown results/sms-spam/passport.md --classes results/sms-spam/classes.svg \\
        --lengths results/sms-spam/lengths.svg

It tells what `prepare_data` and `tokenize_data` left on record, and reads no row. A model has the
name of the directory that its tokens are in. Equal records give equal files, byte for byte.
"""

import logging
import math
import os
from pathlib import Path
from typing import Any

from common import cli, files, warm
from common.cli import InputError
from common.data import draws, passport
from common.report import vega
from common.report.vega import Spec, layer

log = logging.getLogger("passport")

PREPARED = (
    "settings",
    "quoting",
    "found",
    "conflicting_labels",
    "duplicates",
    "splits",
    "by_splits",
)
TOKENIZED = ("max_length", "tokenizer", "histogram_edges", "splits")
BAR, NAME_LETTERS = 20, 40  # pixels of a bar; letters of a name


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--data", required=True, type=Path, help="directory of prepare_data")
    parser.add_argument("--tokens", nargs="*", default=[], type=Path, metavar="DIRECTORY",
                        help="of tokenize_data, one for each model")  # fmt: skip
    parser.add_argument("--license", help="of the rows, as you know it; else what the source says")
    parser.add_argument("--train-rows", type=int, help="that each seed draws anew; else all")
    parser.add_argument("--passport", required=True, type=Path, help="JSON file to write")
    parser.add_argument("--markdown", required=True, type=Path, help="Markdown file to write")
    parser.add_argument("--classes", required=True, type=Path, help="SVG file to write")
    parser.add_argument("--lengths", required=True, type=Path, help="SVG file to write")
    args = parser.parse_args(argv)
    source = files.read_source(args.data)
    preparation = files.read_json(args.data / files.PREPARATION, PREPARED)
    if args.train_rows is not None:  # before anything is trained on them
        draws.check(args.train_rows, preparation["splits"]["train"]["rows"])
    made = passport.compose(source, args.license, preparation, read_models(args.tokens))
    made["drawn_per_seed"] = args.train_rows
    pictures = [os.path.relpath(p, args.markdown.parent) for p in (args.classes, args.lengths)]
    text = passport.markdown(made, *pictures)
    vega.save(draw_classes(made["splits"]), args.classes)
    vega.save(draw_lengths(made["models"]), args.lengths)
    with files.atomic_write(args.markdown) as aside:
        aside.write_text(text, encoding="utf-8")
    files.write_json(made, args.passport)
    log.info("%s", args.passport)


def read_models(directories: list[Path]) -> dict[str, dict[str, Any]]:
    """Return what ``tokenize_data`` recorded, by the name of the model.

    Raises:
        InputError: a directory holds no such record, or two have the same model.
    """
    models: dict[str, dict[str, Any]] = {}
    for directory in directories:
        name = directory.resolve().parent.name
        if name in models:
            raise InputError(f"{directory}: there are tokens of {name!r} already; name them once")
        models[name] = files.read_json(directory / files.STATISTICS, TOKENIZED)
    return models


def draw_classes(splits: dict[str, dict[str, Any]]) -> Spec:
    """Return a panel per split, a bar per class: its share of the rows, and how many they are."""
    names = list(next(iter(splits.values()))["classes"])
    labels = [vega.short(name, NAME_LETTERS) for name in names]
    longest = max(max(part["classes"].values()) / part["rows"] for part in splits.values())
    share = vega.number("share", axis=None, scale={"domain": [0, 2.1 * longest]})
    bar = {"type": "bar", "height": BAR - 6, "color": vega.COLOURS[0]}
    panels: list[Spec] = []
    for split, part in splits.items():
        # Two classes may look the same: they stand in their places, and labels name them.
        rows = [
            {"class": place, "share": count / part["rows"],
             "shown": f"{count:,} ({passport.percent(count / part['rows'])})"}
            for place, count in enumerate(part["classes"].values())
        ]  # fmt: skip
        axis = {"labelExpr": vega.labels(labels, "datum.value"), "domain": False, "ticks": False,
                "labels": not panels, "labelColor": vega.INK, "labelPadding": 6}  # fmt: skip
        down = {"field": "class", "type": "ordinal", "title": None, "axis": axis}
        layers = [
            layer(f"bar-{split}", bar, rows, x=share, y=down),
            layer(f"count-{split}", {"type": "text", "align": "left", "dx": 4, "fontSize": 11},
                  rows, x=share, y=down, text={"field": "shown"}),
        ]  # fmt: skip
        panels.append({"title": f"{split}: {part['rows']:,} rows", "width": 210,
                       "height": BAR * len(names), "layer": layers})  # fmt: skip
    title = {"text": "Rows of each class, by split", "fontSize": 14}
    return {"title": title, "hconcat": panels}


def draw_lengths(models: dict[str, dict[str, Any]]) -> Spec:
    """Return a line of panels per model, one per split: lengths of the texts, and the cut."""
    title = {"text": "Lengths of the texts in tokens, and where they are cut", "fontSize": 14}
    if not models:
        return vega.nothing({**title, "subtitle": "No model is compared on this dataset"})
    limits = x_limits(models)
    lines = [
        {"title": {"text": vega.short(name, NAME_LETTERS), "fontSize": 12},
         "hconcat": [histogram(model, split, part, limits, f"{place}-{split}")
                     for split, part in model["splits"].items()]}
        for place, (name, model) in enumerate(models.items())
    ]  # fmt: skip
    return {"title": title, "vconcat": lines}


def x_limits(models: dict[str, dict[str, Any]]) -> tuple[float, float]:
    """Return the shortest and the longest text of all, or the longest cut, with some room."""
    first = min(
        next(left for left, count in zip(model["histogram_edges"], part["histogram"], strict=False)
             if count)
        for model in models.values()
        for part in model["splits"].values()
    )  # fmt: skip
    last = max(max(model["histogram_edges"][-1], model["max_length"]) for model in models.values())
    return max(first, 1) / 1.2, last * 1.5


def histogram(
    model: dict[str, Any], split: str, part: dict[str, Any], limits: tuple[float, float], place: str
) -> Spec:
    """Return one split of one model: areas are shares of rows over a logarithm of lengths."""
    edges = [max(edge, 0.5) for edge in model["histogram_edges"]]
    rows = [
        {"left": max(left, limits[0]), "right": min(right, limits[1]),
         "share": count / part["rows"] / math.log2(right / left)}
        for count, left, right in zip(part["histogram"], edges, edges[1:], strict=False) if count
    ]  # fmt: skip
    cut = [{"left": model["max_length"], "right": limits[1]}]
    powers = [2**power for power in range(64) if limits[0] <= 2**power <= limits[1]]
    powers = powers[:: -(-len(powers) // 5)]
    axis = {"grid": False, **vega.ticks(powers, [f"{power:,}" for power in powers])}
    scale = {"type": "log", "base": 2, "domain": list(limits), "nice": False}
    across = vega.number("left", "tokens of a text", scale=scale, axis=axis)
    to = {"field": "right"}
    truncated = f"longer than {model['max_length']:,}: {passport.percent(part['truncated_share'])}"
    return {
        "title": {"text": split, "subtitle": truncated}, "width": 210, "height": 75,
        "layer": [
            layer(f"cut-{place}", {"type": "rect", "color": vega.COLOURS[1], "opacity": 0.12}, cut,
                  x=across, x2=to),
            layer(f"length-{place}", {"type": "rect", "color": vega.COLOURS[0]}, rows, x=across,
                  x2=to, y=vega.number("share", axis=None, scale={"zero": True}),
                  y2={"datum": 0}),
            layer(f"limit-{place}", {"type": "rule", "color": vega.COLOURS[1],
                                     "strokeDash": [4, 3]}, cut, x=across),
        ],
    }  # fmt: skip


if __name__ == "__main__":
    warm.run(main, "vl_convert")

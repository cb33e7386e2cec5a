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

from common import cli, files
from common.cli import InputError
from common.data import passport
from common.markdown import flat
from common.report import drawing
from common.report.drawing import COLOURS, INK

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
WIDTH_INCHES, BAR_INCHES, PANEL_INCHES, MARGIN_INCHES = 8.5, 0.26, 1.2, 0.9
NAME_LETTERS = 40


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--data", required=True, type=Path, help="directory of prepare_data")
    parser.add_argument("--tokens", nargs="*", default=[], type=Path, metavar="DIRECTORY",
                        help="of tokenize_data, one for each model")  # fmt: skip
    parser.add_argument("--license", help="of the rows, as you know it; else what the source says")
    parser.add_argument("--passport", required=True, type=Path, help="JSON file to write")
    parser.add_argument("--markdown", required=True, type=Path, help="Markdown file to write")
    parser.add_argument("--classes", required=True, type=Path, help="SVG file to write")
    parser.add_argument("--lengths", required=True, type=Path, help="SVG file to write")
    args = parser.parse_args(argv)
    source = files.read_source(args.data)
    preparation = files.read_json(args.data / files.PREPARATION, PREPARED)
    made = passport.compose(source, args.license, preparation, read_models(args.tokens))
    pictures = [os.path.relpath(p, args.markdown.parent) for p in (args.classes, args.lengths)]
    text = passport.markdown(made, *pictures)
    drawing.prepare()
    drawing.save(draw_classes(made["splits"]), args.classes)
    drawing.save(draw_lengths(made["models"]), args.lengths)
    with files.written_aside(args.markdown) as aside:
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


def draw_classes(splits: dict[str, dict[str, Any]]) -> Any:
    """Return a panel per split, a bar per class: its share of the rows, and how many they are."""
    from matplotlib.figure import Figure

    names = list(next(iter(splits.values()))["classes"])
    inches = BAR_INCHES * len(names) + MARGIN_INCHES
    figure = Figure((WIDTH_INCHES, inches), layout="constrained")
    panels = figure.subplots(1, len(splits), squeeze=False, sharex=True, sharey=True)[0]
    for axes, (split, part) in zip(panels, splits.items(), strict=True):
        draw_bars(axes, part)
        axes.set_title(f"{split}: {part['rows']:,} rows", loc="left", fontsize=9)
    panels[0].set_yticks(range(len(names)), map(short, names))
    panels[0].set_ylim(len(names) - 0.5, -0.5)  # the first class on top
    longest = max(max(part["classes"].values()) / part["rows"] for part in splits.values())
    panels[0].set_xlim(0, 2.1 * longest)  # room for the figures beside the bar
    figure.suptitle("Rows of each class, by split", fontweight="bold")
    return figure


def draw_bars(axes: Any, part: dict[str, Any]) -> None:
    """One split: a bar per class, as long as its share of the rows."""
    for place, count in enumerate(part["classes"].values()):
        share = count / part["rows"]
        axes.barh(place, share, color=COLOURS[0], height=0.7)
        axes.annotate(f"{count:,} ({passport.percent(share)})", (share, place), (3, 0),
                      va="center", fontsize=8, textcoords="offset points")  # fmt: skip
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks([])


def draw_lengths(models: dict[str, dict[str, Any]]) -> Any:
    """A line of panels per model, one per split: how long the texts are, and where they are cut."""
    from matplotlib.figure import Figure

    columns = max((len(model["splits"]) for model in models.values()), default=1)
    size = (WIDTH_INCHES, PANEL_INCHES * max(1, len(models)) + MARGIN_INCHES)
    figure = Figure(size, layout="constrained")
    if not models:
        figure.text(0.5, 0.5, "No model is compared on this dataset", ha="center")
        return figure
    panels = figure.subplots(len(models), columns, squeeze=False, sharex=True, sharey=True)
    limits = x_limits(models)
    for line, (name, model) in zip(panels, models.items(), strict=True):
        for axes, part in zip(line, model["splits"].values(), strict=True):
            draw_histogram(axes, model, part, limits)
        line[0].set_ylabel(short(name), rotation=0, ha="right", va="center")
    for axes, split in zip(panels[0], next(iter(models.values()))["splits"], strict=True):
        axes.set_title(split, loc="left", fontsize=9, pad=16)
    figure.supxlabel("tokens of a text, on a logarithmic scale; areas are shares of the rows",
                     fontsize=9)  # fmt: skip
    figure.suptitle("Lengths of the texts in tokens, and where they are cut", fontweight="bold")
    return figure


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


def draw_histogram(
    axes: Any, model: dict[str, Any], part: dict[str, Any], limits: tuple[float, float]
) -> None:
    """One split of one model: shares of rows as areas over a logarithmic axis of lengths."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    edges = [max(edge, 0.5) for edge in model["histogram_edges"]]
    heights = [
        count / part["rows"] / math.log2(right / left)
        for count, left, right in zip(part["histogram"], edges, edges[1:], strict=False)
    ]
    axes.stairs(heights, edges, fill=True, color=COLOURS[0])
    axes.set_xscale("log", base=2)
    axes.set_xlim(limits)
    axes.xaxis.set_major_locator(LogLocator(base=2, numticks=5))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", labelsize=7)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tokens, _: f"{tokens:,.0f}"))
    cut = model["max_length"]
    axes.axvspan(cut, limits[1], color=COLOURS[1], alpha=0.12, linewidth=0, zorder=0)
    axes.axvline(cut, color=COLOURS[1], linestyle="--", linewidth=1.2)
    share = passport.percent(part["truncated_share"])
    axes.annotate(f"longer than {cut:,}: {share}", (1, 1), (0, 3), fontsize=8, ha="right",
                  color=INK, xycoords="axes fraction", textcoords="offset points")  # fmt: skip
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_yticks([])


def short(name: str) -> str:
    """Return a name on one line that leaves room for what it names."""
    line = flat(name)
    return line if len(line) <= NAME_LETTERS else line[: NAME_LETTERS - 1] + "…"


if __name__ == "__main__":
    cli.run(main)

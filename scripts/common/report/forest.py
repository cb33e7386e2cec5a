"""The figure of intervals: each variant's mean on the test rows, and who is tied with whom."""

from typing import Any

from common.report import drawing
from common.report.compared import Comparison, Dataset, Variant
from common.report.drawing import COLOURS, INK, PAPER, SMALL, Row, short

LINE_INCHES, ROOM_INCHES, WIDTH_INCHES = 0.22, 0.25, 3.8
COLUMNS_POINTS = (8, 130)  # where the texts begin, right of a panel


def draw(comparison: Comparison) -> Any:
    """A panel per dataset, a line per variant: mean, interval, and the letters of its ties."""
    heights = [LINE_INCHES * len(part.variants) + ROOM_INCHES for part in comparison.datasets]
    rows = [Row(height) for height in heights]
    figure, lines = drawing.panels(rows, WIDTH_INCHES, gap=(0.3, 0.95))
    for (axes,), part in zip(lines, comparison.datasets, strict=True):
        draw_panel(axes, part)
        drawing.title(axes, short(part.name))
        axes.set_xlabel(
            f"{part.metric} on the test rows, with its {100 * comparison.level:g} % interval",
            fontsize=SMALL,
        )
    if lines:
        lines[-1][0].annotate(
            "Filled: tied for first. Variants that share a letter are tied.", (0, 0), (0, -38),
            fontsize=SMALL, va="top", xycoords="axes fraction", textcoords="offset points",
        )  # fmt: skip
    return figure


def draw_panel(axes: Any, part: Dataset) -> None:
    """One dataset: a line per variant in the order of the comparison, the first on top."""
    drawing.quiet(axes)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_yticks(range(len(part.variants)), [drawing.named(v) for v in part.variants])
    axes.set_ylim(len(part.variants) - 0.4, -0.6)
    beside(axes, -1, "mean (interval)", "ties")
    for height, variant in enumerate(part.variants):
        draw_line(axes, height, variant)


def draw_line(axes: Any, height: int, variant: Variant) -> None:
    """One variant, and its figures in words beside the panel."""
    colour = COLOURS[0] if variant.first else INK
    found = variant.measure
    beside(axes, height, found.shown if found else "–", variant.letters)
    if found is None:
        return
    axes.hlines(height, found.low, found.high, colors=colour, linewidth=1.3, gid="interval")
    axes.plot([found.value], [height], "o", color=colour, markersize=6,
              markerfacecolor=colour if variant.first else PAPER,
              gid="first" if variant.first else "point")  # fmt: skip


def beside(axes: Any, height: float, *texts: str) -> None:
    """Texts in columns to the right of a panel, at a height of its scale."""
    for text, shift in zip(texts, COLUMNS_POINTS, strict=True):
        axes.annotate(text, (1, height), (shift, 0), fontsize=SMALL, va="center",
                      xycoords=("axes fraction", "data"), textcoords="offset points",
                      annotation_clip=False)  # fmt: skip

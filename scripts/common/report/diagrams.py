"""The figure of reliability: whether a variant is right as often as it says."""

import math
from typing import Any

from common.report import drawing
from common.report.compared import Comparison, Dataset, Variant
from common.report.drawing import INK, SMALL, SMALLER, Look, Row, short

PANEL_INCHES, ABSENT_INCHES, TITLE_INCHES, GAP_INCHES = 1.5, 0.25, 0.35, (0.35, 0.95)
COLUMNS, LONGEST = 5, 24
SMALLEST_DOT, LARGEST_DOT = 2.5, 9.0  # diameters in points
NO_CALIBRATION = "No calibration is on record for this dataset."
BASELINE = Look(INK, "o", INK)

Line = tuple[str, tuple[Variant, ...]]


def draw(comparison: Comparison) -> Any:
    """Return a diagram per variant, those of a dataset in rows below its name."""
    looks = drawing.looks(comparison)
    lines = [line for part in comparison.datasets for line in lines_of(part)]
    rows = [
        Row(PANEL_INCHES if own else ABSENT_INCHES, len(own) or 1, TITLE_INCHES if title else 0)
        for title, own in lines
    ]
    figure, panels = drawing.panels(rows, PANEL_INCHES, GAP_INCHES)
    for line, (title, own) in zip(panels, lines, strict=True):
        drawing.title(line[0], title, 40 if own else 8)
        if own:
            draw_line(line, own, looks)
        else:
            drawing.absent(line[0], NO_CALIBRATION)
    return figure


def lines_of(part: Dataset) -> list[Line]:
    """The variants of a dataset line by line, the first under its name; none where none has any."""
    lines = drawing.chunks((variant for variant in part.variants if variant.bins), COLUMNS)
    titles = [short(part.name), *[""] * len(lines)]
    return list(zip(titles, lines or [()], strict=False))


def draw_line(line: list[Any], own: tuple[Variant, ...], looks: dict[str, Look]) -> None:
    """Some variants of one dataset."""
    for axes, variant in zip(line, own, strict=True):
        draw_diagram(axes, variant, looks.get(variant.name, BASELINE))
        axes.tick_params(labelleft=axes is line[0])
    line[0].set_ylabel("share of right answers", fontsize=SMALL)


def draw_diagram(axes: Any, variant: Variant, look: Look) -> None:
    """One variant: below the diagonal it is too sure of itself; dots grow with their rows."""
    drawing.quiet(axes)
    axes.plot([0, 1], [0, 1], linestyle=":", gid="diagonal", **drawing.muted())
    most = max(point.rows for point in variant.bins)
    sizes = [SMALLEST_DOT + (LARGEST_DOT - SMALLEST_DOT) * math.sqrt(point.rows / most)
             for point in variant.bins]  # fmt: skip
    across, up, _ = zip(*variant.bins, strict=True)
    axes.plot(across, up, color=look.colour, linewidth=1.1, gid="reliability")
    axes.scatter(across, up, [size**2 for size in sizes], color=look.colour, linewidths=0,
                 alpha=0.8, gid="bins", clip_on=False)  # fmt: skip
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_xlabel("confidence", fontsize=SMALL)
    words = [variant.model, variant.variant] if variant.model else ["", variant.variant]
    error = "" if variant.ece is None else f"ECE {variant.ece:.3f}"
    heading = "\n".join([*(short(word, LONGEST) for word in words), error])
    axes.set_title(heading, fontsize=SMALLER, loc="left", pad=4)

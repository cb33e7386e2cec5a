"""What the figures of a comparison share: their look, panels of fixed size, legends, and files.

Panels are placed in inches, so that a figure grows with what it shows and its panels stay legible;
nothing outside of them is cut, since a figure is saved with all that is drawn. Equal content gives
equal files.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common import files
from common.markdown import flat
from common.report.compared import Comparison, Measure, Variant

INK, PAPER = "#24292f", "#ffffff"

COLOURS = [
    "#0a6ebd", "#bd4b0a", "#3d8f3d", "#7b4fb5", "#c23a86", "#0f9e94", "#b08900", "#6b7683",
]  # fmt: skip


def prepare() -> None:
    """Set matplotlib up, before the first figure is drawn."""
    import matplotlib

    matplotlib.use("svg")
    # Without these, each file would hold a date and random ids.
    matplotlib.rcParams.update({"svg.hashsalt": "lora-bench", "font.size": 9, "text.color": INK})
    matplotlib.rcParams["text.parse_math"] = False  # a dollar in a name is a dollar


def save(figure: Any, path: Path) -> None:
    """Write a figure as SVG."""
    with files.written_aside(path) as aside:
        figure.savefig(
            aside, format="svg", metadata={"Date": None}, facecolor=PAPER, bbox_inches="tight"
        )


MARKERS = "os^DvP<X>phd"

LARGE, SMALL, SMALLER = 10.5, 8, 7  # sizes of letters, in points

GAP_INCHES = (0.3, 0.85)  # between panels: beside each other, and below

LEGEND_LINE_INCHES, LEGEND_LINES = 0.17, 16

LONGEST_NAME = 44


class Look(NamedTuple):
    """How a variant is drawn: no two of a figure look the same, up to 192 variants."""

    colour: str
    marker: str
    face: str  # of the marker: its colour, or none


class Row(NamedTuple):
    """A row of panels: how high they are, how many, and the room above; in inches."""

    height: float
    panels: int = 1
    above: float = 0.0


def panels(
    rows: Sequence[Row], width: float, gap: tuple[float, float] = GAP_INCHES
) -> tuple[Any, list[list[Any]]]:
    """Return a figure, and its axes row by row.

    Args:
        rows: from top to bottom.
        width: of every panel, in inches.
        gap: between panels, in inches: beside each other, and below.
    """
    from matplotlib.figure import Figure

    columns = max((row.panels for row in rows), default=1)
    total = columns * (width + gap[0])
    high = sum(row.above + row.height + gap[1] for row in rows) or 1.0
    figure = Figure((total, high))
    made, bottom = [], high
    for row in rows:
        bottom -= row.above + row.height + gap[1]
        lefts = [place * (width + gap[0]) for place in range(row.panels)]
        boxes = [(left / total, bottom / high, width / total, row.height / high) for left in lefts]
        made.append([figure.add_axes(box) for box in boxes])
    return figure, made


def looks(comparison: Comparison) -> dict[str, Look]:
    """By full name, how each variant is drawn: its colour tells the variant, its marker the model.

    Where there are more variants than colours, further markers follow.
    """
    own = {v.name: v for part in comparison.datasets for v in part.variants if v.kind != "baseline"}
    models = list(dict.fromkeys(v.model for v in own.values()))
    variants = list(dict.fromkeys(v.variant for v in own.values()))
    found = {}
    for name, variant in own.items():
        block, place = divmod(variants.index(variant.variant), len(COLOURS))
        again, shape = divmod(models.index(variant.model) + len(models) * block, len(MARKERS))
        face = "none" if again % 2 else COLOURS[place]
        found[name] = Look(COLOURS[place], MARKERS[shape], face)
    return found


def short(name: Any, longest: int = LONGEST_NAME) -> str:
    """A name on one line; of a long one, both ends, for names often differ in the last letters."""
    text = flat(name)
    if len(text) <= longest:
        return text
    end = (longest - 1) // 2
    return f"{text[: longest - 1 - end]}…{text[-end:]}"


def named(variant: Variant) -> str:
    """Return what a variant is called, with what a reader must know of it before its figure."""
    remarks = {"untrained head": variant.untrained, "collapsed": variant.collapsed}
    told = ", ".join(remark for remark, true in remarks.items() if true)
    return short(variant.name) + (f" ({told})" if told else "")


def title(axes: Any, text: str, points: float = 8) -> None:
    """The heading of a row, so many points above its first panel."""
    axes.annotate(text, (0, 1), (0, points), fontsize=LARGE, fontweight="bold",
                  xycoords="axes fraction", textcoords="offset points")  # fmt: skip


def quiet(axes: Any) -> None:
    """The looks of all panels: a light grid, small figures, no frame on top and right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.tick_params(labelsize=SMALL)
    axes.set_axisbelow(True)


def absent(axes: Any, sentence: str) -> None:
    """Say in the place of a panel why there is none."""
    axes.set_axis_off()
    axes.text(0, 0.5, sentence, fontsize=SMALL, va="center", transform=axes.transAxes)


def point(axes: Any, x: float, measure: Measure, look: Look) -> None:
    """A figure of a variant with its interval, upright."""
    axes.vlines(x, measure.low, measure.high, colors=look.colour, linewidth=1.1, alpha=0.7,
                gid="interval")  # fmt: skip
    axes.plot([x], [measure.value], look.marker, color=look.colour, markerfacecolor=look.face,
              markersize=5.5, gid="point")  # fmt: skip


def key(label: str, look: Look | None = None, **more: Any) -> Any:
    """Return an entry of a legend: the marker of a variant, or a line as told."""
    from matplotlib.lines import Line2D

    if look is None:
        return Line2D([], [], label=label, **more)
    looks_like = {"color": look.colour, "marker": look.marker, "markerfacecolor": look.face}
    return Line2D([], [], label=label, markersize=5.5, **{"linestyle": "", **looks_like, **more})


def legend(axes: Any, entries: Sequence[Any]) -> None:
    """A legend to the right of a panel."""
    axes.legend(handles=entries, loc="upper left", bbox_to_anchor=(1.03, 1.03), frameon=False,
                fontsize=SMALL, ncols=legend_columns(len(entries)), labelspacing=0.35,
                borderaxespad=0)  # fmt: skip


def legend_columns(entries: int) -> int:
    """Return how many columns a legend has: up to three."""
    return max(1, min(3, -(-entries // LEGEND_LINES)))


def legend_inches(entries: int) -> float:
    """How high a legend is."""
    return LEGEND_LINE_INCHES * -(-entries // legend_columns(entries))


def chunks(items: Iterable[Any], size: int = len(COLOURS)) -> list[tuple[Any, ...]]:
    """Return the items in groups that one panel can show: as many as there are colours."""
    all_of_them = list(items)
    return [tuple(all_of_them[i : i + size]) for i in range(0, len(all_of_them), size)]


def part_of(number: int, count: int) -> str:
    """Return what is added to the title of a panel that is one of several."""
    return f" ({number} of {count})" if count > 1 else ""


def number_parts(figure: Any) -> None:
    """Number what has a name in a figure, by kind: an id must not come twice in an SVG."""
    counts: dict[str, int] = {}
    for artist in figure.findobj(lambda each: each.get_gid()):
        kind = artist.get_gid()
        counts[kind] = counts.get(kind, 0) + 1
        artist.set_gid(f"{kind}-{counts[kind]}")


def muted(**more: Any) -> dict[str, Any]:
    """Return the looks of what is there for comparison alone."""
    return {"color": INK, "linewidth": 0.9, "alpha": 0.7, **more}

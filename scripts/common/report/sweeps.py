"""The figure of ranks: what a higher rank of an adapter gains."""

from typing import Any

from common.report import drawing
from common.report.compared import Comparison, Dataset, Measure, Variant
from common.report.drawing import COLOURS, MARKERS, SMALL, Look, Row, short

HEIGHT_INCHES, WIDTH_INCHES, ABSENT_INCHES = 2.5, 4.2, 0.25
ROOM = 1.3  # at the ends of the axis, as a factor
APART = 0.05  # sweeps beside each other at one rank, as a share of a doubling
DASHES = {"head": ":", "full": "--"}  # kinds that a sweep is compared with
NO_RANKS = "No adapter of this dataset has a single rank."

Panel = tuple[Dataset, str, dict[str, list[Variant]]]


def draw(comparison: Comparison) -> Any:
    """A panel per dataset, a line per model and method of adapters; more where there are many."""
    shown = [panel for part in comparison.datasets for panel in panels_of(part)]
    rows = [Row(height(part, sweeps)) for part, _, sweeps in shown]
    figure, lines = drawing.panels(rows, WIDTH_INCHES)
    for (axes,), (part, title, sweeps) in zip(lines, shown, strict=True):
        drawing.title(axes, title)
        if sweeps:
            draw_panel(axes, part, sweeps)
        else:
            drawing.absent(axes, NO_RANKS)
    return figure


def panels_of(part: Dataset) -> list[Panel]:
    """The panels of a dataset: title and sweeps of each; one without any where there are none."""
    groups = drawing.chunks(sweeps_of(part).items()) or [()]
    titles = [short(part.name) + drawing.part_of(n, len(groups)) for n in range(1, len(groups) + 1)]
    return [(part, title, dict(group)) for title, group in zip(titles, groups, strict=True)]


def sweeps_of(part: Dataset) -> dict[str, list[Variant]]:
    """The adapters that have a rank and a figure, by what they have in common, lowest rank first.

    That is their name without the rank at its end: ``minilm/lora`` of ``minilm/lora-r4``.
    """
    found: dict[str, list[Variant]] = {}
    for variant in part.variants:
        if variant.rank is not None and variant.measure:
            found.setdefault(variant.name.removesuffix(f"-r{variant.rank}"), []).append(variant)
    return {name: sorted(own, key=lambda each: each.rank or 0) for name, own in found.items()}


def height(part: Dataset, sweeps: dict[str, list[Variant]]) -> float:
    """How high a panel is, in inches."""
    if not sweeps:
        return ABSENT_INCHES
    return max(HEIGHT_INCHES, drawing.legend_inches(len(sweeps) + len(ends_of(part, sweeps))))


def ends_of(part: Dataset, sweeps: dict[str, list[Variant]]) -> list[Variant]:
    """Head and full fine-tuning of the models whose adapters are swept."""
    owners = {variant.model for own in sweeps.values() for variant in own}
    return [v for v in part.variants if v.kind in DASHES and v.model in owners and v.measure]


def draw_panel(axes: Any, part: Dataset, sweeps: dict[str, list[Variant]]) -> None:
    """Lines over the logarithm of the rank; beside each other, so that no interval is hidden."""
    drawing.quiet(axes)
    entries = []
    for place, (name, own) in enumerate(sweeps.items()):
        look = Look(COLOURS[place], MARKERS[place], COLOURS[place])
        shift = 2 ** (APART * (place - (len(sweeps) - 1) / 2))
        places = [shift * (variant.rank or 0) for variant in own]
        found: list[Measure] = [variant.measure for variant in own if variant.measure]
        axes.plot(places, [measure.value for measure in found], color=look.colour, linewidth=1.2,
                  gid="sweep")  # fmt: skip
        for x, measure in zip(places, found, strict=True):
            drawing.point(axes, x, measure, look)
        entries.append(drawing.key(short(name), look, linestyle="-"))
    entries += [draw_end(axes, variant, sweeps) for variant in ends_of(part, sweeps)]
    scale(axes, sorted({v.rank for own in sweeps.values() for v in own if v.rank}))
    axes.set_ylabel(f"{part.metric} on the test rows", fontsize=SMALL)
    drawing.legend(axes, entries)


def draw_end(axes: Any, variant: Variant, sweeps: dict[str, list[Variant]]) -> Any:
    """Head or full fine-tuning as a line; of several models, in the colour of its first sweep.

    Returns the entry of the legend.
    """
    owners = [own[0].model for own in sweeps.values()]
    more = {"color": COLOURS[owners.index(variant.model)]} if len(set(owners)) > 1 else {}
    style = drawing.muted(linestyle=DASHES[variant.kind], **more)
    if variant.measure:
        axes.axhline(variant.measure.value, gid="end", **style)
    return drawing.key(short(variant.name), **style)


def scale(axes: Any, ranks: list[int]) -> None:
    """An axis over the logarithm of the rank, with all ranks on it, or some of very many."""
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log")
    axes.set_xlim(ranks[0] / ROOM, ranks[-1] * ROOM)
    some = ranks[:: -(-len(ranks) // 10)]
    axes.set_xticks(some, [f"{rank:,}" for rank in some])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("rank", fontsize=SMALL)

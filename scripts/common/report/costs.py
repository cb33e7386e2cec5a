"""The figure of quality against cost, with the Pareto front: nothing cheaper is as good."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from common.report import drawing
from common.report.compared import Comparison, Dataset, Variant
from common.report.drawing import INK, SMALL, Look, Row, short

PANEL_INCHES, WIDEST_INCHES = 2.5, 4.0
MOST_TICKS = 5
DASHES = (":", "--", "-.", (0, (5, 1, 1, 1, 1, 1)))
ROOM = 0.06  # at the ends of an axis, as a power of its length


def count(number: float) -> str:
    """Return a count in thousands, millions or billions: 166 k."""
    power = min(int(math.log10(max(number, 1)) / 3), 3)
    return f"{digits(number / 1000**power)}{['', ' k', ' M', ' G'][power]}"


def duration(seconds: float) -> str:
    """Return a number of seconds as people say it: 45 s, 12 min, 3 h."""
    if seconds < 120:
        return f"{digits(seconds)} s"
    return f"{digits(seconds / 60)} min" if seconds < 7200 else f"{digits(seconds / 3600)} h"


def size(number: float) -> str:
    """Return a number of bytes in the unit that suits it: 972 MiB."""
    power = min(int(math.log2(max(number, 1)) / 10), 4)
    return f"{digits(number / 1024**power)} {['B', 'KiB', 'MiB', 'GiB', 'TiB'][power]}"


def digits(number: float) -> str:
    """Return a number of three digits, or all four of a larger one."""
    return f"{number:,.0f}" if 100 <= number < 10_000 else f"{number:.3g}"


class Cost(NamedTuple):
    """A cost: key of verdicts.json, title, how it is written, round numbers on its scale."""

    key: str
    title: str
    shown: Callable[[float], str]
    rounds: list[float]


DECADES = [float(step * 10**power) for power in range(40) for step in (1, 2, 5)]
TIMES = [
    *(0.01, 0.1),
    *(unit * number for unit in (1.0, 60.0, 3600.0) for number in (1, 2, 5, 10, 20, 40)),
    *(360_000 * 10.0**power for power in range(6)),
]
COSTS = (
    Cost("trainable_parameters", "trainable parameters", count, DECADES),
    Cost("train_seconds", "training time", duration, TIMES),
    Cost("peak_memory_bytes", "peak memory", size, [2.0**power for power in range(50)]),
)


class Priced(NamedTuple):
    """A variant that has both a cost and a figure."""

    variant: Variant
    cost: float
    value: float


def is_reference(variant: Variant) -> bool:
    """Whether it is there to be compared with: a baseline, or a model that comes with a head."""
    return variant.kind == "baseline" or (variant.kind == "base" and not variant.untrained)


def priced(part: Dataset, key: str) -> list[Priced]:
    """Return the variants of a dataset that have both a cost and a figure; references are none."""
    return [
        Priced(variant, variant.costs[key], variant.measure.value)
        for variant in part.variants
        if not is_reference(variant) and variant.measure and key in variant.costs
    ]


def references(part: Dataset, key: str) -> list[Priced]:
    """What is drawn as a line; without a cost on record it is cheapest, as it trains no model."""
    return [
        Priced(variant, variant.costs.get(key, 0.0), variant.measure.value)
        for variant in part.variants
        if is_reference(variant) and variant.measure
    ]


def pareto_front(points: list[Priced], lower_is_better: bool) -> list[Priced]:
    """Those that nothing cheaper is as good as, the cheapest first.

    An untrained head is no candidate: its figure is the luck of a draw.
    """
    sign = 1 if lower_is_better else -1
    candidates = [point for point in points if not point.variant.untrained]
    front: list[Priced] = []
    for point in sorted(candidates, key=lambda each: (each.cost, sign * each.value)):
        if not front or sign * point.value < sign * front[-1].value:
            front.append(point)
    return front


def draw(comparison: Comparison) -> Any:
    """Return a row per dataset, a panel per cost: a point per variant, references as lines."""
    looks = drawing.looks(comparison)
    legends = [list(entries(part, looks)) for part in comparison.datasets]
    heights = [max(PANEL_INCHES, drawing.legend_inches(len(each))) for each in legends]
    width = min(max(heights, default=PANEL_INCHES), WIDEST_INCHES)
    figure, lines = drawing.panels([Row(height, len(COSTS)) for height in heights], width)
    for line, part, legend in zip(lines, comparison.datasets, legends, strict=True):
        drawing.title(line[0], short(part.name))
        line[0].set_ylabel(f"{part.metric} on the test rows", fontsize=SMALL)
        for axes, cost in zip(line, COSTS, strict=True):
            draw_panel(axes, part, cost, looks)
            if axes is not line[0]:
                axes.sharey(line[0])
                axes.tick_params(labelleft=False)
        drawing.legend(line[-1], legend)
    return figure


def draw_panel(axes: Any, part: Dataset, cost: Cost, looks: dict[str, Look]) -> None:
    """One cost on one dataset."""
    drawing.quiet(axes)
    axes.set_xlabel(cost.title, fontsize=SMALL)
    points = priced(part, cost.key)
    if not points:
        axes.set_xticks([])
        axes.text(0.5, 0.5, "on record for no variant", ha="center", fontsize=SMALL,
                  transform=axes.transAxes)  # fmt: skip
        return
    far = set()
    for variant, dash, inside in reference_lines(part):
        if not inside:
            far.add(variant.name)
        elif variant.measure:
            axes.axhline(variant.measure.value, linestyle=dash, gid="reference", **drawing.muted())
    for variant, amount, _ in points:
        if variant.measure:
            drawing.point(axes, amount, variant.measure, looks[variant.name])
    scale(axes, [point.cost for point in points], cost)
    front = pareto_front([*references(part, cost.key), *points], part.lower_is_better)
    draw_front(axes, [point for point in front if point.variant.name not in far])


def draw_front(axes: Any, front: list[Priced]) -> None:
    """The front as steps to the right end; what is cheaper than all points begins at the left."""
    if front:
        low, high = axes.get_xlim()
        amounts = [min(max(point.cost, low), high) for point in front]
        values = [point.value for point in front]
        axes.plot([*amounts, high], [*values, values[-1]], gid="front", drawstyle="steps-post",
                  color=INK, linewidth=1.2)  # fmt: skip


def reference_lines(part: Dataset) -> Iterator[tuple[Variant, Any, bool]]:
    """Yield the references of a dataset, their dashes, and whether they are within the panels.

    One far worse than all variants would press them together, and is told of in words.
    """
    costly = [point.variant for cost in COSTS for point in priced(part, cost.key)]
    shown = [variant.measure for variant in costly if variant.measure]
    lowest = min((measure.low for measure in shown), default=0.0)
    highest = max((measure.high for measure in shown), default=1.0)
    room = (highest - lowest) / 2
    for place, point in enumerate(references(part, COSTS[0].key)):
        far = point.value > highest + room if part.lower_is_better else point.value < lowest - room
        yield point.variant, DASHES[place % len(DASHES)], not far


def entries(part: Dataset, looks: dict[str, Look]) -> Iterator[Any]:
    """Yield the legend of a dataset: its variants that have a cost, the front, its references."""
    costly = {point.variant.name for cost in COSTS for point in priced(part, cost.key)}
    for variant in part.variants:
        if variant.name in costly:
            yield drawing.key(drawing.named(variant), looks[variant.name])
    if costly:
        yield drawing.key("Pareto front", color=INK, linewidth=1.2)
    for variant, dash, inside in reference_lines(part):
        value = f"{variant.measure.value:.3f}" if variant.measure else ""
        words = f"{short(variant.name)}: {value}" + ("" if inside else ", too far to draw")
        style = {"linestyle": dash} if inside else {"linestyle": ""}
        yield drawing.key(words, **drawing.muted(**style))


def scale(axes: Any, amounts: list[float], cost: Cost) -> None:
    """An axis over the logarithm of a cost, with room at its ends and a few round numbers."""
    from matplotlib.ticker import NullLocator

    first, last = min(amounts), max(amounts)
    room = max((last / first) ** ROOM, 1.15)
    axes.set_xscale("log")
    axes.set_xlim(first / room, last * room)
    found = ticks(first / room, last * room, cost)
    axes.set_xticks(found, [cost.shown(tick) for tick in found])
    axes.xaxis.set_minor_locator(NullLocator())


def ticks(low: float, high: float, cost: Cost) -> list[float]:
    """Round numbers on a logarithmic axis from ``low`` to ``high``, in the unit of the cost."""
    from matplotlib.ticker import MaxNLocator

    found = [tick for tick in cost.rounds if low <= tick <= high]
    tens = [tick for tick in found if math.log10(tick).is_integer()]
    if cost.rounds is DECADES and len(tens) > 2:
        found = tens
    if len(found) < 2:  # a narrow axis has hardly one of them on it
        unit = 1024.0 ** int(math.log2(max(low, 1)) / 10) if cost.shown is size else 1.0
        even = MaxNLocator(MOST_TICKS - 1).tick_values(low / unit, high / unit)
        found = [unit * tick for tick in even if low <= unit * tick <= high]
    return found[:: math.ceil(len(found) / MOST_TICKS) or 1]

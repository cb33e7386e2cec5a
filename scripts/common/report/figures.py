"""The figures of a comparison, each one entry of FIGURES: what SVG files and the page draw.

A figure is a list of panels per dataset, each a Vega-Lite specification with its rows, and a table
of the same for those who do not see it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from common.report import vega
from common.report.frame import Comparison, Dataset, Measure, Variant
from common.report.vega import COLOURS, DASHES, INK, MUTED, PAPER, Spec, layer, short, tooltip

Table = tuple[list[str], list[list[str]]]  # header and rows

LINE, MATRIX = 22, 30  # pixels: of a row of names; of a cell of a matrix
SMALLEST_CELL = 9  # pixels of a cell of a matrix of very many classes; counts stand in larger ones
ROOM = 0.06  # at the ends of an axis of costs, as a power of its length
RANK_ROOM, APART = 1.3, 0.05  # of ranks: a factor at the ends; a share of a doubling between lines
MOST_TICKS = 5
LONGEST_HEADING = 26  # letters of a name above a small panel
MOST_CURVES = 6  # variants of a panel that shows each seed of them twice
FRONT = "Pareto front"
CROSS = "M-1,-1L1,1M1,-1L-1,1"  # the shape of a collapsed cell


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        title: of its section in the page.
        caption: what a reader has to know of it.
        empty: what is said of a dataset that has no panel.
        panels: of a dataset; each has a title, a width and a height.
        table: the same as texts.
        across: panels beside each other.
        one_at_a_time: whether the page offers the panels in a list and shows the one chosen.
        page: whether the page shows it; those that it does not, it has as HTML.
        of_sizes: whether a panel is of all sizes of a dataset: then its file has these alone.
    """

    title: str
    caption: str
    empty: str
    panels: Callable[[Comparison, Dataset], list[Spec]]
    table: Callable[[Dataset], Table]
    across: int = 1
    one_at_a_time: bool = False
    page: bool = True
    of_sizes: bool = False


def drawing(figure: Figure, comparison: Comparison) -> Spec:
    """Return a figure of all datasets as one specification."""
    datasets = comparison.datasets
    if figure.of_sizes:
        datasets = [part for part in datasets if part.sizes] or datasets
    parts = [of_dataset(figure, comparison, part) for part in datasets]
    layers = [each for part in parts for own in part.get("concat", [part])
              for each in own.get("layer", [own])]  # fmt: skip
    # Vega-Lite takes the rows of two layers of one name for the same.
    for place, each in enumerate(layers):
        each["name"] = f"{each['name']}-{place}"
    return {"vconcat": parts, "resolve": resolved("independent"), "spacing": 30}


def resolved(how: str) -> Spec:
    """Return how panels have the scales of their legends: "shared" or "independent"."""
    return {"scale": dict.fromkeys(("color", "fill", "shape", "strokeDash"), how)}


def of_dataset(figure: Figure, comparison: Comparison, part: Dataset) -> Spec:
    """Return the panels of a dataset below its name, or why there is none.

    Panels that the page shows one at a time differ in their axis across alone: they share a legend.
    """
    name = part.sizes.name if figure.of_sizes and part.sizes else part.name
    title = {"text": short(name), "fontSize": 15}
    panels = figure.panels(comparison, part)
    if not panels:
        return vega.nothing({**title, "subtitle": figure.empty})
    shared = "shared" if figure.one_at_a_time else "independent"
    return {"title": title, "concat": panels, "columns": figure.across,
            "resolve": resolved(shared)}  # fmt: skip


def panel(title: str | list[str], size: tuple[float, float], layers: list[Spec]) -> Spec:
    """Return a panel of some layers.

    Args:
        title: with further lines, which are written smaller.
        size: width and height in pixels.
        layers: from the lowest to the one on top.
    """
    first, *more = [title] if isinstance(title, str) else title
    return {"title": {"text": first, **({"subtitle": more} if more else {})},
            "width": size[0], "height": size[1], "layer": layers}  # fmt: skip


def named(variant: Variant) -> str:
    """Return the name of a variant, with what a reader must know of it before its figure."""
    remarks = {"untrained head": variant.untrained, "collapsed": variant.collapsed}
    true = ", ".join(remark for remark, holds in remarks.items() if holds)
    return variant.label + (f" ({true})" if true else "")


def heading(variant: Variant, *more: str) -> list[str]:
    """Return the title of a small panel of one variant, line by line."""
    names = [variant.variant, variant.model] if variant.model else [variant.variant]
    return [*(short(name, LONGEST_HEADING) for name in names), *more]


def upright(
    rows: Sequence[Spec], x: Spec, y: Spec, look: Spec, size: int, hover: list[Spec]
) -> list[Spec]:
    """Return the layers of points with their intervals, upright.

    Args:
        rows: with ``low`` and ``high`` beside what x and y name.
        x: the encoding across.
        y: the encoding of the metric.
        look: the encodings of ``vega.by_look``.
        size: of a point, in square pixels.
        hover: the encoding of its tooltip.
    """
    point = {"type": "point", "size": size, "opacity": 1}
    return [
        layer(
            "interval",
            {"type": "rule", "opacity": 0.7},
            rows,
            x=x,
            color=look["color"],
            **low_to_high(y),
        ),
        layer("point", point, rows, x=x, y=y, tooltip=hover, **look),
    ]


def low_to_high(y: Spec) -> Spec:
    """Return the encoding of an interval, upright, from that of the metric."""
    return {"y": {**y, "field": "low"}, "y2": {"field": "high"}}


def looks(comparison: Comparison) -> dict[str, vega.Look]:
    """Return the look of every variant of a comparison, by its full name; baselines are plain."""
    variants = [v for part in comparison.datasets for v in part.variants]
    own = [(v.name, v.model, v.variant) for v in variants if v.kind != "baseline"]
    plain = {v.name: vega.Look(INK, "circle", INK) for v in variants if v.kind == "baseline"}
    return vega.looks(own) | plain


def chunks(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """Return the items in groups of at most some size."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def part_of(number: int, groups: Sequence[Any]) -> str:
    """Return what is added to the title of a panel that is one of several."""
    return f" ({number} of {len(groups)})" if len(groups) > 1 else ""


def row(variant: Variant, measure: Measure, **more: Any) -> Spec:
    """Return the row of a mark: a variant with a figure."""
    return {"name": named(variant), "value": measure.value, "low": measure.low,
            "high": measure.high, "shown": measure.shown, **more}  # fmt: skip


# Every seed, and intervals.


def names_axis(part: Dataset) -> Spec:
    """Return the encoding of variants one below the other, in the order of the comparison."""
    axis = {"domain": False, "ticks": False, "grid": False, "labelColor": INK, "labelPadding": 8}
    return {"field": "name", "type": "nominal", "title": None, "axis": axis,
            "sort": [named(variant) for variant in part.variants]}  # fmt: skip


def seed_panels(_: Comparison, part: Dataset) -> list[Spec]:
    """Return a panel with a line per variant: every seed a dot, over mean and interval."""
    means = [row(v, v.measure) for v in part.variants if v.measure]
    seeds = [
        row(v, seed.measure, model=v.model or "baseline", seed=str(seed.seed), collapsed=collapsed)
        for v in part.variants
        for seed in v.seeds
        for collapsed in ("yes" if seed.collapsed else "no",)
    ]
    baselines = [row(v, v.measure) for v in part.variants if v.kind == "baseline" and v.measure]
    if not means:
        return []
    models = list(dict.fromkeys(each["model"] for each in seeds))
    colours = [COLOURS[place % len(COLOURS)] for place in range(len(models))]
    colour = {"field": "model", "type": "nominal", "title": None,
              "scale": {"domain": models, "range": colours},
              "legend": None if len(models) < 2 else {}}  # fmt: skip
    shape = {"field": "collapsed", "type": "nominal", "legend": None,
             "scale": {"domain": ["no", "yes"], "range": ["circle", CROSS]}}  # fmt: skip
    across, down = vega.number("value", f"{part.metric} on the test rows"), names_axis(part)
    hover = tooltip(name="variant", seed="seed", shown="value", collapsed="collapsed")
    return [panel(
        "", (420, LINE * len(means)),
        [
            layer("baseline", {"type": "rule", "strokeDash": [1, 4]}, baselines, x=across),
            layer("interval", {"type": "bar", "color": MUTED, "opacity": 0.25, "height": 9}, means,
                  x=vega.number("low", f"{part.metric} on the test rows"), x2={"field": "high"},
                  y=down, tooltip=tooltip(name="variant", shown="mean and interval")),
            layer("mean", {"type": "tick", "color": INK, "thickness": 2, "size": 15}, means,
                  x=across, y=down, tooltip=tooltip(name="variant", shown="mean and interval")),
            layer("seed", {"type": "point", "size": 55, "opacity": 0.75, "strokeWidth": 2}, seeds,
                  x=across, y=down, color=colour, fill=colour, shape=shape, tooltip=hover),
        ],
    )]  # fmt: skip


def seed_table(part: Dataset) -> Table:
    """Return every seed of every variant."""
    return ["Variant", "Seed", part.metric, "Collapsed"], [
        [v.name, "–" if seed.seed is None else str(seed.seed), seed.measure.shown,
         "yes" if seed.collapsed else "no"]
        for v in part.variants for seed in v.seeds
    ]  # fmt: skip


def interval_panels(comparison: Comparison, part: Dataset) -> list[Spec]:
    """Return a panel with a line per variant: mean and interval, in figures beside it."""
    rows = [
        row(v, v.measure, recommended=v.recommended) if v.measure
        else {"name": named(v), "shown": "–"}
        for v in part.variants
    ]  # fmt: skip
    found = [each for each in rows if "value" in each]
    down = names_axis(part)
    level = f"{part.metric} on the test rows, with its {100 * comparison.level:g} % interval"
    colour = {"condition": {"test": "datum.recommended", "value": COLOURS[0]}, "value": INK}
    inside = {"condition": {"test": "datum.recommended", "value": COLOURS[0]}, "value": PAPER}
    return [panel(
        ["", "Filled: recommended."],
        (420, LINE * len(rows)),
        [
            layer("interval", {"type": "rule", "strokeWidth": 1.5}, found, y=down,
                  x=vega.number("low", level), x2={"field": "high"}, color=colour),
            layer("point", {"type": "point", "size": 60, "opacity": 1}, found, y=down,
                  x=vega.number("value", level), color=colour, fill=inside),
            layer("shown", {"type": "text", "align": "left", "fontSize": 11}, rows, y=down,
                  x={"value": 430}, text={"field": "shown"}),
        ],
    )]  # fmt: skip


def interval_table(part: Dataset) -> Table:
    """Return the mean of every variant, and which is recommended."""
    return ["Variant", part.metric, "Recommended"], [
        [v.name, v.measure.shown if v.measure else "–", "yes" if v.recommended else "no"]
        for v in part.variants
    ]


# Quality against cost.


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
POWERS_OF_TWO = [2.0**power for power in range(50)]
TIMES = [
    *(0.01, 0.1),
    *(unit * number for unit in (1.0, 60.0, 3600.0) for number in (1, 2, 5, 10, 20, 40)),
    *(360_000 * 10.0**power for power in range(6)),
]
COSTS = (
    Cost("trainable_parameters", "Trainable parameters", count, DECADES),
    Cost("train_seconds", "Training time", duration, TIMES),
    Cost("peak_memory_bytes", "Peak memory", size, POWERS_OF_TWO),
    Cost("file_bytes", "File size", size, POWERS_OF_TWO),
)


class Priced(NamedTuple):
    """A variant that has both a cost and a figure."""

    variant: Variant
    cost: float
    measure: Measure


def is_reference(variant: Variant) -> bool:
    """Return whether it stands for comparison: a baseline, or a model that comes with a head."""
    return variant.kind == "baseline" or (variant.kind == "base" and not variant.untrained)


def priced(part: Dataset, key: str) -> list[Priced]:
    """Return the variants of a dataset that have both a cost and a figure; references are none."""
    return [
        Priced(variant, variant.costs[key], variant.measure)
        for variant in part.variants
        if not is_reference(variant) and variant.measure and key in variant.costs
    ]


def references(part: Dataset, key: str) -> list[Priced]:
    """Return what is drawn as a line; without a cost on record it is free: it trains no model."""
    return [
        Priced(variant, variant.costs.get(key, 0.0), variant.measure)
        for variant in part.variants
        if is_reference(variant) and variant.measure
    ]


def pareto_front(points: list[Priced], lower_is_better: bool) -> list[Priced]:
    """Return those that nothing cheaper is as good as, the cheapest first.

    An untrained head is no candidate: its figure depends on the draw.
    """
    sign = 1 if lower_is_better else -1
    candidates = [point for point in points if not point.variant.untrained]
    front: list[Priced] = []
    for point in sorted(candidates, key=lambda each: (each.cost, sign * each.measure.value)):
        if not front or sign * point.measure.value < sign * front[-1].measure.value:
            front.append(point)
    return front


def split_references(part: Dataset) -> tuple[list[Priced], list[Priced]]:
    """Return the references to draw, and those too far off: they would press all points together.

    A reference is too far off if it is worse than all points by more than half of their range.
    """
    shown = [point.measure for cost in COSTS for point in priced(part, cost.key)]
    lowest = min((measure.low for measure in shown), default=0.0)
    highest = max((measure.high for measure in shown), default=1.0)
    room = (highest - lowest) / 2
    near: list[Priced] = []
    far: list[Priced] = []
    for point in references(part, COSTS[0].key):
        value = point.measure.value
        off = value > highest + room if part.lower_is_better else value < lowest - room
        (far if off else near).append(point)
    return near, far


def cost_panels(comparison: Comparison, part: Dataset) -> list[Spec]:
    """Return a panel per cost: a point per variant, references as lines, the Pareto front."""
    near, far = split_references(part)
    every = [point for cost in COSTS for point in priced(part, cost.key)]
    if not every:
        return []
    shown = looks(comparison)
    own = {named(p.variant): shown[p.variant.name] for p in every}
    names = [short(p.variant.name) for p in near]
    dashes = {FRONT: [1, 0]}
    dashes |= {name: DASHES[place % len(DASHES)] for place, name in enumerate(names)}
    ends = [value for p in [*every, *near] for value in (p.measure.low, p.measure.high)]
    margin = ROOM * (max(ends) - min(ends))
    domain = [min(ends) - margin, max(ends) + margin]
    up = vega.number("value", part.metric, scale={"domain": domain, "nice": False})
    dropped = {point.variant.name for point in far}
    notes = [f"{short(p.variant.name)} is at {p.measure.value:.3f}, too far off to be drawn"
             for p in far]  # fmt: skip
    return [
        panel([cost.title, *notes], (250, 250),
              cost_layers(part, cost, points, dropped, up, own, dashes))
        for cost in COSTS if (points := priced(part, cost.key))
    ]  # fmt: skip


def cost_layers(
    part: Dataset, cost: Cost, points: list[Priced], dropped: set[str], up: Spec,
    own: dict[str, vega.Look], dashes: dict[str, list[int]],
) -> list[Spec]:  # fmt: skip
    """Return the layers of one cost.

    Args:
        part: the dataset.
        cost: of the axis across.
        points: the variants that have this cost.
        dropped: names of references that are not drawn.
        up: the encoding of the metric.
        own: the look of every variant that has any cost.
        dashes: of the front and of every reference, by name.
    """
    first, last = min(p.cost for p in points), max(p.cost for p in points)
    room = max((last / first) ** ROOM, 1.15)
    low, high = first / room, last * room
    places = axis_ticks(low, high, cost)
    across = vega.number(
        "cost", cost.title.lower(), scale={"type": "log", "domain": [low, high], "nice": False},
        axis={"grid": False, **vega.ticks(places, [cost.shown(place) for place in places])},
    )  # fmt: skip
    rows = [row(p.variant, p.measure, cost=p.cost, words=cost.shown(p.cost)) for p in points]
    lines = [
        row(p.variant, p.measure) | {"name": short(p.variant.name), "cost": end}
        for p in references(part, cost.key) if p.variant.name not in dropped
        for end in (low, high)
    ]  # fmt: skip
    front = pareto_front([*references(part, cost.key), *points], part.lower_is_better)
    steps = [{"name": FRONT, "cost": min(max(p.cost, low), high), "value": p.measure.value}
             for p in front if p.variant.name not in dropped]  # fmt: skip
    steps += [step | {"cost": high} for step in steps[-1:]]
    dash = vega.by_dash("name", dashes)
    hover = tooltip(name="variant", shown=part.metric, words=cost.title)
    return [
        layer("reference", {"type": "line", "color": MUTED}, lines, x=across, y=up,
              strokeDash=dash, tooltip=tooltip(name="variant", shown=part.metric)),
        layer("front", {"type": "line", "interpolate": "step-after", "color": MUTED}, steps,
              x=across, y=up, strokeDash=dash),
        *upright(rows, across, up, vega.by_look("name", own), 75, hover),
    ]  # fmt: skip


def axis_ticks(low: float, high: float, cost: Cost) -> list[float]:
    """Return round numbers on a logarithmic axis from ``low`` to ``high``, in the cost's unit."""
    found = [tick for tick in cost.rounds if low <= tick <= high]
    tens = [tick for tick in found if math.log10(tick).is_integer()]
    if cost.rounds is DECADES and len(tens) > 2:
        found = tens
    if len(found) < 2:  # a narrow axis has hardly one of them on it
        unit = 1024.0 ** int(math.log2(max(low, 1)) / 10) if cost.shown is size else 1.0
        step = 10 ** math.floor(math.log10((high - low) / unit / 2))
        even = range(math.ceil(low / unit / step), math.floor(high / unit / step) + 1)
        found = [round(unit * step * place, 9) for place in even]
    return found[:: math.ceil(len(found) / MOST_TICKS) or 1]


def cost_table(part: Dataset) -> Table:
    """Return every variant with its costs, and for which of them it is on the Pareto front."""
    rows = []
    fronts = {
        cost.key: {point.variant.name for point in pareto_front(
            [*references(part, cost.key), *priced(part, cost.key)], part.lower_is_better)}
        for cost in COSTS
    }  # fmt: skip
    for v in part.variants:
        if v.measure and (is_reference(v) or v.costs):
            costs = [cost.shown(v.costs[cost.key]) if cost.key in v.costs else "–"
                     for cost in COSTS]  # fmt: skip
            on = [cost.title.lower() for cost in COSTS if v.name in fronts[cost.key]]
            place = "no: untrained head" if v.untrained else ", ".join(on) or "no"
            rows.append([v.name, v.measure.shown, *costs, place])
    header = ["Variant", part.metric, *(cost.title for cost in COSTS), "On the Pareto front of"]
    return header, rows


# Ranks, losses by step, reliability, confusion.


def sweeps_of(part: Dataset) -> dict[str, list[Variant]]:
    """Return the adapters that have a rank and a figure, lowest rank first, by their common name.

    That is their name without the rank at its end: ``minilm/lora`` of ``minilm/lora-r4``.
    """
    found: dict[str, list[Variant]] = {}
    for variant in part.variants:
        if variant.rank is not None and variant.measure:
            found.setdefault(variant.name.removesuffix(f"-r{variant.rank}"), []).append(variant)
    return {name: sorted(own, key=lambda each: each.rank or 0) for name, own in found.items()}


def rank_panels(_: Comparison, part: Dataset) -> list[Spec]:
    """Return a panel with a line per model and method of adapters; more where there are many."""
    groups = chunks(list(sweeps_of(part).items()), len(COLOURS))
    return [
        panel("Ranks" + part_of(place, groups), (260, 220), rank_layers(part, dict(group)))
        for place, group in enumerate(groups, 1)
    ]


def rank_layers(part: Dataset, sweeps: dict[str, list[Variant]]) -> list[Spec]:
    """Return the layers of some sweeps, beside each other, so that no interval is hidden.

    Head and full fine-tuning of the same models are lines across.
    """
    ranks = sorted({v.rank for own in sweeps.values() for v in own if v.rank})
    low, high = ranks[0] / RANK_ROOM, ranks[-1] * RANK_ROOM
    some = ranks[:: -(-len(ranks) // 10)]
    across = vega.number(
        "place", "rank", scale={"type": "log", "domain": [low, high], "nice": False},
        axis={"grid": False, **vega.ticks(some, [f"{rank:,}" for rank in some])},
    )  # fmt: skip
    up = vega.number("value", part.metric)
    rows = [
        row(v, v.measure, sweep=short(name), rank=v.rank,
            place=(v.rank or 1) * 2 ** (APART * (line - (len(sweeps) - 1) / 2)))
        for line, (name, own) in enumerate(sweeps.items()) for v in own if v.measure
    ]  # fmt: skip
    colours = vega.looks([(short(name), "", short(name)) for name in sweeps])
    shown = {name: vega.Look(look.colour, vega.SHAPES[place], look.colour)
             for place, (name, look) in enumerate(colours.items())}  # fmt: skip
    owners = {own[0].model for own in sweeps.values()}
    kinds = {"head": DASHES[0], "full": DASHES[3]}
    ends = [v for v in part.variants if v.kind in kinds and v.model in owners and v.measure]
    lines = [
        row(v, v.measure, place=end) | {"name": short(v.name)}
        for v in ends if v.measure for end in (low, high)
    ]  # fmt: skip
    dashes = {short(v.name): kinds[v.kind] for v in ends}
    look = vega.by_look("sweep", shown)
    hover = tooltip(name="variant", rank="rank", shown=part.metric)
    across_ends = [layer("end", {"type": "line", "color": MUTED}, lines, x=across, y=up,
                         strokeDash=vega.by_dash("name", dashes),
                         tooltip=tooltip(name="variant", shown=part.metric))]  # fmt: skip
    return [
        *(across_ends if lines else []),
        layer("sweep", "line", rows, x=across, y=up, color=look["color"]),
        *upright(rows, across, up, look, 60, hover),
    ]


def rank_table(part: Dataset) -> Table:
    """Return every adapter that has a rank."""
    return ["Variant", "Rank", part.metric], [
        [v.name, str(v.rank), v.measure.shown]
        for own in sweeps_of(part).values() for v in own if v.measure
    ]  # fmt: skip


def size_panels(comparison: Comparison, part: Dataset) -> list[Spec]:
    """Return a panel with a line per variant over the sizes of a dataset, at the first of them."""
    if part.sizes is None:
        return []
    return [panel("", (420, 280), size_layers(comparison, part))]


def size_layers(comparison: Comparison, part: Dataset) -> list[Spec]:
    """Return the layers of all sizes; lines beside each other, so that no interval is hidden."""
    sizes = part.sizes.datasets if part.sizes else []
    rows = [size.train_rows for size in sizes if size.train_rows]
    across = vega.number(
        "place", "training rows",
        scale={"type": "log", "domain": [rows[0] / RANK_ROOM, rows[-1] * RANK_ROOM],
               "nice": False},
        axis={"grid": False, **vega.ticks(rows, [f"{count:,}" for count in rows])},
    )  # fmt: skip
    up = vega.number("value", part.metric)
    marks = size_marks(sizes)
    kinds = {variant.name: variant.kind for variant, _ in marks}
    shown = {name: look for name, look in looks(comparison).items()
             if kinds.get(name, "baseline") != "baseline"}  # fmt: skip
    own = [each for variant, rows in marks if variant.name in shown for each in rows]
    baselines = [each for variant, rows in marks if variant.name not in shown for each in rows]
    look = vega.by_look("name", {short(name): each for name, each in shown.items()})
    hover = tooltip(name="variant", rows="training rows", shown=part.metric)
    return [
        *(reference_layers(baselines, across, up, hover) if baselines else []),
        layer("size", "line", own, x=across, y=up, color=look["color"]),
        *upright(own, across, up, look, 60, hover),
    ]


def size_marks(sizes: list[Dataset]) -> list[tuple[Variant, list[Spec]]]:
    """Return the rows of marks of each variant, one for every size, side by side."""
    lines = sized_variants(sizes).values()
    return [
        (points[0].variant, [
            row(variant, measure, rows=f"{count:,}", place=count * 2 ** (APART * shift))
            | {"name": short(variant.name)}
            for variant, count, measure in points
        ])
        for shift, points in enumerate(lines, -(len(lines) // 2))
    ]  # fmt: skip


def reference_layers(rows: list[Spec], x: Spec, y: Spec, hover: list[Spec]) -> list[Spec]:
    """Return the layers of baselines: a dashed line each, with its intervals.

    Args:
        rows: with ``low`` and ``high`` beside ``name`` and what x and y name.
        x: the encoding across.
        y: the encoding of the metric.
        hover: the encoding of the tooltip.
    """
    names = dict.fromkeys(each["name"] for each in rows)
    dashes = {name: DASHES[place % len(DASHES)] for place, name in enumerate(names)}
    return [
        layer("spread", {"type": "rule", "opacity": 0.5}, rows, x=x, **low_to_high(y)),
        layer("baseline", {"type": "line", "color": MUTED}, rows, x=x, y=y,
              strokeDash=vega.by_dash("name", dashes), tooltip=hover),
    ]  # fmt: skip


class Sized(NamedTuple):
    """A variant at one size of a dataset: how many rows it was trained on, and its figure."""

    variant: Variant
    rows: int
    measure: Measure


def sized_variants(datasets: list[Dataset]) -> dict[str, list[Sized]]:
    """Return each variant that has a figure, at every size of a dataset, by its name."""
    found: dict[str, list[Sized]] = {}
    for part in datasets:
        for variant in part.variants:
            if variant.measure and part.train_rows is not None:
                sized = Sized(variant, part.train_rows, variant.measure)
                found.setdefault(variant.name, []).append(sized)
    return found


def size_table(part: Dataset) -> Table:
    """Return every variant at every size."""
    lines = sized_variants(part.sizes.datasets) if part.sizes else {}
    return ["Variant", "Training rows", part.metric], [
        [variant.name, f"{rows:,}", measure.shown]
        for own in lines.values() for variant, rows, measure in own
    ]  # fmt: skip


def by_model(part: Dataset, has: Callable[[Variant], Any]) -> Iterator[tuple[str, list[Variant]]]:
    """Yield title and variants of the panels of a dataset: of one model each, and not too many."""
    found = [variant for variant in part.variants if has(variant)]
    for model in dict.fromkeys(variant.model for variant in found):
        groups = chunks([v for v in found if v.model == model], MOST_CURVES)
        for place, group in enumerate(groups, 1):
            yield short(model) + part_of(place, groups), list(group)


def learning_panels(comparison: Comparison, part: Dataset) -> list[Spec]:
    """Return a panel per model, a line per seed; more where there are many variants."""
    shown = looks(comparison)
    found = by_model(part, lambda v: any(one.train or one.validation for one in v.losses))
    return [
        panel(title, (300, 220), learning_layers(own, shown)) for title, own in found
    ]  # fmt: skip


def learning_layers(own: list[Variant], shown: dict[str, vega.Look]) -> list[Spec]:
    """Return the layers of some variants of one model; a validation may have a single step."""
    rows: dict[str, list[Spec]] = {
        kind: [
            {"name": short(v.variant), "line": f"{short(v.name)} {place}", "rows": f"{kind} rows",
             "step": step, "loss": loss}
            for v in own for place, losses in enumerate(v.losses)
            for step, loss in getattr(losses, field)
        ]
        for kind, field in (("training", "train"), ("validation", "validation"))
    }  # fmt: skip
    x = {"field": "step", "type": "quantitative", "title": "step", "axis": {"grid": False}}
    y = {"field": "loss", "type": "quantitative", "title": "loss"}
    look = vega.by_look("name", {short(v.variant): shown[v.name] for v in own})
    dash = vega.by_dash("rows", {"training rows": [1, 0], "validation rows": DASHES[0]})
    hover = tooltip(name="variant", rows="rows", step="step", loss="loss")
    lines = [
        layer(kind, {"type": "line", "strokeWidth": 1.2, "opacity": 0.8}, each, x=x, y=y,
              detail={"field": "line"}, color=look["color"], strokeDash=dash)
        for kind, each in rows.items()
    ]  # fmt: skip
    points = layer("step", {"type": "point", "size": 40, "opacity": 1}, rows["validation"],
                   x=x, y=y, tooltip=hover, **look)  # fmt: skip
    return [*lines, points]


def learning_table(part: Dataset) -> Table:
    """Return every loss that was logged."""
    return ["Variant", "Seed", "Rows", "Step", "Loss"], [
        [v.name, str(seed.seed), kind, f"{step:g}", f"{loss:.4f}"]
        for v in part.variants
        for seed, losses in zip(v.seeds, v.losses, strict=False)
        for kind, pairs in (("training", losses.train), ("validation", losses.validation))
        for step, loss in pairs
    ]


def reliability_panels(comparison: Comparison, part: Dataset) -> list[Spec]:
    """Return a diagram per variant: below the diagonal it is too sure of itself."""
    shown = looks(comparison)
    return [reliability_panel(v, shown[v.name]) for v in part.variants if v.bins]


def reliability_panel(variant: Variant, look: vega.Look) -> Spec:
    """Return the diagram of one variant; dots grow with their rows."""
    rows = [{"confidence": point.confidence, "accuracy": point.accuracy, "rows": point.rows}
            for point in variant.bins]  # fmt: skip
    scale = {"domain": [0, 1]}
    x = vega.number("confidence", "confidence", scale=scale, axis={"values": [0, 0.5, 1]})
    y = vega.number("accuracy", "share right", scale=scale, axis={"values": [0, 0.5, 1]})
    most = {"domain": [0, max(point.rows for point in variant.bins)], "range": [8, 90]}
    area = {"field": "rows", "type": "quantitative", "scale": most, "legend": None}
    hover = tooltip(confidence="confidence", accuracy="share right", rows="answers")
    hover = [{**each, "format": ".3f"} if each["field"] != "rows" else each for each in hover]
    scores = [] if variant.ece is None else [f"ECE {variant.ece:.3f}"]
    scores += [] if variant.brier is None else [f"Brier {variant.brier:.3f}"]
    diagonal = [{"confidence": end, "accuracy": end} for end in (0, 1)]
    return panel(heading(variant, ", ".join(scores)), (130, 130), [
        layer("diagonal", {"type": "line", "color": MUTED, "strokeDash": [1, 4]}, diagonal,
              x=x, y=y),
        layer("reliability", {"type": "line", "color": look.colour, "strokeWidth": 1.4}, rows,
              x=x, y=y),
        layer("bins", {"type": "point", "filled": True, "color": look.colour, "opacity": 0.9,
                       "clip": False}, rows, x=x, y=y, size=area, tooltip=hover),
    ])  # fmt: skip


def reliability_table(part: Dataset) -> Table:
    """Return the bins of every variant."""
    return ["Variant", "Confidence", "Share right", "Answers", "ECE", "Brier"], [
        [v.name, f"{point.confidence:.3f}", f"{point.accuracy:.3f}", f"{point.rows:,}",
         "–" if v.ece is None else f"{v.ece:.3f}", "–" if v.brier is None else f"{v.brier:.3f}"]
        for v in part.variants for point in v.bins
    ]  # fmt: skip


def confusion_panels(_: Comparison, part: Dataset) -> list[Spec]:
    """Return a matrix per variant: shares of each true class, counts summed over seeds."""
    names = [short(name, 20) for name in part.classes]
    places = [f"{place}" for place in range(len(names))]  # two classes may look the same
    side = max(SMALLEST_CELL, min(MATRIX + 10, 420 // len(names)))
    labels = vega.labels(names, "toNumber(datum.value)")
    axes = {
        channel: {"field": channel_field, "type": "nominal", "sort": None, "title": title,
                  "scale": {"domain": places},
                  "axis": {"labelExpr": labels, "ticks": False, "domain": False, **angle}}
        for channel, channel_field, title, angle in (
            ("x", "predicted", "predicted", {"labelAngle": -45 if len(names) > 2 else 0}),
            ("y", "true", "true", {}))
    }  # fmt: skip
    scale = {"domain": [0, 1], "range": [PAPER, COLOURS[0]], "interpolate": "rgb"}
    shade = {"field": "share", "type": "quantitative", "legend": None, "scale": scale}
    ink = {"condition": {"test": "datum.share > 0.5", "value": PAPER}, "value": INK}
    panels = []
    for variant in part.variants:
        if not variant.confusion:
            continue
        rows = [
            {"true": places[i], "predicted": places[j], "shown": f"{count:,}",
             "share": count / max(sum(counts), 1)}
            for i, counts in enumerate(variant.confusion)
            for j, count in enumerate(counts) if count
        ]  # fmt: skip
        layers = [layer("cell", "rect", rows, color=shade, **axes)]
        if side >= MATRIX:
            layers.append(layer("count", {"type": "text", "fontSize": 10}, rows,
                                text={"field": "shown"}, color=ink, **axes))  # fmt: skip
        panels.append(panel(heading(variant), (side * len(names), side * len(names)), layers))
    return panels


def confusion_table(part: Dataset) -> Table:
    """Return every count that is not 0."""
    return ["Variant", "True class", "Predicted class", "Rows"], [
        [v.name, part.classes[i], part.classes[j], f"{counts:,}"]
        for v in part.variants for i, line in enumerate(v.confusion)
        for j, counts in enumerate(line) if counts
    ]  # fmt: skip


FIGURES = {
    "costs": Figure(
        "Quality against cost",
        "Figures with their intervals; lines across are baselines and models that come with a "
        "head. The solid line is the Pareto front of all but untrained heads: nothing cheaper is "
        "as good. A baseline whose cost is not on record counts as the cheapest.",
        "No variant of this dataset has both a cost and a figure.",
        cost_panels, cost_table, across=len(COSTS), one_at_a_time=True,
    ),
    "comparison": Figure(
        "Seeds",
        "Every seed, a dot each, over mean and interval of the variant; dotted lines are "
        "baselines. A cross is a collapsed cell: it answers one class for nearly every row.",
        "No variant of this dataset has a figure.",
        seed_panels, seed_table,
    ),
    "intervals": Figure(
        "Intervals", "Mean and interval of every variant; filled is what the verdict recommends.",
        "No variant of this dataset has a figure.",
        interval_panels, interval_table, page=False,
    ),
    "ranks": Figure(
        "Rank against quality",
        "Figures with their intervals by rank of the adapter; for comparison, head and full "
        "fine-tuning of the same model as lines.",
        "No adapter of this dataset has a single rank.",
        rank_panels, rank_table, across=2,
    ),
    "training_rows": Figure(
        "How many labels",
        "Figures with their intervals by number of training rows; dashed lines are baselines. The "
        "rows of a smaller size are among those of a larger one, and all are measured on the same "
        "test rows.",
        "The figure stands at the smallest of several sizes of a dataset (a list of train_rows); "
        "this is none.",
        size_panels, size_table, of_sizes=True,
    ),
    "learning": Figure(
        "Learning curves",
        "Loss by step, a line per seed: on the training rows, and on the validation rows with "
        "points.",
        "No losses were logged on this dataset.",
        learning_panels, learning_table, across=2,
    ),
    "reliability": Figure(
        "Reliability",
        "Share of right answers against confidence, in bins, of the answers of all seeds "
        "together; the size of a dot is the number of answers. Below the diagonal a variant is "
        "too sure of itself. ECE and Brier score are computed for each seed, and are means over "
        "the seeds.",
        "No calibration is on record for this dataset.",
        reliability_panels, reliability_table, across=4,
    ),
    "confusion": Figure(
        "Confusion matrices",
        "A row per true class, a column per predicted one; test rows, summed over seeds. The "
        "shade is the share of the true class.",
        "No confusion matrix is on record for this dataset.",
        confusion_panels, confusion_table, across=4, page=False,
    ),
}  # fmt: skip

"""Vega-Lite: the grammar of all figures, in a look of their own, and the SVG files made of them.

A specification is plain JSON with its rows inline. The page draws the same specification with
Vega's JavaScript, in the colours of its theme. Equal specifications give equal files.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common import files
from common.markdown import flat

Spec = dict[str, Any]

VERSION = "6.4"  # of Vega-Lite, in files and page

# Those of the light theme of the page, which replaces them by those of its dark theme.
INK, MUTED, PAPER, LINE = "#1b1f24", "#59626d", "#ffffff", "#e1e4e8"
COLOURS = [
    "#0a63ab", "#b3480a", "#2f7a2f", "#7346a8", "#a3333d", "#0f766e", "#8a6d00", "#555f6b",
]  # fmt: skip
PALETTE = [*COLOURS, INK, MUTED, PAPER, LINE]

# Beside Vega's own shapes a pentagon, a star, and two bows, as paths within a square of 2.
SHAPES = [
    "circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-left",
    "triangle-right", "M0,-1L.95,-.31L.59,.81L-.59,.81L-.95,-.31Z",
    "M0,-1L.3,-.3L1,-.3L.45,.15L.65,.9L0,.45L-.65,.9L-.45,.15L-1,-.3L-.3,-.3Z",
    "M-1,-1L1,1L1,-1L-1,1Z", "M-1,-1L1,-1L-1,1L1,1Z",
]  # fmt: skip
DASHES = [[2, 3], [7, 4], [7, 3, 2, 3], [12, 4]]
LONGEST_NAME = 44
MOST_ENTRIES = 1000  # of a legend; Vega drops those beyond 30 unless told otherwise

CONFIG: Spec = {
    "font": "system-ui, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif",
    "background": PAPER,
    "view": {"stroke": None},
    "axis": {
        "gridColor": LINE, "domainColor": MUTED, "tickColor": LINE, "labelColor": MUTED,
        "titleColor": MUTED, "titleFontWeight": "normal", "labelFontSize": 11,
        "titleFontSize": 11.5, "labelLimit": 320, "labelFlush": False,
    },
    "legend": {
        "labelColor": INK, "labelFontSize": 11, "labelLimit": 360, "symbolLimit": MOST_ENTRIES,
        "titleColor": MUTED, "symbolOpacity": 1,
    },
    "title": {
        "color": INK, "subtitleColor": MUTED, "anchor": "start", "frame": "group", "fontSize": 12,
        "subtitleFontSize": 11, "offset": 8,
    },
    "text": {"color": INK},
    "rule": {"color": MUTED},
}  # fmt: skip


class Look(NamedTuple):
    """How a variant is drawn: no two of a figure look the same, up to 192 variants."""

    colour: str
    shape: str
    fill: str  # of the shape: its colour, or that of the paper


def save(spec: Spec, path: Path) -> None:
    """Write a specification as SVG."""
    import vl_convert

    svg = vl_convert.vegalite_to_svg({"config": CONFIG, **spec}, vl_version=VERSION)
    with files.atomic_write(path) as aside:
        aside.write_text(svg, encoding="utf-8")


def library() -> str:
    """Return the JavaScript that draws specifications, as a script that adds vegaEmbed alone."""
    import vl_convert

    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VERSION)
    return f"(() => {{\n{bundle}\n}})();"


def looks(variants: Sequence[tuple[str, str, str]]) -> dict[str, Look]:
    """Return how each variant is drawn: its colour tells the variant, its shape the model.

    Args:
        variants: full name, model and name within the model of each. Where there are more names
            than colours, further shapes follow.
    """
    models = list(dict.fromkeys(model for _, model, _ in variants))
    names = list(dict.fromkeys(variant for *_, variant in variants))
    found = {}
    for full, model, variant in variants:
        block, place = divmod(names.index(variant), len(COLOURS))
        again, shape = divmod(models.index(model) + len(models) * block, len(SHAPES))
        fill = PAPER if again % 2 else COLOURS[place]
        found[full] = Look(COLOURS[place], SHAPES[shape], fill)
    return found


def short(name: Any, longest: int = LONGEST_NAME) -> str:
    """Return a name on one line; of a long one both ends, since names often differ at the end."""
    text = flat(name)
    if len(text) <= longest:
        return text
    end = (longest - 1) // 2
    return f"{text[: longest - 1 - end]}…{text[-end:]}"


def layer(name: str, mark: str | Spec, rows: Sequence[Spec], /, **encoding: Any) -> Spec:
    """Return a layer of a panel: a mark for each of some rows. Its name is a class in the SVG."""
    return {"name": name, "data": {"values": list(rows)}, "mark": mark, "encoding": encoding}


def nothing(title: Spec) -> Spec:
    """Return a specification that shows its title alone."""
    hidden = layer("empty", {"type": "point", "opacity": 0}, [{}])
    return {"title": title, "width": 300, "height": 1, **hidden}


def number(field: str, title: str | None = None, **more: Any) -> Spec:
    """Return the encoding of a field by position on a scale that need not begin at 0."""
    scale = more.pop("scale", {})
    if scale.get("type") != "log":
        scale = {"zero": False, **scale}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, **more}


def by_look(field: str, shown: dict[str, Look], **legend: Any) -> Spec:
    """Return the encodings that give each name of a field its look, with one legend for them."""
    names = list(shown)

    def scale(values: list[str]) -> Spec:
        keys = {"domain": names, "range": values}
        return {"field": field, "type": "nominal", "title": None, "scale": keys, "legend": legend}

    return {
        "color": scale([look.colour for look in shown.values()]),
        "fill": scale([look.fill for look in shown.values()]),
        "shape": scale([look.shape for look in shown.values()]),
    }


def by_dash(field: str, shown: dict[str, list[int]]) -> Spec:
    """Return the encoding that gives each name of a field its dashes, with their legend."""
    keys = {"domain": list(shown), "range": list(shown.values())}
    legend = {"symbolType": "stroke", "symbolStrokeColor": MUTED, "symbolSize": 400}
    return {"field": field, "type": "nominal", "title": None, "scale": keys, "legend": legend}


def tooltip(**titles: str) -> list[Spec]:
    """Return the encoding of a tooltip: titles by field."""
    return [{"field": field, "title": title} for field, title in titles.items()]


def labels(texts: Sequence[str], place: str) -> str:
    """Return an expression for the label of a tick: the text whose number another one gives."""
    return f"{json.dumps(list(texts))}[{place}]"


def ticks(places: Sequence[float], texts: Sequence[str]) -> Spec:
    """Return an axis with labels at these places alone."""
    label = labels(texts, f"indexof({list(places)}, datum.value)")
    # Vega thins out the labels of a logarithmic axis unless it may have as many as there are.
    return {"values": list(places), "labelExpr": label, "labelOverlap": False,
            "tickCount": 100}  # fmt: skip

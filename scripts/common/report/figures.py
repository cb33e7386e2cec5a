"""What the figures have in common: their look, and files that are equal for equal content."""

from pathlib import Path
from typing import Any

from common import files

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

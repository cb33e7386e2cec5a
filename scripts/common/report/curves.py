"""The figure of learning curves: the loss of every seed, by step."""

from typing import Any

from common.report import drawing
from common.report.compared import Comparison, Dataset, Variant
from common.report.drawing import INK, SMALL, Look, Row, short

HEIGHT_INCHES, WIDTH_INCHES, ABSENT_INCHES = 2.5, 5.2, 0.25
MOST_VARIANTS = 6  # of a panel, which shows each seed of them twice
NO_LOSSES = "No losses were logged on this dataset."

Group = tuple[str, tuple[Variant, ...]]


def draw(comparison: Comparison) -> Any:
    """A panel per dataset and model, a thin line per seed; more where there are many variants."""
    looks = drawing.looks(comparison)
    groups = [group for part in comparison.datasets for group in groups_of(part)]
    rows = [Row(HEIGHT_INCHES if own else ABSENT_INCHES) for _, own in groups]
    figure, lines = drawing.panels(rows, WIDTH_INCHES)
    for (axes,), (title, own) in zip(lines, groups, strict=True):
        drawing.title(axes, title)
        if own:
            draw_panel(axes, own, looks)
        else:
            drawing.absent(axes, NO_LOSSES)
    return figure


def groups_of(part: Dataset) -> list[Group]:
    """The panels of a dataset: their titles and variants, of one model each and not too many."""
    logged = [v for v in part.variants if any(one.train or one.validation for one in v.losses)]
    found: list[Group] = []
    for model in dict.fromkeys(variant.model for variant in logged):
        own = (variant for variant in logged if variant.model == model)
        parts = drawing.chunks(own, MOST_VARIANTS)
        for number, some in enumerate(parts, 1):
            title = f"{short(part.name)}, {short(model)}{drawing.part_of(number, len(parts))}"
            found.append((title, some))
    return found or [(short(part.name), ())]


def draw_panel(axes: Any, own: tuple[Variant, ...], looks: dict[str, Look]) -> None:
    """Some variants of one model on one dataset."""
    drawing.quiet(axes)
    for variant in own:
        draw_variant(axes, variant, looks[variant.name])
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("step", fontsize=SMALL)
    axes.set_ylabel("loss", fontsize=SMALL)
    keys = [drawing.key(short(v.variant), looks[v.name], linestyle="-") for v in own]
    plain = drawing.key("training rows", color=INK, linewidth=0.9)
    dotted = drawing.key("validation rows", color=INK, linewidth=0.9, linestyle=":",
                         marker="o", markersize=4.5)  # fmt: skip
    drawing.legend(axes, [*keys, plain, dotted])


def draw_variant(axes: Any, variant: Variant, look: Look) -> None:
    """Training as plain lines; validation with a marker at every step, since it may have one."""
    for losses in variant.losses:
        if losses.train:
            axes.plot(*zip(*losses.train, strict=True), color=look.colour, linewidth=0.9,
                      alpha=0.7, gid="training")  # fmt: skip
        if losses.validation:
            axes.plot(*zip(*losses.validation, strict=True), color=look.colour, linewidth=0.9,
                      linestyle=":", marker=look.marker, markersize=4.5,
                      markerfacecolor=look.face, gid="validation")  # fmt: skip

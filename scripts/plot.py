"""Draw a comparison: every seed, intervals, costs, ranks, learning curves, calibration, confusion.

    python scripts/plot.py --csv results/comparison.csv --metrics macro_f1 \\
        --results results --verdicts results/verdicts.json \\
        --comparison results/comparison.svg --confusion results/confusion.svg \\
        --intervals results/intervals.svg --costs results/costs.svg --ranks results/ranks.svg \\
        --learning results/learning.svg --reliability results/reliability.svg

Only test rows are drawn, and none that were published elsewhere; of the training, the losses that
it logged. Equal results give equal files, byte for byte.
"""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import cli, seals
from common.cli import InputError
from common.markdown import flat
from common.report import compared, costs, curves, diagrams, drawing, forest, sweeps
from common.report.drawing import COLOURS, INK, PAPER

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("plot")

ROW_INCHES, MARGIN_INCHES, WIDTH_INCHES, MATRIX_INCHES = 0.28, 0.6, 7.5, 2.1
OF_VERDICTS = {  # by the option that names its file, what draws a figure of the verdicts
    "intervals": forest.draw,
    "costs": costs.draw,
    "ranks": sweeps.draw,
    "learning": curves.draw,
    "reliability": diagrams.draw,
}


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--csv", required=True, type=Path, help="comparison.csv of the report")
    parser.add_argument(
        "--metrics", action=cli.Collect, nargs="+", default=["macro_f1"], help="the first is drawn"
    )
    parser.add_argument("--results", required=True, type=Path, help="directory of all results")
    parser.add_argument("--verdicts", required=True, type=Path, help="JSON file of `verdicts`")
    for name in ("comparison", "confusion", *OF_VERDICTS):
        parser.add_argument(f"--{name}", required=True, type=Path, help="SVG file to write")
    args = parser.parse_args(argv)
    drawing.prepare()
    seals.check_file(args.csv)
    test = read(args.csv, args.metrics[0])
    comparison = compared.read(args.verdicts, args.results)
    drawing.save(draw_comparison(test, args.metrics[0]), args.comparison)
    drawing.save(draw_confusion(test), args.confusion)
    for name, draw in OF_VERDICTS.items():
        figure = draw(comparison)
        drawing.number_parts(figure)
        drawing.save(figure, getattr(args, name))
    log.info("%s, %s, %s", args.comparison, args.confusion,
             ", ".join(str(getattr(args, name)) for name in OF_VERDICTS))  # fmt: skip


def read(csv: Path, metric: str) -> "pd.DataFrame":
    """Return the measured test rows of a comparison: names as strings, the metric as numbers.

    Raises:
        InputError: there is no such table, or the metric is not in it.
    """
    import pandas as pd

    try:
        table = pd.read_csv(csv, dtype=str, keep_default_na=False)
        test = table[table["split"] == "test"]
        if "published" in test:
            # A figure from elsewhere is no seed of ours.
            test = test[test["published"] != "true"]
        if test.empty:
            raise ValueError("no test rows")
        # Empty for F1 where there are more than two classes: no dot is drawn then.
        return test.assign(**{metric: pd.to_numeric(test[metric].replace("", None))})
    except (OSError, ValueError) as error:  # pandas' parse errors are ValueErrors
        raise InputError(f"{csv} is no comparison ({cli.one_line(error)}): run `report`") from error
    except KeyError as error:
        raise InputError(f"{csv} has no column {error}: name one of its metrics") from error


def draw_comparison(test: "pd.DataFrame", metric: str) -> Any:
    """A panel per dataset, a line per (model, variant), a dot per seed, a bar at their mean."""
    from matplotlib.figure import Figure

    panels = dict(list(test.groupby("dataset", sort=False)))
    heights = [rows[["model", "variant"]].drop_duplicates().shape[0] for rows in panels.values()]
    inches = ROW_INCHES * sum(heights) + MARGIN_INCHES * len(panels)
    figure = Figure((WIDTH_INCHES, inches), layout="constrained")
    all_axes = figure.subplots(
        len(panels), 1, squeeze=False, sharex=True, height_ratios=[height + 3 for height in heights]
    )[:, 0]
    for axes, (dataset, rows) in zip(all_axes, panels.items(), strict=True):
        draw_panel(axes, rows, metric)
        axes.set_title(dataset, loc="left", fontweight="bold", pad=14)
    all_axes[-1].set_xlabel(f"{metric} on the test rows: a dot per seed, a bar at their mean")
    return figure


def draw_panel(axes: Any, rows: "pd.DataFrame", metric: str) -> None:
    """One dataset: baselines as lines from top to bottom, cells as dots."""
    models = [model for model in dict.fromkeys(rows["model"]) if model]
    cells = list(rows[rows["model"] != ""].groupby(["model", "variant"], sort=False))
    for _, baseline in rows[rows["model"] == ""].iterrows():
        axes.axvline(float(baseline[metric]), color=INK, linewidth=0.8, linestyle=":")
        axes.annotate(baseline["variant"], (float(baseline[metric]), 1), (0, 3), fontsize=8,
                      ha="center", xycoords=("data", "axes fraction"),
                      textcoords="offset points")  # fmt: skip
    for height, ((model, _), group) in enumerate(cells):
        values = group[metric].astype(float)
        colour = COLOURS[models.index(model) % len(COLOURS)]
        axes.plot(values, [height] * len(values), "o", color=colour, alpha=0.6, markersize=5)
        axes.plot([values.mean()] * 2, [height - 0.3, height + 0.3], color=colour, linewidth=2)
    axes.set_yticks(range(len(cells)), [f"{model}  {variant}" for (model, variant), _ in cells])
    axes.invert_yaxis()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.25)


def draw_confusion(test: "pd.DataFrame") -> Any:
    """Return a row of matrices per dataset: shares of each true class, summed over seeds."""
    from matplotlib.figure import Figure

    datasets = {name: list(rows.groupby(["model", "variant"], sort=False))
                for name, rows in test.groupby("dataset", sort=False)}  # fmt: skip
    columns = max(map(len, datasets.values()))
    size = (MATRIX_INCHES * columns, (MATRIX_INCHES + 0.4) * len(datasets))
    figure = Figure(size, layout="constrained")
    panels = figure.subplots(len(datasets), columns, squeeze=False)
    for line, (dataset, groups) in zip(panels, datasets.items(), strict=True):
        for axes in line[len(groups) :]:
            axes.set_axis_off()
        for axes, ((model, variant), group) in zip(line, groups, strict=False):
            draw_matrix(axes, group)
            axes.set_title(f"{dataset!s}\n{f'{model} {variant}'.strip()}", fontsize=8)
    return figure


def draw_matrix(axes: Any, group: "pd.DataFrame") -> None:
    """One confusion matrix: a row per true class, a column per predicted one."""
    import numpy as np

    classes = [flat(name) for name in json.loads(group["classes"].iloc[0])]
    counts = np.sum([json.loads(matrix) for matrix in group["confusion_matrix"]], axis=0)
    shares = counts / counts.sum(axis=1, keepdims=True)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (true, predicted), count in np.ndenumerate(counts):
        dark = shares[true, predicted] > 0.5
        axes.text(predicted, true, f"{count:,}", ha="center", va="center", fontsize=8,
                  color=PAPER if dark else INK)  # fmt: skip
    axes.set_xticks(range(len(classes)), classes, fontsize=7)
    axes.set_yticks(range(len(classes)), classes, fontsize=7, rotation=90, va="center")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


if __name__ == "__main__":
    cli.run(main)

"""Draw a comparison: every seed, intervals, costs, ranks, learning curves, calibration, confusion.

    python scripts/plot.py --results results --verdicts results/verdicts.json \\
        --figures results/comparison.svg results/costs.svg

Each file is drawn as the figure of its name (common.report.figures.FIGURES). Only test rows are
drawn, and none that were published elsewhere; of the training, the losses that it logged. Equal
results give equal files, byte for byte.
"""

import argparse
import logging
from pathlib import Path

from common import cli, warm
from common.report import figures, frame, vega

log = logging.getLogger("plot")


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--results", required=True, type=Path, help="directory of all results")
    parser.add_argument("--verdicts", required=True, type=Path, help="JSON file of `verdicts`")
    parser.add_argument("--figures", required=True, nargs="+", type=figure_file, metavar="FILE",
                        help="SVG files to write, named after their figures")  # fmt: skip
    args = parser.parse_args(argv)
    comparison = frame.read(args.verdicts, args.results)
    for path in args.figures:
        vega.save(figures.drawing(figures.FIGURES[path.stem], comparison), path)
    log.info(", ".join(map(str, args.figures)))


def figure_file(word: str) -> Path:
    """Return the path of a figure.

    Raises:
        ArgumentTypeError: it is not named after one.
    """
    path = Path(word)
    if path.suffix != ".svg" or path.stem not in figures.FIGURES:
        raise argparse.ArgumentTypeError(
            f"{word!r} names no figure: choose from {', '.join(figures.FIGURES)}, with .svg"
        )
    return path


if __name__ == "__main__":
    warm.run(main, "pandas", "vl_convert")

"""Report what there is of a comparison that is still running, or of which cells failed.

    python scripts/partial.py --cells sms-spam/minilm/base,lora-r4/0,1 --baselines majority tfidf

`make partial` does that with the cells, baselines and metrics of the run, from the record that it
left: `python -m rules.arguments results/config.yaml`. It is a command beside the workflow and no
rule of it: a rule would have the cells as its input, so that Snakemake made those that are missing,
or would not, so that it never ran again; and it would wait for the lock of a run that is going on.
This reads files, and writes one. That file is named partial, in title and text too, and never takes
the place of comparison.md, which insists on every cell. A cell counts as it lies: `snakemake -n`
tells of those that an edit has made stale.
"""

import logging
import statistics
from pathlib import Path
from typing import Any

from common import cli, files
from common.cells import add_sizes_option, is_baseline, named
from common.cli import InputError
from common.markdown import shown, table
from common.report.progress import Standing, standing

log = logging.getLogger("partial")


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--cells", required=True, nargs="+", help="DATASET/MODEL/VARIANTS/SEEDS")
    parser.add_argument("--baselines", nargs="*", default=[], help="of every dataset")
    add_sizes_option(parser)
    parser.add_argument(
        "--metrics", action=cli.Collect, nargs="+", default=["macro_f1", "accuracy"], help="to show"
    )
    parser.add_argument("--results", default="results", type=Path, help="directory of all results")
    parser.add_argument("--resources", default="resources", type=Path, help="what was fetched")
    parser.add_argument("--output", default="results/partial.md", type=Path, help="Markdown file")
    args = parser.parse_args(argv)
    require_metrics(args.metrics)
    asked = named(args.cells, args.baselines)
    origins = {size: name for name, sizes in args.sizes for size in sizes}
    found = [
        standing(cell, args.results, args.resources, args.metrics, origins.get(cell.dataset))
        for cell in asked
    ]
    with files.atomic_write(args.output) as aside:
        aside.write_text(markdown(found, args.metrics), encoding="utf-8")
    missing = sum(each.record is None for each in found)
    log.info("%d of %d cells and baselines are missing: %s", missing, len(found), args.output)


def require_metrics(names: list[str]) -> None:
    """Refuse a metric that there is not: that a file lacks it is no damage."""
    from common.metrics import METRICS

    if unknown := [name for name in names if name not in METRICS]:
        known = ", ".join(METRICS)
        raise InputError(f"there is no metric {unknown[0]!r}: mend `metrics`; known are {known}")


def markdown(found: list[Standing], metrics: list[str]) -> str:
    """Return what there is and what is missing, dataset by dataset, as people read it."""
    there = sum(each.record is not None for each in found)
    parts = [
        f"# Partial comparison: {there} of {len(found)} cells and baselines",
        "**This is not the comparison.** It is made of what lay there when it was written, whether "
        "or not an edit has made it stale since, and says what did not. Means over different seeds "
        "do not compare. The whole is results/comparison.md, which `make run` writes when every "
        "cell is there.",
    ]
    for dataset in dict.fromkeys(each.cell.dataset for each in found):
        parts += of_dataset([each for each in found if each.cell.dataset == dataset], metrics)
    return "\n\n".join(parts) + "\n"


def of_dataset(found: list[Standing], metrics: list[str]) -> list[str]:
    """Return the parts of one dataset."""
    missing = [each for each in found if each.record is None]
    notice = f"{len(missing)} of {len(found)} cells and baselines are missing."
    parts = [f"## {shown(found[0].cell.dataset)}", f"**{notice}**" if missing else notice]
    if missing:
        rows = [[each.cell.path.as_posix(), each.state, each.reason] for each in missing]
        parts.append(table(["missing", "state", "reason"], rows))
    lines = [line(group, metrics) for group in by_variant(found)]
    return [*parts, *of_rows(found), table(["model", "variant", "seeds", *metrics], lines)]


def of_rows(found: list[Standing]) -> list[str]:
    """Return what there is to say of the test rows of a dataset, if anything."""
    tested = [each.record["metrics"]["test"] for each in found if each.record]
    counts = sorted({test["rows"] for test in tested})
    parts = []
    if len(counts) > 1:
        numbers = " and ".join(map(str, counts))
        parts.append(f"**Not all were tested on the same rows: there are {numbers} of them.**")
    if any("clean" in test for test in tested):
        parts.append(
            "Figures are those of all test rows, also of those that repeat a training row; "
            "comparison.md gives those of the clean rows beside them."
        )
    return parts


def by_variant(found: list[Standing]) -> list[list[Standing]]:
    """Return the cells of each model and variant, in order."""
    groups: dict[tuple[str, str], list[Standing]] = {}
    for each in found:
        groups.setdefault((each.cell.model, each.cell.variant), []).append(each)
    return list(groups.values())


def line(group: list[Standing], metrics: list[str]) -> list[str]:
    """Return one variant: which seeds are there, and the means over these."""
    there = [each for each in group if each.record is not None]
    first = group[0].cell
    short = f" ({len(there)} of {len(group)} seeds)" if 0 < len(there) < len(group) else ""
    seeds = "" if first.seed is None else f"{len(there)} of {len(group)}"
    means = [mean([figure(each, metric) for each in there]) for metric in metrics]
    variant = first.variant + collapse(there)
    return [first.model, variant, seeds, *(value and value + short for value in means)]


def figure(found: Standing, metric: str) -> float | None:
    """Return a metric of the test rows; None where it has no meaning, as F1 for three classes."""
    test: dict[str, Any] = found.record["metrics"]["test"] if found.record else {}
    return test.get(metric)


def mean(values: list[float | None]) -> str:
    """Return mean ± standard deviation; the value alone of a single one; "missing" of none."""
    known = [value for value in values if value is not None]
    if not values:
        return "missing"
    if len(known) < 2:
        return f"{known[0]:.3f}" if known else ""
    return f"{statistics.mean(known):.3f} ± {statistics.stdev(known):.3f}"


def collapse(there: list[Standing]) -> str:
    """Return a mark for a variant of which seeds answer one class for nearly every row."""
    collapsed = [each for each in there if figure(each, "collapsed")]
    # The majority class answers one class by definition.
    if not collapsed or is_baseline(collapsed[0].cell):
        return ""
    return f" (collapsed in {len(collapsed)} of {len(there)} seeds)"


if __name__ == "__main__":
    cli.run(main)

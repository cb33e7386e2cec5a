"""Tell what changed between two comparisons: cells, figures, and the settings behind them.

    python scripts/diff.py --a v1.0 --b results
    python scripts/diff.py --a ../before/results --b HEAD~3:results --output diff.md

A and B are directories of results, or git revisions that hold some: REVISION, whose results/ is
meant, or REVISION:DIRECTORY. What is compared is what comparison.csv lists, or where there is none,
every cell with metrics. Differences are B less A on the test rows, tested where both sides were
tested on the same rows.

The exit status is that of `diff`: 0 if no figure differs, 1 if one does or a cell came or went, 2
if there was trouble. Times, memory and settings are no figures.
"""

import logging
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import cells, cli, files
from common.cells import Cell
from common.cli import InputError
from common.markdown import shown, table
from common.report import settings
from common.report.archive import results_of
from common.report.settings import Change

if TYPE_CHECKING:
    from common.report.difference import Answers, Difference

log = logging.getLogger("diff")

SAME, DIFFERENT, TROUBLE = 0, 1, 2


@dataclass(frozen=True)
class Comparison:
    """Two directories of results, cell by cell.

    Attributes:
        names: what the user calls A and B.
        roots: where they are.
        records: of A and of B, by cell, the content of its metrics.json.
    """

    names: tuple[str, str]
    roots: tuple[Path, Path]
    records: tuple[dict[Cell, dict], dict[Cell, dict]]

    @property
    def added(self) -> list[Cell]:
        """Return cells of B alone."""
        return [cell for cell in self.records[1] if cell not in self.records[0]]

    @property
    def gone(self) -> list[Cell]:
        """Return cells of A alone."""
        return [cell for cell in self.records[0] if cell not in self.records[1]]

    @property
    def common(self) -> list[Cell]:
        """Return cells of both, in the order of B."""
        return [cell for cell in self.records[1] if cell in self.records[0]]

    @property
    def changed(self) -> list[Cell]:
        """Return cells of both of which a figure differs."""
        from common.report.difference import figures

        return [
            cell for cell in self.common if figures(self.of(cell)[0]) != figures(self.of(cell)[1])
        ]

    def of(self, cell: Cell) -> tuple[Any, Any]:
        """Return the metrics.json of a cell in A and in B."""
        return self.records[0][cell], self.records[1][cell]


def main(argv: list[str] | None = None) -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("--a", required=True, help="results before: directory or git revision")
    parser.add_argument("--b", default="results", help="results after; by default results")
    parser.add_argument(
        "--metrics",
        action=cli.Collect,
        nargs="+",
        default=["macro_f1", "accuracy"],
        help="to compare",
    )
    parser.add_argument("--output", type=Path, help="Markdown file to write, beside printing it")
    args = parser.parse_args(argv)
    require_metrics(args.metrics)
    with results_of(args.a) as before, results_of(args.b) as after:
        roots = before, after
        with by_their_names((args.a, args.b), roots):
            found = Comparison((args.a, args.b), roots, (read(before), read(after)))
            text = markdown(found, args.metrics)
    if args.output:
        with files.atomic_write(args.output) as aside:
            aside.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return DIFFERENT if found.added or found.gone or found.changed else SAME


def require_metrics(names: list[str]) -> None:
    """Refuse a metric that there is not."""
    from common.metrics import METRICS

    if unknown := [name for name in names if name not in METRICS]:
        raise InputError(f"--metrics: there is no {unknown[0]!r}; known are {', '.join(METRICS)}")


@contextmanager
def by_their_names(names: tuple[str, str], roots: tuple[Path, Path]) -> Iterator[None]:
    """Let errors name a file as the user calls it, also one that is out of a revision."""
    try:
        yield
    except InputError as error:
        said = str(error)
        for name, root in zip(names, roots, strict=True):
            if not Path(name).is_dir():
                said = said.replace(f"{root}/", f"{name}: ").replace(str(root), name)
        raise InputError(said) from error


def read(results: Path) -> dict[Cell, dict]:
    """Return the metrics.json of every cell and baseline that a directory compares.

    Raises:
        InputError: one is damaged, or the predictions beside it are.
    """
    records = {}
    for cell in cells.compared(results):
        directory = results / cell.path
        records[cell] = cells.read_metrics(directory / cells.METRICS)
        if (directory / cells.PREDICTIONS).exists():  # of a git revision there may be none
            cells.check_predictions(directory, records[cell])
    return records


def markdown(found: Comparison, metrics: list[str]) -> str:
    """Return what changed, as people read it."""
    counts = [f"{len(group)} {word}" for group, word in (
        (found.added, "added"), (found.gone, "gone"), (found.changed, "changed"),
        ([cell for cell in found.common if cell not in found.changed], "with the same figures"),
    )]  # fmt: skip
    a, b = map(shown, found.names)
    parts = [
        "# What changed",
        f"A is {a}, of {len(found.records[0])} cells and baselines; B is {b}, of "
        f"{len(found.records[1])}: {', '.join(counts)}.",
        *listing("Added", found.added),
        *listing("Gone", found.gone),
        *settings_lines(found),
        *figures_parts(found, metrics),
    ]
    return "\n\n".join(parts) + "\n"


def listing(title: str, found: list[Cell]) -> list[str]:
    """Return a heading and a line per variant; nothing where there are none."""
    if not found:
        return []
    return [f"## {title}", "\n".join(f"- {group}" for group in grouped(found))]


def grouped(found: Iterable[Cell]) -> list[str]:
    """Return cells in words, the seeds of a variant together: ``sms/bert/lora-r4, seeds 0, 1``."""
    seeds: dict[str, list[str]] = {}
    for cell in found:
        path = cell.path if cell.seed is None else cell.path.parent
        seeds.setdefault(path.as_posix(), []).extend([] if cell.seed is None else [str(cell.seed)])
    return [
        shown(name) + (f", seed{'s' * (len(own) > 1)} {', '.join(own)}" if own else "")
        for name, own in seeds.items()
    ]


def settings_lines(found: Comparison) -> list[str]:
    """Return the settings that changed, a line per group of cells that they changed for."""
    digests = [
        {cell.dataset: settings.hashes(root, cell.dataset) for cell in found.common}
        for root in found.roots
    ]
    changed: list[tuple[Cell, list[Change]]] = []
    for cell in found.common:
        before, after = (
            settings.settings(record, by_dataset[cell.dataset])
            for record, by_dataset in zip(found.of(cell), digests, strict=True)
        )
        changed.append((cell, settings.changes(before, after)))
    lines = [
        f"- {whom(having, found)}: "
        + "; ".join(f"{shown(name)} {shown(a)} → {shown(b)}" for name, a, b in group)
        for having, group in settings.by_cells(changed).items()
    ]
    return ["## Settings", "\n".join(lines)] if lines else []


def whom(having: tuple[Cell, ...], found: Comparison) -> str:
    """Return the cells of a line, and how many of them have other figures now."""
    moved = len(set(having) & set(found.changed))
    return f"**{in_short(having, found.common)}** ({moved} of {len(having)} with other figures)"


def in_short(having: Iterable[Cell], known: list[Cell]) -> str:
    """Return cells in words.

    Those of a whole dataset, or all that are known, without their names.
    """
    chosen = set(having)
    if chosen == set(known):
        return "all cells that both have"
    words: list[str] = []
    for dataset in dict.fromkeys(cell.dataset for cell in known):
        whole = [cell for cell in known if cell.dataset == dataset]
        some = [cell for cell in whole if cell in chosen]
        words += [f"all of {shown(dataset)}"] if some == whole else grouped(some)
    return "; ".join(words)


def figures_parts(found: Comparison, metrics: list[str]) -> list[str]:
    """Return both tables of differences with their tests; nothing where no figure changed."""
    if not found.changed:
        return []
    from common.report import difference

    answers = {cell: read_answers(found, cell) for cell in affected(found)}
    variants = difference.corrected(
        [
            difference.of_variant(group, metric, list(map(found.of, group)),
                                  [answers[cell] for cell in group])
            for group in by_variant(affected(found))
            for metric in metrics
        ]
    )  # fmt: skip
    single = [difference.of_cell(cell, found.of(cell), answers[cell]) for cell in found.changed]
    tested = difference.corrected([each for each, *_ in single])
    return [
        "## Figures on the test rows",
        "Means over the seeds that A and B both have; the difference, B less A, with its 95 % "
        "interval. p is of Student's test that minds test rows and seeds, and corrected by Holm "
        "for all tests of the table.",
        *untested(variants, found.common),
        variants_table(variants),
        "## Single cells",
        "Accuracy of two trained models on the same rows: how many A alone gets right, how many B "
        "alone. p is of McNemar's exact test, and corrected by Holm for all tests of the table.",
        cells_table(tested, [alone for _, *alone in single]),
    ]


def affected(found: Comparison) -> list[Cell]:
    """Return the cells of both that belong to a variant of which any changed."""
    variants = {cell[:3] for cell in found.changed}
    return [cell for cell in found.common if cell[:3] in variants]


def by_variant(found: list[Cell]) -> list[list[Cell]]:
    """Return cells by dataset, model and variant, in order."""
    groups: dict[tuple, list[Cell]] = {}
    for cell in found:
        groups.setdefault(cell[:3], []).append(cell)
    return list(groups.values())


def read_answers(found: Comparison, cell: Cell) -> "Answers":
    """Return what a cell answered in A and in B."""
    from common.report import difference

    digests = [settings.hashes(root, cell.dataset).get("test") for root in found.roots]
    return difference.read_answers(cell, found.roots, found.of(cell), (digests[0], digests[1]))


def untested(found: list["Difference"], known: list[Cell]) -> list[str]:
    """Return a line for each reason why a test is missing, with the cells that lack it."""
    reasons: dict[str, list[Cell]] = {}
    for each in found:
        if each.p is None:
            reasons.setdefault(each.note, []).extend(each.cells)
    lines = [
        f"- Not tested, {in_short(having, known)}: {note}." for note, having in reasons.items()
    ]
    return ["\n".join(lines)] if lines else []


def variants_table(found: list["Difference"]) -> str:
    """Return a line per variant and metric."""
    header = ["dataset", "model", "variant", "seeds", "metric", "A", "B", "difference",
              "p (Holm)", "verdict"]  # fmt: skip
    rows: list[list[Any]] = []
    for each in found:
        first = each.cells[0]
        seeds = ", ".join(str(cell.seed) for cell in each.cells if cell.seed is not None)
        remark = f"; {each.note}" if each.note and each.p is not None else ""
        figures = [number(each.before), number(each.after), difference_shown(each)]
        rows.append([*first[:3], seeds, each.metric, *figures, p_value(each.p_holm),
                     each.verdict + remark])  # fmt: skip
    return table(header, rows)


def difference_shown(found: "Difference") -> str:
    """A difference, and its interval if it has one, with the digits that the interval supports."""
    from common.statistics.intervals import signed

    if found.shift is None or found.interval is None:
        return number(found.shift)
    low, high = (signed(end, found.interval) for end in (found.interval.low, found.interval.high))
    return f"{signed(found.shift, found.interval)} ({low} to {high})"


def cells_table(found: list["Difference"], alone: list[list[int]]) -> str:
    """Return a line per changed cell."""
    header = ["cell", "accuracy in A", "accuracy in B", "A alone right", "B alone right",
              "p (Holm)", "verdict"]  # fmt: skip
    rows = []
    for each, counts in zip(found, alone, strict=True):
        own = counts if each.p is not None else ["", ""]
        rows.append([each.cells[0].path.as_posix(), number(each.before), number(each.after), *own,
                     p_value(each.p_holm), each.verdict])  # fmt: skip
    return table(header, rows)


def number(value: float | None) -> str:
    """Return a figure with four decimals; empty where there is none."""
    return "" if value is None else f"{value:.4f}"


def p_value(p: float | None) -> str:
    """Return a p-value with three decimals; empty where there is none."""
    if p is None:
        return ""
    return "below 0.001" if p < 0.001 else f"{p:.3f}"


def command() -> None:
    """Run ``main`` so that trouble has a status of its own.

    That of an error of ``cli.run``, which ends in a text, and of an error in this program, is
    Python's 1, which means that figures differ.
    """
    status = SAME

    def remembered() -> None:
        nonlocal status
        status = main()

    try:
        cli.run(remembered)
    except SystemExit as end:
        if not isinstance(end.code, str):
            raise
        print(end.code, file=sys.stderr)
        status = TROUBLE
    except Exception:
        traceback.print_exc()
        status = TROUBLE
    sys.exit(status)


if __name__ == "__main__":
    command()

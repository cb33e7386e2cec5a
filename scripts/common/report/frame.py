"""What the figures draw of a comparison: read off verdicts.json and the metrics.json of its cells.

Whatever a figure needs is read and checked here, so that drawing knows no files.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from common import cells, cli, files
from common.cells import number
from common.cli import InputError
from common.markdown import flat
from common.report.vega import short

Found = dict[str, Any]


class Measure(NamedTuple):
    """The metric of a variant on the test rows: its mean over seeds, with its interval."""

    value: float
    low: float
    high: float
    shown: str  # the same in words, with the digits that the interval supports


class Seed(NamedTuple):
    """The metric of one cell or baseline on the test rows."""

    seed: int | None
    measure: Measure
    collapsed: bool


class Bin(NamedTuple):
    """A point of a reliability diagram."""

    confidence: float
    accuracy: float
    rows: int


class Losses(NamedTuple):
    """The losses of one cell: pairs of step and loss, none where none were logged."""

    train: list[tuple[float, float]]
    validation: list[tuple[float, float]]


@dataclass(frozen=True)
class Variant:
    """One variant, or baseline, on one dataset.

    Attributes:
        name: in full, ``minilm/lora-r4`` or ``tfidf``.
        label: the same, shortened where that leaves it the only one of its dataset.
        model: its name; "" of a baseline.
        variant: its name within the model.
        kind: baseline, base, adapter, head or full.
        untrained: whether its head is a random one.
        measure: None where it does not have the metric.
        recommended: whether the verdict recommends it.
        collapsed: whether some seed answers one class for nearly every row.
        seeds: the figure of each cell, where the variant has the metric.
        confusion: rows of each true class (first axis) given each class, summed over seeds.
        costs: by name, as means over seeds, in parameters, seconds and bytes; what is free or
            unknown is left out.
        bins: of its reliability diagram, those that have rows.
        ece: expected calibration error; None where no calibration is on record.
        brier: score; None likewise.
        rank: of the adapter, where it has a single one.
        losses: of each seed, in their order.
    """

    name: str
    label: str
    model: str
    variant: str
    kind: str
    untrained: bool
    measure: Measure | None
    recommended: bool
    collapsed: bool
    costs: dict[str, float]
    bins: list[Bin]
    ece: float | None
    brier: float | None
    rank: int | None
    losses: list[Losses]
    seeds: list[Seed]
    confusion: list[list[int]]


class Sizes(NamedTuple):
    """Datasets that differ in their training rows alone, those with the fewest first."""

    name: str  # that they have in common
    datasets: "list[Dataset]"


@dataclass(frozen=True)
class Dataset:
    """One dataset.

    Attributes:
        name: its own.
        metric: in words.
        lower_is_better: whether a low figure is a good one.
        classes: their names.
        variants: in order.
        train_rows: that its cells were trained on; None where that is not on record.
        sizes: of the first of several sizes, all of these; None of every other dataset.
    """

    name: str
    metric: str
    lower_is_better: bool
    classes: list[str]
    variants: list[Variant]
    train_rows: int | None = None
    sizes: Sizes | None = None


@dataclass(frozen=True)
class Comparison:
    """All datasets, and the level of confidence of the intervals, as in 0.95."""

    level: float
    datasets: list[Dataset]


def read(verdicts: Path, results: Path) -> Comparison:
    """Read what is drawn.

    Args:
        verdicts: the JSON file of the stage `verdicts`.
        results: directory of all results.

    Raises:
        InputError: a file is missing, damaged, or of another version.
    """
    with written_by("verdicts", verdicts):
        found = files.read_json(verdicts, ("metric", "level", "sizes", "datasets"))
        datasets = [
            read_dataset(name, part, found["metric"], results)
            for name, part in found["datasets"].items()
        ]
        return Comparison(number(found["level"]), with_sizes(datasets, found["sizes"]))


def with_sizes(datasets: list[Dataset], sizes: dict[str, list[str]]) -> list[Dataset]:
    """Return the datasets, the first of several sizes with all of them.

    Args:
        datasets: all.
        sizes: names of those that differ in their training rows alone, by the name in common.
    """
    first = {}
    for name, names in sizes.items():
        own = [part for part in datasets if part.name in names and part.train_rows is not None]
        if len(own) > 1:
            own.sort(key=lambda part: part.train_rows or 0)
            first[own[0].name] = Sizes(str(name), own)
    return [replace(part, sizes=first.get(part.name)) for part in datasets]


@contextmanager
def written_by(stage: str, path: Path) -> Iterator[None]:
    """Tell of a file whose content is not what a stage writes."""
    try:
        yield
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        problem = f"{type(error).__name__}: {cli.one_line(error)}"
        raise InputError(
            f"{path} is not as `{stage}` writes it ({problem}): run `{stage}`"
        ) from error


def read_dataset(name: str, part: Found, wanted: str, results: Path) -> Dataset:
    """Return one dataset of verdicts.json, with what its cells have on record.

    Another metric may stand in on it for the one that is wanted.
    """
    from common.metrics import LOWER_IS_BETTER

    metric = part.get("metric", wanted)
    variants = []
    for found in part["variants"]:
        records = list(read_records(name, found, results))
        variants.append(read_variant(found, metric, records))
    labels = Counter(variant.label for variant in variants)
    variants = [v if labels[v.label] == 1 else replace(v, label=flat(v.name)) for v in variants]
    words = metric if metric == wanted else f"{metric} in place of {wanted}"
    lower = metric in LOWER_IS_BETTER
    words += " (lower is better)" if lower else ""
    rows = None if part["train_rows"] is None else int(number(part["train_rows"]))
    return Dataset(name, words, lower, [str(each) for each in part["classes"]], variants, rows)


def read_records(dataset: str, found: Found, results: Path) -> Iterator[Found]:
    """Yield the metrics.json of each seed of a variant, or of a baseline."""
    unseeded = found["kind"] == "baseline" and not found["seeds"]
    for seed in [None] if unseeded else found["seeds"]:
        cell = cells.Cell(dataset, found["model"] or "", found["variant"], seed)
        yield cells.read_metrics(results / cell.path / cells.METRICS)


def read_variant(found: Found, metric: str, records: list[Found]) -> Variant:
    """Return one variant of verdicts.json."""
    untrained = bool(found.get("untrained_head", False))
    calibration = found.get("calibration") or {"reliability": []}
    costs = {name: cost for name, cost in found["costs"].items() if cost}
    matrices = [record["metrics"]["test"]["confusion_matrix"] for record in records]
    figure = found["metrics"].get(metric)
    return Variant(
        name=found["name"],
        label=short(found["name"]),
        model=found["model"] or "",
        variant=found["variant"],
        kind=found["kind"],
        untrained=untrained,
        measure=read_measure(figure),
        recommended=bool(found["recommended"]),
        collapsed=bool(found["collapsed"]),
        costs={name: number(cost) for name, cost in costs.items()},
        bins=[read_bin(point) for point in calibration["reliability"] if point["rows"]],
        ece=number(calibration["ece"]) if "ece" in calibration else None,
        brier=number(calibration["brier"]) if "brier" in calibration else None,
        rank=rank_of(records[0]) if records else None,
        losses=[losses_of(record) for record in records],
        seeds=[read_seed(cell, found["collapsed"]) for cell in (figure or {}).get("cells", [])],
        confusion=[[sum(counts) for counts in zip(*rows, strict=True)]
                   for rows in zip(*matrices, strict=True)],
    )  # fmt: skip


def read_measure(figure: Found | None) -> Measure | None:
    """Return the mean of a metric with its interval; None where there is none."""
    if figure is None or figure["value"] is None:
        return None
    value, low, high = (number(figure[key]) for key in ("value", "low", "high"))
    return Measure(value, low, high, str(figure["shown"]))


def read_seed(cell: Found, collapsed: list[int | None]) -> Seed:
    """Return the metric of one cell, with its interval."""
    from common.statistics.intervals import Interval, rounded

    value, low, high = (number(cell[key]) for key in ("value", "low", "high"))
    measure = Measure(value, low, high, rounded(value, Interval(low, high)))
    return Seed(cell["seed"], measure, cell["seed"] in collapsed)


def read_bin(point: Found) -> Bin:
    """Return one point of a reliability diagram."""
    return Bin(number(point["confidence"]), number(point["accuracy"]), int(point["rows"]))


def rank_of(record: Found) -> int | None:
    """Return the rank of an adapter, where it has a single one."""
    rank = (record["run_info"].get("peft_config") or {}).get("r")
    return rank if isinstance(rank, int) and rank > 0 else None


def losses_of(record: Found) -> Losses:
    """Return the losses that a training logged."""
    history = record["train_info"].get("metrics") or []
    train, validation = (
        [(number(line["step"]), number(line[key])) for line in history if key in line]
        for key in ("loss", "eval_loss")
    )
    return Losses(train, validation)

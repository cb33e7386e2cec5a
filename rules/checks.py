"""Mistakes in a configuration that take more than one key to see."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.baselines import OF_MODELS
from rules import compatibility
from rules.architecture import model_type
from rules.cells import (
    by_rank,
    by_size,
    cells,
    chosen,
    drawn_per_seed,
    expand_datasets,
    pairs,
    peft_keys,
)
from rules.explain import ConfigError, suggestion

# Names beside those of the user, in the directory of a dataset and in that of a model.
RESERVED = {
    "models": {"data", "baselines", "predictions"},
    "variants": {"tokens", "base", *OF_MODELS},
}

# Of the files that the rules write beside such directories; tests/test_config.py goes through them.
SUFFIXES = (
    ".csv", ".html", ".json", ".log", ".md", ".parquet", ".partial", ".sha256", ".svg", ".tex",
    ".tsv", ".whl", ".yaml",
)  # fmt: skip

Config = dict[str, Any]


def check(config: Config) -> None:
    """Refuse a config that fits the schema and yet cannot be run, or cannot be right.

    Raises:
        ConfigError: it names the key.
    """
    check_names(config)
    check_splits(config)
    check_models(config)
    check_paths(config)
    config = expand_datasets(config)
    check_names(config)
    check_published(config)
    check_predictions(config)
    check_variants(config)
    check_training(config)
    check_pairs(config)


def check_names(config: Config) -> None:
    """Refuse names that stand for a file or directory of the workflow, or for each other.

    Outputs, logs and benchmarks lie beside the directories that are named by the user.
    """
    for section in ("datasets", "models", "variants", "predictions"):
        names = list(config[section])
        if taken := sorted(RESERVED.get(section, set()) & set(names)):
            raise ConfigError(
                f"{section}: the name {taken[0]!r} is the workflow's own; choose another"
            )
        if ending := [name for name in names if name.lower().endswith(SUFFIXES)]:
            suffix = Path(ending[0]).suffix
            raise ConfigError(
                f"{section}: the name {ending[0]!r} ends in {suffix}, as files of the workflow do; "
                "choose another"
            )
        folded = [name.casefold() for name in names]
        if len(set(folded)) < len(folded):
            twice = [name for name in names if folded.count(name.casefold()) > 1]
            raise ConfigError(
                f"{section}: {' and '.join(map(repr, twice))} differ by case alone, and are one "
                "directory on some systems; rename one"
            )


def check_splits(config: Config) -> None:
    """Refuse a split by hash that would depend on what other rows there are.

    It takes a share, not a number of rows; and no group of duplicates, which rows may join. And
    refuse a draw for each seed of an unknown number of rows.
    """
    for name, body in config["datasets"].items():
        if drawn_per_seed(body) and body["train_rows"] is None:
            raise ConfigError(
                f"datasets.{name}.train_rows: `draw_train_rows: per_seed` draws so many rows for "
                "each seed; set it"
            )
        if body["split_by"] == "hash" and body["leakage"] == "group":
            raise ConfigError(
                f"datasets.{name}: `split_by: hash` keeps a row in its split when rows are added, "
                "and `leakage: group` moves it with its duplicates; choose one"
            )
        for key in ("test", "validation"):
            if body[key] >= 1 and body[key] % 1:
                raise ConfigError(
                    f"datasets.{name}.{key}: {body[key]:g} is neither a share below 1 nor a whole "
                    "number of rows"
                )
            if body["split_by"] == "hash" and body[key] >= 1:
                raise ConfigError(
                    f"datasets.{name}.{key}: {body[key]:g} rows, and a split by hash takes a "
                    "share; set it below 1"
                )


def check_models(config: Config) -> None:
    """Refuse the name of a dataset or variant, in a model or dataset, that there is not."""
    expanded = [full for name, body in config["variants"].items() for full in by_rank(name, body)]
    sized = [full for name, body in config["datasets"].items() for full in by_size(name, body)]
    known = {
        "datasets": [*config["datasets"], *sized],
        "variants": [*config["variants"], *expanded],
    }
    named = [("models", key) for key in known] + [("datasets", "variants")]
    for section, key in named:
        for name, body in config[section].items():
            for wanted in body[key] or []:
                require(wanted, known[key], f"{section}.{name}.{key}")


def check_published(config: Config) -> None:
    """Refuse published figures of a dataset that there is not."""
    for number, reference in enumerate(config["published"]):
        require_dataset(reference["dataset"], config, f"published.{number}.dataset")


def require_dataset(name: str, config: Config, place: str) -> None:
    """Refuse the name of a dataset that there is not, or of one that there is in several sizes."""
    if sizes := config["sizes"].get(name):
        raise ConfigError(f"{place}: {name!r} has several sizes; name one: {', '.join(sizes)}")
    require(name, list(config["datasets"]), place)


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
        if path and (braced := with_braces(Path(path))):
            raise ConfigError(
                f"{place}: {str(braced)!r} has braces in its name, which Snakemake takes for "
                "wildcards; rename it"
            )


def with_braces(path: Path) -> Path | None:
    """Return the path, or one below it, that has braces in its name; None if none has."""
    inside = path.rglob("*") if path.is_dir() else ()
    return next((each for each in (path, *inside) if set("{}") & set(str(each))), None)


def check_predictions(config: Config) -> None:
    """Refuse a prediction on a dataset, or by a cell, that the config does not have."""
    for name, body in config["predictions"].items():
        place, dataset, cell = f"predictions.{name}", body["dataset"], body["cell"]
        require_dataset(dataset, config, f"{place}.dataset")
        trained = len(as_list(config["datasets"][dataset]["text"]))
        if len(as_list(body["text"])) != trained:
            raise ConfigError(
                f"{place}.text: {dataset!r} was trained on {trained} columns of text; name as many"
            )
        candidates = cells(config, dataset)
        if not candidates:
            raise ConfigError(f"{place}.dataset: no model is compared on {dataset!r}; add one")
        if cell and cell not in candidates:
            raise ConfigError(
                f"{place}.cell: {dataset!r} has no cell {cell!r}{suggestion(cell, candidates)}; "
                f"name one as MODEL/VARIANT/seedN, such as {candidates[0]}"
            )


def as_list(value: str | list[str]) -> list[str]:
    """Return the names that a key holds, of which a single one may stand alone."""
    return [value] if isinstance(value, str) else value


def check_variants(config: Config) -> None:
    """Refuse a variant whose keys do not go together, or that cannot be right on any model."""
    for name, body in config["variants"].items():
        misplaced = [*peft_keys(body), *(["quantization"] if body["quantization"] else [])]
        if body["kind"] != "adapter" and misplaced:
            raise ConfigError(
                f"variants.{name}: `{min(misplaced)}` has no place in a `{body['kind']}` variant"
            )
        if known := compatibility.methods():
            require(compatibility.method_of(body), list(known), f"variants.{name}.peft_type")
        if reason := compatibility.unsupported(peft_keys(body)):
            raise ConfigError(f"variants.{name}: {reason}")


def check_training(config: Config) -> None:
    """Refuse settings of training that do not go with each other, or with a cell's PEFT method."""
    for dataset, model, name, variant in trained(config):
        training = training_of(config, dataset, model, variant)
        if training["warmup"] > 1 and training["warmup"] % 1:
            raise ConfigError(
                f"training.warmup: {training['warmup']:g} of {model}/{name} is neither a share of "
                "the steps below 1 nor a whole number of steps"
            )
        if training["batch_size"] % training["gpus"]:
            raise ConfigError(
                f"training.gpus: the `batch_size` of {model}/{name} is {training['batch_size']}, "
                f"no multiple of {training['gpus']} GPUs; set either"
            )
        if training["permute_labels"] and training["retries"]:
            raise ConfigError(
                f"training.retries: the labels of {model}/{name} are permuted, and a control that "
                "learns nothing is no failure; set `retries: 0` in `training` of the variant"
            )
        clash = variant["kind"] == "adapter" and compatibility.clash(peft_keys(variant), training)
        if clash:
            raise ConfigError(
                f"variants.{name}: {clash}; set them apart in `training` of the variant"
            )


def training_of(config: Config, dataset: str, model: str, variant: Config) -> Config:
    """Return the settings of training of a cell: a later section overrides an earlier one."""
    sections = (config, config["datasets"][dataset], config["models"][model], variant)
    return {key: value for part in sections for key, value in part.get("training", {}).items()}


def trained_on(config: Config) -> dict[str, int]:
    """Return by dataset, model and variant how many GPUs, or processes, a training takes."""
    config = expand_datasets(config)
    return {
        f"{dataset}/{model}/{name}": training_of(config, dataset, model, variant)["gpus"]
        for dataset, model, name, variant in trained(config)
    }


def check_pairs(config: Config) -> None:
    """Refuse a variant on a model whose architecture it cannot be right on.

    The architecture of a model that is yet to be fetched is not known here: its cells refuse such a
    pair when they begin.
    """
    found: dict[str, str | None] = {}
    for model in dict.fromkeys(model for _, model in pairs(config)):
        found[model] = model_type(model, config["models"][model]["source"])
        if reason := compatibility.UNFIT.get(found[model] or ""):
            raise ConfigError(
                f"models.{model}: a {found[model]} cannot be compared: {reason}; choose another"
            )
    for _, model, name, variant in trained(config):
        if variant["kind"] != "adapter":
            continue
        peft = peft_keys(variant)
        if reason := compatibility.reasons(peft).get(found[model] or ""):
            raise ConfigError(
                f"variants.{name}: {compatibility.method_of(peft)} cannot be right on "
                f"{model!r}, a {found[model]}: {reason}; set `models.{model}.variants` to the "
                "others"
            )


def trained(config: Config) -> Iterator[tuple[str, str, str, Config]]:
    """Yield each dataset, model and variant that is trained.

    Their names, and the body of the variant.
    """
    for dataset, model in pairs(config):
        for name, variant in config["variants"].items():
            if chosen(config, name, dataset, model):
                yield dataset, model, name, variant

"""What a run compares, as words on a command line, out of the record that it leaves.

    python -m rules.arguments results/config.yaml

For commands beside the workflow: they have the cells that the run has, need no Snakemake, take no
lock, and start nothing.
"""

import argparse
from pathlib import Path
from typing import Any

import yaml

from rules.cells import expand_datasets, in_short, size_words
from rules.config import check_file, load_schema, validated
from rules.explain import ConfigError

Config = dict[str, Any]


def words(config: Config) -> list[str]:
    """Return the words of a complete config: cells, baselines and metrics."""
    config = expand_datasets(config)
    return [
        *("--cells", *in_short(config)),
        *size_words(config),
        *("--baselines", *config["baselines"]),
        *("--metrics", *config["report"]["metrics"]),
    ]


def read(path: Path) -> Config:
    """Return the record of a run. Its sources are not looked for: they may have moved since.

    Raises:
        ConfigError: there is none, or it does not fit the schema.
    """
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; a run writes it when it starts: `make run`")
    check_file(path)
    return validated(yaml.safe_load(path.read_text(encoding="utf-8")), load_schema())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("record", type=Path, help="config.yaml among the results of a run")
    print(*words(read(parser.parse_args().record)))

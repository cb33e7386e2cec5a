import gc

from snakemake.logging import logger
from snakemake.utils import min_version

from rules.config import check_file, complete, save
from rules.expand import expand
from rules.terminal import Progress, shorten

min_version("9.25")

# A config on the command line takes the place of the default: a recipe is complete in itself.
if not workflow.overwrite_configfiles:
    check_file("config/config.yaml")

    configfile: "config/config.yaml"


complete_config = complete(config, workflow.configfiles)
config.update(expand(complete_config))


include: "rules/common.smk"
include: "rules/resources.smk"


wildcard_constraints:
    dataset=one_of(config["datasets"]),
    model=one_of(config["models"]),
    variant=one_of(config["variants"]),
    baseline=one_of(config["baselines"]),
    seed=one_of(config["seeds"]),
    # Of a baseline: the directory of a seed that draws the training rows, or none.
    draw=f"(/seed({one_of(config['seeds'])}))?",
    name=one_of(config["predictions"]),


include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/evaluate.smk"
include: "rules/report.smk"
include: "rules/predict.smk"


if workflow.is_main_process:
    # A plan makes millions of objects that stay: to look through them for garbage again and again
    # took a sixth of its time. It is looked for again when the plan is made.
    gc.disable()
    progress = Progress(config["metrics"], config["report"]["metrics"][0], workflow.local_exec)
    progress.addFilter(lambda _: not workflow.dryrun)
    logger.addHandler(progress)


onstart:
    gc.freeze()
    gc.enable()
    save(complete_config, "results/config.yaml")
    shorten(logger, workflow.local_exec)
    progress.obey(logger)


onsuccess:
    progress.end()


onerror:
    progress.end()


rule all:
    """Everything that people read: passports, verdicts, the comparison, predictions."""
    default_target: True
    input:
        passports(),
        deleted(),
        "results/verdicts.json",
        "results/report.html",
        "results/comparison.csv",
        "results/comparison.digests.json",
        "results/verdicts.csv",
        "results/comparison.md",
        "results/comparison.tex",
        "results/methods.md",
        rules.plot.output,
        predictions(),

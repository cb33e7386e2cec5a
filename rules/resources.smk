"""What jobs ask for, beside cores: nothing of it is a param, so a change reruns nothing."""

import tempfile

from rules.checks import trained_on
from rules.resources import cells_per_process, check_gpus, gpu_share, gpus_here, memory_mb, minutes

JOBS_PER_GPU = config["execution"]["jobs_per_gpu"]
GPUS = gpus_here()
CELLS_PER_PROCESS = cells_per_process(config["execution"], GPUS)
# Where the jobs are done on this machine, no more of them compute on GPUs or wait for one than can:
# the pool is of parts of GPUs. Without a GPU there is no limit: the cores are one.
PARTS = JOBS_PER_GPU * CELLS_PER_PROCESS
POOLED = workflow.is_main_process and workflow.local_exec and "gpu" not in workflow.global_resources

if POOLED and GPUS:
    workflow.register_resource("gpu", GPUS * PARTS)


if workflow.is_main_process and workflow.local_exec:
    check_gpus(config["execution"]["threads"], trained_on(complete_config))

# A scheduler of nodes wants to know memory and time, and so does a limit of them on this machine;
# default resources may name a tmpdir, which a rule would override. Where there is none of these,
# they are not asked for: to evaluate such functions for each job took a seventh of a plan.
LIMITS = {name for name, limit in workflow.global_resources.unwrapped_items() if limit}
ASKED_FOR = (
    LIMITS & {"_nodes", "mem", "mem_mb", "mem_mib", "runtime"}
    or workflow.resource_settings.default_resources
)


def of_model() -> dict:
    """Resources: what a job that trains or evaluates a model asks for, beside GPUs."""
    if ASKED_FOR:
        return {"mem_mb": memory, "runtime": runtime}
    return {"tmpdir": tempfile.gettempdir()}  # as Snakemake has it, which asks for each job anew


def of_training():
    """Resource: the GPUs of a training; a function of the cell only if they differ in it."""
    counts = {*trained_on(complete_config).values()}
    return share(*counts) if len(counts) == 1 else gpus


def gpus(wildcards) -> int:
    """Resource: the GPUs of a training."""
    return share(merged(TRAINING, wildcards)["gpus"])


def share(count: int) -> int:
    """GPUs as what is asked for: parts of them where there is a pool of parts."""
    return gpu_share(count, PARTS) if POOLED else count


def memory(wildcards, input, attempt) -> int:
    """Resource: megabytes of a job that trains or evaluates a model."""
    return memory_mb(input.model, asked("mem_mb", wildcards), attempt)


def runtime(wildcards, input, attempt) -> int:
    """Resource: minutes of a job that trains or evaluates a model."""
    return minutes(input.model, asked("runtime", wildcards), attempt)


def prediction_memory(wildcards, input, attempt) -> int:
    """Resource: megabytes of a prediction; of several models, what the largest needs."""
    return max(
        memory_mb(model, asked_of(model, "mem_mb"), attempt) for model in models_among(input)
    )


def prediction_runtime(wildcards, input, attempt) -> int:
    """Resource: minutes of a prediction; of several models, what the largest needs."""
    return max(minutes(model, asked_of(model, "runtime"), attempt) for model in models_among(input))


def models_among(input) -> list[str]:
    """Return the directories of models among the inputs of a prediction."""
    return [path for path in input.cells if path.startswith("resources/models/")]


def asked_of(model: str, key: str) -> int | None:
    """Return what the config says that a job of the model in a directory needs."""
    return section_at(f"models/{Path(model).name}/resources", {}).get(key)


def asked(key: str, wildcards) -> int | None:
    """What the config says that a job of a model needs; None where it says nothing."""
    return section_at("models/{model}/resources", wildcards).get(key)

"""What jobs ask for, beside cores: nothing of it is a param, so a change reruns nothing."""

from rules.checks import trained_on
from rules.resources import cells_per_process, check_gpus, gpu_share, gpus_here, memory_mb, minutes

JOBS_PER_GPU = config["execution"]["jobs_per_gpu"]
CELLS_PER_PROCESS = cells_per_process(config["execution"])
# Where the jobs are done on this machine, no more of them compute on GPUs or wait for one than can:
# the pool is of parts of GPUs. Without a GPU there is no limit: the cores are one.
PARTS = JOBS_PER_GPU * CELLS_PER_PROCESS
POOLED = workflow.is_main_process and workflow.local_exec and "gpu" not in workflow.global_resources

if POOLED and (found := gpus_here()):
    workflow.register_resource("gpu", found * PARTS)


if workflow.is_main_process and workflow.local_exec:
    check_gpus(config["execution"]["threads"], trained_on(complete_config))


def gpus(wildcards) -> int:
    """Resource: the GPUs of a training; as parts of them where there is a pool of parts."""
    count = merged(TRAINING, wildcards)["gpus"]
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

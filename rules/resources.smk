"""What jobs ask for, beside cores: nothing of it is a param, so a change reruns nothing."""

from rules.checks import trained_on
from rules.resources import check_gpus, gpus_here, memory_mb, minutes

# Where the jobs are done on this machine, no more of them compute on GPUs than GPUs have room for.
# Without a GPU there is no limit: the cores are one.
if workflow.is_main_process and workflow.local_exec and "gpu" not in workflow.global_resources:
    if found := gpus_here():
        workflow.register_resource("gpu", found * config["execution"]["jobs_per_gpu"])


if workflow.is_main_process and workflow.local_exec:
    check_gpus(config["execution"]["threads"], trained_on(complete_config))


def gpus(wildcards) -> int:
    """Resource: the GPUs of a training."""
    return merged(TRAINING, wildcards)["gpus"]


def memory(wildcards, input, attempt) -> int:
    """Resource: megabytes of a job that trains or evaluates a model."""
    return memory_mb(input.model, asked("mem_mb", wildcards), attempt)


def runtime(wildcards, input, attempt) -> int:
    """Resource: minutes of a job that trains or evaluates a model."""
    return minutes(input.model, asked("runtime", wildcards), attempt)


def asked(key: str, wildcards) -> int | None:
    """What the config says that a job of a model needs; None where it says nothing."""
    return section_at("models/{model}/resources", wildcards).get(key)

"""What a job asks of the machine, or of the scheduler of a cluster, derived from its model.

None of it changes a result, so a change reruns nothing.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any

from common import gpus
from rules.explain import ConfigError

Config = dict[str, Any]

MB = 1_000_000
# Generous, as measured (docs/scaling.md): the libraries; the weights, read twice and perhaps
# trained, with gradients and two moments; what a batch needs, which grows with the weights.
LIBRARIES_MB, PER_WEIGHTS_MB = 2_000, 8
CELLS_ON_GPU = 32  # in one process: with 96 small ones, a prototype gained 4 % more of an H200
START_MINUTES, MB_PER_MINUTE = 30, 5


@cache  # it is asked for each of many jobs; that there is none yet is not kept
def model_mb(directory: str) -> float:
    """Return the size of a model's weights, in megabytes.

    Raises:
        FileNotFoundError: it was not fetched yet; Snakemake asks again when it was.
    """
    if not Path(directory).exists():
        raise FileNotFoundError(2, "not fetched yet", directory)
    return sum(file.stat().st_size for file in Path(directory).glob("*.safetensors")) / MB


def memory_mb(directory: str, asked: int | None, attempt: int) -> int:
    """Return the memory of a job that trains or evaluates a model; more at each attempt.

    Args:
        directory: of the model.
        asked: what the config says; None: derived from the size of the model.
        attempt: 1, 2 ...
    """
    needed = asked or LIBRARIES_MB + PER_WEIGHTS_MB * model_mb(directory)
    return round(needed * attempt)


def minutes(directory: str, asked: int | None, attempt: int) -> int:
    """Return the time of a job that trains or evaluates a model; more at each attempt.

    Args:
        directory: of the model.
        asked: what the config says; None: derived from the size of the model.
        attempt: 1, 2 ...
    """
    needed = asked or START_MINUTES + model_mb(directory) / MB_PER_MINUTE
    return round(needed * attempt)


def check_gpus(threads: int, asked: dict[str, int]) -> None:
    """Raise ConfigError if a training takes more GPUs than this machine has.

    Without a GPU it is done in as many processes on the CPU, for which there must be cores.

    Args:
        threads: of the CPU in each process.
        asked: the GPUs of each training, by its name.
    """
    found = gpus_here()
    here = found or max(1, (os.cpu_count() or 1) // threads)
    for name, count in asked.items():
        if count > 1 and count > here:
            what = f"{found} GPUs" if found else f"no GPU, and cores for {here} processes"
            raise ConfigError(
                f"training.gpus: {name} takes {count}, and this machine has {what}; lower it, or "
                "run it where there are more"
            )


def gpus_here() -> int:
    """Return how many GPUs the jobs of this process may use, as they count themselves."""
    return len(gpus.visible())


def cells_per_process(execution: Config, found: int) -> int:
    """Return how many cells one process may do; 1 without a server that brings them together.

    Args:
        execution: section of the config.
        found: GPUs of this machine.
    """
    if not execution["warm"]:
        return 1
    return execution["cells_per_process"] or (CELLS_ON_GPU if found else 1)


def gpu_share(count: int, parts: int) -> int:
    """Return what a training asks of the scheduler's pool of parts of GPUs.

    Args:
        count: GPUs of the training; of several, it has each for itself.
        parts: of one, as many as jobs that may compute on it or wait for it.
    """
    return 1 if count == 1 else count * parts

"""A small comparison on a cluster: GPU jobs queue, one is killed and retried, results are the same.

make test-slurm
"""

import shutil
import subprocess
import sys
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from tests.slurm import cluster
from tests.torture import torture
from tests.torture.comparing import differences

pytestmark = pytest.mark.skipif(bool(cluster.missing()), reason=cluster.missing() or "there is one")


@pytest.fixture(scope="module")
def slurm():
    """The directory of a Slurm that is up."""
    with cluster.running() as root:
        yield root


@pytest.fixture(scope="module")
def make_workflow(tmp_path_factory, tiny_workflow):
    """A copy of the workflow with tiny things, and a checkpoint after every step."""

    def make(name: str) -> Path:
        return torture.make_tiny(tiny_workflow(tmp_path_factory.mktemp(name) / "workflow"))

    return make


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "snakemake", *words]


ON_SLURM = (
    "--workflow-profile", "profiles/slurm",
    # Of a cluster without accounting, and of seconds, not hours.
    "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3",
    "--seconds-between-status-checks", "2", "--latency-wait", "5",
)  # fmt: skip


def queued(rule: str) -> list[str]:
    """The numbers of the jobs of a rule that run now; the comment of a job names its rule."""
    listed = subprocess.run(
        ["squeue", "--noheader", "--states", "RUNNING", "--format", "%i %k"],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    return [line.split()[0] for line in listed if f"rule_{rule}" in line]


def kill_when_it_has_begun(place: Path) -> str:
    """Let the scheduler kill a training that has a checkpoint; returns the number of the job."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if list(place.glob("results/*/*/*/*/adapter.checkpoints/step*")):
            for job in queued("train_lora"):
                subprocess.run(["scancel", "--signal=KILL", "--full", job], check=True)
                return job
        time.sleep(0.05)
    raise TimeoutError("no training had a checkpoint")


@pytest.fixture(scope="module")
def run(slurm, make_workflow):  # noqa: ARG001 (the cluster is up)
    """The workflow after a run on the cluster, what it said, and the job that was killed."""
    place = make_workflow("slurm")
    process = subprocess.Popen(
        command(*ON_SLURM), cwd=place, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    killed = kill_when_it_has_begun(place)
    said, _ = process.communicate(timeout=1200)
    print(said)
    assert process.returncode == 0, said
    return place, said, killed


def accounting(slurm: Path) -> list[dict[str, str]]:
    """Return what Slurm wrote down of the jobs that ended."""
    lines = (slurm / cluster.COMPLETED).read_text().splitlines()
    return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]


def test_the_run_ends_right(run, make_workflow, snakemake):
    """Killed and retried, on other nodes or here: the results are the same, file by file."""
    place, _, _ = run
    here = make_workflow("here")
    snakemake("--cores", "2", cwd=here)
    assert differences(place / "results", here / "results") == []


def test_a_job_that_the_scheduler_killed_is_retried(run, slurm):
    place, said, killed = run
    print((slurm / cluster.COMPLETED).read_text())
    states = {job["JobId"]: job["JobState"] for job in accounting(slurm)}
    assert states[killed] != "COMPLETED"
    assert "Trying to restart job" in said
    logs = [log.read_text() for log in place.glob("results/*/*/*/*/train_lora.log")]
    assert len(logs) == 2
    assert sum("going on from step" in log for log in logs) == 1


def test_gpu_jobs_queue_one_after_the_other(run, slurm):  # noqa: ARG001 (it has run)
    """There is one stand-in GPU, and never more than one job on it."""
    times = [
        (datetime.fromisoformat(job["StartTime"]), datetime.fromisoformat(job["EndTime"]))
        for job in accounting(slurm)
        if job.get("Partition") == "gpu"
    ]
    assert len(times) >= 6  # base, two trainings, one of them twice, two evaluations
    times.sort()
    for (_, ended), (began, _) in pairwise(times):
        assert began >= ended


def test_what_is_fetched_is_fetched_where_jobs_are_submitted(run):
    _, said, _ = run
    assert "localrule fetch_model" in said


IN_GROUPS = (
    "--groups", "train_lora=cell", "eval_lora=cell", "--group-components", "cell=2",
    "--set-resource-scopes", "gpu=local", "--resources", "gpu=1",
)  # fmt: skip


def test_cells_share_an_allocation_where_they_are_told_to(run, slurm, make_workflow):
    """Two trainings and their evaluations: one job of the cluster, with one GPU."""
    place, _, _ = run
    shared = make_workflow("shared")
    for name in ("results", "resources", ".snakemake"):
        shutil.copytree(place / name, shared / name)
    for cell in shared.glob("results/*/*/lora-*"):
        shutil.rmtree(cell)
    for made_of_them in (shared / "results").glob("*.*"):
        made_of_them.unlink()
    before = len(accounting(slurm))
    done = subprocess.run(
        command(*ON_SLURM, *IN_GROUPS), cwd=shared, text=True, capture_output=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    print(done.stderr)
    jobs = [job for job in accounting(slurm)[before:] if job.get("Partition") == "gpu"]
    assert [job["JobState"] for job in jobs] == ["COMPLETED"]
    assert differences(shared / "results", place / "results") == []

"""Kill a run at random moments, again and again, continue it, and compare it with one left alone.

    python tests/torture/torture.py --kills 100

Kills take the whole tree of processes, as a power failure does; or one job that waits, its process
in the warm server, or that server, as a system does that is short of memory; or they ask one job to
end, as a scheduler does before it takes a node away. After each, the run is continued as README.md
says. When it has ended, its results must be those of the run that was left alone, file by file, but
for times; then it begins anew, until there were so many kills. Exit status 1 and a list of files if
there is a difference.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from common import cli  # noqa: E402
from tests.torture.comparing import differences, rendered_otherwise  # noqa: E402

# Trainings long enough to be hit, with a checkpoint after every step.
CHANGES = {
    # Results of a pack depend on who else was killed, by rounding.
    "execution": {"checkpoint_seconds": 0, "cells_per_process": 1},
    "training": {"epochs": 12},
}
SNAKEMAKE = (sys.executable, "-m", "snakemake")
IGNORED = shutil.ignore_patterns("results", "resources", ".snakemake", ".git", ".venv*", "*_cache")
TREE, JOB, ASKED = "whole tree", "one job", "one job, asked to end"
SERVER, CHILD = "the warm server", "one job's process in the warm server"
KINDS = [TREE, JOB, ASKED, SERVER, CHILD]
LONGEST_WAIT_SECONDS = 12.0
ENDS_WITHIN_SECONDS = 600


@dataclass
class Told:
    """What happened.

    Attributes:
        kills: how many of each kind.
        runs: that came to their end.
        resumed: trainings that went on from a checkpoint.
        different: files that were not as they should be, with what differs.
    """

    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    resumed: int = 0
    different: list[str] = field(default_factory=list)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, help="at least so many")
    parser.add_argument("--seed", type=int, default=0, help="draws moments and victims")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        told = torture(make_smoke, Path(folder), args.kills, args.seed)
    for kind, count in told.kills.items():
        say(f"{count} kills of {kind}")
    say(f"{sum(told.kills.values())} kills, {told.runs} runs to the end, {told.resumed} trainings "
        f"resumed, {len(told.different)} differences")  # fmt: skip
    if told.different:
        sys.exit("\n".join(["error: results differ:", *told.different]))


def torture(make: Callable[[Path], Path], folder: Path, kills: int, seed: int) -> Told:
    """Run once in peace, then again and again with so many kills in all.

    Args:
        make: a workflow in a directory that is not there yet; returns the directory.
        folder: to work in.
        kills: at least so many.
        seed: draws moments and victims.
    """
    draw, told = random.Random(seed), Told()
    calm, place = (make(folder / name) for name in ("calm", "killed"))
    finish(calm)
    say("the run that was left alone is done")
    while sum(told.kills.values()) < kills:
        until_done(place, draw, told, kills)
        found = differences(place / "results", calm / "results")
        found += rendered_otherwise(place)
        told.different += [f"run {told.runs}: {each}" for each in found]
        say(f"run {told.runs}: {sum(told.kills.values())} kills, {len(found)} differences")
        for name in ("results", "resources", ".snakemake"):
            shutil.rmtree(place / name, ignore_errors=True)
    return told


def make_smoke(place: Path) -> Path:
    """Return a copy of the workflow, with the smoke config for its own."""
    shutil.copytree(ROOT, place, ignore=IGNORED)
    config = yaml.safe_load((place / "config/smoke.yaml").read_text())
    change(place, config)
    return place


def make_tiny(place: Path) -> Path:
    """Leave one dataset and one model of the tiny workflow of the tests; return its directory."""
    config = yaml.safe_load((place / "config/config.yaml").read_text())
    config = {key: config[key] for key in ("datasets", "models", "variants", "seeds")}
    del config["datasets"]["messages"], config["models"]["gpt2"]
    change(place, config)
    return place


def change(place: Path, config: dict[str, Any]) -> None:
    """Write a config that lends itself to being killed."""
    for section, keys in CHANGES.items():
        config[section] = config.get(section, {}) | keys
    (place / "config/config.yaml").write_text(yaml.safe_dump(config))


def environment() -> dict[str, str]:
    """That of the runs: two GPUs to lease, if in name alone."""
    return {"CUDA_VISIBLE_DEVICES": "stand-in-0,stand-in-1", "HF_HUB_OFFLINE": "1", **os.environ}


def command(*words: str) -> list[str]:
    """Return the command that README.md gives."""
    return [*SNAKEMAKE, *words]


def finish(place: Path) -> None:
    """Run to the end."""
    done = subprocess.run(command(), cwd=place, env=environment(), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the run that was left alone failed: {done.stdout}{done.stderr}")


def until_done(place: Path, draw: random.Random, told: Told, kills: int) -> None:
    """Run, kill and continue, until a run comes to its end: at the latest after so many kills."""
    while True:
        log = place / "run.log"
        with open(log, "w") as file:
            run = subprocess.Popen(
                command(), cwd=place, env=environment(), stdout=file, stderr=file,
                start_new_session=True,
            )  # fmt: skip
        kind = draw.choice(KINDS)
        if sum(told.kills.values()) >= kills or not kill_later(run, kind, draw):
            status = run.wait(ENDS_WITHIN_SECONDS)
            if status:
                sys.exit(f"a run failed that was not killed: {log.read_text()}")
            told.runs += 1
            return
        told.kills[kind] += 1
        run.wait(ENDS_WITHIN_SECONDS)  # after the death of one job, the others end first
        told.resumed += log.read_text().count("going on from step")
        if kind == TREE:
            unlock(place)


def kill_later(run: subprocess.Popen, kind: str, draw: random.Random) -> bool:
    """Wait a while and kill; returns whether there was something to kill."""
    try:
        run.wait(draw.uniform(0.5, LONGEST_WAIT_SECONDS))
        return False
    except subprocess.TimeoutExpired:
        pass
    if kind == TREE:
        tree = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
        for process in tree:
            send(process, signal.SIGKILL)
        psutil.wait_procs(tree, timeout=10)
        return True
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while time.monotonic() < deadline and run.poll() is None:
        found = {SERVER: servers, CHILD: children}.get(kind, jobs)(run)
        if found:
            return send(draw.choice(found), signal.SIGTERM if kind == ASKED else signal.SIGKILL)
        time.sleep(0.02)
    return False


def jobs(run: subprocess.Popen) -> list[psutil.Process]:
    """Return the scripts that a run is running."""
    found = []
    for process in psutil.Process(run.pid).children(recursive=True):
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if any(word.startswith("scripts/") for word in words[1:3]):
            found.append(process)
    return found


def servers(run: subprocess.Popen) -> list[psutil.Process]:
    """Return the warm servers of a run."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            of_run = process.environ().get(cli.WORKFLOW, "").startswith(f"{run.pid} ")
            parent = process.parent()
            if of_run and is_warm(process) and not (parent and is_warm(parent)):
                found.append(process)
    return found


def children(run: subprocess.Popen) -> list[psutil.Process]:
    """Return the processes of jobs in the warm servers of a run."""
    found = []
    for server in servers(run):
        with contextlib.suppress(psutil.Error):
            found += server.children()
    return found


def is_warm(process: psutil.Process) -> bool:
    """Return whether a process is a warm server, or a job in one."""
    return "common.warm" in process.cmdline()


def send(process: psutil.Process, number: signal.Signals) -> bool:
    """Send a signal; returns whether the process was still there."""
    try:
        process.send_signal(number)
    except psutil.Error:
        return False
    return True


def unlock(place: Path) -> None:
    """What README.md says to do after a kill: nothing else holds the lock now."""
    subprocess.run(command("--unlock"), cwd=place, check=True, capture_output=True)


def say(text: str) -> None:
    """Tell what happens, with the time."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

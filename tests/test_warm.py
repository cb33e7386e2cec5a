"""Jobs that are forked from a warm process end as they would alone, whoever is killed meanwhile."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from common import cli, warm

SCRIPTS = Path(__file__).parents[1] / "scripts"
# A stage that says who it is and does what it is told. Its library takes a while to import.
STAGE = """
import os, sys, time
from pathlib import Path
from common import cli, warm

def main(argv=None):
    word, *rest = sys.argv[1:] if argv is None else argv
    start = "warm" if "slow_library" in sys.modules else "cold"
    print(word, os.getpid(), start, flush=True)
    import slow_library
    if word == "fail":
        raise cli.InputError("the input is wrong: mend it")
    if word == "break":
        raise ZeroDivisionError("broken")
    if word == "exit":
        sys.exit(7)
    if word == "kill":
        os.kill(os.getpid(), 9)
    if word == "where":
        print(Path.cwd().name, os.environ.get("OF_JOB"), sys.stdin.read(), rest, flush=True)
    if word == "wait":
        Path(rest[0]).write_text(str(os.getpid()))
        time.sleep(float(rest[1]))
        Path(rest[0]).write_text("done")

def main_together(commands, within):
    print("together", len(commands), flush=True)
    for number, command in enumerate(commands):
        with within(number):
            main(command)

def key(argv):
    return ("a device", 8) if os.environ.get("TOGETHER") else None

if __name__ == "__main__":
    warm.run(main, "slow_library", key=key)
"""


class Run:
    """A run of a workflow, with jobs of one stage.

    Args:
        directory: to work in.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.stage = directory / "stage.py"
        self.stage.write_text(STAGE)
        (directory / "slow_library.py").write_text("import time; time.sleep(0.3)")
        self.workflow = subprocess.Popen(["sleep", "600"])
        self.environ = os.environ | {
            cli.WORKFLOW: cli.process_name(self.workflow.pid),
            warm.ENABLED: "yes",
            "TMPDIR": str(directory),
            "PYTHONPATH": os.pathsep.join([str(SCRIPTS), str(directory)]),
        }

    def start(self, *words: object, **environ: str) -> "subprocess.Popen[str]":
        """Start a job."""
        return subprocess.Popen(
            [sys.executable, str(self.stage), *map(str, words)],
            env=self.environ | environ,
            cwd=self.directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def said(self, *words: object, **environ: str) -> list[str]:
        """Return the words that a job said, which ends well."""
        out, err = self.start(*words, **environ).communicate("input", timeout=60)
        assert err == ""
        return out.split()

    def servers(self) -> list[psutil.Process]:
        """Return the servers of this run."""
        return [
            each
            for each in psutil.process_iter(["cmdline", "status", "ppid"])
            if str(self.directory) in " ".join(each.info["cmdline"] or [])
            and "common.warm" in each.info["cmdline"]
            and not is_server(each.parent())
        ]

    def end(self) -> None:
        """End the run, and wait for its servers."""
        self.workflow.kill()
        self.workflow.wait()
        until(lambda: not self.servers())


def is_server(process: psutil.Process | None) -> bool:
    """Return whether a process is one that forks, and no child of it."""
    try:
        return process is not None and "common.warm" in process.cmdline()
    except psutil.Error:
        return False


def until(condition) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def run(tmp_path):
    """A run, and its end."""
    directory = tmp_path / "r"
    directory.mkdir()
    made = Run(directory)
    yield made
    made.end()


def test_jobs_are_forked_from_a_process_that_has_their_libraries(run):
    first, second = run.said("a"), run.said("b")
    assert (first[2], second[2]) == ("warm", "warm")
    assert first[1] != second[1]
    assert len(run.servers()) == 1


def test_a_script_that_is_run_by_hand_works_alone(run):
    del run.environ[cli.WORKFLOW]
    assert run.said("a")[2] == "cold"
    assert run.servers() == []


def test_warm_starts_can_be_switched_off(run):
    assert run.said("a", **{warm.ENABLED: ""})[2] == "cold"
    assert run.servers() == []


@pytest.mark.parametrize("word", ["ok", "fail", "break", "exit", "kill"])
def test_a_job_ends_as_it_would_alone(run, word):
    ends = []
    for enabled in ("", "yes"):
        job = run.start(word, **{warm.ENABLED: enabled})
        out, err = job.communicate(timeout=60)
        # A shell says of a job that was killed what `exit_status` says here.
        status = job.returncode if job.returncode >= 0 else cli.SIGNALLED - job.returncode
        ends.append((status, out.split()[0], err.splitlines()[-1:]))
    assert ends[0] == ends[1]


def test_a_job_has_the_streams_the_environment_and_the_directory_of_its_script(run):
    run.said("first")
    assert run.said("where", "x y", OF_JOB="mine")[3:] == ["r", "mine", "input", "['x", "y']"]


def test_a_signal_reaches_the_job(run):
    marker = run.directory / "marker"
    job = run.start("wait", marker, 60)
    until(marker.exists)
    job.terminate()
    assert job.wait(10) == cli.SIGNALLED + signal.SIGTERM


def test_a_job_ends_with_its_script(run):
    marker = run.directory / "marker"
    job = run.start("wait", marker, 60)
    until(lambda: marker.exists() and marker.read_text())
    child = psutil.Process(int(marker.read_text()))
    job.kill()
    child.wait(10)
    job.wait()


def test_a_job_goes_on_when_the_server_is_killed_and_the_next_one_starts_another(run):
    marker = run.directory / "marker"
    job = run.start("wait", marker, 1)
    until(marker.exists)
    (server,) = run.servers()
    server.kill()
    assert job.wait(30) == 0
    assert marker.read_text() == "done"
    assert run.said("next")[2] == "warm"


def test_the_server_ends_with_its_workflow_and_leaves_nothing(run):
    run.said("a")
    place = run.directory / f"lora-bench-warm-{os.getuid()}"
    assert list(place.iterdir())
    run.end()
    until(lambda: not list(place.iterdir()))


def test_a_server_that_cannot_import_what_a_job_needs_leaves_it_to_its_script(run):
    run.said("a")
    run.stage.write_text(STAGE.replace('"slow_library", key', '"no_such_library", key'))
    assert run.said("b")[2] == "cold"
    assert len(run.servers()) == 1


def test_a_directory_of_sockets_that_others_may_change_is_not_used(run):
    (run.directory / f"lora-bench-warm-{os.getuid()}").mkdir(mode=0o777)
    (run.directory / f"lora-bench-warm-{os.getuid()}").chmod(0o777)
    assert run.said("a")[2] == "cold"


def together(run: Run, words: list[list[object]]) -> list["subprocess.Popen[str]"]:
    """Start jobs that may be done together."""
    run.said("first")  # the server is there
    return [run.start(*each, TOGETHER="yes") for each in words]


def test_jobs_that_wait_for_a_device_are_done_by_one_process_each_with_its_own_end(run):
    jobs = together(run, [["a"], ["fail"], ["break"], ["b"]])
    ends = [job.communicate(timeout=60) for job in jobs]
    assert [job.returncode for job in jobs] == [0, 1, 1, 0]
    said = [out.split() for out, _ in ends]
    spoke = [
        words[words.index(name) + 1]
        for words, name in zip(said, ["a", "fail", "break", "b"], strict=True)
    ]
    assert len(set(spoke)) == 1
    assert sum("together" in words for words in said) == 1
    assert ends[1][1] == "error: the input is wrong: mend it\n"
    assert ends[2][1].endswith("ZeroDivisionError: broken\n")


def test_a_group_that_is_killed_is_done_one_by_one(run):
    markers = [run.directory / name for name in "abc"]
    jobs = together(run, [["wait", marker, 1] for marker in markers])
    until(lambda: any(marker.exists() and marker.read_text() for marker in markers))
    begun = next(marker for marker in markers if marker.exists() and marker.read_text())
    os.kill(int(begun.read_text()), signal.SIGKILL)
    assert [job.wait(60) for job in jobs] == [0, 0, 0]
    assert [marker.read_text() for marker in markers] == ["done"] * 3


def test_a_script_of_a_group_that_is_killed_takes_nothing_from_the_others(run):
    markers = [run.directory / name for name in "abc"]
    jobs = together(run, [["wait", marker, 1] for marker in markers])
    until(lambda: any(marker.exists() for marker in markers))
    jobs[1].kill()
    assert [jobs[0].wait(60), jobs[2].wait(60)] == [0, 0]
    assert [markers[0].read_text(), markers[2].read_text()] == ["done"] * 2


@pytest.mark.full
def test_fifty_kills_of_servers_groups_and_scripts_lose_nothing(run):
    """Whoever is killed, every job whose script lives is done, and its result is its own."""
    draw = random.Random(0)
    for number in range(50):
        markers = [run.directory / f"{number}-{name}" for name in "abcd"]
        jobs = together(run, [["wait", marker, 0.2] for marker in markers])
        time.sleep(draw.uniform(0.1, 1.5))
        servers = run.servers()
        processes = {
            "server": servers,
            "group": [each for server in servers for each in server.children()],
            "script": [psutil.Process(draw.choice(jobs).pid)],
        }
        for victim in processes[draw.choice([*processes])]:
            victim.kill()
        for job, marker in zip(jobs, markers, strict=True):
            if job.wait(60) != -signal.SIGKILL:
                assert job.returncode == 0, job.communicate()
                assert marker.read_text() == "done"

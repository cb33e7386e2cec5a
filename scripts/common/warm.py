"""Warm starts: the jobs of a run are forked from a process that has imported their libraries.

To start Python and import torch, transformers and PEFT takes several seconds of a core, as long as
a small cell takes to train. A script that Snakemake started therefore hands its command line,
environment and standard streams over to a server that belongs to the run. The server imports what
the script needs, once, and forks; the child is the job, a fresh process in which nothing else was
computed. The script waits, passes signals on and ends with the status of the child.

Jobs that may share a device (``key``) and wait for it at the same time are forked together: one
child does them all, each with its own streams and status.

Nothing depends on the server: without one, or when it was killed, a script does its work itself. It
ends with the Snakemake that it belongs to. A script that is run by hand never asks for it. A child
goes on when the server is killed, and ends when a script that waits for it is.

Only for Linux. Imports nothing heavy: a script that waits takes 20 MB and no time.
"""

import atexit
import gc
import hashlib
import importlib
import json
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from common import cli, files, gpus, startup

log = logging.getLogger("warm")

ENABLED = "LORA_BENCH_WARM"  # set by the workflow, unless `execution.warm` is false
THREADS = "OMP_NUM_THREADS"  # libraries read it when they are loaded
# Imports ask whether there is a GPU. By the driver's library they learn it without CUDA, which a
# process that forks must not have begun to use.
WITHOUT_CUDA = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
OF_CUDA = {"nvidia-uvm", "kfd"}  # opened by CUDA and ROCm, and not by the driver's library
STREAMS = (0, 1, 2)
BACKLOG = 1024  # jobs that wait to be accepted
HEAD_BYTES = 8  # before a job: its length
DEFAULTS: dict[int, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}
GATHER_SECONDS = 0.5  # without another job that may join, before a group begins


class Job(NamedTuple):
    """A job that a script hands over.

    Attributes:
        words: the path of the script and its command line.
        needs: modules that it will import.
        key: jobs with equal keys may be done together; None: alone.
        limit: of jobs that are done together.
        cwd: of the script.
        environ: of the script.
        connection: to the script, which waits for a status.
        streams: standard input, output and error of the script.
    """

    words: list[str]
    needs: list[str]
    key: str | None
    limit: int
    cwd: str
    environ: dict[str, str]
    connection: socket.socket
    streams: list[int]


def run(
    main: Callable[[], None],
    *needs: str,
    key: Callable[[Sequence[str]], tuple[str, int] | None] = lambda _: None,
) -> None:
    """Run a script's ``main`` as ``cli.run`` does, in a warm process where the run has one.

    Args:
        main: of the script.
        needs: modules that the script will import and that take long.
        key: takes the command line; jobs for which it returns the same text may be done together,
            at most so many as it says. None: alone.
    """
    status = hand_over(needs, key(sys.argv[1:])) if enabled() else None
    if status is None:
        cli.run(main)
    else:
        sys.exit(status)


def add_option(parser: ArgumentParser) -> None:
    """Add the option of the stages of which one process may do several jobs."""
    parser.add_argument(
        "--cells-per-process",
        type=cli.int_at_least(1),
        default=1,
        help="that wait for the same device and are done together",
    )


def key(same: str, limit: int) -> tuple[str, int] | None:
    """Return what ``run`` wants to know of a job; None where it is done alone.

    Args:
        same: what is equal in jobs that may be done together.
        limit: how many may.
    """
    return (f"{Path(sys.argv[0]).stem} {same}", limit) if limit > 1 else None


def enabled() -> bool:
    """Return whether this script is a job of a workflow that wants warm starts."""
    name = os.environ.get(cli.WORKFLOW, "")
    if sys.platform != "linux" or not name or not os.environ.get(ENABLED):
        return False
    return cli.process_name(pid_of(name)) == name  # else it is in another container


def pid_of(workflow: str) -> int:
    """Return the process number in a name of ``cli.process_name``."""
    return int(workflow.partition(" ")[0])


def hand_over(needs: Sequence[str], together: tuple[str, int] | None) -> int | None:
    """Return the exit status of this job, done by the server; None where it was not done.

    Where a group was killed, by whom or whatever, each of its jobs is done once more, alone.
    """
    passed_on: list[int] = []
    threading.Thread(target=end_with, args=(os.environ[cli.WORKFLOW],), daemon=True).start()
    for attempt in (together, None):
        try:
            with connect() as connection, passing_on(connection, passed_on):
                send(connection, needs, attempt)
                status = connection.recv(1)
                while connection.recv(1):  # until the child is gone, and with it what it holds
                    pass
        except (OSError, cli.InputError) as error:
            log.debug("no warm start: %s", error)
            status = b""
        if status:
            return status[0]
        if passed_on or not enabled():  # it was asked to end, or its Snakemake is gone
            return cli.SIGNALLED + [*passed_on, signal.SIGTERM][0]
    return None


def end_with(workflow: str) -> None:
    """End this process when its Snakemake is gone, though the server may be busy with imports.

    The child, which sees it too, has some time to keep what it has.
    """
    cli.wait_for_end(pid_of(workflow), workflow)
    time.sleep(cli.END_SECONDS / 2)
    os._exit(cli.SIGNALLED + signal.SIGTERM)


@contextmanager
def passing_on(connection: socket.socket, passed_on: list[int]) -> Iterator[None]:
    """Pass signals on within a ``with`` block, and note them."""

    def pass_on(received: int, _: Any) -> None:
        passed_on.append(received)
        with suppress(OSError):  # it has ended
            connection.sendall(bytes([received]))

    before = {number: signal.signal(number, pass_on) for number in DEFAULTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def connect() -> socket.socket:
    """Return a connection to the server of this run, which is started where there is none.

    Raises:
        OSError: there cannot be one.
    """
    from filelock import FileLock

    address = place()
    with suppress(OSError):
        return connected(address)
    with FileLock(address.with_suffix(".lock")):
        with suppress(OSError):
            return connected(address)  # another job has started it meanwhile
        start(address)
        return connected(address)


def connected(address: Path) -> socket.socket:
    """Return a connection to whoever listens at an address.

    Raises:
        OSError: nobody does.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short(address) as path:
            connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


@contextmanager
def short(address: Path) -> Iterator[str]:
    """Yield another path of a file: that of a socket must be of 107 bytes at most."""
    directory = os.open(address.parent, os.O_PATH)
    try:
        yield f"/proc/self/fd/{directory}/{address.name}"
    finally:
        os.close(directory)


def place() -> Path:
    """Return the address of the server of this run, for this Python, code and number of threads."""
    identity = [
        os.environ[cli.WORKFLOW],
        sys.executable,
        str(Path(__file__).resolve()),
        os.environ.get(THREADS, ""),
    ]
    name = hashlib.sha256("\0".join(identity).encode()).hexdigest()[:16]
    return files.private_directory("warm") / name


def start(address: Path) -> None:
    """Start the server; it can be connected to at once, and answers when it is ready.

    Its standard input is the socket that it listens to, as inetd does it.

    It has a session of its own: Ctrl-C reaches the scripts, which pass it on.
    """
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        with short(address) as path:
            listener.bind(path)
        listener.listen(BACKLOG)
        with address.with_suffix(".log").open("wb") as said:
            subprocess.Popen(
                [sys.executable, "-m", "common.warm", str(address)],
                cwd=Path(__file__).parents[1],
                env=os.environ | WITHOUT_CUDA,
                stdin=listener.fileno(),
                stdout=said,
                stderr=said,
                start_new_session=True,
            )


def send(connection: socket.socket, needs: Sequence[str], together: tuple[str, int] | None) -> None:
    """Hand the job of this process over.

    Raises:
        OSError: nobody takes it.
    """
    words = [str(Path(sys.argv[0]).resolve()), *sys.argv[1:]]
    job = [words, needs, *(together or (None, 1)), str(Path.cwd()), dict(os.environ)]
    body = json.dumps(job).encode()
    socket.send_fds(connection, [len(body).to_bytes(HEAD_BYTES, "big")], STREAMS)
    connection.sendall(body)


def receive(head: bytes, connection: socket.socket, streams: list[int]) -> Job:
    """Return the job that a script hands over.

    Args:
        head: what came first.
        connection: to the script.
        streams: that came with it.

    Raises:
        ValueError: the script ended before it had sent all.
    """
    with connection.makefile("rb") as file:
        body = file.read(int.from_bytes(head, "big"))
    words, needs, key, limit, cwd, environ = json.loads(body)
    return Job(words, needs, key, limit, cwd, environ, connection, streams)


@dataclass
class Server:
    """Forks a child for every job, or for several that may be done together.

    Attributes:
        listener: scripts connect to it.
        workflow: name of the process that the server ends with.
        waiting: jobs that may be done together, in the order of their arrival.
        since: when the last of them came.
        running: of each child, by its descriptor: its number and its jobs.
    """

    listener: socket.socket
    workflow: str
    waiting: list[Job] = field(default_factory=list)
    since: float = 0.0
    running: dict[int, tuple[int, list[Job]]] = field(default_factory=dict)

    @cached_property
    def devices(self) -> int:
        """Return how many groups may run at the same time; asked for when there is one."""
        return max(1, len(gpus.visible()))

    def serve(self) -> list[Job]:
        """Return the jobs of this process, in a child; [] in the server, when the run is over."""
        with selectors.DefaultSelector() as ready:
            ready.register(self.listener, selectors.EVENT_READ)
            ready.register(os.pidfd_open(pid_of(self.workflow)), selectors.EVENT_READ)
            while cli.process_name(pid_of(self.workflow)) == self.workflow:
                found = ready.select(GATHER_SECONDS if self.waiting else None)
                for key, _ in found:
                    if key.fileobj is self.listener:
                        self.accept()
                    elif key.fd in self.running:
                        ready.unregister(key.fd)
                        self.reap(key.fd)
                while jobs := self.next_group():
                    child = self.fork(jobs)
                    if child is None:
                        return jobs
                    ready.register(child, selectors.EVENT_READ)
        return []

    def accept(self) -> None:
        """Take a job from a script that connects, and import what it needs."""
        connection, _ = self.listener.accept()
        streams: list[int] = []
        try:
            head, streams, _, _ = socket.recv_fds(connection, HEAD_BYTES, len(STREAMS))
            job = receive(head, connection, streams)
            load(job)
        except Exception:  # the script does its work itself, and shows what is wrong
            log.exception("a job was not taken")
            close(connection, streams)
        else:
            self.waiting.append(job)
            self.since = time.monotonic()

    def next_group(self) -> list[Job]:
        """Return the jobs to begin now, which wait no longer; [] where there are none.

        Jobs that may be done together wait for each other a little, and for a free device. Those
        whose scripts were killed meanwhile are dropped.
        """
        for job in [job for job in self.waiting if not is_awaited(job)]:
            self.waiting.remove(job)
            close(job.connection, job.streams)
        first = next((job for job in self.waiting if job.key is None or self.has_room()), None)
        if first is None:
            return []
        together = [job for job in self.waiting if job.key == first.key]
        jobs = [first] if first.key is None else together[: first.limit]
        self.waiting = [job for job in self.waiting if all(job is not other for other in jobs)]
        return jobs

    def has_room(self) -> bool:
        """Return whether a group can begin: no other job comes, and a device is free."""
        if time.monotonic() - self.since < GATHER_SECONDS:
            return False
        groups = sum(jobs[0].key is not None for _, jobs in self.running.values())
        return groups < self.devices

    def fork(self, jobs: list[Job]) -> int | None:
        """Return the descriptor of a child that does jobs; None in the child.

        The server keeps the connection of a job that is alone, to tell its script of a signal that
        ended the child. Scripts of a group see their connection end without a status.
        """
        pid = os.fork()
        if not pid:
            self.listener.close()
            others = [job for _, each in self.running.values() for job in each]
            for job in [*others, *self.waiting]:  # else scripts would wait for this child too
                job.connection.close()
            return None
        for job in jobs:
            close(job.connection if len(jobs) > 1 else None, job.streams)
        child = os.pidfd_open(pid)
        self.running[child] = pid, jobs
        return child

    def reap(self, child: int) -> None:
        """Take the status of a child that ended; tell its script if that was by a signal."""
        pid, jobs = self.running.pop(child)
        os.close(child)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        for job in jobs:
            if status < 0 and len(jobs) == 1:
                with suppress(OSError):  # its script is gone, too
                    job.connection.sendall(bytes([cli.SIGNALLED - status]))
            job.connection.close()


def is_awaited(job: Job) -> bool:
    """Return whether the script of a job is there and waits."""
    try:
        return bool(job.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return True
    except OSError:
        return False


def close(connection: socket.socket | None, streams: Sequence[int]) -> None:
    """Close a connection, and streams that belong to it."""
    for stream in streams:
        os.close(stream)
    if connection:
        connection.close()


def load(job: Job) -> None:
    """Import what a job needs, and its script.

    Raises:
        ImportError: a package is missing.
        RuntimeError: an import began to use CUDA, which a child could not do any more.
    """
    with startup.importing():
        for name in [*job.needs, Path(job.words[0]).stem]:
            importlib.import_module(name)
    gc.freeze()  # what is there is not looked at in children, which would copy it
    opened = [each.resolve() for each in Path("/proc/self/fd").iterdir()]
    if any(path.name in OF_CUDA for path in opened):
        raise RuntimeError("an import began to use CUDA")


class Group:
    """Jobs that are done by this process, a fresh child of the server.

    Args:
        jobs: of one script; nearly always it is one job.
    """

    def __init__(self, jobs: list[Job]) -> None:
        self.jobs = jobs
        self.open = dict(enumerate(jobs))  # those whose scripts still wait
        self.last: int | None = None  # status of the last one

    def work(self) -> None:
        """Do all jobs.

        Those of a group are done by ``main_together`` of their script, where it has one. It takes
        their command lines and ``within``. Otherwise they are done one after the other.
        """
        gc.enable()
        for received, handler in DEFAULTS.items():
            signal.signal(received, handler)
        os.environ.clear()
        os.environ.update(self.jobs[0].environ)
        os.chdir(self.jobs[0].cwd)
        speak_for(self.jobs[0])
        cli.begin()
        for number in self.open:
            threading.Thread(target=self.obey, args=(number,), daemon=True).start()
        script: Any = importlib.import_module(Path(self.jobs[0].words[0]).stem)
        together = getattr(script, "main_together", None)
        if len(self.jobs) > 1 and together:
            together([job.words[1:] for job in self.jobs], self.within)
        else:
            for number, job in enumerate(self.jobs):
                with self.within(number):
                    script.main(job.words[1:])
                self.answer(number, 0)
        for number in [*self.open]:
            self.answer(number, 0)

    @contextmanager
    def within(self, number: int) -> Iterator[None]:
        """Do what concerns one job alone: it is said on its streams, and a failure is its own."""
        speak_for(self.jobs[number])
        try:
            with cli.reported():
                yield
        except SystemExit as ended:
            if isinstance(ended.code, str):
                sys.stderr.write(f"{ended.code}\n")
            self.answer(
                number, ended.code if isinstance(ended.code, int) else int(bool(ended.code))
            )
        except Exception:
            traceback.print_exc()
            self.answer(number, 1)

    def answer(self, number: int, status: int) -> None:
        """Tell the script of a job that it is over, unless it was told; the last one waits."""
        if [*self.open] == [number]:
            self.last = status if self.last is None else self.last
        elif job := self.open.pop(number, None):
            sys.stdout.flush()
            sys.stderr.flush()
            with suppress(OSError):
                job.connection.sendall(bytes([status]))
                job.connection.shutdown(socket.SHUT_RDWR)

    def obey(self, number: int) -> None:
        """Send this process the signals that a script passes on; end it when the script is killed.

        Where other scripts of a group wait, they hand their jobs over once more.
        """
        connection = self.jobs[number].connection
        while True:
            try:
                received = connection.recv(1)
            except OSError:
                received = b""
            if number not in self.open:
                return
            os.kill(os.getpid(), received[0] if received else signal.SIGKILL)


def end(groups: list[Group]) -> None:
    """End a child without taking its libraries apart, and tell its last script.

    Where a group broke, its scripts are told nothing, and hand over their jobs once more.

    Args:
        groups: that of this process; [] in the server.
    """
    for group in groups:
        sys.stdout.flush()
        sys.stderr.flush()
        for job in group.open.values():
            if group.last is not None:
                with suppress(OSError):
                    job.connection.sendall(bytes([group.last]))
        os._exit(0)


def speak_for(job: Job) -> None:
    """Take the streams and the command line of a job."""
    sys.stdout.flush()
    sys.stderr.flush()
    for own, stream in zip(STREAMS, job.streams, strict=True):
        os.dup2(stream, own)
    sys.argv = job.words


def main(words: Sequence[str]) -> None:
    """Serve a workflow; in a child, do its jobs.

    Args:
        words: path of the socket that scripts connect to, which is the standard input.
    """
    groups: list[Group] = []
    # Registered before all others, it is called after them: what they clean up is clean by then.
    atexit.register(end, groups)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the workflow ends it, and its jobs at once
    gc.disable()
    cli.go_offline()
    with suppress(ProcessLookupError):  # the workflow is gone already
        if jobs := Server(socket.socket(fileno=STREAMS[0]), os.environ[cli.WORKFLOW]).serve():
            groups.append(Group(jobs))
    if groups:
        groups[0].work()
        return
    for ending in ("", ".lock", ".log"):
        Path(words[0] + ending).unlink(missing_ok=True)


if __name__ == "__main__":
    main(sys.argv[1:])

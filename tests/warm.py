"""A warm process: it imports the libraries once, and forks for each command that a test runs.

Importing torch, transformers, PEFT and datasets takes a job five seconds of a core; most jobs of
the tests compute for less than one. Here a server imports the libraries, and nothing of this
project, then runs each command in a fork: the same program on the same files.

    warm = Warm(directory, owner)            # one for all processes that run tests
    warm.run(["scripts/plot.py", "--help"])  # as subprocess.run([sys.executable, ...])
    warm.python                              # an executable to use in the place of Python

``warm.python`` makes the jobs of a Snakemake run warm too: Snakemake puts the directory of
``sys.executable`` first on PATH. What depends on how an interpreter starts (PYTHONHASHSEED, the
variables of the hub, what is imported) has to be tested with ``sys.executable`` itself; in a run
of Snakemake, the scripts that the variable COLD names start so.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import filelock

# What the stages import, and Snakemake. An import must start no thread: a fork has none of them.
LIBRARIES = (
    "accelerate", "datasets", "datasketch", "evaluate", "pandas", "peft", "pyarrow.parquet",
    "safetensors.torch", "scipy.optimize", "scipy.stats", "sklearn.feature_extraction.text",
    "sklearn.linear_model", "sklearn.metrics", "snakemake.cli", "snakemake.executors.local",
    "tabulate", "tokenizers", "torch.utils.data", "transformers.models.auto.modeling_auto",
    "transformers.models.bert.modeling_bert", "transformers.models.gpt2.modeling_gpt2",
    "transformers.trainer", "xxhash",
)  # fmt: skip
# Libraries read these when they are imported; `cli.go_offline` sets them in each stage.
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
           "TOKENIZERS_PARALLELISM": "true", "MPLBACKEND": "agg"}  # fmt: skip
START_SECONDS = 120
COLD = "LORA_BENCH_COLD_SCRIPTS"  # variable: names of scripts, apart by blanks, that start cold
HEADER = 8  # bytes of the length of a request

# A stand-in for Python. It hands its command line, directory, environment and open files to the
# server, passes signals on to the fork, and ends with its status.
CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
words = sys.argv[1:]
is_option = words and words[0].startswith("-") and words[0] not in ("-m", "-c")
cold = os.environ.get({cold!r}, "").split()
if not words or is_option or os.path.basename(words[0]) in cold:
    os.execv({python!r}, [{python!r}, *words])
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
request = json.dumps([words, os.getcwd(), dict(os.environ), sys.argv[0]]).encode()
socket.send_fds(server, [len(request).to_bytes({header}, "big")], [0, 1, 2])
server.sendall(request)
answers = server.makefile()
pid = int(answers.readline())
def pass_on(received, frame):
    try:
        os.kill(pid, received)
    except ProcessLookupError:
        pass
for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(each, pass_on)
status = answers.readline()
if not status:
    os.kill(os.getpid(), signal.SIGKILL)
os._exit(int(status))
"""


class Warm:
    """The warm process of a directory, started by whoever asks first.

    Args:
        directory: for its socket, its stand-in for Python and its log.
        owner: the process that it ends with.
    """

    def __init__(self, directory: Path, owner: int) -> None:
        self.address = str(directory / "socket")
        self.python = str(directory / "bin" / "python")
        self.log = directory / "log"
        directory.mkdir(exist_ok=True)
        with filelock.FileLock(directory / "lock"):
            if not Path(self.python).exists():
                self._start(owner)

    def _start(self, owner: int) -> None:
        with open(self.log, "w") as log:
            server = subprocess.Popen(
                [sys.executable, __file__, self.address, str(owner)],
                env=os.environ | OFFLINE, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + START_SECONDS
        while not Path(self.address).exists():
            if server.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the warm process did not start: {self.log.read_text()}")
            time.sleep(0.05)
        client = CLIENT.format(
            python=sys.executable, address=self.address, header=HEADER, cold=COLD
        )
        executable = Path(self.python)
        executable.parent.mkdir()
        executable.write_text(client)
        executable.chmod(0o755)

    def run(self, words: Sequence[object], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run ``python words``; options are those of ``subprocess.run``."""
        command = [self.python, *map(str, words)]
        return subprocess.run(command, text=True, check=False, **options)


def serve(address: str, owner: int) -> None:
    """Import the libraries, then fork for each request, until the owner has ended."""
    import gc
    import importlib

    gc.disable()
    for name in LIBRARIES:
        importlib.import_module(name)
    # A table that loading a model needs, and that transformers makes once, in a third of a second.
    sys.modules["transformers.conversion_mapping"].get_checkpoint_conversion_mapping("bert")
    gc.freeze()
    gc.enable()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # forks are reaped by the system
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{address}.new")
        listener.listen(64)
        Path(f"{address}.new").rename(address)
        listener.settimeout(0.5)
        while is_alive(owner):
            with contextlib.suppress(TimeoutError):
                connection, _ = listener.accept()
                with connection:
                    connection.setblocking(True)
                    if os.fork() == 0:
                        listener.close()
                        os._exit(answer(connection))


def is_alive(pid: int) -> bool:
    """Return whether there is a process of this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def answer(connection: socket.socket) -> int:
    """Run the command of a request in this process, a fork; send and return its exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, files, _, _ = socket.recv_fds(connection, HEADER, 3)
    request = b""
    while len(request) < int.from_bytes(length, "big"):
        request += connection.recv(1 << 20)
    words, cwd, env, python = json.loads(request)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    connection.sendall(f"{os.getpid()}\n".encode())
    threading.Thread(target=end_with, args=(connection,), daemon=True).start()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    status = interpreted(words, python)
    connection.sendall(f"{status}\n".encode())
    return status


def end_with(connection: socket.socket) -> None:
    """Kill this process when the one that asked for it has ended, be it killed itself."""
    if not connection.recv(1):
        os.kill(os.getpid(), signal.SIGKILL)


def interpreted(words: list[str], python: str) -> int:
    """Return the exit status that Python would have with these words on its command line."""
    import atexit
    import runpy
    import traceback

    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    sys.executable = python
    inserted = list(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    sys.path[:] = [*inserted, *(place for place in sys.path if place != str(Path(__file__).parent))]
    status = 0
    try:
        if words[0] == "-m":
            sys.argv, sys.path[:0] = words[1:], [str(Path.cwd())]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        elif words[0] == "-c":
            sys.argv, sys.path[:0] = ["-c", *words[2:]], [""]
            exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv, sys.path[:0] = words, [str(Path(words[0]).parent.resolve())]
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except KeyboardInterrupt:
        traceback.print_exc()
        status = 128 + signal.SIGINT
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()  # type: ignore[attr-defined] # waits for threads, as the interpreter does
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return status


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))

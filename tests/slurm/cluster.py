"""A Slurm of one node on this machine, with a stand-in for a GPU, as long as a ``with`` block.

It wants the packages slurm-wlm and munge of Debian, and root: daemons are started by hand, and the
configuration stands at its usual place, where tools look for it that were told of no other.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NEEDED = ("slurmctld", "slurmd", "munged", "sbatch")
USUAL_PLACE = Path("/etc/slurm")
FILES = ("slurm.conf", "gres.conf")
COMPLETED = "completed.txt"  # Slurm's own record of the jobs that ended
GPU = Path("/dev/nvidia0")
STARTS_WITHIN_SECONDS = 30

SLURM_CONF = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
CredType=cred/munge
SlurmctldPort=26817
SlurmdPort=26818
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.log
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={root}/{completed}
MpiDefault=none
ReturnToService=2
MinJobAge=300
KillWait=5
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} Gres=gpu:1 State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes={host} MaxTime=24:00:00 State=UP
"""


def missing() -> str:
    """Return why no Slurm can be started here; "" if one can."""
    absent = [name for name in NEEDED if not shutil.which(name)]
    if absent:
        return f"{absent[0]} is not installed: apt-get install slurm-wlm munge"
    if os.geteuid():
        return "a Slurm is started by root alone"
    places = [USUAL_PLACE / name for name in FILES]
    if any(place.exists() and not place.is_symlink() for place in places):
        return f"{USUAL_PLACE} holds another cluster's configuration"
    return ""


@contextmanager
def running() -> Iterator[Path]:
    """A Slurm that is up; yields the directory of its logs and of COMPLETED."""
    root = Path(tempfile.mkdtemp(prefix="slurm-"))
    root.chmod(0o755)
    try:
        configure(root)
        start(root)
        yield root
    finally:
        stop(root)


def configure(root: Path) -> None:
    """Write the configuration, and link it to its usual place."""
    host = os.uname().nodename.partition(".")[0]
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 * 9 // 10
    for name in ("state", "spool"):
        (root / name).mkdir()
    gpu = GPU
    if not gpu.exists():
        gpu = root / "gpu0"
        os.mknod(gpu, 0o666 | 0o020000, os.makedev(1, 3))  # what /dev/null is
    conf = SLURM_CONF.format(
        root=root, host=host, cpus=os.cpu_count(), memory_mb=memory_mb, completed=COMPLETED
    )
    (root / "slurm.conf").write_text(conf)
    (root / "gres.conf").write_text(f"NodeName={host} Name=gpu File={gpu}\n")
    os.environ["SLURM_CONF"] = str(root / "slurm.conf")
    USUAL_PLACE.mkdir(exist_ok=True)
    for name in FILES:
        (USUAL_PLACE / name).unlink(missing_ok=True)  # a link of a cluster that was killed
        (USUAL_PLACE / name).symlink_to(root / name)


def start(root: Path) -> None:
    """Start the daemons and wait until the node is idle."""
    key = root / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    subprocess.run(
        ["munged", "--force", f"--key-file={key}", f"--socket={root}/munge.socket",
         f"--pid-file={root}/munged.pid", f"--log-file={root}/munged.log",
         f"--seed-file={root}/munged.seed"],
        check=True,
    )  # fmt: skip
    subprocess.run(["slurmctld", "-c"], check=True)
    subprocess.run(["slurmd"], check=True)
    deadline = time.monotonic() + STARTS_WITHIN_SECONDS
    while state() != "idle":
        if time.monotonic() > deadline:
            raise TimeoutError(f"the node is {state()!r}: see {root}/slurmctld.log and slurmd.log")
        time.sleep(0.2)


def state() -> str:
    """Return the state of the node, as sinfo tells it."""
    said = subprocess.run(["sinfo", "-h", "-N", "-o", "%t"], capture_output=True, text=True)
    return said.stdout.split("\n")[0].strip()


def stop(root: Path) -> None:
    """End all jobs and daemons, and take the configuration away."""
    subprocess.run(["scancel", "--full", f"--user={os.getuid()}"], capture_output=True)
    for name in ("slurmd", "slurmctld", "munged"):
        pid = root / f"{name}.pid"
        if pid.exists():
            subprocess.run(["kill", pid.read_text().strip()], capture_output=True)
    os.environ["SLURM_CONF"] = os.devnull
    time.sleep(1)
    for name in FILES:
        if (USUAL_PLACE / name).is_symlink():
            (USUAL_PLACE / name).unlink()
    shutil.rmtree(root, ignore_errors=True)

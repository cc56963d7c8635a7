"""A Slurm cluster of this one machine: `one_node_slurm.py FOLDER COMMAND...`.

It needs Debian's `slurm-wlm` and `munge`, keeps everything in FOLDER, and ends with
the command. There is no accounting (`sacct`), no limit is enforced (no cgroups), and
the node claims more cores and memory than it may have, so that jobs that ask for much
run here.
"""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "srun")
# Debian has the daemons where only root's search path looks.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

CONFIGURATION = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
ReturnToService=2
# Seconds that a job stays visible after its end.
MinJobAge=3600
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """Return the programs that aren't installed."""
    return [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]


@contextlib.contextmanager
def one_node_slurm(
    folder: Path, *, cpus: int = 16, memory: int = 64_000
) -> Iterator[dict[str, str]]:
    """Run the daemons, and yield the environment in which Slurm's commands find them.

    Args:
        folder: where they keep their files; an existing one.
        cpus: how many cores the node claims. Defaults to 16.
        memory: how much memory the node claims, in MB. Defaults to 64000.

    Raises:
        RuntimeError: a daemon ended, or the node isn't ready after a minute.
    """
    folder = folder.absolute()
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(1024))
    host = socket.gethostname().partition(".")[0]
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(
            host=host,
            ports=_free_ports(2),
            user=getpass.getuser(),
            folder=folder,
            cpus=cpus,
            memory=memory,
        )
    )
    # Snakemake calls srun in jobs without the variable that says where Slurm is set up.
    srun = folder / "bin/srun"
    srun.write_text(
        f"#!/bin/sh\nSLURM_CONF={configuration} "
        f'exec {shutil.which("srun", path=PATH)} "$@"\n'
    )
    srun.chmod(0o755)
    environment = os.environ | {
        "PATH": os.pathsep.join([str(srun.parent), PATH]),
        "SLURM_CONF": str(configuration),
    }
    munge = ["munged", "--foreground", "--force", f"--key-file={key}"]
    for option, name in (
        ("socket", "munge.socket"),
        ("pid-file", "munged.pid"),
        ("log-file", "munged.log"),
        ("seed-file", "munged.seed"),
    ):
        munge.append(f"--{option}={folder / name}")
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for command in (munge, ["slurmctld", "-D"], ["slurmd", "-D"]):
            with (folder / f"{command[0]}.out").open("wb") as out:
                daemons.append(
                    subprocess.Popen(command, env=environment, stdout=out, stderr=out)
                )
            if command is munge:
                _wait(daemons, folder, (folder / "munge.socket").exists)
        _wait(daemons, folder, lambda: _answer("sinfo -h -o %t", environment) == "idle")
        yield environment
    finally:
        _end(daemons, environment)


def _end(daemons, environment):
    if all(daemon.poll() is None for daemon in daemons):
        # The jobs' processes are no children of the daemons, which would leave them.
        _answer(f"scancel --user {getpass.getuser()}", environment)
        for _ in range(60):
            if not _answer("squeue -h", environment):
                break
            time.sleep(0.5)
    for daemon in reversed(daemons):
        daemon.terminate()
        try:
            daemon.wait(30)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _answer(command, environment):
    return subprocess.run(
        command.split(), env=environment, capture_output=True, text=True
    ).stdout.strip()


def _wait(daemons, folder, is_ready):
    for _ in range(120):
        if is_ready():
            return
        if any(daemon.poll() is not None for daemon in daemons):
            break
        time.sleep(0.5)
    logs = "\n".join(
        f"{path.name}:\n{path.read_text()}" for path in sorted(folder.glob("*.out"))
    )
    raise RuntimeError(f"Slurm didn't start.\n{logs}")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True)
    with one_node_slurm(target) as variables:
        sys.exit(subprocess.run(sys.argv[2:], env=variables).returncode)

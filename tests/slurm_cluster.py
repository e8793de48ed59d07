"""A private SLURM cluster on loopback: two nodes on this machine, started for a test and stopped after it.

Needs root and Debian's `slurm-wlm` and `munge`. All its files (keys, sockets, spools, logs) are in a folder of its own,
no daemon of the system is touched, and clients find it by SLURM_CONF.
"""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
NODES = 2
START_SECONDS = 60.0
STOP_SECONDS = 10.0

# A requeued job waits until the credentials of its first start expire, two minutes by default. Timeouts are short
# because tests wait for them. The nodes claim to have more processors than the machine.
CONFIGURATION = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdSpoolDir={folder}/spool-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
ReturnToService=2
KillWait=15
InactiveLimit=0
{nodes}
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Explain why no cluster can be started here; empty if one can."""
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        return f"SLURM is not installed ({', '.join(missing)} missing); as root: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "SLURM's daemons need root"


@dataclass(frozen=True)
class SlurmCluster:
    """A running cluster; programs started with `environment` use it."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of clients."""
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def client(self, *command: str) -> str:
        """Run one of SLURM's programs and return its output."""
        answer = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert answer.returncode == 0, f"{' '.join(command)}: {answer.stderr}"
        return answer.stdout


@contextmanager
def slurm_cluster() -> Iterator[SlurmCluster]:
    """Start the daemons and wait until the nodes are idle; finally end all jobs and daemons."""
    with (
        TemporaryDirectory(prefix="slurm-", dir="/tmp") as temporary,
        ExitStack() as daemons,
    ):  # sockets need short paths
        folder = Path(temporary)
        cluster = SlurmCluster(folder)
        _configure(folder)
        names = [f"n{number}" for number in range(1, NODES + 1)]
        munge = [f"--{name}={folder}/{file}" for name, file in MUNGE_FILES.items()]
        daemons.enter_context(_daemon(["munged", "--foreground", "--force", *munge], cluster))
        _wait_for((folder / "munge.socket").exists, cluster)
        daemons.enter_context(_daemon(["slurmctld", "-D", "-c"], cluster))
        for name in names:
            daemons.enter_context(_daemon(["slurmd", "-D", "-N", name], cluster))
        _wait_for(lambda: _states(cluster) == ["idle"] * NODES, cluster)
        try:
            yield cluster
        finally:
            cluster.client("scancel", "--user=root")
            _wait_for(lambda: not cluster.client("squeue", "--noheader").strip(), cluster)


MUNGE_FILES = {
    "socket": "munge.socket",
    "key-file": "munge.key",
    "pid-file": "munge.pid",
    "log-file": "munge.log",
    "seed-file": "munge.seed",
}


def _configure(folder: Path) -> None:
    ports = _free_ports(NODES + 1)
    folder.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    nodes = [
        f"NodeName=n{number} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=4 State=UNKNOWN"
        for number, port in enumerate(ports[1:], start=1)
    ]
    text = CONFIGURATION.format(folder=folder, controller=ports[0], nodes="\n".join(nodes))
    (folder / "slurm.conf").write_text(text)
    (folder / "state").mkdir()


@contextmanager
def _daemon(command: list[str], cluster: SlurmCluster) -> Iterator[None]:
    with (cluster.folder / f"{command[0]}.out").open("ab") as output:
        process = subprocess.Popen(command, env=cluster.environment, stdout=output, stderr=output, cwd=cluster.folder)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _states(cluster: SlurmCluster) -> list[str]:
    answer = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--format=%T"], env=cluster.environment, capture_output=True, text=True
    )
    return answer.stdout.split()


def _wait_for(condition: Callable[[], bool], cluster: SlurmCluster) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            logs = "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in cluster.folder.glob("*.log"))
            outputs = "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in cluster.folder.glob("*.out"))
            raise TimeoutError(f"the SLURM cluster is not ready; {logs}\n{outputs}")
        time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in listeners]

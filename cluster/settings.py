"""Settings of the `cluster` section of params.yaml: where training runs. None of them changes the result."""

import re
from dataclasses import dataclass, field

LAUNCHERS = ("local", "torchrun", "slurm")
_WORD = re.compile(r"[\w:.,@/+-]*")  # inserted into a script verbatim


@dataclass(frozen=True)
class ClusterSettings:
    """Processes, and the resources to request from SLURM.

    `local` is one process; `torchrun` starts several on this machine or, with `rendezvous`, on every machine on which
    the command is run; `slurm` submits a job and waits for it.
    """

    launcher: str = "local"
    nodes: int = 1
    processes_per_node: int = 1
    sharding: str = "none"
    """full: shard parameters, gradients and optimizer state over the processes (FSDP); none: replicate them."""
    max_restarts: int = 3
    """How often to restart all processes after one has died."""
    timeout_minutes: float = 10.0
    """How long a process waits for the others within a step before it exits and all are restarted."""
    rendezvous: str = ""
    """host:port of the first of several machines, with the launcher torchrun."""
    partition: str = ""
    account: str = ""
    time: str = "24:00:00"
    gpus_per_node: int = 0
    cpus_per_process: int = 4
    memory: str = ""
    """Memory per node, as for `sbatch --mem`; if empty, the default of the partition."""
    requeue: bool = True
    """Requeue the job when it is preempted, its time is up, or a node fails."""
    notice_seconds: int = 120
    """How long before its time limit a job saves a checkpoint and exits."""
    setup: str = ""
    """Shell commands to run first in every job, such as `module load cuda`."""
    container: str = ""
    """Command to prefix `python` with on every node, such as `apptainer exec --nv image.sif`."""
    python: str = ""
    """Python on the nodes; if empty, the one that submits, in an environment on the shared file system."""
    options: list[str] = field(default_factory=list)
    """Additional options for sbatch, such as `--constraint=a100`."""

    def __post_init__(self) -> None:
        """Refuse settings with which nothing could be started."""
        for name, choices in {"launcher": LAUNCHERS, "sharding": ("none", "full")}.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"cluster.{name} is {getattr(self, name)!r}; choose one of {', '.join(choices)}")
        for name, least in {
            "nodes": 1,
            "processes_per_node": 1,
            "cpus_per_process": 1,
            "max_restarts": 0,
            "gpus_per_node": 0,
            "notice_seconds": 0,
        }.items():
            if getattr(self, name) < least:
                raise ValueError(f"cluster.{name} is {getattr(self, name)}; give at least {least}")
        if not self.timeout_minutes > 0:
            raise ValueError(f"cluster.timeout_minutes is {self.timeout_minutes}; give a number above 0")
        for name in ("partition", "account", "time", "memory", "rendezvous"):
            if not _WORD.fullmatch(getattr(self, name)):
                raise ValueError(f"cluster.{name} is {getattr(self, name)!r}; give one word")
        if wrong := [option for option in self.options if not option.startswith("-") or "\n" in option]:
            raise ValueError(f"cluster.options has {wrong[0]!r}; give options of sbatch, such as --constraint=a100")
        if self.launcher == "local" and (self.nodes, self.processes_per_node) != (1, 1):
            raise ValueError(
                f"cluster.launcher is local, which is a single process, but nodes x processes_per_node is "
                f"{self.nodes} x {self.processes_per_node}; set the launcher to torchrun or slurm"
            )
        if self.launcher == "torchrun" and self.nodes > 1 and not self.rendezvous:
            raise ValueError(
                f"cluster.nodes is {self.nodes} with torchrun; set cluster.rendezvous to host:port of the first machine"
                " and run the command on every machine, or set the launcher to slurm"
            )

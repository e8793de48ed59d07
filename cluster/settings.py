"""Settings of the `cluster` section of params.yaml: where training runs. None of them changes the result."""

import re
from dataclasses import dataclass, field
from typing import Annotated

from panoptic.runtime.ranges import Count, Name, OneOf, Within, require_ranges

LAUNCHERS = ("local", "torchrun", "slurm")
_WORD = re.compile(r"[\w:.,@/+-]*")  # inserted into a script verbatim


@dataclass(frozen=True)
class ClusterSettings:
    """Processes, and the resources to request from SLURM.

    `local` is one process; `torchrun` starts several on this machine or, with `rendezvous`, on every machine on which
    the command is run; `slurm` submits a job and waits for it.
    """

    launcher: Annotated[str, OneOf(LAUNCHERS)] = "local"
    nodes: Annotated[int, Within(1, 100_000)] = 1
    processes_per_node: Annotated[int, Within(1, 1024)] = 1
    sharding: Annotated[str, OneOf(("none", "full"))] = "none"
    """full: shard parameters, gradients and optimizer state over the processes (FSDP); none: replicate them."""
    max_restarts: Count = 3
    """How often to restart all processes after one has died."""
    timeout_minutes: Annotated[float, Within(0, 100_000, excluded=0)] = 10.0
    """How long a process waits for the others within a step before it exits and all are restarted."""
    rendezvous: str = ""
    """host:port of the first of several machines, with the launcher torchrun."""
    partition: str = ""
    account: str = ""
    time: Name = "24:00:00"
    gpus_per_node: Annotated[int, Within(0, 1024)] = 0
    cpus_per_process: Annotated[int, Within(1, 4096)] = 4
    memory: str = ""
    """Memory per node, as for `sbatch --mem`; if empty, the default of the partition."""
    requeue: bool = True
    """Requeue the job when it is preempted, its time is up, or a node fails."""
    notice_seconds: Annotated[int, Within(0, 1_000_000)] = 120
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
        require_ranges(self, "cluster")
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

"""The command line of torchrun, and the environment that it needs to survive the death of a process."""

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.settings import ClusterSettings

# SIGUSR1 is how SLURM tells that a job's time is nearly up.
SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"
LEAVE_SECONDS = 30
"""Processes that were told to end, because of a signal or because one of them died, are killed after this long."""
MONITOR_SECONDS = 1
# The agents' store must outlive the processes: shared with them, it is lost with the first that dies.
ENVIRONMENT = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


def torchrun_arguments(settings: ClusterSettings, endpoint: str, run_id: str) -> list[str]:
    """Arguments of `python` that start this machine's share of the processes; a module and its arguments follow.

    Args:
        settings: how many.
        endpoint: host:port where the machines meet.
        run_id: unlike that of any other start, so that late comers of another do not join.
    """
    return [
        *("-m", "torch.distributed.run", "--nnodes", str(settings.nodes)),
        *("--nproc-per-node", str(settings.processes_per_node), "--max-restarts", str(settings.max_restarts)),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint, "--rdzv-id", run_id),
        *("--monitor-interval", str(MONITOR_SECONDS), "--shutdown-timeout", str(LEAVE_SECONDS)),
        *("--signals-to-handle", SIGNALS),
    ]


def torchrun_here(settings: ClusterSettings, python: str, command: Sequence[str]) -> list[str]:
    """The command that runs the module `command[0]` with its arguments in processes of this machine."""
    alone = settings.nodes == 1
    endpoint = "localhost:0" if alone else settings.rendezvous
    run_id = uuid.uuid4().hex if alone else "train"
    addresses = ["--local-addr", "localhost"] if alone else []
    return [python, *torchrun_arguments(settings, endpoint, run_id), *addresses, "-m", *command]


def environment_here(settings: ClusterSettings, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of that command: on one machine the processes talk over loopback only."""
    own = dict(ENVIRONMENT)
    if settings.nodes == 1 and Path("/sys/class/net/lo").exists():
        own |= {"GLOO_SOCKET_IFNAME": "lo"}
    return own | dict(inherited)

"""Start, monitor and restart this machine's processes, based on torchrun's agent.

    python -m cluster.agent '{"nodes": 2}' HOST:PORT RUN_ID stages.train --params PARAMS ...

Unlike `torchrun`, the agent trusts the exit status of its processes. One that exits with a status in `FINAL` would do
so again: the user has to fix its error, or it was asked to stop. Processes are restarted only after one was killed or
lost the others, and the agent exits with their status. They do not outlive the agent, not even if it is killed. On a
single machine everything listens on loopback only.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.api import SubprocessContext
from torch.distributed.elastic.rendezvous import RendezvousError, RendezvousParameters
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

from cluster.settings import ClusterSettings
from panoptic.io.working_folder import working_folder

WRONG, STOPPED = 2, 75
LOST = 1
"""Exit status of a process that has lost the others."""
FINAL = tuple(status for status in range(LOST + 1, 256) if status != 128 + signal.SIGKILL)
"""Exit statuses after which nothing is restarted: an error that would recur, such as wrong input; asked to stop."""
TERMINATED = (-signal.SIGTERM, 128 + signal.SIGTERM)
"""Exit statuses of a process that SIGTERM ended, by itself or by a handler."""
ENDS_WITH = "PANOPTIC_ENDS_WITH"
"""Variable of the environment with the process that a program must not outlive."""
LEAVE_SECONDS = 30
"""Grace period before SIGKILL for processes that must end because of a signal or because another one died."""
MONITOR_SECONDS = 1.0
LOOPBACK = "127.0.0.1"
ENVIRONMENT = {
    # SLURM sends SIGUSR1 when a job's time is nearly up.
    "TORCHELASTIC_SIGNALS_TO_HANDLE": "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1",
    # The agents' store must outlive the processes; if shared with them, it is lost with the first that dies.
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
}


class Agent(LocalElasticAgent):
    """Torch's local agent, except that it restarts nothing after a status in `FINAL`."""

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        result: RunResult = super()._monitor_workers(worker_group)
        if any(status in FINAL for status in of_own_accord(failed.exitcode for failed in result.failures.values())):
            self._remaining_restarts = 0
        return result

    def statuses(self) -> list[int]:
        """Return the exit statuses of the processes that have ended."""
        if not isinstance(self._pcontext, SubprocessContext):
            return []
        found = [handler.proc.returncode for handler in self._pcontext.subprocess_handlers.values()]
        return [status for status in found if status is not None]


def run_processes(settings: ClusterSettings, endpoint: str, run_id: str, command: list[str]) -> int:
    """Run the module `command[0]` in `settings.processes_per_node` processes, and return their common exit status.

    Args:
        settings: Number of processes, and how often to restart them.
        endpoint: host:port of the rendezvous of several machines.
        run_id: Unique for each start, so that latecomers from another one cannot join.
        command: Module and its arguments.
    """
    os.environ |= _environment(settings, os.environ) | {ENDS_WITH: str(os.getpid())}
    with _rendezvous(settings, endpoint, run_id) as parameters:
        handler = get_rendezvous_handler(parameters)
        spec = WorkerSpec(
            role="default",
            local_world_size=settings.processes_per_node,
            rdzv_handler=handler,
            entrypoint=sys.executable,
            args=("-u", "-m", *command),
            max_restarts=settings.max_restarts,
            monitor_interval=MONITOR_SECONDS,
            local_addr=parameters.local_addr,
        )
        # Without a folder for logs, which torch would leave in the temporary folder: the output goes to this program's.
        logs = DefaultLogsSpecs(log_dir=os.devnull)
        agent = Agent(spec, logs, shutdown_timeout=LEAVE_SECONDS)
        try:
            agent.run()
            return status_of(of_own_accord(agent.statuses()))
        except SignalException as received:
            return status_of(agent.statuses() or [-received.sigval])
        except RendezvousError as error:
            print(f"error: lost the other machines ({error}); their output says why", file=sys.stderr)
            return status_of(agent.statuses()) or 1
        finally:
            handler.shutdown()


def of_own_accord(statuses: Iterable[int]) -> list[int]:
    """Leave out the exit statuses of processes that the agent ended by SIGTERM because another one had failed."""
    failed = list(filter(None, statuses))
    return [status for status in failed if status not in TERMINATED] or failed


def status_of(statuses: Iterable[int]) -> int:
    """Combine exit statuses: a final one takes precedence, then an error, then a signal as 128 + its number."""
    failed = sorted(filter(None, statuses), key=lambda status: (status not in FINAL, status < 0))
    return 0 if not failed else failed[0] if failed[0] > 0 else 128 - failed[0]


@contextmanager
def _rendezvous(settings: ClusterSettings, endpoint: str, run_id: str) -> Iterator[RendezvousParameters]:
    nodes = {"min_nodes": settings.nodes, "max_nodes": settings.nodes}
    if settings.nodes > 1:
        address = os.environ.get("PET_LOCAL_ADDR")
        yield RendezvousParameters("c10d", endpoint, run_id, local_addr=address, **nodes)
        return
    with working_folder() as folder:  # a single agent needs no port
        file = str(folder / "store")
        yield RendezvousParameters("c10d", file, run_id, local_addr=LOOPBACK, store_type="file", **nodes)


def _environment(settings: ClusterSettings, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return defaults for the environment of the agent and its processes; inherited values take precedence."""
    own = dict(ENVIRONMENT)
    if settings.processes_per_node > 1:
        own |= {"OMP_NUM_THREADS": "1"}
    if settings.nodes == 1 and Path("/sys/class/net/lo").exists():
        own |= {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
    return own | dict(inherited)


def main() -> None:
    """Run the command line; the exit status is that of the processes."""
    parser = argparse.ArgumentParser(prog="python -m cluster.agent", description=__doc__.splitlines()[0])
    parser.add_argument("settings", metavar="SETTINGS", help="the `cluster` settings as JSON")
    parser.add_argument("endpoint", metavar="HOST:PORT", help="rendezvous of several machines; empty for one")
    parser.add_argument("run_id", metavar="RUN_ID", help="unique for each start")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="MODULE ...", help="module and its arguments")
    given = parser.parse_args()
    settings = ClusterSettings(**json.loads(given.settings))
    sys.exit(run_processes(settings, given.endpoint, given.run_id, given.command))


if __name__ == "__main__":
    main()

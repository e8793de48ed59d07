"""This machine's share of the processes: started, watched, started again when one was killed. The agent of torchrun.

    python -m cluster.agent '{"nodes": 2}' HOST:PORT RUN_ID stages.train --params PARAMS ...

Unlike `torchrun` itself it takes a process by its word. One that leaves with `FINAL` would do so again: its error is
the user's to repair, or it was asked to end. Only what is killed, or loses the others, is repeated; and the agent
leaves with the status of its processes. On one machine nothing listens on anything but the loopback interface.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.api import SubprocessContext
from torch.distributed.elastic.rendezvous import RendezvousError, RendezvousParameters
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

from cluster.settings import ClusterSettings

WRONG, STOPPED = 2, 75
FINAL = (WRONG, STOPPED)
"""Exit statuses after which nothing is started again: wrong input or a loss that is not finite; asked to end."""
LEAVE_SECONDS = 30
"""Processes that were told to end, because of a signal or because one of them died, are killed after this long."""
MONITOR_SECONDS = 1.0
LOOPBACK = "127.0.0.1"
ENVIRONMENT = {
    # SIGUSR1 is how SLURM tells that a job's time is nearly up.
    "TORCHELASTIC_SIGNALS_TO_HANDLE": "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1",
    # The agents' store must outlive the processes: shared with them, it is lost with the first that dies.
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
}


class Agent(LocalElasticAgent):
    """Torch's own, except that it repeats nothing after a status in `FINAL`."""

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        result: RunResult = super()._monitor_workers(worker_group)
        if any(failure.exitcode in FINAL for failure in result.failures.values()):
            self._remaining_restarts = 0
        return result

    def statuses(self) -> list[int]:
        """Exit statuses of the processes that have ended."""
        if not isinstance(self._pcontext, SubprocessContext):
            return []
        found = [handler.proc.returncode for handler in self._pcontext.subprocess_handlers.values()]
        return [status for status in found if status is not None]


def run_processes(settings: ClusterSettings, endpoint: str, run_id: str, command: list[str]) -> int:
    """Run the module `command[0]` with its arguments as `settings.processes_per_node` processes; gives their status.

    Args:
        settings: how many, and how often they are started again.
        endpoint: host:port where several machines meet.
        run_id: unlike that of any other start, so that late comers of another do not join.
    """
    os.environ |= _environment(settings, os.environ)
    with _meeting_place(settings, endpoint, run_id) as place:
        handler = get_rendezvous_handler(place)
        spec = WorkerSpec(
            role="default",
            local_world_size=settings.processes_per_node,
            rdzv_handler=handler,
            entrypoint=sys.executable,
            args=("-u", "-m", *command),
            max_restarts=settings.max_restarts,
            monitor_interval=MONITOR_SECONDS,
            local_addr=place.local_addr,
        )
        agent = Agent(spec, DefaultLogsSpecs(), shutdown_timeout=LEAVE_SECONDS)
        try:
            agent.run()
            return status_of(agent.statuses())
        except SignalException as told:
            return status_of(agent.statuses() or [-told.sigval])
        except RendezvousError as error:
            print(f"error: the other machines are gone ({error}); their output says why", file=sys.stderr)
            return status_of(agent.statuses()) or 1
        finally:
            handler.shutdown()


def status_of(statuses: Iterable[int]) -> int:
    """One exit status for several: what is final counts first, then an error, then a signal as 128 + its number."""
    failed = sorted(filter(None, statuses), key=lambda status: (status not in FINAL, status < 0))
    return 0 if not failed else failed[0] if failed[0] > 0 else 128 - failed[0]


@contextmanager
def _meeting_place(settings: ClusterSettings, endpoint: str, run_id: str) -> Iterator[RendezvousParameters]:
    nodes = {"min_nodes": settings.nodes, "max_nodes": settings.nodes}
    if settings.nodes > 1:
        address = os.environ.get("PET_LOCAL_ADDR")
        yield RendezvousParameters("c10d", endpoint, run_id, local_addr=address, **nodes)
        return
    with TemporaryDirectory(prefix="agent-") as folder:  # alone an agent needs no port to meet others
        file = str(Path(folder) / "store")
        yield RendezvousParameters("c10d", file, run_id, local_addr=LOOPBACK, store_type="file", **nodes)


def _environment(settings: ClusterSettings, inherited: Mapping[str, str]) -> dict[str, str]:
    """What the processes and the agent need beside what they inherit, which may say otherwise."""
    own = dict(ENVIRONMENT)
    if settings.processes_per_node > 1:
        own |= {"OMP_NUM_THREADS": "1"}
    if settings.nodes == 1 and Path("/sys/class/net/lo").exists():
        own |= {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
    return own | dict(inherited)


def main() -> None:
    """The command line; the exit status is that of the processes."""
    document, endpoint, run_id, *command = sys.argv[1:]
    sys.exit(run_processes(ClusterSettings(**json.loads(document)), endpoint, run_id, command))


if __name__ == "__main__":
    main()

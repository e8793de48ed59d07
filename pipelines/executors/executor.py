"""The interface of an executor, which runs a flow's programs somewhere, and the executor for this machine."""

from dataclasses import dataclass
from typing import Protocol

from pipelines.dvc_project.project import DvcProject
from pipelines.process.session import Show, end_all


@dataclass(frozen=True)
class Program:
    """A command to run in the checkout, whose paths are relative to it, and a name that is unique within the flow.

    `rank` counts the programs from 0. `reads` and `writes` are patterns of the files that pass between machines.
    """

    name: str
    command: tuple[str, ...]
    rank: int
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


class Executor(Protocol):
    """Runs programs."""

    def run(self, program: Program, show: Show) -> None:
        """Run a program to its end. Raises `CommandError` if it fails."""
        ...

    def stop(self) -> None:
        """Start ending all programs, whichever threads wait for them."""
        ...


@dataclass(frozen=True)
class LocalExecutor:
    """Runs programs on this machine, each on the GPU of its rank if there are GPUs."""

    project: DvcProject

    def run(self, program: Program, show: Show) -> None:
        self.project.run(program.command, show, {"LOCAL_RANK": str(program.rank)})

    def stop(self) -> None:
        end_all()

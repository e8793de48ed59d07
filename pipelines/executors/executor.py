"""Where the programs of a flow run: here, or anywhere else that can take a `Program`."""

from dataclasses import dataclass
from typing import Protocol

from pipelines.dvc_project.project import DvcProject
from pipelines.process.run import Show, end_all


@dataclass(frozen=True)
class Program:
    """A command of the checkout, named by its folder's relative paths, with a name that tells it from the others.

    `rank` counts the programs from 0. `reads`, `writes`: patterns of the files that pass between machines.
    """

    name: str
    command: tuple[str, ...]
    rank: int
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


class Place(Protocol):
    """Where programs run."""

    def run(self, program: Program, show: Show) -> None:
        """Run a program to its end. Raises `CommandError` if it fails."""
        ...

    def stop(self) -> None:
        """Begin to end all programs, in whatever thread they run."""
        ...


@dataclass(frozen=True)
class Here:
    """This machine; where there are GPUs, each program has the one of its rank."""

    project: DvcProject

    def run(self, program: Program, show: Show) -> None:
        self.project.run(program.command, show, {"LOCAL_RANK": str(program.rank)})

    def stop(self) -> None:
        end_all()

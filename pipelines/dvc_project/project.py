"""What a flow needs of a DVC project: its stages in order, a way to run them, a way to change a setting."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.dvc_project.parameters import read_parameters, write_parameters
from pipelines.override import Change, change_settings, lay_over
from pipelines.process.run import CommandError, Show, run_in_session

_DVC = (sys.executable, "-m", "dvc")
_DOT_NAMES = re.compile(r'"([^"]+)"')


@dataclass(frozen=True)
class Outs:
    """Files and folders that a stage has written: its metrics, and the others."""

    metrics: tuple[Path, ...]
    others: tuple[Path, ...]


@dataclass(frozen=True)
class DvcProject:
    """The DVC project in a folder.

    Its stages run with the Python that runs this one, whether or not its environment has been activated.
    """

    folder: Path

    def stages(self) -> tuple[str, ...]:
        """The names of all stages, each after those that it depends on.

        Raises:
            CommandError: DVC cannot read the project; the message is DVC's.
        """
        return stages_in_order(self.dvc("dag", "--dot"))

    def choose(self, wanted: list[str]) -> tuple[str, ...]:
        """The wanted stages, in the order of the pipeline.

        Raises:
            ValueError: there is no such stage.
        """
        stages = self.stages()
        if unknown := [name for name in wanted if name not in stages]:
            raise ValueError(f"no stage {', '.join(unknown)} in dvc.yaml; there are: {', '.join(stages)}")
        return tuple(name for name in stages if name in wanted)

    def outs(self, stage: str) -> Outs:
        """What dvc.yaml says that a stage writes, as far as it is there."""
        described = read_parameters(self.folder / "dvc.yaml")["stages"][stage]
        return Outs(self._present(described.get("metrics")), self._present(described.get("outs")))

    def written(self, stages: Iterable[str]) -> tuple[str, ...]:
        """The same of several stages, as names relative to the project."""
        outs = [self.outs(stage) for stage in stages]
        return tuple(str(path.relative_to(self.folder)) for out in outs for path in (*out.metrics, *out.others))

    def _present(self, entries: Sequence[object] | None) -> tuple[Path, ...]:
        """The files and folders of a list in dvc.yaml, whose entries are names, or hold a name and options."""
        names = [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries or ()]
        return tuple(path for name in names if (path := self.folder / str(name)).exists())

    def reproduce(self, stage: str, show: Show) -> None:
        """Run one stage if it is out of date, without those before it; `show` gets its output line by line.

        Raises:
            CommandError: the stage failed; the message ends with what it last wrote.
        """
        command = (*_DVC, "--wait-for-lock", "repro", "--single-item", stage)
        run_in_session(command, show, self.folder, _environment())

    def needs(self, stage: str) -> tuple[str, ...]:
        """The stages that a stage depends on, at once or by others, each after those that it depends on itself."""
        return tuple(name for name in stages_in_order(self.dvc("dag", "--dot", stage)) if name != stage)

    def is_up_to_date(self, stage: str) -> bool:
        """Whether DVC would not run a stage, as its dependencies are now."""
        return not json.loads(self.dvc("status", "--json", stage))

    def command(self, stage: str) -> tuple[str, ...]:
        """The command of a stage, to run beside DVC."""
        return tuple(shlex.split(read_parameters(self.folder / "dvc.yaml")["stages"][stage]["cmd"]))

    def run(
        self,
        command: Sequence[str],
        show: Show,
        variables: Mapping[str, str] | None = None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Run a command beside DVC until it ends or is not wanted any more, with more environment variables.

        Raises:
            CommandError: it failed; the message ends with what it last wrote.
        """
        run_in_session(command, show, self.folder, _environment() | dict(variables or {}), wanted=wanted)

    def write_parameters(self, overlays: Sequence[Path], settings: Mapping[str, str], out: Path) -> tuple[Change, ...]:
        """Write params.yaml, with the overlays and then the settings (`train.learning_rate`) in it, to `out`.

        Overlays are named as seen from the project. Comments stay. `out` may be params.yaml itself.

        Raises:
            ValueError: an overlay cannot be read or does not fit, or there is no such setting.
        """
        params = self.folder / "params.yaml"
        changes = lay_over(params, [self.folder / overlay for overlay in overlays], out)
        if settings:
            document = read_parameters(out)
            # A key that is not in the file may be one that keeps its default; the stages know which there are.
            changes += change_settings(document, settings, params, new_keys=self._checker.is_file())
            write_parameters(document, out)
        return changes

    def set_parameters(self, overlays: Sequence[Path], settings: Mapping[str, str]) -> tuple[Change, ...]:
        """Write overlays and settings into params.yaml if the stages accept the result; also look at it if none are.

        Raises:
            ValueError: they do not, or as `write_parameters`; params.yaml is as it was.
        """
        params = self.folder / "params.yaml"
        with TemporaryDirectory(dir=self.folder, prefix=".params-") as temporary:
            out = Path(temporary) / "params.yaml"
            changes = self.write_parameters(overlays, settings, out)
            try:
                self.check_parameters([out.resolve()])
            except ValueError as error:  # the file that it names is gone when the message is read
                raise ValueError(str(error).replace(str(out.resolve()), str(params))) from None
            if changes:
                write_parameters(read_parameters(out), params)
        return changes

    def check_parameters(self, files: Sequence[Path]) -> None:
        """Have the stages look at files of settings, if the project has a program for that.

        Raises:
            ValueError: one is not what they accept; the message is theirs.
        """
        if not self._checker.is_file():
            return
        command = [sys.executable, "-m", "stages.check_settings", "--params", *map(str, files)]
        answer = self._ask(command)
        if answer.returncode:
            raise ValueError(answer.stderr.strip().removeprefix("error: "))

    def run_experiment(self, name: str, stages: Sequence[str], show: Show) -> None:
        """Bring stages and all before them up to date as an experiment of DVC's.

        Raises:
            CommandError: a stage failed; the message ends with what it last wrote.
        """
        run_in_session((*_DVC, "exp", "run", "--name", name, *stages), show, self.folder, _environment())

    def dvc(self, *arguments: str) -> str:
        """What a short command of DVC's prints.

        Raises:
            CommandError: it failed; the message is DVC's.
        """
        answer = self._ask((*_DVC, *arguments))
        if answer.returncode:
            what = f"`dvc {' '.join(arguments)}` failed in {self.folder.resolve()}"
            raise CommandError(f"{what}: {answer.stderr.strip()}")
        return answer.stdout

    @property
    def _checker(self) -> Path:
        return self.folder / "stages" / "check_settings.py"

    def _ask(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )


def stages_in_order(dot: str) -> tuple[str, ...]:
    """The stages of a graph that `dvc dag --dot` printed, each after those that it depends on.

    A line names one node, or two with an edge between them. Files under DVC's control are nodes too; they are
    left out.
    """
    graph: TopologicalSorter[str] = TopologicalSorter()
    for line in sorted(dot.splitlines()):
        names = _DOT_NAMES.findall(line)
        if names:
            graph.add(names[-1], *names[:-1])
    return tuple(name for name in graph.static_order() if not name.endswith(".dvc"))


def _environment() -> dict[str, str]:
    """The caller's, with this Python's folder first in PATH, and output that is not held back."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}

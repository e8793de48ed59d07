"""A DVC project as the flows use it: list its stages in order, run them, change settings."""

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

from panoptic.io.working_folder import working_folder
from pipelines.dvc_project.parameters import read_parameters, write_parameters
from pipelines.override import Change, change_settings, override_settings
from pipelines.process.session import CommandError, OutputLine, Show, failure, run_in_session

_DVC = (sys.executable, "-m", "dvc")
# DVC warns so of every file that a stage has yet to write when it starts an experiment in a new clone.
_NOT_YET_THERE = "WARNING: No file hash info found for "
_TRACKING = ".dvc"
_DOT_NAMES = re.compile(r'"([^"]+)"')


@dataclass(frozen=True)
class Outs:
    """Files and folders that a stage has written: its metrics, with outs of the type `metrics`, and all others."""

    metrics: tuple[Path, ...]
    others: tuple[Path, ...]


@dataclass(frozen=True)
class DvcProject:
    """The DVC project in a folder.

    Stages run with the current Python interpreter, whether or not its environment is activated.
    """

    folder: Path

    def stages(self) -> tuple[str, ...]:
        """Return the names of all stages in topological order.

        Raises:
            CommandError: DVC cannot read the project; the message is DVC's.
        """
        return stages_in_order(self.dvc("dag", "--dot"))

    def choose(self, wanted: list[str]) -> tuple[str, ...]:
        """Sort the wanted stages in the order of the pipeline.

        Raises:
            ValueError: There is no such stage.
        """
        stages = self.stages()
        if unknown := [name for name in wanted if name not in stages]:
            raise ValueError(f"no stage {', '.join(unknown)} in dvc.yaml; stages: {', '.join(stages)}")
        return tuple(name for name in stages if name in wanted)

    def outs(self, stage: str) -> Outs:
        """Return the existing outputs of a stage, as listed in dvc.yaml."""
        described = read_parameters(self.folder / "dvc.yaml")["stages"][stage]
        metrics, others = dict(map(_with_options, described.get("metrics") or ())), dict[str, Mapping[str, object]]()
        for name, options in map(_with_options, described.get("outs") or ()):
            (metrics if options.get("type") == "metrics" else others)[name] = options
        return Outs(self._present(metrics), self._present(others))

    def written(self, stages: Iterable[str]) -> tuple[str, ...]:
        """Return the existing outputs of several stages, relative to the project."""
        outs = [self.outs(stage) for stage in stages]
        return tuple(str(path.relative_to(self.folder)) for out in outs for path in (*out.metrics, *out.others))

    def require_inputs(self, chosen: Sequence[str]) -> None:
        """Raise `ValueError` if a chosen stage reads what one that is not chosen has yet to write."""
        described = read_parameters(self.folder / "dvc.yaml")["stages"]
        for stage in chosen:
            missing = [str(name) for name in described[stage].get("deps") or () if not (self.folder / name).exists()]
            for writer in described.keys() - set(chosen):
                outs = [
                    name
                    for key in ("outs", "metrics")
                    for name, _ in map(_with_options, described[writer].get(key, ()))
                ]
                if found := [name for name in missing if any(Path(name).is_relative_to(out) for out in outs)]:
                    raise ValueError(f"stage {stage} reads {found[0]}, which stage {writer} writes; run that first")

    def _present(self, names: Iterable[str]) -> tuple[Path, ...]:
        return tuple(path for name in names if (path := self.folder / name).exists())

    def reproduce(self, stage: str, show: Show) -> None:
        """Run one stage if it is out of date, without those it depends on; `show` receives its output line by line.

        Raises:
            CommandError: The stage failed; the message ends with its last lines of output.
        """
        command = (*_DVC, "--wait-for-lock", "repro", "--single-item", stage)
        run_in_session(command, show, self.folder, _environment())

    def fetch(self, stages: Iterable[str]) -> None:
        """Put the data that DVC tracks (`data.dvc`) in place if one of the stages needs it, from the cache or remote.

        Raises:
            CommandError: It is in neither.
        """
        files = [file for file in self.tracked_files(stages) if not self._in_place(self.folder / file)]
        if files:
            self.dvc("pull", *files)

    def cache_data(self, stages: Iterable[str], cache: Path) -> None:
        """Put the data that DVC tracks, as far as the stages depend on it, into the cache, from which clones take it.

        Raises:
            CommandError: It is neither there nor in the remote; the message says what to do.
        """
        files = self.tracked_files(stages)
        if not files:
            return
        said = self._ask((*_DVC, "fetch", *files)).stderr.strip()  # the status is 0 also if there is nothing to fetch
        for file in files:
            outs = read_parameters(self.folder / file)["outs"]
            if not all((cache / "files" / "md5" / out["md5"][:2] / out["md5"][2:]).is_file() for out in outs):
                hint = f"`dvc pull {file}` has to succeed here; if the data is here already: `dvc commit {file}`"
                raise CommandError(
                    f"DVC's cache does not have the data of {file}, which the stages read; {hint}\n{said}"
                )

    def tracked_files(self, stages: Iterable[str]) -> tuple[str, ...]:
        """Return the files such as `data.dvc`, in which DVC tracks data without a stage, that the stages depend on."""
        files = {file for stage in stages for file in tracked_files(self.dvc("dag", "--dot", stage))}
        return tuple(sorted(files))

    @staticmethod
    def _in_place(tracking: Path) -> bool:
        return all((tracking.parent / str(out["path"])).exists() for out in read_parameters(tracking)["outs"])

    def needs(self, stage: str) -> tuple[str, ...]:
        """Return the stages that a stage depends on, directly or indirectly, in topological order."""
        return tuple(name for name in stages_in_order(self.dvc("dag", "--dot", stage)) if name != stage)

    def is_up_to_date(self, stage: str) -> bool:
        """Return True if DVC would not run the stage with its current dependencies."""
        return not json.loads(self.dvc("status", "--json", stage))

    def command(self, stage: str) -> tuple[str, ...]:
        """Return the command of a stage, to run it outside of DVC."""
        return tuple(shlex.split(read_parameters(self.folder / "dvc.yaml")["stages"][stage]["cmd"]))

    def run(
        self,
        command: Sequence[str],
        show: Show,
        variables: Mapping[str, str] | None = None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Run a command outside of DVC, with extra environment variables, until it ends or is no longer `wanted`.

        Raises:
            CommandError: It failed; the message ends with its last lines of output.
        """
        run_in_session(command, show, self.folder, _environment() | dict(variables or {}), wanted=wanted)

    def write_parameters(self, overrides: Sequence[Path], settings: Mapping[str, str], out: Path) -> tuple[Change, ...]:
        """Merge override files and then single settings (`train.learning_rate`) into params.yaml; write that to `out`.

        Override files are relative to the project. Comments are kept. `out` may be params.yaml itself.

        Raises:
            ValueError: A file cannot be read or does not fit, or there is no such setting.
        """
        params = self.folder / "params.yaml"
        changes = override_settings(params, [self.folder / override for override in overrides], out)
        if settings:
            document = read_parameters(out)
            # A key that is missing from the file may still have a default; only the stages know which settings exist.
            changes += change_settings(document, settings, params, new_keys=self._checker.is_file())
            write_parameters(document, out)
        return changes

    def set_parameters(self, overrides: Sequence[Path], settings: Mapping[str, str]) -> tuple[Change, ...]:
        """Merge override files and settings into params.yaml; the stages check the result even if both are empty.

        Raises:
            ValueError: The stages do not accept it, or as in `write_parameters`; params.yaml is left unchanged.
        """
        params = self.folder / "params.yaml"
        with working_folder(self.folder) as temporary:
            out = temporary / "params.yaml"
            changes = self.write_parameters(overrides, settings, out)
            try:
                self.check_parameters([out.resolve()])
            except ValueError as error:  # it names a temporary file
                raise ValueError(str(error).replace(str(out.resolve()), str(params))) from None
            if changes:
                write_parameters(read_parameters(out), params)
        return changes

    def check_parameters(self, files: Sequence[Path]) -> None:
        """Have the stages check files of settings, if the project has a program for that.

        Raises:
            ValueError: The stages do not accept one of them; the message is theirs.
        """
        if not self._checker.is_file():
            return
        command = [sys.executable, "-m", "stages.check_settings", "--params", *map(str, files)]
        answer = self._ask(command)
        if answer.returncode:
            said = answer.stderr.strip() or failure(command, answer.returncode, "")
            raise ValueError(said.removeprefix("error: "))

    def run_experiment(self, name: str, stages: Sequence[str], show: Show) -> None:
        """Bring stages and all they depend on up to date as a DVC experiment.

        Raises:
            CommandError: A stage failed; the message ends with its last lines of output.
        """

        def show_relevant(line: OutputLine) -> None:
            if not line.text.startswith(_NOT_YET_THERE):
                show(line)

        run_in_session((*_DVC, "exp", "run", "--name", name, *stages), show_relevant, self.folder, _environment())

    def dvc(self, *arguments: str) -> str:
        """Run a short DVC command and return its output.

        Raises:
            CommandError: It failed; the message is DVC's.
        """
        answer = self._ask((*_DVC, *arguments))
        if answer.returncode:
            said = failure(("dvc", *arguments), answer.returncode, answer.stderr)
            raise CommandError(f"in {self.folder.resolve()}, {said}")
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


def _with_options(entry: object) -> tuple[str, Mapping[str, object]]:
    """Parse an entry of a list in dvc.yaml: a name, or one with options."""
    if isinstance(entry, Mapping):
        ((name, options),) = entry.items()
        return str(name), options
    return str(entry), {}


def stages_in_order(dot: str) -> tuple[str, ...]:
    """Return the stages of a graph printed by `dvc dag --dot`, in topological order.

    A line names one node, or two nodes joined by an edge. Files tracked by DVC are nodes too, and are left out.
    """
    graph: TopologicalSorter[str] = TopologicalSorter()
    for line in sorted(dot.splitlines()):
        names = _DOT_NAMES.findall(line)
        if names:
            graph.add(names[-1], *names[:-1])
    return tuple(name for name in graph.static_order() if not name.endswith(_TRACKING))


def tracked_files(dot: str) -> frozenset[str]:
    """Return the files in which DVC tracks data by itself, without a stage, in a graph printed by `dvc dag --dot`."""
    return frozenset(name for name in _DOT_NAMES.findall(dot) if name.endswith(_TRACKING))


def _environment() -> dict[str, str]:
    """Return this process's environment, with the current Python first in PATH and unbuffered output."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}

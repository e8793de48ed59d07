"""What a flow needs of a DVC project: its stages in order, a way to run one, a way to change a setting."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from graphlib import TopologicalSorter
from operator import getitem
from pathlib import Path

from pipelines.overlay import Change, lay_over
from pipelines.parameters import read_parameters, write_parameters, yaml_with_comments
from pipelines.processes import CommandError, Show, run_in_session

_DVC = (sys.executable, "-m", "dvc")
_DOT_NAMES = re.compile(r'"([^"]+)"')


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
        answer = subprocess.run(
            (*_DVC, "dag", "--dot"),
            cwd=self.folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if answer.returncode:
            raise CommandError(f"`dvc dag` failed in {self.folder.resolve()}: {answer.stderr.strip()}")
        return stages_in_order(answer.stdout)

    def choose(self, wanted: list[str]) -> tuple[str, ...]:
        """The wanted stages, in the order of the pipeline.

        Raises:
            ValueError: there is no such stage.
        """
        stages = self.stages()
        if unknown := [name for name in wanted if name not in stages]:
            raise ValueError(f"no stage {', '.join(unknown)} in dvc.yaml; there are: {', '.join(stages)}")
        return tuple(name for name in stages if name in wanted)

    def reproduce(self, stage: str, show: Show) -> None:
        """Run one stage if it is out of date, without those before it; `show` gets its output line by line.

        Raises:
            CommandError: the stage failed; the message ends with what it last wrote.
        """
        command = (*_DVC, "--wait-for-lock", "repro", "--single-item", stage)
        run_in_session(command, show, self.folder, _environment())

    def set_parameters(self, settings: Mapping[str, str]) -> None:
        """Write settings such as `train.learning_rate` into params.yaml, keeping its comments.

        Raises:
            ValueError: params.yaml has no such key.
        """
        file = self.folder / "params.yaml"
        document = read_parameters(file)
        for key, value in settings.items():
            valid = _keys(document)
            if key not in valid:
                raise ValueError(f"{file}: no setting {key}; there are: {', '.join(valid)}")
            *path, last = key.split(".")
            reduce(getitem, path, document)[last] = yaml_with_comments().load(value)
        write_parameters(document, file)

    def lay_over(self, overlays: Sequence[Path]) -> tuple[Change, ...]:
        """Lay files of settings, named as seen from the project, over its params.yaml.

        Raises:
            ValueError: one cannot be read, or does not fit params.yaml.
        """
        return lay_over(self.folder / "params.yaml", [self.folder / overlay for overlay in overlays])


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


def _keys(section: Mapping[str, object], prefix: str = "") -> list[str]:
    keys = []
    for name, value in section.items():
        keys += _keys(value, f"{prefix}{name}.") if isinstance(value, dict) else [f"{prefix}{name}"]
    return keys


def _environment() -> dict[str, str]:
    """The caller's, with this Python's folder first in PATH, and output that is not held back."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}

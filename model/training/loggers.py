"""Loggers that training starts to show its curves elsewhere: in TensorBoard, MLflow, or Weights & Biases.

Each is a program of its own (`panoptic.loggers`) that follows the CSV files of `model.training.curves`. So nothing that
a logger imports, does, or fails at can change or stop a training, and a change to one never makes trained weights out
of date.
"""

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from model.training.distributed.stopping import shielded
from panoptic.runtime.cli import ending_with_this
from panoptic.runtime.ranges import Name, OneOf, require_ranges

LOGGERS = ("tensorboard", "mlflow", "wandb")
"""Names of loggers, which are those of their packages."""
_PATIENCE = 60.0  # seconds in which loggers have to finish at the end of a training


@dataclass(frozen=True)
class LoggerSettings:
    """The `loggers` section of params.yaml; none of it changes the result."""

    names: list[Annotated[str, OneOf(LOGGERS)]] = field(default_factory=list)
    """Loggers that show the curves of training; their packages are the extra `curves`."""
    folder: Name = "runs/loggers"
    """Where they write."""
    project: Name = "panoptic-segformer"
    """The project of Weights & Biases, or experiment of MLflow, that the run belongs to."""
    mlflow_uri: str = ""
    """MLflow's tracking server or database; if empty, a database in the folder."""
    wandb_mode: Annotated[str, OneOf(("offline", "online"))] = "offline"
    """offline: into the folder alone, for `wandb sync`; online: also to Weights & Biases, for which log in before."""

    def __post_init__(self) -> None:
        """Refuse unknown names."""
        require_ranges(self, "loggers")


@contextmanager
def followed_by_loggers(
    settings: LoggerSettings, curves: Path, run: str, logged: Mapping[str, object]
) -> Iterator[None]:
    """Have the chosen loggers follow the curves in a folder during the block, and wait for them at its end.

    Args:
        settings: the loggers, and where they write.
        curves: folder of the CSV files.
        run: name under which a logger knows the run again when it is resumed.
        logged: settings of the run to show beside the curves, by full name.

    Raises:
        ValueError: the package of a logger is not installed.
    """
    if missing := [name for name in settings.names if importlib.util.find_spec(name) is None]:
        raise ValueError(
            f"loggers.names has {', '.join(missing)}, which is not installed; run `make install EXTRAS=dev,curves`, or "
            "remove it from loggers.names"
        )
    programs: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name in dict.fromkeys(settings.names):
            with _warning_of_errors(name), shielded():
                command = _command(name, settings, curves, run, logged)
                programs[name] = subprocess.Popen(command, stdin=subprocess.PIPE, env=ending_with_this())
        yield
    finally:
        _end(programs)


def _command(name: str, settings: LoggerSettings, curves: Path, run: str, logged: Mapping[str, object]) -> list[str]:
    options = {
        "curves": str(curves),
        "run": run,
        "folder": settings.folder,
        "project": settings.project,
        "mlflow-uri": settings.mlflow_uri,
        "wandb-mode": settings.wandb_mode,
        "settings": json.dumps(logged, default=str),
    }
    # One word each, as a value may begin with a dash.
    words = [f"--{option}={value}" for option, value in options.items()]
    return [sys.executable, "-m", "panoptic.loggers", name, *words, "--follow"]


def _end(programs: Mapping[str, "subprocess.Popen[bytes]"]) -> None:
    """Tell all programs that the curves are complete, by the end of their input, and wait for them together."""
    deadline = time.monotonic() + _PATIENCE
    for program in programs.values():
        assert program.stdin
        with suppress(BrokenPipeError):
            program.stdin.close()
    for name, program in programs.items():
        try:
            status = program.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _warn(name, f"it had not finished after {_PATIENCE:.0f} seconds")
        else:
            if status < 0:  # else it has said itself what was wrong
                _warn(name, f"it was killed by signal {-status}")
        finally:
            program.kill()
            program.wait()


@contextmanager
def _warning_of_errors(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _warn(name, str(error))


def _warn(name: str, issue: str) -> None:
    print(
        f"warning: {name} may lack some of the curves: {issue}; docs/loggers.md says how to add them", file=sys.stderr
    )

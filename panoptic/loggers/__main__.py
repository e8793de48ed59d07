"""Show the curves of a training in TensorBoard, MLflow, or Weights & Biases.

    python -m panoptic.loggers wandb --curves runs/train --run NAME [--folder runs/loggers] [--settings JSON]

The CSV files are the source: what a logger lacks is added, and what it has already is not repeated. `stages.train`
starts one of these for each of `loggers.names`, which then follows the training until its input ends; a logger that
fails says so in one line and ends. What the packages print goes to a file beside their results.
"""

import argparse
import os
import select
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from panoptic.io.json_fields import JsonObject, parse_json
from panoptic.loggers.following import TABLES, follow
from panoptic.loggers.packages import PACKAGES, LoggedRun
from panoptic.runtime.cli import run_command

_PAUSE = 1.0  # seconds between looks at the curves


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m panoptic.loggers", description=__doc__.splitlines()[0])
    parser.add_argument("logger", choices=PACKAGES, help="package that shows the curves")
    parser.add_argument("--curves", type=Path, required=True, help="folder with loss.csv and quality.csv")
    parser.add_argument("--run", required=True, help="name by which the logger finds the run again")
    parser.add_argument("--folder", type=Path, default=Path("runs/loggers"), help="where to write (%(default)s)")
    parser.add_argument("--project", default="panoptic-segformer", help="project or experiment (%(default)s)")
    parser.add_argument("--mlflow-uri", default="", help="MLflow's server or database; by default one in the folder")
    parser.add_argument("--wandb-mode", choices=("offline", "online"), default="offline", help="(%(default)s)")
    parser.add_argument("--settings", default="{}", help="settings to show beside the curves, as JSON by full name")
    parser.add_argument("--follow", action="store_true", help="go on until the standard input ends")
    given = parser.parse_args(argv)

    def log() -> None:
        settings = JsonObject.of(parse_json(given.settings.encode(), "--settings"), "--settings").values
        run = LoggedRun(given.run, settings, given.folder, given.project, given.mlflow_uri, given.wandb_mode)
        if not given.follow and not any((given.curves / f"{table}.csv").exists() for table in TABLES):
            raise ValueError(f"{given.curves}: there is no loss.csv or quality.csv; give --curves of a training")
        console = _own_stderr()
        try:
            _keep_output(given.folder / f"{given.run}.{given.logger}.log")
            with PACKAGES[given.logger](run) as rows:
                number = follow(given.curves, rows, _input_ends if given.follow else lambda: True)
            said = f"{given.logger} has the {number} rows of the curves in {given.curves}"
            print(said, flush=True)  # not on a full disk, which not every package minds
        except KeyboardInterrupt:
            os.dup2(console.fileno(), sys.stderr.fileno())  # where the command says by which signal it ended
            raise
        except Exception as error:  # whatever a package raises: a training that it follows is not to fail
            issue = str(error).strip().partition("\n")[0] or type(error).__name__
            print(
                f"warning: {given.logger} no longer gets the curves in {given.curves} ({issue}); "
                "docs/loggers.md says how to add what it lacks",
                file=console,
                flush=True,
            )
            sys.exit(1)
        if not given.follow:
            print(said, file=console)

    run_command(log)


def _input_ends() -> bool:
    """Wait a moment; tell whether the standard input has ended, as it does with the training."""
    return bool(select.select([sys.stdin], [], [], _PAUSE)[0])


def _own_stderr() -> TextIO:
    """Return the present standard error, whatever the number of it will lead to."""
    return os.fdopen(os.dup(sys.stderr.fileno()), "w")


def _keep_output(log: Path) -> None:
    """Write what is printed from here on to the end of a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())


if __name__ == "__main__":
    main()

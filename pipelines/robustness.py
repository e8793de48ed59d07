"""COCO-C by several programs at once: each measures a share of the variants, and the stage puts them together.

    python -m pipelines.robustness --jobs 8
    python -m pipelines.robustness --jobs 16 --scheduler tcp://127.0.0.1:8786

One job for each GPU of this machine, or for a few cores each; with the address of a Dask scheduler the jobs run on its
machines, and may be more than these (docs/cluster.md, "Several machines"). The archives of COCO-C, where settings ask
for them, are made in the same way. What is finished is remembered: killed, and given again, it goes on with the
variants that are missing.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from prefect import flow

from pipelines.dvc_project.project import DvcProject
from pipelines.executors.executor import Program
from pipelines.executors.spread import run_programs
from pipelines.process.flow_command import run_as_program
from pipelines.reproduce import run_stage

STAGE = "robustness"
SHARED = ("corrupt", STAGE)
"""Stages that take `--share` and leave what they have finished in folders that are named after them in STATE."""
STATE = Path("runs/state")


@flow(log_prints=True)
def robustness(jobs: int = 2, scheduler: str | None = None, folder: Path = Path()) -> None:
    """Bring the stage `robustness` up to date, with all that it needs; its variants are shared by `jobs` programs.

    They run on this machine, or on those of the Dask scheduler with the given address.
    """
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}; give 1 or more")
    project = DvcProject(folder)
    done: list[str] = []
    for stage in (*project.needs(STAGE), STAGE):
        if stage in SHARED and not project.is_up_to_date(stage):
            run_programs(shares(project, stage, jobs, done), folder, scheduler)
        run_stage(stage, folder)
        done.append(stage)


def shares(project: DvcProject, stage: str, of: int, done: Sequence[str]) -> list[Program]:
    """The programs that do the work of a stage together; they read what the stages `done` have written."""
    reads = project.written(done)
    return [
        Program(
            f"{stage} share {number} of {of}",
            (*project.command(stage), "--share", f"{number}/{of}"),
            rank=number - 1,
            reads=reads,
            writes=(f"{STATE}/{stage}-*",),
        )
        for number in range(1, of + 1)
    ]


def main() -> int:
    """The command line; the exit status is 0 when the stage is up to date."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.robustness", description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2, help="programs at once, one for each GPU (default: 2)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask scheduler, on whose machines they run")
    given = parser.parse_args()
    return run_as_program("pipelines.robustness", lambda: robustness(given.jobs, given.scheduler))


if __name__ == "__main__":
    sys.exit(main())

"""Measure COCO-C with several programs at once: each takes a shard of the variants, and the stage combines them.

    python -m pipelines.robustness --jobs 8
    python -m pipelines.robustness --jobs 16 --scheduler tcp://127.0.0.1:8786

Use one job per GPU of this machine, or per few cores. With the address of a Dask scheduler the jobs run on its
machines, and there may be more jobs than machines (docs/cluster.md, "Several machines"). The archives of COCO-C, if the
settings ask for them, are made the same way. Finished variants are kept, so that a killed command resumes with the
missing ones.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from prefect import flow

from pipelines.dvc_project.project import DvcProject
from pipelines.executors.executor import Program
from pipelines.executors.run_programs import run_programs
from pipelines.process.flow_command import run_as_program
from pipelines.process.preconditions import require_idle
from pipelines.reproduce import run_stage

STAGE = "robustness"
SHARDED = ("corrupt", STAGE)
"""Stages that take `--shard` and keep finished work in folders named after them in STATE."""
STATE = Path("runs/state")


@flow(log_prints=True)
def robustness(jobs: int = 2, scheduler: str | None = None, folder: Path = Path()) -> None:
    """Bring the stage `robustness` and all it depends on up to date, with its variants divided among `jobs` programs.

    They run on this machine, or on those of the Dask scheduler at the given address.
    """
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}; give 1 or more")
    project = DvcProject(folder)
    project.fetch([STAGE])
    done: list[str] = []
    for stage in (*project.needs(STAGE), STAGE):
        if stage in SHARDED and not project.is_up_to_date(stage):
            run_programs(shards(project, stage, jobs, done), folder, scheduler)
        run_stage(stage, folder)
        done.append(stage)


def shards(project: DvcProject, stage: str, of: int, done: Sequence[str]) -> list[Program]:
    """Return the programs that together do the work of a stage, from the outputs of the stages `done`."""
    reads = project.written(done)
    return [
        Program(
            f"{stage} shard {number} of {of}",
            (*project.command(stage), "--shard", f"{number}/{of}"),
            rank=number - 1,
            reads=reads,
            writes=(f"{STATE}/{stage}-*",),
        )
        for number in range(1, of + 1)
    ]


def main() -> int:
    """Run the command line; the exit status is 0 if the stage is up to date."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.robustness", description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2, help="programs to run, one per GPU (default: 2)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask scheduler on whose machines to run")
    given = parser.parse_args()
    return run_as_program("pipelines.robustness", lambda: robustness(given.jobs, given.scheduler), require_idle)


if __name__ == "__main__":
    sys.exit(main())

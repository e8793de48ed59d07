"""COCO-C by several programs at once: each measures a share of the variants, and the stage puts them together.

    python -m pipelines.robustness --jobs 8

One job for each GPU of this machine, or for a few cores each. On several machines with a shared file system the same
is done by hand, `python -m stages.robustness ... --share 2/4` on each, and `dvc repro robustness` at the end. What is
measured is remembered: killed, and given again, it goes on with the variants that are missing.
"""

import argparse
import sys
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner

from pipelines.commands import run_as_program
from pipelines.processes import end_all
from pipelines.project import DvcProject
from pipelines.reproduce import run_stage
from pipelines.stage_output import StageOutput

STAGE = "robustness"


@task(task_run_name="share {number} of {of}", cache_policy=NO_CACHE)
def run_share(number: int, of: int, folder: Path) -> None:
    """Measure one share. Fails with its last words; leaves none of its processes behind."""
    DvcProject(folder).run_share(STAGE, number, of, StageOutput(get_run_logger(), alone=of == 1).show)


@flow(log_prints=True)
def robustness(jobs: int = 2, folder: Path = Path()) -> None:
    """Bring the stage `robustness` up to date, with all that it needs; its variants are shared by `jobs` programs."""
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}; give 1 or more")
    project = DvcProject(folder)
    for stage in project.needs(STAGE):
        run_stage(stage, folder)
    if not project.is_up_to_date(STAGE):
        with ThreadPoolTaskRunner[None](max_workers=jobs) as runner:
            try:
                shares = [
                    runner.submit(run_share, {"number": number, "of": jobs, "folder": folder})
                    for number in range(1, jobs + 1)
                ]
                for share in shares:
                    share.wait()
            except (
                BaseException
            ):  # cancelled, or a signal: the runner would wait for the shares, however long they take
                end_all()
                raise
        for share in shares:
            share.result()  # what the others have measured is kept
    run_stage(STAGE, folder)


def main() -> int:
    """The command line; the exit status is 0 when the stage is up to date."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.robustness", description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2, help="programs at once, one for each GPU (default: 2)")
    given = parser.parse_args()
    return run_as_program("pipelines.robustness", lambda: robustness(given.jobs))


if __name__ == "__main__":
    sys.exit(main())

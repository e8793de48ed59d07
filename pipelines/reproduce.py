"""The whole pipeline as one Prefect flow: a task for every stage of dvc.yaml, in the order of its graph.

    python -m pipelines.reproduce
    python -m pipelines.reproduce --stages train predict evaluate --set train.learning_rate=5e-4
    python -m pipelines.reproduce --experiment coco_r50_12e --overlay experiments/ablations/box_free.yaml

DVC decides what is out of date; the flow decides when it runs, and shows it. No Prefect server is needed:
without one, Prefect starts its own on 127.0.0.1 for as long as the flow runs. With one (`make server`, `make worker`,
`make deploy`): `prefect deployment run reproduce/local -p experiment=coco_r50_12e --watch`.
"""

import argparse
import sys
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from pipelines.dvc_project.project import DvcProject
from pipelines.process.flow_command import run_as_program, setting
from pipelines.reporting.artifacts import publish
from pipelines.reporting.stage_output import StageOutput

EXPERIMENTS = Path("experiments")
# Stages that may fail for reasons that pass, and go on where they were. Any other fails again, only later.
RETRIES = {"download": 2}
RETRY_SECONDS = 60.0


@task(task_run_name="{stage}", cache_policy=NO_CACHE)
def run_stage(stage: str, folder: Path) -> None:
    """Bring one stage up to date. Fails with the stage's last words; leaves none of its processes behind."""
    project = DvcProject(folder)
    project.reproduce(stage, StageOutput(get_run_logger()).show)
    publish(project, stage)


@flow(log_prints=True)
def reproduce(
    stages: list[str] | None = None,
    settings: dict[str, str] | None = None,
    overlays: list[Path] | None = None,
    experiment: str | None = None,
    stage_timeout_seconds: float | None = None,
    folder: Path = Path(),
) -> None:
    """Bring the pipeline in `folder` up to date, or the given stages of it.

    `experiment` (`coco_r50_12e` for experiments/coco_r50_12e.yaml), `overlays` (other such files) and then `settings`
    (`{"train.learning_rate": "5e-4"}`) are written into params.yaml first, and stay there; nothing is written, and
    nothing runs, if the stages would not accept them. The first stage that fails, or that takes longer than
    `stage_timeout_seconds`, fails the flow.
    """
    project = DvcProject(folder)
    chosen = project.stages() if stages is None else project.choose(stages)
    laid = [EXPERIMENTS / f"{experiment}.yaml"] if experiment else []
    for change in project.set_parameters([*laid, *(overlays or [])], settings or {}):
        print(change)
    for stage in chosen:
        runner = run_stage.with_options(
            timeout_seconds=stage_timeout_seconds, retries=RETRIES.get(stage, 0), retry_delay_seconds=RETRY_SECONDS
        )
        runner(stage, folder)


def main() -> int:
    """The command line; the exit status is 0 when everything asked for is up to date."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.reproduce", description=__doc__.splitlines()[0])
    parser.add_argument("--stages", nargs="+", metavar="NAME", help="only these stages of dvc.yaml (default: all)")
    parser.add_argument(
        "--set",
        nargs="+",
        type=setting,
        default=[],
        metavar="KEY=VALUE",
        help="settings to write into params.yaml",
    )
    parser.add_argument(
        "--overlay", nargs="+", type=Path, default=[], metavar="FILE", help="files to lay over params.yaml first"
    )
    parser.add_argument("--experiment", metavar="NAME", help="a file in experiments/ without its ending, laid first")
    parser.add_argument("--stage-timeout", type=float, metavar="SECONDS", help="give up on a stage after this long")
    given = parser.parse_args()
    settings = dict(given.set)
    return run_as_program(
        "pipelines.reproduce",
        lambda: reproduce(given.stages, settings, given.overlay, given.experiment, given.stage_timeout),
    )


if __name__ == "__main__":
    sys.exit(main())

"""Run the whole pipeline as one Prefect flow, with a task for each stage of dvc.yaml in the order of its graph.

    python -m pipelines.reproduce
    python -m pipelines.reproduce --stages train predict evaluate --set train.learning_rate=5e-4
    python -m pipelines.reproduce --experiment coco coco/12e ablations/box_free --override own.yaml

DVC decides what is out of date; the flow decides when to run it, and shows its progress. No Prefect server is needed:
without one, Prefect starts its own on 127.0.0.1 for as long as the flow runs. With one (`make server`, `make worker`,
`make deploy`): `prefect deployment run reproduce/local -p settings='{"train.epochs": "12"}' --watch`.
"""

import argparse
import sys
from pathlib import Path

from prefect import State, Task, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun

from pipelines.dvc_project.parameters import setting
from pipelines.dvc_project.project import DvcProject
from pipelines.override import experiment_files
from pipelines.process.flow_command import run_as_program
from pipelines.process.preconditions import require_idle
from pipelines.reporting.artifacts import publish
from pipelines.reporting.stage_output import StageOutput

# Stages that may fail for transient reasons and resume where they stopped. Any other stage would only fail again.
RETRIES = {"download": 2}
RETRY_SECONDS = 60.0
_REFUSED = ", exited with 2"  # so DVC ends its line on a stage that said itself what is wrong: it would say so again


@task(task_run_name="{stage}", cache_policy=NO_CACHE)
def run_stage(stage: str, folder: Path) -> None:
    """Bring one stage up to date and leave no process behind; an error message ends with its last lines of output."""
    project = DvcProject(folder)
    project.reproduce(stage, StageOutput(get_run_logger()).show)
    publish(project, stage)


def _may_pass(_task: Task[..., object], _run: TaskRun, state: State[object]) -> bool:
    return _REFUSED not in (state.message or "")


@flow(log_prints=True)
def reproduce(
    stages: list[str] | None = None,
    settings: dict[str, str] | None = None,
    overrides: list[Path] | None = None,
    experiment: str | list[str] | None = None,
    stage_timeout_seconds: float | None = None,
    folder: Path = Path(),
) -> None:
    """Bring the pipeline in `folder`, or the given stages of it, up to date.

    First `experiment` (a name such as `coco` for experiments/coco.yaml, or a list of names), then `overrides` (other
    such files) and `settings` (`{"train.learning_rate": "5e-4"}`) are merged into params.yaml, where they stay; if the
    stages would not accept them, nothing is written and nothing runs. The first stage that fails, or that takes longer
    than `stage_timeout_seconds`, fails the flow.
    """
    project = DvcProject(folder)
    chosen = project.stages() if stages is None else project.choose(stages)
    project.require_inputs(chosen)
    files = [*experiment_files(experiment or ()), *(overrides or ())]
    for change in project.set_parameters(files, settings or {}):
        print(change)
    project.fetch(chosen)
    for stage in chosen:
        runner = run_stage.with_options(
            timeout_seconds=stage_timeout_seconds,
            retries=RETRIES.get(stage, 0),
            retry_delay_seconds=RETRY_SECONDS,
            retry_condition_fn=_may_pass,
        )
        runner(stage, folder)


def main() -> int:
    """Run the command line; the exit status is 0 if all requested stages are up to date."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.reproduce", description=__doc__.splitlines()[0])
    parser.add_argument("--stages", nargs="+", metavar="NAME", help="stages of dvc.yaml to run (default: all)")
    help_set = "settings to write into params.yaml last"
    parser.add_argument("--set", nargs="+", type=setting, default=[], metavar="KEY=VALUE", help=help_set)
    help_experiment = "files in experiments/, without .yaml, to merge into params.yaml first, in this order"
    parser.add_argument("--experiment", nargs="+", metavar="NAME", help=help_experiment)
    parser.add_argument("--override", nargs="+", type=Path, metavar="FILE", help="other files to merge after those")
    parser.add_argument("--stage-timeout", type=float, metavar="SECONDS", help="give up on a stage after this long")
    given = parser.parse_args()
    settings = dict(given.set)
    return run_as_program(
        "pipelines.reproduce",
        lambda: reproduce(given.stages, settings, given.override, given.experiment, given.stage_timeout),
        require_idle,
    )


if __name__ == "__main__":
    sys.exit(main())

"""Run the pipeline with many settings, each as a DVC experiment, and compare a metric.

    python -m pipelines.sweep rates --grid train.learning_rate=5e-4,1e-3 model.queries=20,30 --jobs 2
    python -m pipelines.sweep parts --trial model.queries=20 --trial model.queries=40 train.epochs=12

The sweep runs all combinations of the grid, with each listed trial if there are any, on top of the current params.yaml.
Each runs in a clone in runs/sweeps/NAME/ (dvc_project/workspace.py) and becomes an experiment of this checkout, for
`dvc exp show` and `dvc exp apply`. Trials that already have an experiment are not run again, and a stopped one resumes
from its last checkpoint. A failed trial does not stop the others. Table and plot are in runs/sweeps/NAME/.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from panoptic.io.working_folder import working_folder
from pipelines.dvc_project.parameters import read_parameters, setting
from pipelines.dvc_project.project import DvcProject
from pipelines.dvc_project.trials import Trial, parse_grid, trial_name, trials_of
from pipelines.dvc_project.workspace import Checkout, Workspace
from pipelines.process.flow_command import run_as_program
from pipelines.process.preconditions import require_git
from pipelines.process.session import CommandError, end_all
from pipelines.reporting.artifacts import embedded, publish_markdown, publish_table
from pipelines.reporting.stage_output import StageOutput
from pipelines.reporting.sweep_results import (
    Metric,
    Result,
    csv_table,
    draw,
    metric_values,
    records,
    rows,
)
from pipelines.reporting.tables import markdown_table, text_table

STAGES = ("evaluate",)
METRIC = "runs/evaluate/metrics.json:pq.all"
SWEEPS = Path("runs/sweeps")


@dataclass(frozen=True)
class PlannedTrial:
    """A trial, the name of its experiment, and the file with all its parameters."""

    trial: Trial
    name: str
    parameters: Path


@task(task_run_name="{trial}", cache_policy=NO_CACHE)
def run_trial(trial: str, name: str, parameters: Path, folder: Path, stages: list[str], cache: Path, jobs: int) -> None:
    """Run one experiment in its own workspace, which is removed on success."""
    checkout = Checkout(folder)
    workspace = Workspace(checkout, parameters.with_suffix(""))
    workspace.prepare(parameters, cache, stages)
    workspace.run(name, stages, StageOutput(get_run_logger(), alone=jobs == 1).show)
    workspace.remove()


@flow(log_prints=True)
def sweep(
    name: str,
    grid: dict[str, list[str]] | None = None,
    trials: list[dict[str, str]] | None = None,
    overrides: list[Path] | None = None,
    stages: list[str] | None = None,
    jobs: int = 1,
    metric: str = METRIC,
    folder: Path = Path(),
) -> None:
    """Run all combinations of the values in `grid`, each with each of `trials`, and compare `metric`.

    `overrides` (such as files in experiments/) are merged into params.yaml before the settings of each trial; `jobs`
    trials run at a time. Everything is checked before anything runs. If trials fail, the flow fails at the end and
    names them.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ValueError(f"the name of a sweep is {name!r}; use letters, digits, - and _")
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}; give 1 or more")
    wanted, checkout = Metric.parse(metric), Checkout(folder)
    checkout.require_committed()
    targets = list(DvcProject(folder).choose(stages or list(STAGES)))
    out = folder / SWEEPS / name
    out.mkdir(parents=True, exist_ok=True)
    print("checking the settings of all trials")
    plans = _plan(name, trials_of(grid or {}, trials or ()), overrides or [], targets, DvcProject(folder), out)
    before = checkout.experiments()
    new = [plan for plan in plans if plan.name not in before]
    if new:
        DvcProject(folder).cache_data(targets, checkout.cache())
    print(f"trials to run: {len(new)}, {jobs} at a time; with a result already: {len(plans) - len(new)}")
    failed = _run(new, checkout, targets, jobs)
    values = metric_values(DvcProject(folder).dvc("exp", "show", "--json"), wanted, checkout.cache())
    states = {plan.name: "already there" if plan.name in before else "done" for plan in plans}
    states |= dict.fromkeys(failed, "failed")
    results = [Result(plan.trial, plan.name, states[plan.name], values.get(plan.name)) for plan in plans]
    _report(name, results, wanted, out)
    for plan in plans:
        if plan.name not in failed:
            plan.parameters.unlink()
    if failed:
        kept = "; ".join(
            f"{plan.trial}: {failed[plan.name]}, in {plan.parameters.with_suffix('')}"
            for plan in plans
            if plan.name in failed
        )
        raise CommandError(f"{len(failed)} of {len(plans)} trials failed; their folders are kept: {kept}")


def _plan(
    name: str, trials: Sequence[Trial], overrides: list[Path], stages: list[str], project: DvcProject, out: Path
) -> list[PlannedTrial]:
    """Write the parameters of all trials, after the stages have checked them.

    Raises:
        ValueError: The stages do not accept one of them, or two are the same.
    """
    with working_folder(out) as temporary:
        files = [temporary / f"{number}.yaml" for number in range(len(trials))]
        for trial, file in zip(trials, files, strict=True):
            project.write_parameters(overrides, trial.settings, file)
        project.check_parameters([file.resolve() for file in files])
        plans: dict[str, PlannedTrial] = {}
        for trial, file in zip(trials, files, strict=True):
            unique = trial_name(name, [read_parameters(file), stages])
            if unique in plans:
                raise ValueError(f"the trials '{plans[unique].trial}' and '{trial}' are the same; remove one")
            plans[unique] = PlannedTrial(trial, unique, out / f"{unique}.yaml")
            file.replace(plans[unique].parameters)
    return list(plans.values())


def _run(plans: Sequence[PlannedTrial], checkout: Checkout, stages: list[str], jobs: int) -> dict[str, str]:
    """Run the trials, `jobs` at a time, and return why experiments failed, by name."""
    if not plans:
        return {}
    cache, futures = checkout.cache(), list[tuple[PlannedTrial, PrefectFuture[None]]]()
    with ThreadPoolTaskRunner[None](max_workers=jobs) as runner:
        try:
            for plan in plans:
                parameters = {"trial": str(plan.trial), "name": plan.name, "parameters": plan.parameters}
                parameters |= {"folder": checkout.folder, "stages": stages, "cache": cache, "jobs": jobs}
                futures.append((plan, runner.submit(run_trial, parameters)))
            for _, future in futures:
                future.wait()
        except BaseException:  # cancelled or signaled: the runner would wait for the trials, however long they take
            end_all()
            raise
    return {plan.name: _reason(future.state) for plan, future in futures if not future.state.is_completed()}


def _reason(state: State[None]) -> str:
    """Return the last line of a failed trial's error, or the name of one without a message."""
    error = state.result(raise_on_failure=False)
    lines = [line.strip() for line in str(error or state.message or "").splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _report(name: str, results: Sequence[Result], metric: Metric, out: Path) -> None:
    table = rows(results, metric)
    print(f"{metric}\n{text_table(table)}")
    (out / "results.csv").write_text(csv_table(results, metric), encoding="utf-8")
    image = out / "results.png"
    drawn = draw(results, metric, image)
    plot = "\n![results](results.png)\n" if drawn else ""
    (out / "results.md").write_text(f"# Sweep {name}: {metric}\n\n{markdown_table(table)}{plot}", encoding="utf-8")
    publish_table(f"sweep-{name}", records(results, metric), str(metric))
    if drawn:
        publish_markdown(f"sweep-{name}-plot", embedded(image), str(metric))
    print(f"table and plot are in {out}")


def _require_commit(folder: Path) -> None:
    require_git(folder)
    Checkout(folder).require_committed()


def main() -> int:
    """Run the command line; the exit status is 0 if every trial has an experiment."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.sweep", description=__doc__.splitlines()[0])
    parser.add_argument("name", help="name of the sweep, which prefixes the names of its experiments")
    parser.add_argument("--grid", nargs="+", default=[], metavar="KEY=VALUE,VALUE", help="run all combinations")
    parser.add_argument(
        "--trial",
        nargs="+",
        action="append",
        type=setting,
        default=[],
        metavar="KEY=VALUE",
        help="settings of one trial, or with --grid of one more copy of the grid; repeatable",
    )
    help_override = "files to merge into params.yaml for all trials, in this order"
    parser.add_argument("--override", nargs="+", type=Path, metavar="FILE", help=help_override)
    parser.add_argument("--stages", nargs="+", metavar="NAME", help=f"stages to run (default: {STAGES[0]})")
    parser.add_argument("--jobs", type=int, default=1, help="trials to run at a time (default: 1)")
    parser.add_argument("--metric", default=METRIC, metavar="FILE:KEY", help=f"number to compare (default: {METRIC})")
    given = parser.parse_args()
    try:
        grid = parse_grid(given.grid)
    except ValueError as error:
        parser.error(str(error))
    trials = [dict(pairs) for pairs in given.trial]
    return run_as_program(
        "pipelines.sweep",
        lambda: sweep(given.name, grid, trials, given.override, given.stages, given.jobs, given.metric),
        _require_commit,
    )


if __name__ == "__main__":
    sys.exit(main())

"""Programs of a checkout beside each other, on this machine or on those of a Dask scheduler, as tasks of Prefect's.

The tasks live in the flow's process and wait there for their programs, wherever these run. Tasks within Dask's workers
(prefect_dask's runner) would each need a way to the Prefect server, which listens on 127.0.0.1, or start one of their
own; so a machine needs a checkout and a Dask worker in it, and nothing else.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner

from pipelines.dvc_project.project import DvcProject
from pipelines.executors.dask_executor import dask_machines
from pipelines.executors.executor import Here, Place, Program
from pipelines.process.run import CommandError, OutputLine
from pipelines.reporting.stage_output import StageOutput

LOGS = Path("runs/logs")


@task(task_run_name="{program.name}", cache_policy=NO_CACHE)
def run_program(program: Program, place: Place, log: Path, alone: bool) -> None:
    """Run one program. Fails with its last words; leaves none of its processes behind."""
    shown = StageOutput(get_run_logger(), alone)
    with log.open("w") as file:

        def show(line: OutputLine) -> None:
            if not line.transient:
                print(line.text, file=file, flush=True)
            shown.show(line)

        try:
            place.run(program, show)
        except CommandError as error:
            raise CommandError(f"{program.name} failed; all that it wrote is in {log}\n{error}") from None


def run_programs(programs: Sequence[Program], folder: Path, scheduler: str | None, at_once: int | None = None) -> None:
    """Run programs beside each other, `at_once` or all, and wait for every one, even if another fails.

    `scheduler` is the address of a Dask scheduler whose workers were started in this checkout; None is this machine.

    Raises:
        CommandError: at least one has failed; the message is that of the first.
        ValueError: there is no such scheduler, or it has no workers.
    """
    logs = folder / LOGS
    logs.mkdir(parents=True, exist_ok=True)
    with (
        _place(folder, scheduler) as place,
        ThreadPoolTaskRunner[None](max_workers=at_once or len(programs)) as runner,
    ):
        try:
            tasks = [
                runner.submit(
                    run_program,
                    {
                        "program": program,
                        "place": place,
                        "log": logs / f"{program.name.replace(' ', '-')}.log",
                        "alone": len(programs) == 1,
                    },
                )
                for program in programs
            ]
            for each in tasks:
                each.wait()
        except BaseException:  # cancelled, or a signal: the runner would wait for the programs, however long they take
            place.stop()
            raise
    for each in tasks:
        each.result()


@contextmanager
def _place(folder: Path, scheduler: str | None) -> Iterator[Place]:
    if scheduler is None:
        yield Here(DvcProject(folder))
    else:
        with dask_machines(scheduler, folder) as machines:
            yield machines

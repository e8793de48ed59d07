"""Run several programs of a checkout at once, on this machine or on those of a Dask scheduler, as Prefect tasks.

The tasks live in the flow's process and wait there for their programs, wherever these run. Tasks inside Dask workers
(prefect_dask's runner) would each need a route to the Prefect server, which listens on 127.0.0.1, or start a server of
their own. This way a machine needs only a checkout and a Dask worker in it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner

from pipelines.dvc_project.project import DvcProject
from pipelines.executors.dask_executor import dask_executor
from pipelines.executors.executor import Executor, LocalExecutor, Program
from pipelines.process.session import CommandError, OutputLine
from pipelines.reporting.stage_output import StageOutput

LOGS = Path("runs/logs")


@task(task_run_name="{program.name}", cache_policy=NO_CACHE)
def run_program(program: Program, executor: Executor, log: Path, alone: bool) -> None:
    """Run one program and leave none of its processes behind; an error ends with its last lines of output."""
    output = StageOutput(get_run_logger(), alone)
    with log.open("w", encoding="utf-8") as file:

        def show(line: OutputLine) -> None:
            if not line.transient:
                print(line.text, file=file, flush=True)
            output.show(line)

        try:
            executor.run(program, show)
        except CommandError as error:
            raise CommandError(f"{program.name} failed; its full output is in {log}\n{error}") from None


def run_programs(programs: Sequence[Program], folder: Path, scheduler: str | None, at_once: int | None = None) -> None:
    """Run programs in parallel, `at_once` at a time (default: all), and wait for every one even if another fails.

    `scheduler` is the address of a Dask scheduler whose workers were started in this checkout; None means this machine.

    Raises:
        CommandError: At least one program failed; the message is that of the first.
        ValueError: There is no such scheduler, or it has no workers.
    """
    logs = folder / LOGS
    logs.mkdir(parents=True, exist_ok=True)
    with (
        _executor(folder, scheduler) as executor,
        ThreadPoolTaskRunner[None](max_workers=at_once or len(programs)) as runner,
    ):
        try:
            futures = [
                runner.submit(
                    run_program,
                    {
                        "program": program,
                        "executor": executor,
                        "log": logs / f"{program.name.replace(' ', '-')}.log",
                        "alone": len(programs) == 1,
                    },
                )
                for program in programs
            ]
            for future in futures:
                future.wait()
        except BaseException:  # cancelled or signaled: the runner would wait for the programs, however long they take
            executor.stop()
            raise
    for future in futures:
        future.result()


@contextmanager
def _executor(folder: Path, scheduler: str | None) -> Iterator[Executor]:
    if scheduler is None:
        yield LocalExecutor(DvcProject(folder))
    else:
        with dask_executor(scheduler, folder) as executor:
            yield executor

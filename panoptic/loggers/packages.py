"""The packages that show curves. Each is imported where it is used, and sends nothing that it was not asked to send."""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from panoptic.io.working_folder import working_folder
from panoptic.loggers.following import Row
from panoptic.markdown import markdown_table

if TYPE_CHECKING:
    from mlflow import MlflowClient

Log = Callable[[Sequence[Row]], None]
T = TypeVar("T")
_TAG = "panoptic.run"
_NOT_SAVED = "failed to save record: "
_BATCH = 100  # of MLflow's limits the smallest, that of parameters


@dataclass(frozen=True)
class LoggedRun:
    """A training run as loggers know it, and where they write.

    Attributes:
        name: by which a logger finds the run again when it is resumed.
        settings: of the run, by full name.
        folder: for everything that is written on this machine.
        project: of Weights & Biases, or experiment of MLflow, that the run belongs to.
        mlflow_uri: MLflow's server or database; if empty, a database in the folder.
        wandb_mode: `offline` or `online`.
    """

    name: str
    settings: Mapping[str, object]
    folder: Path
    project: str
    mlflow_uri: str = ""
    wandb_mode: str = "offline"

    @property
    def texts(self) -> dict[str, str]:
        """The settings as texts; those that are none, as JSON."""
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in self.settings.items()}


@contextmanager
def tensorboard_log(run: LoggedRun) -> Iterator[Log]:
    """Write TensorBoard's event files, from the beginning: those of an earlier start are replaced."""
    from torch.utils.tensorboard import SummaryWriter

    folder = run.folder / "tensorboard" / run.name
    for earlier in folder.glob("events.out.tfevents.*"):
        earlier.unlink()
    with SummaryWriter(str(folder), purge_step=0) as writer:  # for a TensorBoard that has read the earlier ones
        writer.add_text("settings", markdown_table(["setting", "value"], run.texts.items(), labels=2), 0)

        def log(rows: Sequence[Row]) -> None:
            for row in rows:
                for name, value in row.values.items():
                    writer.add_scalar(name, value, row.step)
            writer.flush()

        yield log


@contextmanager
def mlflow_log(run: LoggedRun) -> Iterator[Log]:
    """Add what MLflow lacks to its run, which has the name of this one as a tag."""
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # by default 7, which take minutes
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")  # seconds; by default 120 for each of them
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    with _alone(run.folder / "mlflow.lock"):
        client = MlflowClient(run.mlflow_uri or _database(run.folder / "mlflow.db"))
        run_id = _mlflow_run(client, run)
    for part in _batches([Param(name, value) for name, value in run.texts.items()]):
        client.log_batch(run_id, params=part)

    @cache
    def known(name: str) -> set[int]:
        return {metric.step for metric in client.get_metric_history(run_id, name)}

    def log(rows: Sequence[Row]) -> None:
        now = int(1000 * time.time())
        values = [(name, value, row.step) for row in rows for name, value in row.values.items()]
        lacking = [Metric(name, value, now, step) for name, value, step in values if step not in known(name)]
        for part in _batches(lacking):
            client.log_batch(run_id, metrics=part)

    yield log
    client.set_terminated(run_id)


def _database(path: Path) -> str:
    """Return the address of MLflow's database, which gets its name once it is complete.

    MLflow creates its tables one by one, and refuses a database in which it was killed meanwhile.
    """
    from mlflow import MlflowClient

    if not path.exists():
        with working_folder(path.parent) as hidden:
            MlflowClient(f"sqlite:///{(hidden / path.name).absolute()}").search_experiments()
            (hidden / path.name).rename(path)
    return f"sqlite:///{path.absolute()}"


def _mlflow_run(client: "MlflowClient", run: LoggedRun) -> str:
    """Find the run, or create it; return MLflow's id of it."""
    found = client.get_experiment_by_name(run.project)
    experiment = found.experiment_id if found else client.create_experiment(run.project)
    earlier = client.search_runs([experiment], f"tags.`{_TAG}` = '{run.name}'", max_results=1)
    if not earlier:
        return client.create_run(experiment, tags={_TAG: run.name}, run_name=run.name).info.run_id
    client.update_run(earlier[0].info.run_id, "RUNNING")
    return earlier[0].info.run_id


@contextmanager
def wandb_log(run: LoggedRun) -> Iterator[Log]:
    """Write a run of Weights & Biases, from the beginning: it replaces that of an earlier start, which has its id."""
    os.environ |= {"WANDB_ERROR_REPORTING": "false", "WANDB_CACHE_DIR": str(run.folder)}
    import wandb

    quiet = wandb.Settings(
        console="off",
        disable_git=True,
        save_code=False,
        silent=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
    earlier = list(run.folder.glob(f"wandb/*run-*-{run.name}"))
    run.folder.mkdir(parents=True, exist_ok=True)
    with wandb.init(
        project=run.project,
        dir=str(run.folder),
        id=run.name,
        name=run.name,
        config=dict(run.settings),
        mode=run.wandb_mode,
        settings=quiet,
    ) as logged:
        logged.define_metric("*", step_metric="step")
        messages = Path(logged.dir).parent / "logs" / "debug-internal.log"

        def log(rows: Sequence[Row]) -> None:
            _require_saved(messages)
            for row in rows:
                logged.log({"step": row.step, **row.values})

        yield log
    _require_saved(messages)
    for folder in earlier:
        shutil.rmtree(folder)


def _require_saved(messages: Path) -> None:
    """Raise `OSError` if Weights & Biases could not write, which only its messages say."""
    for line in messages.read_text(encoding="utf-8", errors="replace").splitlines():
        if _NOT_SAVED in line:
            raise OSError(f"{_NOT_SAVED}{line.partition(_NOT_SAVED)[2]:.200}".rstrip('"}'))


PACKAGES: Mapping[str, Callable[[LoggedRun], AbstractContextManager[Log]]] = {
    "tensorboard": tensorboard_log,
    "mlflow": mlflow_log,
    "wandb": wandb_log,
}


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    yield from (items[first : first + _BATCH] for first in range(0, len(items), _BATCH))


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until no other logger is in this block."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

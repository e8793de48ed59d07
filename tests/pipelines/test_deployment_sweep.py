"""The deployed sweep with a real Prefect server and worker: cancelled halfway, resumed, and published."""

import csv
import fcntl
import json
import time
from pathlib import Path

import pytest

from tests.pipelines.services import SECRET, Service, in_project, start, worker
from tests.pipelines.tiny_sweep import METRIC

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc").exists(), reason="looks at processes in /proc, which Linux has"),
]

DEPLOYMENT = "sweep/local"
PARAMETERS = {"name": "two", "grid": {"learn.rate": ["2", "3"]}, "stages": ["score"], "jobs": 2, "metric": METRIC}


def test_a_cancelled_sweep_resumes_and_publishes_its_table(service: Service, checkout: Path) -> None:
    (checkout / "datasets/hold").touch()
    with worker(service, checkout) as process:
        run = start(service, DEPLOYMENT, **PARAMETERS)
        while not holding(checkout):
            assert service.state(run) not in ("FAILED", "CRASHED", "COMPLETED"), service.messages(run)
            time.sleep(0.2)
        service.prefect("flow-run", "cancel", run)
        assert service.wait(run, "CANCELLED", "CRASHED", "FAILED", "COMPLETED") == "CANCELLED"
        with (checkout / "datasets/lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # waits until both trials are gone
        while in_project(checkout) != [process.pid]:
            time.sleep(0.1)

        (checkout / "datasets/hold").unlink()
        given = [word for name, value in PARAMETERS.items() for word in ("-p", f"{name}={json.dumps(value)}")]
        output = service.prefect("deployment", "run", DEPLOYMENT, "--watch", *given)
    assert "Completed" in output
    with (checkout / "runs/sweeps/two/results.csv").open(newline="") as file:
        assert [row[:3] for row in csv.reader(file)][1:] == [["2", "21.0", "done"], ["3", "31.0", "done"]]
    artifacts = {str(artifact["key"]): str(artifact["data"]) for artifact in service.ask("artifacts/filter")}
    assert [row["found.score"] for row in json.loads(artifacts["sweep-two"])] == [21, 31]
    assert "data:image/jpeg;base64," in artifacts["sweep-two-plot"]
    logged = service.messages()
    assert "resuming 2" in logged, "its state was in the trial's folder"
    assert not [text for text in [*logged, *artifacts.values(), output] if SECRET in text]


def holding(checkout: Path) -> bool:
    """Return True while both trials are in the middle of training."""
    begun = checkout / "datasets/begun"
    states = list((checkout / "runs/sweeps/two").glob("*/runs/state"))
    return begun.exists() and len(begun.read_text().split()) == len(states) == 2

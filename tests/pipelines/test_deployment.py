"""A real Prefect server and worker on loopback: flows are deployed, run, cancelled, killed and resumed.

The deployed flow is the real one; its worker runs in a tiny DVC project instead of this checkout.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipelines.services import SECRET, Service, in_project, open_addresses, start, worker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks at processes in /proc, which Linux has"),
]


def wait_for_hold(project: Path, nobody_holds: Callable[[], bool]) -> None:
    """Wait until the stage that hangs has started."""
    while not (project / "lock").exists() or nobody_holds():
        time.sleep(0.1)


def wait_for_end(project: Path) -> None:
    """Wait until the last process of the stage is gone."""
    with (project / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)


def test_everything_in_prefect_yaml_is_deployed(service: Service) -> None:
    found = service.ask("deployments/filter")
    flows = {flow["id"]: flow["name"] for flow in service.ask("flows/filter")}
    assert {f"{flows[deployment['flow_id']]}/{deployment['name']}" for deployment in found} == {
        "reproduce/local",
        "reproduce/cluster",
        "evaluate/local",
        "robustness/cluster",
        "robustness/local",
        "sweep/local",
    }


def test_the_server_listens_on_loopback_only(service: Service) -> None:
    processes = [int(process.name) for process in Path("/proc").glob("[0-9]*")]
    assert open_addresses(process for process in processes if os.getpgid(process) == service.pid) == {"0100007F"}


def test_a_deployment_runs_a_stack_of_experiments_and_publishes_its_results(service: Service, project: Path) -> None:
    (project / "experiments").mkdir()
    (project / "experiments" / "base.yaml").write_text("zero: {rate: 6, name: y}\n")
    (project / "experiments" / "seven.yaml").write_text("zero: {rate: 7}\n")
    with worker(service, project):
        output = service.prefect(
            *["deployment", "run", "reproduce/local", "--watch"],
            *["-p", 'experiment=["base","seven"]', "-p", 'stages=["zero","scored"]'],
        )
    assert "Completed" in output
    assert "rate: 7" in (project / "first").read_text()
    artifacts = {str(artifact["key"]): str(artifact["data"]) for artifact in service.ask("artifacts/filter")}
    assert json.loads(artifacts["scored-metrics"])[0]["all"] == 0.5
    assert "data:image/jpeg;base64," in artifacts["scored"]
    logged = service.messages()
    assert "text of zero" in logged
    assert {"zero.rate: 0.5 -> 6", "zero.rate: 6 -> 7", "zero.name: x -> y"} <= set(logged)
    everything = [*logged, *artifacts.values(), output, (project / "worker.log").read_text()]
    assert not [text for text in everything if SECRET in text]


def test_cancelling_leaves_no_process(service: Service, project: Path, nobody_holds: Callable[[], bool]) -> None:
    with worker(service, project) as process:
        run = start(service, "reproduce/local", stages=["hold"])
        wait_for_hold(project, nobody_holds)
        service.prefect("flow-run", "cancel", run)
        wait_for_end(project)
        assert service.wait(run, "CANCELLED", "CRASHED", "FAILED", "COMPLETED") == "CANCELLED"
        while in_project(project) != [process.pid]:
            time.sleep(0.1)


def test_a_killed_worker_leaves_no_process_and_another_one_resumes(
    service: Service, project: Path, nobody_holds: Callable[[], bool]
) -> None:
    with worker(service, project) as first:
        start(service, "reproduce/local", stages=["zero", "hold"])
        wait_for_hold(project, nobody_holds)
        first.kill()
        wait_for_end(project)
    while in_project(project):
        time.sleep(0.1)

    (project / "hold.py").write_text("print('done')\n")
    with worker(service, project):
        run = start(service, "reproduce/local", stages=["zero", "hold"])
        assert service.wait(run, "COMPLETED", "CRASHED", "FAILED") == "COMPLETED"
    assert (project / "ran").read_text().split() == ["zero"], "finished stages are not run again"

"""A real Prefect server and worker on loopback: deployed from prefect.yaml, run, cancelled, killed and taken up again.

The deployed flow is the real one; its worker runs in a tiny DVC project instead of this checkout.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipelines.services import SECRET, Service, in_project, start, worker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks at processes in /proc, which Linux has"),
]


def wait_for_hold(project: Path, nobody_holds: Callable[[], bool]) -> None:
    """Until the stage that never ends has begun."""
    while not (project / "lock").exists() or nobody_holds():
        time.sleep(0.1)


def wait_for_end(project: Path) -> None:
    """Until the last process of the stage is gone."""
    with (project / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)


def listening(group: int) -> set[str]:
    """The local addresses, as the kernel writes them, on which a process group accepts connections."""
    sockets = {
        str(file.readlink())
        for process in Path("/proc").glob("[0-9]*")
        if os.getpgid(int(process.name)) == group
        for file in (process / "fd").iterdir()
    }
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return {row[1].split(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}


def test_what_prefect_yaml_declares_is_deployed(service: Service) -> None:
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


def test_the_server_listens_on_this_machine_alone(service: Service) -> None:
    assert listening(service.pid) == {"0100007F"}, "127.0.0.1"


def test_a_deployment_runs_an_experiment_is_watched_and_shows_what_it_found(service: Service, project: Path) -> None:
    (project / "experiments").mkdir()
    (project / "experiments" / "seven.yaml").write_text("zero: {rate: 7}\n")
    with worker(service, project):
        said = service.prefect(
            *["deployment", "run", "reproduce/local", "--watch"],
            *["-p", "experiment=seven", "-p", 'stages=["zero","scored"]'],
        )
    assert "Completed" in said
    assert "rate: 7" in (project / "first").read_text()
    artifacts = {str(artifact["key"]): str(artifact["data"]) for artifact in service.ask("artifacts/filter")}
    assert json.loads(artifacts["scored-metrics"])[0]["all"] == 0.5
    assert "data:image/jpeg;base64," in artifacts["scored"]
    logged = service.messages()
    assert "text of zero" in logged
    assert "zero.rate: 0.5 -> 7" in logged
    everything = [*logged, *artifacts.values(), said, (project / "worker.log").read_text()]
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


def test_a_killed_worker_leaves_nothing_and_another_one_goes_on(
    service: Service, project: Path, nobody_holds: Callable[[], bool]
) -> None:
    with worker(service, project) as first:
        start(service, "reproduce/local", stages=["zero", "hold"])
        wait_for_hold(project, nobody_holds)
        first.kill()
        wait_for_end(project)
    while in_project(project):
        time.sleep(0.1)

    (project / "hold.py").write_text("print('it ends')\n")
    with worker(service, project):
        run = start(service, "reproduce/local", stages=["zero", "hold"])
        assert service.wait(run, "COMPLETED", "CRASHED", "FAILED") == "COMPLETED"
    assert (project / "ran").read_text().split() == ["zero"], "what was finished is not run again"

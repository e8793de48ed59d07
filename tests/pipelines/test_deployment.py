"""A real Prefect server and worker on loopback: deployed from prefect.yaml, run, cancelled, killed and taken up again.

The deployed flow is the real one; its worker runs in a tiny DVC project instead of this checkout.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

ROOT = Path(__file__).parents[2]
PREFECT = [sys.executable, "-m", "prefect"]
SECRET = "s3cr3t-of-this-test"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks at processes in /proc, which Linux has"),
]


@dataclass(frozen=True)
class Service:
    """A Prefect server, and the environment of those that use it."""

    url: str
    pid: int
    environment: dict[str, str]

    def prefect(self, *arguments: str, folder: Path = ROOT) -> str:
        """What a command prints, both of its streams."""
        done = subprocess.run(
            [*PREFECT, *arguments],
            cwd=folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        logged = "\n".join(str(line["message"]) for line in self.ask("logs/filter")) if done.returncode else ""
        assert done.returncode == 0, done.stdout + logged
        return done.stdout

    def ask(self, path: str, content: object = None) -> list[dict[str, object]]:
        """Results of a filter of the server's API."""
        request = Request(
            f"{self.url}/{path}", json.dumps(content or {}).encode(), {"Content-Type": "application/json"}
        )
        with urlopen(request) as answer:
            found: list[dict[str, object]] = json.loads(answer.read())
        return found

    def state(self, run: str) -> str:
        """The type of a flow run's state."""
        (found,) = self.ask("flow_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return str(found["state_type"])

    def wait(self, run: str, *states: str) -> str:
        """The state of a flow run as soon as it is one of these."""
        while (state := self.state(run)) not in states:
            time.sleep(0.2)
        return state


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with a fresh home, to which prefect.yaml has been deployed."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "OF_THIS_TEST": SECRET,
    }
    command = [*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
    found = Service(environment["PREFECT_API_URL"], server.pid, environment)
    try:
        while not answers(f"{found.url}/health"):
            assert server.poll() is None, (home / "server.log").read_text()
            time.sleep(0.2)
        for pool in ("local", "cluster"):
            found.prefect("work-pool", "create", "--type", "process", pool)
        found.prefect("--no-prompt", "deploy", "--all")
        yield found
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def answers(url: str) -> bool:
    try:
        with urlopen(url):
            return True
    except (URLError, ConnectionError):
        return False


@contextmanager
def worker(service: Service, project: Path) -> Iterator[subprocess.Popen[bytes]]:
    if not (project / "pipelines").exists():
        (project / "pipelines").symlink_to(ROOT / "pipelines")  # prefect.yaml names the flows' files
    command = [*PREFECT, "worker", "start", "--type", "process", "--pool", "local"]
    with (project / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=project, env=service.environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def start(service: Service, **parameters: object) -> str:
    """Have the deployed flow run; the id of its run."""
    (deployment,) = service.ask("deployments/filter", {"flows": {"name": {"any_": ["reproduce"]}}, **LOCAL})
    request = Request(
        f"{service.url}/deployments/{deployment['id']}/create_flow_run",
        json.dumps({"parameters": parameters}).encode(),
        {"Content-Type": "application/json"},
    )
    with urlopen(request) as answer:
        return str(json.loads(answer.read())["id"])


LOCAL = {"deployments": {"name": {"any_": ["local"]}}}


def wait_for_hold(project: Path, nobody_holds: Callable[[], bool]) -> None:
    """Until the stage that never ends has begun."""
    while not (project / "lock").exists() or nobody_holds():
        time.sleep(0.1)


def wait_for_end(project: Path) -> None:
    """Until the last process of the stage is gone."""
    with (project / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)


def in_project(project: Path) -> list[str]:
    """The command lines of the processes that work in the project's folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == project:
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has ended
            continue
    return found


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
    assert "| pq.all | 0.5 |" in artifacts["scored"]
    assert "data:image/png;base64," in artifacts["scored"]
    logged = [str(line["message"]) for line in service.ask("logs/filter")]
    assert "text of zero" in logged
    assert "zero.rate: 0.5 -> 7" in logged
    everything = [*logged, *artifacts.values(), said, (project / "worker.log").read_text()]
    assert not [text for text in everything if SECRET in text]


def test_cancelling_leaves_no_process(service: Service, project: Path, nobody_holds: Callable[[], bool]) -> None:
    with worker(service, project):
        run = start(service, stages=["hold"])
        wait_for_hold(project, nobody_holds)
        service.prefect("flow-run", "cancel", run)
        wait_for_end(project)
        assert service.wait(run, "CANCELLED", "CRASHED", "FAILED", "COMPLETED") == "CANCELLED"
        while len(left := in_project(project)) > 1:
            time.sleep(0.1)
        assert "worker start" in left[0]


def test_a_killed_worker_leaves_nothing_and_another_one_goes_on(
    service: Service, project: Path, nobody_holds: Callable[[], bool]
) -> None:
    with worker(service, project) as first:
        start(service, stages=["zero", "hold"])
        wait_for_hold(project, nobody_holds)
        first.kill()
        wait_for_end(project)
    while in_project(project):
        time.sleep(0.1)

    (project / "hold.py").write_text("print('it ends')\n")
    with worker(service, project):
        run = start(service, stages=["zero", "hold"])
        assert service.wait(run, "COMPLETED", "CRASHED", "FAILED") == "COMPLETED"
    assert (project / "ran").read_text().split() == ["zero"], "what was finished is not run again"

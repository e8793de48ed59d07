"""Helpers: DVC projects, a real Prefect server and worker on loopback, and the processes and sockets of a test."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

ROOT = Path(__file__).parents[2]
PREFECT = [sys.executable, "-m", "prefect"]
SECRET = "s3cr3t-of-this-test"


def write_dvc_project(folder: Path, stages: str) -> Path:
    """Write a DVC project without git, with the given dvc.yaml."""
    (folder / ".dvc").mkdir(parents=True)
    config = "[core]\n    no_scm = true\n    analytics = false\n    check_update = false\n"
    (folder / ".dvc" / "config").write_text(config)
    (folder / "dvc.yaml").write_text(stages)
    return folder


@dataclass(frozen=True)
class Service:
    """A Prefect server, and the environment of its clients."""

    url: str
    pid: int
    environment: dict[str, str]

    def prefect(self, *arguments: str, folder: Path = ROOT) -> str:
        """Run a Prefect command, and return its standard output and error."""
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
        assert done.returncode == 0, "\n".join([done.stdout, *self.messages()])
        return done.stdout

    def ask(self, path: str, content: object = None) -> list[dict[str, object]]:
        """Return the results of a filter of the server's API."""
        found: list[dict[str, object]] = json.loads(self.post(path, content or {}))
        return found

    def post(self, path: str, content: object) -> bytes:
        """Return the answer of the server's API, with retries while it is too busy, as in Prefect's own clients."""
        data, headers = json.dumps(content).encode(), {"Content-Type": "application/json"}
        while True:
            try:
                with urlopen(Request(f"{self.url}/{path}", data, headers)) as answer:
                    text: bytes = answer.read()
                    return text
            except HTTPError as error:
                if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
                    raise
                time.sleep(0.2)

    def messages(self, run: str | None = None) -> list[str]:
        """Return the latest log messages, of one flow run or of all."""
        of_run = {"logs": {"flow_run_id": {"any_": [run]}}} if run else {}
        newest = self.ask("logs/filter", {"sort": "TIMESTAMP_DESC", **of_run})
        return [str(line["message"]) for line in reversed(newest)]

    def state(self, run: str) -> str:
        """Return the type of a flow run's state."""
        (found,) = self.ask("flow_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return str(found["state_type"])

    def wait(self, run: str, *states: str) -> str:
        """Wait until the state of a flow run is one of these, and return it."""
        while (state := self.state(run)) not in states:
            time.sleep(0.2)
        return state


@contextmanager
def prefect_server(home: Path) -> Iterator[Service]:
    """Run a server with a fresh home, to which prefect.yaml has been deployed."""
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
def worker(
    service: Service, project: Path, pool: str = "local", **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker that executes scheduled runs in `project`, with extra environment variables."""
    if not (project / "pipelines").exists():
        (project / "pipelines").symlink_to(ROOT / "pipelines")  # prefect.yaml names the flows' files
    command = [*PREFECT, "worker", "start", "--type", "process", "--pool", pool]
    with (project / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=project,
            env=service.environment | environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def start(service: Service, deployment: str, **parameters: object) -> str:
    """Start a run of a deployed flow (`reproduce/local`), and return its ID."""
    flow, name = deployment.split("/")
    wanted = {"flows": {"name": {"any_": [flow]}}, "deployments": {"name": {"any_": [name]}}}
    (found,) = service.ask("deployments/filter", wanted)
    created = service.post(f"deployments/{found['id']}/create_flow_run", {"parameters": parameters})
    return str(json.loads(created)["id"])


def in_project(project: Path) -> list[int]:
    """Return the processes whose working directory is the project's folder or below it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(project):
                found.append(int(process.name))
        except OSError:  # it has ended
            continue
    return found


def open_addresses(processes: Iterable[int]) -> set[str]:
    """Return the local addresses, as the kernel writes them, on which processes accept connections."""
    sockets = set()
    for file in (file for process in processes for file in Path(f"/proc/{process}/fd").glob("*")):
        with suppress(OSError):  # it has ended
            sockets.add(str(file.readlink()))
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return {row[1].split(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}

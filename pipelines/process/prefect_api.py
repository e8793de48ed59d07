"""The Prefect API that a flow reports to: the server that the settings name, or a temporary one.

Prefect starts a temporary server by itself, but waits for a dead one until the time for its start is over, or starts it
again and again. This one is watched while it starts: if it dies, the flow ends with the server's last words.
"""

import atexit
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque

import httpx
import prefect
from prefect.client.orchestration import get_client
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import get_current_settings

from pipelines.process.private_folder import UMASK
from pipelines.process.session import CommandError, failure

_LAST_WORDS = 8
_POLL_SECONDS = 0.1
_ENVIRONMENT = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
_FACTORY = "prefect.server.api.server:create_app"


def require_server(url: str) -> None:
    """Raise `ValueError` if no Prefect server answers at `url`, for which a flow would ask again and again."""
    with get_client(sync_client=True) as client:
        error = client.api_healthcheck()
    if error is not None:
        what = str(error) or type(error).__name__
        raise ValueError(
            f"no Prefect server answers at {url} ({what}); start one (make server), correct PREFECT_API_URL, or unset"
            " it to run without a server"
        )


def start_temporary_server() -> None:
    """Start a server on loopback for this process, which ends with it; flows find it as Prefect's own.

    Raises:
        CommandError: It died, or did not answer in time; the message ends with its last lines of output.
    """
    server = SubprocessASGIServer()
    server.port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(prefect.__module_path__.parent), "--factory", _FACTORY]
    command += ["--host", "127.0.0.1", "--port", str(server.port), "--log-level", "error", "--lifespan", "on"]
    process = subprocess.Popen(
        command,
        env={**os.environ, **get_current_settings().to_environment_variables(exclude_unset=True), **_ENVIRONMENT},
        stderr=subprocess.PIPE,
        umask=UMASK,
    )
    server.server_process, server.running = process, True
    atexit.register(server.stop)
    output = _Output(process)
    deadline = time.monotonic() + get_current_settings().server.ephemeral.startup_timeout_seconds
    with httpx.Client() as client:
        while not _is_healthy(client, server.api_url):
            if process.poll() is not None or time.monotonic() > deadline:
                server.stop()
                said = failure(("uvicorn", _FACTORY), process.returncode, output.last_words())
                raise CommandError(f"Prefect's temporary server did not start: {said}")
            time.sleep(_POLL_SECONDS)
    output.show()


class _Output:
    """Standard error of a process: kept while it starts, passed on afterwards."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        self._stream, self._shown = process.stderr, threading.Event()
        self._lines: deque[str] = deque(maxlen=_LAST_WORDS)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def show(self) -> None:
        """Pass on what comes from now on."""
        self._shown.set()

    def last_words(self) -> str:
        """Return the last lines of a process that has ended."""
        self._thread.join(timeout=1.0)
        return "\n".join(self._lines)

    def _read(self) -> None:
        for line in self._stream:
            text = line.decode(errors="replace").rstrip()
            if self._shown.is_set():
                print(text, file=sys.stderr, flush=True)
            elif text:
                self._lines.append(text)


def _is_healthy(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/health").is_success
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port

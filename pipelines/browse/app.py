"""The App's server, for as long as it is wanted, on 127.0.0.1.

It is FiftyOne's own program, started as it is by `fiftyone.launch_app`, but without the session that would keep one
browser in step with this program: addresses with a view need none.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from pipelines.browse.database import answers
from pipelines.browse.errors import BrowseError
from pipelines.browse.processes import server_running
from pipelines.browse.quiet import ADDRESS

_START_SECONDS, _POLL_SECONDS = 60.0, 0.2


@contextmanager
def app_running(fiftyone: ModuleType, port: int, log: Path) -> Iterator[str]:
    """Serve the App and give its address; no process of it outlives the block."""
    if answers(port):
        raise BrowseError(f"something listens on {ADDRESS}:{port} already; end it, or choose another --port")
    program = Path(str(fiftyone.__file__)).parent / "server" / "main.py"
    command = [sys.executable, program.name, "--port", str(port), "--address", ADDRESS]
    environment = os.environ | {"FIFTYONE_DISABLE_SERVICES": "1"}
    with log.open("wb") as output, server_running(command, environment, output, output, program.parent) as process:
        deadline = time.monotonic() + _START_SECONDS
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise BrowseError(f"the App's server did not start on port {port}; {log} says why")
            time.sleep(_POLL_SECONDS)
        yield f"http://{ADDRESS}:{port}"

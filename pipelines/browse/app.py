"""The App's server on 127.0.0.1, running as long as it is needed.

It is FiftyOne's own program, started as by `fiftyone.launch_app` but without the session that synchronizes a browser
with this program, which addresses with a view do not need.
"""

import importlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from pipelines.browse.database import answers
from pipelines.browse.processes import server_running
from pipelines.browse.run_files import BrowseError

ADDRESS = "127.0.0.1"


def import_fiftyone(database_uri: str) -> ModuleType:
    """Import FiftyOne with that database. Raises `BrowseError` if it is not installed."""
    os.environ |= {
        "FIFTYONE_DATABASE_URI": database_uri,
        "FIFTYONE_DATABASE_VALIDATION": "false",
        "FIFTYONE_DO_NOT_TRACK": "true",
        "DO_NOT_TRACK": "1",
        "FIFTYONE_DEFAULT_APP_ADDRESS": ADDRESS,
        "FIFTYONE_SHOW_PROGRESS_BARS": "false",
    }
    try:
        return importlib.import_module("fiftyone")
    except ImportError as error:
        raise BrowseError(
            f"FiftyOne cannot be imported ({error}); install it: make install EXTRAS=dev,browse"
        ) from None


_START_SECONDS, _POLL_SECONDS = 60.0, 0.2


@contextmanager
def app_running(fiftyone: ModuleType, port: int, log: Path, plugins: Path) -> Iterator[str]:
    """Serve the App with the plugins of a folder and yield its address; none of its processes outlives the block."""
    if answers(port):
        raise BrowseError(f"{ADDRESS}:{port} is in use; stop the program that listens there, or choose another --port")
    program = Path(str(fiftyone.__file__)).parent / "server" / "main.py"
    command = [sys.executable, program.name, "--port", str(port), "--address", ADDRESS]
    environment = os.environ | {"FIFTYONE_DISABLE_SERVICES": "1", "FIFTYONE_PLUGINS_DIR": str(plugins)}
    with log.open("wb") as output, server_running(command, environment, output, output, program.parent) as process:
        deadline = time.monotonic() + _START_SECONDS
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise BrowseError(f"the App's server did not start on port {port}; see {log}")
            time.sleep(_POLL_SECONDS)
        yield f"http://{ADDRESS}:{port}"

"""A run to browse, as the stage writes it, with errors of every type, and what shows it: FiftyOne and its App.

The latter are skipped where FiftyOne (`make install EXTRAS=dev,browse`) or a MongoDB (which `make browse` fetches) is
missing.
"""

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from pipelines.browse.app import import_fiftyone
from pipelines.browse.database import database, find_mongod, free_port
from pipelines.browse.run_files import BrowseError
from stages import browse
from tests.stages.browse_files import write_browse_inputs

ROOT = Path(__file__).parents[3]
STATE = ROOT / "runs/state/browse"


@pytest.fixture(scope="module")
def browsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `first/` and `second/`, two runs on the same images, the first with corrupted ones."""
    root = tmp_path_factory.mktemp("browse")
    write_browse_inputs(root)
    common = ["--params", str(root / "params.yaml"), "--index", str(root / "val.index")]
    corrupted = ["--corrupted", str(root / "corrupt"), "--corrupted-predictions", str(root / "robustness")]
    browse.main([*common, "--predictions", str(root / "predict"), *corrupted, "--out", str(root / "first")])
    browse.main([*common, "--predictions", str(root / "other"), "--out", str(root / "second")])
    return root


@pytest.fixture(scope="session")
def mongod() -> Path:
    """The folder of a MongoDB, for the state of a test."""
    if importlib.util.find_spec("fiftyone") is None:
        pytest.skip("FiftyOne is missing: make install EXTRAS=dev,browse")
    try:
        find_mongod(STATE)
    except BrowseError as error:
        pytest.skip(f"MongoDB is missing: {error}")
    return (STATE / "mongod").resolve()


@pytest.fixture(scope="module")
def fiftyone(mongod: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """FiftyOne with a database of its own."""
    state = tmp_path_factory.mktemp("state")
    (state / "mongod").symlink_to(mongod)
    with database(state) as uri:
        yield import_fiftyone(uri)


@contextmanager
def app(run: Path, state: Path, mongod: Path, number: signal.Signals) -> Iterator[tuple[int, str, list[str]]]:
    """Start the App, yield its process, address and what it said, and end it by the signal `number`."""
    (state / "mongod").symlink_to(mongod)
    port = free_port()
    command = [sys.executable, "-m", "pipelines.browse", str(run), "--port", str(port), "--state", str(state)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FIFTYONE_")}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ctrl-C" in line:
                break
        yield process.pid, f"http://127.0.0.1:{port}/datasets/panoptic", said
    finally:
        process.send_signal(number)
        process.wait(60)
        process.stdout.close()

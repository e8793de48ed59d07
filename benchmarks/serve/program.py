"""The server as a process of its own."""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from types import MappingProxyType

from model.complexity.memory import status_bytes
from panoptic.runtime.cli import ending_with_this

START = "-m", "panoptic_segformer.serve", "--port", "0", "--model"


@dataclass(frozen=True)
class Program:
    """A server, and where it answers."""

    process: subprocess.Popen[str]
    address: str

    @property
    def resident_bytes(self) -> int:
        """Memory that it holds now; 0 on systems that do not tell."""
        return status_bytes("VmRSS", str(self.process.pid))

    def connect(self) -> HTTPConnection:
        """Open a connection, which is kept over requests."""
        return HTTPConnection(self.address.removeprefix("http://"), timeout=300)

    def end(self) -> tuple[int, str]:
        """Wait for its end; returns the exit status, and what it printed as errors."""
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


@contextmanager
def started(weights: Path, *options: str, environment: Mapping[str, str] = MappingProxyType({})) -> Iterator[Program]:
    """Start a server on a free port, and kill it at the end of the block.

    Raises:
        ValueError: it ended instead.
    """
    process = subprocess.Popen(
        [sys.executable, *START, str(weights), *options],
        env={**ending_with_this(), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"http://\S+:\d+", said)
        if not found:
            raise ValueError(f"the server did not start: {said}{process.communicate()[1]}")
        yield Program(process, found[0])
    finally:
        process.kill()
        process.communicate()

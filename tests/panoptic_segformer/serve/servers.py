"""Servers for tests: the program, and one in a thread whose network waits."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from panoptic_segformer.serve.limits import Limits
from tests.panoptic_segformer.programs import ROOT


@dataclass(frozen=True)
class Program:
    """A server as a process, and where it answers."""

    process: subprocess.Popen[str]
    address: str

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=120, trust_env=False)

    def end(self) -> tuple[int, str]:
        """Wait for its end; returns the exit status, and what it printed as errors."""
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


@contextmanager
def started(weights: Path, *options: str) -> Iterator[Program]:
    """Start a server on a free port."""
    command = [sys.executable, "-m", "panoptic_segformer.serve", "--model", str(weights), "--port", "0", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"http://\S+:\d+", said)
        assert found, said + (process.communicate()[1] if process.poll() is not None else "")
        yield Program(process, found[0])
    finally:
        process.kill()
        process.communicate()


@dataclass
class Gate:
    """Lets a network run only when it is open."""

    opened: threading.Event
    runs: int = 0


Start = Callable[[Limits], tuple[str, Gate]]

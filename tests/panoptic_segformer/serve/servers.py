"""Servers for tests: the program, and one in a thread whose network waits; and photos to send."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from panoptic_segformer.serve.limits import Limits

ROOT = Path(__file__).parents[3]


def photo(seed: int, height: int = 48, width: int = 64, form: str = "PNG", orientation: int = 1) -> bytes:
    """Make an image file of a few random blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = BytesIO()
    Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST).save(buffer, form, exif=exif)
    return buffer.getvalue()


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

"""Servers that run as long as they are needed, and stop with all their processes, even if this program is killed."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pipelines.process import guard

_END_SECONDS = 15.0


@contextmanager
def server_running(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    output: IO[bytes] | int,
    errors: IO[bytes] | int,
    folder: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` below a guard, whose process is yielded; it exits with the command, at the latest with the block.

    It has a session of its own: Ctrl-C reaches only this program, which stops its servers after their last client.
    """
    process = subprocess.Popen(
        [sys.executable, guard.__file__, str(_END_SECONDS), *command],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=errors,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()

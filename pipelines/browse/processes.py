"""A server for as long as it is wanted: ended with all that it has started, also when this program is killed."""

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
    """Run `command` below a guard, which is given; it ends as the command does, and with the block at the latest.

    Its session is its own: Ctrl-C is for this program, which ends its servers after their last client.
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

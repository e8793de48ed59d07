"""Ending a server that was started in a session of its own, with all that it has started."""

import os
import signal
import subprocess
from contextlib import suppress

_END_SECONDS = 15.0


def end_group(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the whole group, then, to what is left when the grace is over, SIGKILL."""
    _signal(process, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_SECONDS)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)

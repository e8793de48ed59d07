"""Run a flow as a command that leaves no process behind."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

from prefect.settings import get_current_settings

from pipelines.process import guard
from pipelines.process.ending import ENDING
from pipelines.process.preconditions import check_preconditions
from pipelines.process.prefect_api import start_temporary_server
from pipelines.process.session import CommandError, end_all

GRACE_SECONDS = 20.0  # longer than the grace of a stage, for which the flow waits
_INSIDE = "PIPELINES_UNDER_GUARD"


def run_as_program(module: str, flow: Callable[[], None], require: Callable[[Path], None]) -> int:
    """Run a flow without a running Prefect server, and return the exit status: 2 if it cannot start.

    `require` checks what the flow needs of the checkout on top of `check_preconditions`. A temporary server is
    started for the flow. The flow runs in a second process under a guard, because that server would outlive a SIGKILL.
    """
    if os.environ.get(_INSIDE):
        os.environ.pop(_INSIDE)
        signal.signal(signal.SIGTERM, _leave)
        try:
            if not get_current_settings().api.url:
                start_temporary_server()
            flow()
        except (CommandError, ValueError, TimeoutError) as error:
            print(f"error: {error}", file=sys.stderr)  # repeated without the traceback in Prefect's log above
            return 1
        return 0
    try:
        check_preconditions(Path())
        require(Path())
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return _run_again_under_guard(module, sys.argv[1:])


def _run_again_under_guard(module: str, arguments: Sequence[str]) -> int:
    command = [sys.executable, guard.__file__, "--leader-first", str(GRACE_SECONDS)]
    command += [sys.executable, "-m", module, *arguments]
    environment = {**os.environ, _INSIDE: "1"}
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True)
    assert process.stdin is not None
    received: list[int] = []

    def end(number: int, _frame: FrameType | None, stdin: IO[bytes] = process.stdin) -> None:
        received.append(number)
        stdin.close()

    for number in ENDING:
        signal.signal(number, end)
    status = process.wait()
    if status and received:
        print("stopped; repeat the command to resume", file=sys.stderr)
        return 128 + received[0]
    return status


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """Exit cleanly, so that Prefect's temporary server is stopped as well."""
    logging.raiseExceptions = False  # tasks that outlive Prefect's log would each print a traceback
    end_all()
    sys.exit(128 + number)

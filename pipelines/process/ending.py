"""Ending a command by a signal in one line."""

import os
import signal
from types import FrameType
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a command, with status 128 + their number."""


def end_at_once() -> None:
    """Let these signals end this program with one line, unless it is to ignore them."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _exit)


def _exit(number: int, _frame: FrameType | None) -> NoReturn:
    # Printing is not safe in the middle of another print.
    os.write(2, f"ended by {signal.Signals(number).name}; repeat the command to resume, or to start again\n".encode())
    os._exit(128 + number)

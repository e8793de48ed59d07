"""Runs a command in a session of its own, and ends all of it as soon as the program that asked for it is gone.

    python -m pipelines.process.guard [--as-child] [--leader-first] GRACE_SECONDS COMMAND [ARGUMENT ...]

The other end of standard input is held by that program and never written to: it closes when the program ends, even
by SIGKILL, or wants the command to end; signals do nothing. With `--as-child`, for a program that does not know about
guards (a Prefect worker), the command ends when the guard's parent ends or the guard gets a SIGTERM.
Then every process of the session's group gets SIGTERM, and after the grace SIGKILL. With `--leader-first` the first
process alone is asked, for it ends the others in good order, and what it has left then gets its SIGTERM and grace.
The exit status is the command's, 128 and the number of the signal where one ended it.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

_KILL_SECONDS = 2.0  # for the system to carry out a SIGKILL
_REST_SECONDS = 2.0  # for what a leader that was asked first has left behind
_POLL_SECONDS = 0.05


def main(command: list[str], grace_seconds: float, as_child: bool, leader_first: bool) -> int:
    """Run the command until it ends, or it is to end; the exit status."""
    parent, abandoned = os.getppid(), threading.Event()
    # Handled, not ignored: what is ignored would be ignored by the command as well.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: abandoned.set() if as_child else None)
    try:
        leader = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"{command[0]}: cannot be started: {error.strerror}", file=sys.stderr)
        return 127
    if not as_child:
        threading.Thread(target=_wait_for_end_of_input, args=(abandoned,), daemon=True).start()
    while leader.poll() is None and not abandoned.wait(_POLL_SECONDS):
        if as_child and os.getppid() != parent:
            abandoned.set()
    if leader_first and leader.poll() is None:
        leader.terminate()
        _wait_for(lambda: leader.poll() is None, grace_seconds)
    _end_group(leader, grace_seconds if not leader_first else _REST_SECONDS)
    return leader.returncode if leader.returncode >= 0 else 128 - leader.returncode


def _wait_for_end_of_input(abandoned: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1 << 10):
        pass
    abandoned.set()


def _end_group(leader: subprocess.Popen[bytes], grace_seconds: float) -> None:
    def lives() -> bool:
        leader.poll()  # until it is waited for, a leader that has ended still counts as a member
        return _signal_group(leader.pid, 0)

    if _signal_group(leader.pid, signal.SIGTERM):
        _wait_for(lives, grace_seconds)
        if _signal_group(leader.pid, signal.SIGKILL):
            _wait_for(lives, _KILL_SECONDS)
    leader.wait()


def _wait_for(lives: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and lives():
        time.sleep(_POLL_SECONDS)


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group (0 only asks); whether there was anybody to receive it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m pipelines.process.guard", description=__doc__.splitlines()[0])
    parser.add_argument("--as-child", action="store_true", help="end with the parent, not with standard input")
    parser.add_argument("--leader-first", action="store_true", help="SIGTERM to the command's first process alone")
    parser.add_argument("grace", type=float, metavar="GRACE_SECONDS")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    sys.exit(main(given.command, given.grace, given.as_child, given.leader_first))

"""Run a command in its own session, and end the whole session as soon as the program that requested it is gone.

    python -m pipelines.process.guard [--as-child] [--leader-first] GRACE_SECONDS COMMAND [ARGUMENT ...]

That program holds the other end of standard input and never writes to it: it closes when the program ends, even by
SIGKILL, or wants the command to end. Signals do nothing. With `--as-child`, for a program that knows nothing of guards
(a Prefect worker), the command ends when the guard's parent ends or the guard receives SIGTERM.
Every process of the session's group then receives SIGTERM and, after the grace period, SIGKILL. With `--leader-first`
only the first process receives SIGTERM at first, to end the others cleanly; processes left after that get their own
SIGTERM and grace period. The exit status is the command's, or 128 plus the number of the signal that ended it.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

_KILL_SECONDS = 2.0  # for SIGKILL to take effect
_REST_SECONDS = 2.0  # for processes that the leader left behind
_POLL_SECONDS = 0.05


def main(command: list[str], grace_seconds: float, as_child: bool, leader_first: bool) -> int:
    """Run the command until it ends or has to end, and return its exit status."""
    parent, abandoned = os.getppid(), threading.Event()
    # Handle signals instead of ignoring them, because the command would inherit an ignored signal.
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
        leader.poll()  # an ended leader counts as a member until it is waited for
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
    """Send a signal to a process group (0 only probes), and return True if the group has processes."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m pipelines.process.guard", description=__doc__.splitlines()[0])
    parser.add_argument("--as-child", action="store_true", help="end with the parent, not with standard input")
    parser.add_argument("--leader-first", action="store_true", help="send SIGTERM to the command's first process only")
    parser.add_argument("grace", type=float, metavar="GRACE_SECONDS")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    sys.exit(main(given.command, given.grace, given.as_child, given.leader_first))

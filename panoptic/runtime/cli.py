"""Running a command so that wrong input ends in one clear message."""

import os
import sys
from collections.abc import Callable


def run_command(command: Callable[[], None]) -> None:
    """Run the body of a command. On wrong input or a disk error, end the program with one message and status 2.

    With `TRACEBACK=1` in the environment the error is raised as it is, to show where it comes from.
    """
    try:
        command()
    except (ValueError, OSError) as error:
        if os.environ.get("TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)

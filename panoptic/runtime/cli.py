"""Running a command so that wrong input ends in one clear message."""

import io
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress

from panoptic.runtime.text_encoding import require_utf8


def run_command(command: Callable[[], None]) -> None:
    """Run the body of a command. On wrong input or a disk error, end the program with one message and status 2.

    With `TRACEBACK=1` in the environment the error is raised as it is, to show where it comes from. A reader of the
    output that ends early (`| head`) does not stop the work: what is printed after that is dropped.
    """
    require_utf8()
    _survive_closed_pipes()
    try:
        command()
    except (ValueError, OSError) as error:
        if os.environ.get("TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


class _OpenEnded(io.TextIOWrapper):
    """A stream that drops what a closed pipe no longer takes."""

    def write(self, text: str, /) -> int:
        with suppress(BrokenPipeError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(BrokenPipeError):
            super().flush()


def _survive_closed_pipes() -> None:
    """Where standard output or standard error is a pipe, replace it by one that may be closed at its other end."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or stream is not getattr(sys, f"__{name}__"):  # replaced by a test, or closed
            continue
        if stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode):
            stream.flush()
            lines = stream.line_buffering or stream.write_through
            binary = os.fdopen(stream.fileno(), "wb", closefd=False)
            setattr(sys, name, _OpenEnded(binary, stream.encoding, stream.errors, line_buffering=lines))

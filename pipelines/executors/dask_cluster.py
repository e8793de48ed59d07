"""Start Dask's scheduler, or a worker in this checkout, as the flows need them (docs/cluster.md, "Several machines").

    python -m pipelines.executors.dask_cluster scheduler [--host 10.0.0.1] [OPTION ...]
    python -m pipelines.executors.dask_cluster worker tcp://10.0.0.1:8786 [--host 10.0.0.2] [OPTION ...]

It becomes `dask scheduler` or `dask worker`, and takes their options, after some of its own: nothing listens on other
addresses than 127.0.0.1 unless `--host` says so, for Dask asks nobody for a password; and a worker runs one program at
a time.
"""

import os
import sys
from collections.abc import Sequence

_HERE = "127.0.0.1"
_OPTIONS = {
    "scheduler": ("--no-dashboard", "--no-jupyter"),
    # Programs are processes of their own, so a worker's own memory and threads say nothing about them.
    "worker": ("--no-dashboard", "--nthreads", "1", "--memory-limit", "0"),
}


def dask_command(role: str, given: Sequence[str]) -> list[str]:
    """The command of Dask's for a role; of an option that comes twice, the last counts.

    Raises:
        ValueError: there is no such role.
    """
    if role not in _OPTIONS:
        raise ValueError(f"{role!r} is not one of {', '.join(_OPTIONS)}")
    # The address of the pages counts without them too: health and metrics are served there.
    safe = ["--host", _HERE, "--dashboard-address", f"{_HERE}:0", *_OPTIONS[role]]
    # As a module, and not as the program `dask`, so that it finds the checkout's folders.
    return [sys.executable, "-m", "dask", role, *safe, *given]


def main() -> None:
    """The command line; does not return."""
    try:
        command = dask_command((sys.argv[1:] or [""])[0], sys.argv[2:])
    except ValueError as error:
        sys.exit(f"error: {error}; see python -m dask scheduler --help, python -m dask worker --help")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()

"""Start a Dask scheduler, or a worker in this checkout, with the options the flows need (docs/cluster.md).

    python -m pipelines.executors.dask_cluster scheduler [--host 10.0.0.1] [OPTION ...]
    python -m pipelines.executors.dask_cluster worker tcp://10.0.0.1:8786 [--host 10.0.0.2] [OPTION ...]

The command becomes `dask scheduler` or `dask worker` and takes their options, on top of its own: everything listens on
127.0.0.1 unless `--host` says otherwise, because Dask asks nobody for a password, and a worker runs one program at a
time.
"""

import argparse
import os
import sys
from collections.abc import Sequence

_LOOPBACK = "127.0.0.1"
_OPTIONS = {
    "scheduler": ("--no-dashboard", "--no-jupyter"),
    # Programs are separate processes, so limits on the worker's own memory and threads do not apply to them.
    "worker": ("--no-dashboard", "--nthreads", "1", "--memory-limit", "0"),
}


def dask_command(role: str, given: Sequence[str]) -> list[str]:
    """Return the Dask command for a role, in which the last occurrence of an option counts.

    Raises:
        ValueError: There is no such role.
    """
    if role not in _OPTIONS:
        raise ValueError(f"{role!r} is not one of {', '.join(_OPTIONS)}")
    # The dashboard's address matters even without a dashboard: health and metrics are served there.
    safe = ["--host", _LOOPBACK, "--dashboard-address", f"{_LOOPBACK}:0", *_OPTIONS[role]]
    # Run as a module instead of the program `dask`, so that the checkout's packages are importable.
    return [sys.executable, "-m", "dask", role, *safe, *given]


def main() -> None:
    """Replace this process by the Dask command."""
    name = "python -m pipelines.executors.dask_cluster"
    parser = argparse.ArgumentParser(prog=name, description=__doc__.splitlines()[0])
    parser.add_argument("role", metavar="ROLE", help=" or ".join(_OPTIONS))
    parser.add_argument("options", nargs=argparse.REMAINDER, help="for Dask; ROLE --help lists them")
    given = parser.parse_args()
    try:
        command = dask_command(given.role, given.options)
    except ValueError as error:
        parser.error(str(error))
    os.execv(command[0], command)


if __name__ == "__main__":
    main()

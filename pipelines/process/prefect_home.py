"""Make Prefect's home, whose database holds the settings and logs of all runs, a folder for its owner alone.

    python -m pipelines.process.prefect_home

`make server` calls it; flows without a server do the same before they start. The server itself runs with a umask.
"""

import argparse
import sys

from prefect.settings import get_current_settings

from pipelines.process.private_folder import make_private


def make_home_private() -> None:
    """Take Prefect's home from other users. Raises `ValueError` if it cannot be written, or is somebody else's."""
    hint = "set PREFECT_HOME to a folder of your own that can be written, for Prefect's database"
    make_private(get_current_settings().home, hint)


def main() -> int:
    """Run the command line; the exit status is 2 if Prefect's home is of no use."""
    argparse.ArgumentParser(
        prog="python -m pipelines.process.prefect_home", description=__doc__.splitlines()[0]
    ).parse_args()
    try:
        make_home_private()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

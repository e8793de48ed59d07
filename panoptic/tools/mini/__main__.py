"""Write the dataset `mini`: `python -m panoptic.tools.mini --out data/mini`."""

import argparse
import os
from pathlib import Path

from panoptic.runtime.cli import run_command
from panoptic.tools.mini.write import write_dataset


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m panoptic.tools.mini", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an existing one is replaced")
    parser.add_argument("--train", type=int, default=1600, help="number of training images (default: %(default)s)")
    parser.add_argument("--val", type=int, default=150, help="number of validation images (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="does not change the result (default: %(default)s)"
    )
    arguments = parser.parse_args()
    run_command(
        lambda: write_dataset(arguments.out, arguments.train, arguments.val, arguments.seed, arguments.processes)
    )


if __name__ == "__main__":
    main()

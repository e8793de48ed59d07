"""Making what a table lacks on `mini`, by the benchmarks of a checkout."""

import subprocess
import sys
from pathlib import Path

from panoptic.runtime.cli import ending_with_this
from panoptic_segformer.papers.results import MINI
from panoptic_segformer.papers.table import TableView, how_made


def make_missing(view: TableView) -> None:
    """Run the commands of all rows without results on `mini`, and leave these in a folder of the table.

    Raises:
        ValueError: this is no checkout of the project, nothing can be made, or a command failed.
    """
    key, missing = view.table.key, view.missing()
    if not view.rows:
        raise ValueError(f"{key}: has no rows that --run could make; {how_made(view.table)}")
    if missing and not Path("benchmarks/compare_models").is_dir():
        raise ValueError(
            f"{Path.cwd()}: is no checkout of the project, whose benchmarks make results on mini; change to the folder"
            " that it was cloned to"
        )
    for words in missing:
        command = [*words, "--out", str(view.results.runs / MINI / key)]
        print(f"python -m {' '.join(command)}", file=sys.stderr, flush=True)
        # The output is the table alone.
        status = subprocess.run([sys.executable, "-m", *command], stdout=sys.stderr, env=ending_with_this()).returncode
        if status:
            raise ValueError(f"{key}: the command above failed with exit status {status}; see its output")

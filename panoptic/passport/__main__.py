"""Write what a passport needs while a network is trained; the task comes from `stages.train` as JSON.

A program of its own, so that a change to passports never makes trained weights out of date.
"""

import json
import sys
from pathlib import Path

from panoptic.io.json_fields import JsonObject
from panoptic.passport.training import Finished, begin, finish
from panoptic.runtime.cli import run_command


def main() -> None:
    """Do the task that the standard input describes."""
    task = JsonObject.of(json.load(sys.stdin), "the task")
    if task.text("action") == "begin":
        run_command(lambda: begin(Path(task.text("state"))))
    else:
        run_command(lambda: finish(Finished.from_json(task)))


if __name__ == "__main__":
    main()

"""Score several sets of predictions, from other checkpoints or other systems, and compare their PQ.

    python -m pipelines.evaluate runs/predict runs/others/older runs/others/larger --jobs 2
    python -m pipelines.evaluate runs/others/* --scheduler tcp://127.0.0.1:8786

Each is a folder in this checkout with the files that stages.predict writes. The command of the stage `evaluate` scores
it in place of the stage's own predictions, and writes to a folder of the same name in runs/evaluations/. Each folder is
one program, on this machine or on those of a Dask scheduler (docs/cluster.md).
"""

import argparse
import json
import sys
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from pipelines.dvc_project.project import DvcProject
from pipelines.executors.executor import Program
from pipelines.executors.run_programs import run_programs
from pipelines.process.flow_command import run_as_program
from pipelines.process.preconditions import require_idle
from pipelines.reporting.tables import markdown_table, text_table
from pipelines.reproduce import run_stage

STAGE, GROUND_TRUTH = "evaluate", "annotate"
PREDICTIONS, SCORES = "runs/predict", "runs/evaluate"  # in the command of the stage
EVALUATIONS = "runs/evaluations"
GROUPS = ("all", "things", "stuff")


@flow(log_prints=True)
def evaluate(results: list[str], jobs: int = 2, scheduler: str | None = None, folder: Path = Path()) -> None:
    """Score the predictions in folders, `jobs` at a time or, with a Dask scheduler, as many as its workers can take."""
    if not results or jobs < 1:
        raise ValueError(f"{len(results)} results and {jobs} jobs; give at least one of each")
    outs = {result: f"{EVALUATIONS}/{Path(result).name}" for result in results}
    if len(set(outs.values())) < len(results):
        raise ValueError(f"two of the folders {', '.join(results)} have the same name; rename one")
    for result in results:
        if Path(result).is_absolute() or not (folder / result / "panoptic.json").is_file():
            raise ValueError(f"{result}: not a folder of predictions in this checkout; give one with panoptic.json")
    project = DvcProject(folder)
    before = (*project.needs(GROUND_TRUTH), GROUND_TRUTH)
    project.fetch([GROUND_TRUTH])
    for stage in before:
        run_stage(stage, folder)
    ground_truth = project.written(before)
    programs = [
        Program(
            f"{STAGE} {Path(result).name}",
            tuple(_moved(_moved(word, PREDICTIONS, result), SCORES, out) for word in project.command(STAGE)),
            rank=rank,
            reads=(*ground_truth, f"{result}/*"),
            writes=(f"{out}/*",),
        )
        for rank, (result, out) in enumerate(outs.items())
    ]
    run_programs(programs, folder, scheduler, at_once=jobs if scheduler is None else None)
    table = [["PQ", *GROUPS], *([result, *_quality(folder / out / "metrics.json")] for result, out in outs.items())]
    print(text_table(table))
    create_markdown_artifact(markdown_table(table), key="evaluations", description="PQ of several results")


def _moved(word: str, old: str, new: str) -> str:
    """Replace the folder at the start of a word of a command, if it is `old`."""
    return new + word.removeprefix(old) if word == old or word.startswith(f"{old}/") else word


def _quality(metrics: Path) -> list[str]:
    found = json.loads(metrics.read_text(encoding="utf-8"))["pq"]
    return ["-" if found[group] is None else f"{100 * found[group]:.2f}" for group in GROUPS]


def main() -> int:
    """Run the command line; the exit status is 0 if everything was scored."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+", metavar="FOLDER", help="with panoptic.json, panoptic/ and instances.json")
    parser.add_argument("--jobs", type=int, default=2, help="programs at a time on this machine (default: 2)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask scheduler on whose machines to run")
    given = parser.parse_args()
    results = [str(Path(result)) for result in given.results]
    return run_as_program("pipelines.evaluate", lambda: evaluate(results, given.jobs, given.scheduler), require_idle)


if __name__ == "__main__":
    sys.exit(main())

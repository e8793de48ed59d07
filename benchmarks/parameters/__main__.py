"""Publish PQ against parameters: the papers' networks on COCO, and ours on mini.

    python -m benchmarks.parameters

Reads the papers' tables, and comparison.json and families.json, which `python -m benchmarks.compare_models` publishes,
from the folder of results. Writes parameters.md, parameters.json and parameters.png.
"""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.results import RESULTS, publish
from benchmarks.parameters.report import (
    FIGURE,
    ParametersReport,
    mini_points,
    paper_points,
    parameters_figure,
    parameters_page,
)
from panoptic.io.files import write_atomically
from panoptic.robustness.figures import png_file
from panoptic.runtime.cli import run_command


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = benchmark_parser("parameters", __doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to read (default: %(default)s)")
    arguments = parser.parse_args(argv)

    def command() -> None:
        mini, sources = mini_points(arguments.results)
        report = ParametersReport(paper_points(), mini, sources)
        figure = png_file(parameters_figure(report))
        publish("parameters", parameters_page(report), report, arguments.out)
        write_atomically(arguments.out / FIGURE, figure)

    run_command(command)


if __name__ == "__main__":
    main()

"""Publish what the papers' models and the configured one cost, as `stages.complexity` counts and measures it.

    python -m benchmarks.complexity

The embedded dataset has to be annotated: `dvc repro annotate`. Writes complexity.md and complexity.json.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.results import publish
from model.complexity.rows import ModelRow
from model.complexity.settings import ComplexitySettings
from model.complexity.table import complexity_page
from model.network.config import NetworkConfig
from panoptic.index import PanopticIndex
from panoptic.runtime.cli import run_command
from stages.complexity import count_models
from stages.settings import load_section

PARAMS = Path("params.yaml")


@dataclass(frozen=True)
class ComplexityReport:
    """A row for each model."""

    rows: list[ModelRow]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = benchmark_parser("complexity", __doc__)
    parser.add_argument("--params", type=Path, default=PARAMS, help="settings (default: %(default)s)")
    parser.add_argument(
        "--index", type=Path, default=Path("runs/annotate/val.index"), help="its categories (default: %(default)s)"
    )
    arguments = parser.parse_args(argv)

    def command() -> None:
        settings = load_section(arguments.params, "complexity", ComplexitySettings)
        config = load_section(arguments.params, "model", NetworkConfig)
        rows = count_models(settings, config, PanopticIndex.load(arguments.index).categories)
        publish("complexity", complexity_page(rows), ComplexityReport(rows), arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()

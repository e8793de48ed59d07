"""Train a network with deep mask decoders, and read its masks out after each layer: PQ and milliseconds.

    python -m benchmarks.layers --steps 2400
    python -m benchmarks.layers --depth 4 --steps 800 --seed 1

The training is kept and resumed as those of `benchmarks.compare_models` are, and measured like the early exit of the
stage `explain`, one image at a time. Writes layers.md and layers.json.
"""

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.compare_models.options import WORK, comparison_parser, exit_if_any
from benchmarks.compare_models.rows import ComparedModel, RowTable, mask_layers
from benchmarks.compare_models.runs import ComparisonRuns
from benchmarks.harness.results import publish
from benchmarks.layers.report import LayersReport, layers_page
from model.device import pick_device
from model.explanation.early_exit import measure_early_exit
from model.inference.settings import InferenceSettings
from model.weights.checkpoint import load_checkpoint
from panoptic.index import PanopticIndex
from panoptic.runtime.cli import run_command
from stages.settings import load_section

ROW, DEPTH, RESAMPLES = "deep", 6, 1000


def deep_row(depth: int) -> RowTable:
    """Make the row that is trained. Raises `ValueError` for mask decoders without layers."""
    return RowTable("layers", "", {ROW: ComparedModel(ROW, settings={"model": mask_layers(depth)})})


def measure_layers(runs: ComparisonRuns, seed: int, depth: int) -> LayersReport:
    """Measure the trained network, one image at a time."""
    network = load_checkpoint(runs.folder(ROW, seed) / "model.safetensors").network.to(pick_device())
    settings = replace(load_section(runs.settings(ROW, seed), "predict", InferenceSettings), batch_size=1)
    found = measure_early_exit(network, settings, PanopticIndex.load(runs.index("val")), RESAMPLES)
    return LayersReport(runs.budget(), seed, depth, found)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = comparison_parser("layers", __doc__, WORK / "layers")
    parser.add_argument("--depth", type=int, default=DEPTH, help="layers of both mask decoders (default: 6)")
    parser.add_argument("--steps", type=int, default=2400, help="optimizer steps of the training (default: 2400)")
    parser.add_argument("--seed", type=int, default=0, help="of the training (default: 0)")
    arguments = parser.parse_args(argv)

    def command() -> None:
        runs = ComparisonRuns(arguments.params, arguments.work, arguments.steps, 1, deep_row(arguments.depth))
        runs.prepare([ROW])
        exit_if_any(runs.run([ROW], [arguments.seed])[1])
        report = measure_layers(runs, arguments.seed, arguments.depth)
        publish("layers", layers_page(report), report, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()

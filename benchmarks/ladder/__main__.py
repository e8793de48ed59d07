"""Measure what the papers' networks cost, from DETR to Panoptic SegFormer, beside their quality on mini.

    python -m benchmarks.ladder
    python -m benchmarks.ladder --rows detr detr_m v2 --size 480 640 --rounds 5

Parameters and multiply-adds are counted at the papers' sizes. Speed, post-processing included, and the memory of a
training step are measured at the size of your choice; all networks are in memory at once, and take turns. PQ is read
from the last page of `python -m benchmarks.compare_models`. Writes ladder.md and ladder.json: table 5 of the paper's
second version as one ladder, and table 4 of its first.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.compare_models.results import read_results
from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.device import machine_name, timer_for
from benchmarks.harness.drawn_masks import draw_found
from benchmarks.harness.interleave import interleave
from benchmarks.harness.results import RESULTS, Summary, publish
from benchmarks.ladder.report import CostResult, LadderReport, ladder_page
from benchmarks.ladder.rows import ROWS
from benchmarks.ladder.worker import training_memory
from model.complexity.rows import GIGA, MEGA, count_published
from model.device import keep_freed_memory, pick_device
from model.inference.merging import MergingSettings
from model.inference.post_processing import ImageSizes, find_masks
from model.inference.predictor import inference_forward
from model.inference.settings import InferenceSettings
from model.network.config import NetworkConfig
from model.network.families import build_network
from model.network.outputs import PanopticOutput
from model.published.models import COCO_STUFF, COCO_THINGS
from panoptic.runtime.cli import run_command

Forward = Callable[[Tensor], PanopticOutput]
CLASSES = COCO_THINGS, COCO_STUFF


@dataclass(frozen=True)
class LadderPlan:
    """Rows to measure, and how."""

    rows: Sequence[str]
    size: tuple[int, int]
    rounds: int
    comparison: Path

    def __post_init__(self) -> None:
        if min(*self.size, self.rounds) < 1:
            raise ValueError("--size and --rounds: give at least 1 of everything")


def measure_ladder(plan: LadderPlan) -> LadderReport:
    """Count and measure all rows."""
    compared = read_results(plan.comparison)
    memory = cache(training_memory)  # two rows differ in their merging alone
    trained = {name: memory(ROWS[name].model.config, plan.size) for name in plan.rows}
    seconds = segmentation_seconds(plan)
    first = seconds[plan.rows[0]]
    results = []
    for name in plan.rows:
        parameters, gmacs = counted(name)
        summaries = Summary.of(seconds[name]), Summary.of_ratios(first, seconds[name])
        pq = [one.pq["all"] for one in compared.get(ROWS[name].compared or "", [])]
        results.append(CostResult(name, parameters, gmacs, *summaries, trained[name], pq))
    comparison = plan.comparison.name if compared else None
    return LadderReport(plan.size, plan.rounds, machine_name(), comparison, results)


def counted(name: str) -> tuple[float, float]:
    """Return the parameters in millions and the multiply-adds in G of a row, by the papers' count."""
    paper = ROWS[name].model
    row = count_published(name, paper, paper.size)
    assert row.papers_parameters is not None
    assert row.macs_at_papers_size is not None
    return row.papers_parameters / MEGA, row.macs_at_papers_size / GIGA


@torch.no_grad()
def segmentation_seconds(plan: LadderPlan) -> dict[str, list[float]]:
    """Time an image for all rows, one round after the other."""
    keep_freed_memory()
    device = pick_device()
    images = torch.randn(1, 3, *plan.size, generator=torch.Generator().manual_seed(0)).to(device)
    forward = cache(_make_forward)
    timer = timer_for(device)
    runs: Mapping[str, Callable[[], float]] = {
        name: partial(timer.seconds, _segmentation(forward(ROWS[name].model.config), ROWS[name].merging, images))
        for name in plan.rows
    }
    return interleave(runs, plan.rounds, "ladder")


def _make_forward(config: NetworkConfig) -> Forward:
    torch.manual_seed(0)
    return inference_forward(build_network(config, *CLASSES).to(pick_device()), InferenceSettings())


def _segmentation(forward: Forward, method: str, images: Tensor) -> Callable[[], object]:
    """Return a function that segments the image and merges drawn masks of the same number and size as those found."""
    height, width = images.shape[-2:]
    sizes = ImageSizes((height, width), (height, width), (height, width))
    settings = MergingSettings(method=method)
    masks = find_masks(forward(images), 0, sizes).masks
    drawn = draw_found(len(masks), (masks.shape[-2], masks.shape[-1]), sizes, CLASSES)
    drawn = replace(drawn, masks=drawn.masks.to(masks))

    def segment() -> object:
        find_masks(forward(images), 0, sizes)
        return drawn.merge(settings)

    return segment


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = benchmark_parser("ladder", __doc__)
    names = list(ROWS)
    parser.add_argument("--rows", nargs="+", choices=names, default=names, metavar="ROW", help=", ".join(names))
    parser.add_argument("--size", type=int, nargs=2, default=[240, 320], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds of all networks (default: 7)")
    parser.add_argument(
        "--comparison", type=Path, default=RESULTS / "comparison.json", help="PQ on mini (default: %(default)s)"
    )
    arguments = parser.parse_args(argv)

    def command() -> None:
        rows = [name for name in names if name in arguments.rows]
        height, width = arguments.size
        report = measure_ladder(LadderPlan(rows, (height, width), arguments.rounds, arguments.comparison))
        publish("ladder", ladder_page(report), report, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()

"""Time and memory of segmenting an image: naive, ours, and baselines of `transformers` with the same backbone.

    python -m benchmarks.inference --size 480 640 --rounds 7

Network and post-processing, batch 1, random weights. Every method is a process of its own, and their runs are
interleaved; a GPU is used where there is one. Writes inference.md and inference.json.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial

import torch

from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.device import timer_for
from benchmarks.harness.interleave import Worker, interleave
from benchmarks.harness.results import Summary, publish
from benchmarks.inference.methods import BY_DEFAULT, METHODS, OWN, made_network, made_output, merge_naively, merge_ours
from benchmarks.inference.report import InferenceConditions, InferenceReport, inference_page
from benchmarks.inference.worker import SegmentationCost, made_image
from model.device import pick_device
from model.inference.predictor import inference_forward
from model.inference.settings import InferenceSettings
from model.network.config import NetworkConfig
from panoptic.runtime.cli import run_command


@dataclass(frozen=True)
class InferencePlan:
    """Methods to measure, and how."""

    methods: Sequence[str]
    config: NetworkConfig
    size: tuple[int, int]
    rounds: int
    threads: int


def measure(plan: InferencePlan) -> InferenceReport:
    """Measure all methods, and post-processing alone."""
    costs = segmentation_costs(plan)
    seconds = {name: [cost.seconds for cost in found] for name, found in costs.items()}
    merged = merging_seconds(plan)
    first = seconds[plan.methods[0]]
    return InferenceReport(
        conditions=InferenceConditions.now(plan.size, plan.rounds, plan.threads),
        seconds={name: Summary.of(values) for name, values in seconds.items()},
        speedup={name: Summary.of_ratios(first, values) for name, values in seconds.items()},
        parts={name: median_parts(costs[name]) for name in OWN if name in costs},
        merging={name: Summary.of(values) for name, values in merged.items()},
        merging_speedup=Summary.of_ratios(merged["naive"], merged["ours"]),
        memory={name: found[-1].memory for name, found in costs.items()},
    )


def segmentation_costs(plan: InferencePlan) -> dict[str, list[SegmentationCost]]:
    """Return the costs of every method in every round, each from a process of its own."""
    options = "--size", *plan.size, "--threads", plan.threads, "--config", json.dumps(asdict(plan.config))
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker("inference.worker", name, *options)) for name in plan.methods}
        answers = interleave({name: worker.ask for name, worker in workers.items()}, plan.rounds)
    return {name: [SegmentationCost(**json.loads(line)) for line in lines] for name, lines in answers.items()}


def median_parts(costs: Sequence[SegmentationCost]) -> dict[str, float]:
    """Return the median seconds of every part."""
    return {name: Summary.of([cost.parts[name] for cost in costs]).median for name in costs[0].parts}


@torch.no_grad()
def merging_seconds(plan: InferencePlan) -> dict[str, list[float]]:
    """Time post-processing alone in this process, on masks like those of a trained network."""
    device = pick_device()
    images = made_image(plan.size, device)
    output = made_output(inference_forward(made_network(plan.config, device), InferenceSettings())(images))
    timer = timer_for(device)
    merges = {"naive": merge_naively, "ours": merge_ours}
    runs = {name: partial(timer.seconds, partial(merge, output, plan.size)) for name, merge in merges.items()}
    return interleave(runs, plan.rounds, "merge")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = benchmark_parser("inference", __doc__)
    parser.add_argument("--size", type=int, nargs=2, default=[480, 640], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds of all methods (default: 7)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU (default: torch's)")
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=list(BY_DEFAULT), metavar="METHOD", help="some methods only"
    )
    arguments = parser.parse_args(argv)

    def command() -> None:
        if min(*arguments.size, arguments.rounds, arguments.threads) < 1:
            raise ValueError("give at least one of everything")
        torch.set_num_threads(arguments.threads)
        height, width = arguments.size
        plan = InferencePlan(arguments.methods, NetworkConfig(), (height, width), arguments.rounds, arguments.threads)
        report = measure(plan)
        publish("inference", inference_page(report), report, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()

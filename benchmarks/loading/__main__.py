"""Images per second that reach training, and where the time of an image goes.

    python -m benchmarks.loading
    python -m benchmarks.loading --index runs/annotate/train.index --params params.yaml --workers 8

Draws images of COCO's usual size with their id maps into zip files, unless it is given an index of `stages.annotate`.
Every part, beside Pillow as the usual decoder, runs interleaved in one process with one thread; the training loader
then runs with each number of workers. Writes loading.md and loading.json.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import cv2
import torch

from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.device import machine_name
from benchmarks.harness.results import publish
from benchmarks.loading.dataset import write_dataset
from benchmarks.loading.parts import measure_loading
from benchmarks.loading.report import LoadingReport, LoadingRounds, loading_page
from model.network.config import NetworkConfig
from model.training.sampling import TrainingImages
from model.training.settings import TrainSettings
from panoptic.index import PanopticIndex
from panoptic.io.working_folder import working_folder
from panoptic.runtime.cli import run_command
from stages.settings import load_section

RECIPE = Path("experiments/coco.yaml")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = benchmark_parser("loading", __doc__)
    parser.add_argument("--index", type=Path, help="index of stages.annotate (default: images are drawn)")
    parser.add_argument("--params", type=Path, default=RECIPE, help="settings of training (default: %(default)s)")
    parser.add_argument("--images", type=int, default=48, help="images to draw, and to load per round (default: 48)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="of the loader (default: 1 2)")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args(argv)

    def command() -> None:
        rounds = LoadingRounds(arguments.images, (0, *arguments.workers), arguments.rounds)
        if min(rounds.rounds, *arguments.workers) < 1 or rounds.images <= max(rounds.workers):
            raise ValueError("give at least one round and one worker, and more images than workers")
        report = measure(rounds, arguments.index, arguments.params)
        publish("loading", loading_page(report), report, arguments.out)

    run_command(command)


def measure(rounds: LoadingRounds, index: Path | None, params: Path) -> LoadingReport:
    """Measure an index, or drawn images where it is None."""
    train, network = load_section(params, "train", TrainSettings), load_section(params, "model", NetworkConfig)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    source = f"images of {index}" if index else f"{rounds.images} drawn images of 480 x 640"
    with ExitStack() as stack:
        index = index or write_dataset(Path(stack.enter_context(working_folder())), rounds.images)
        images = TrainingImages(PanopticIndex.load(index), train.augmentation, train.seed, network.stuff_queries)
        parts, rates = measure_loading(images, rounds)
    return LoadingReport(rounds, machine_name(), f"{source}, with the augmentation of {params}", parts, rates)


if __name__ == "__main__":
    main()

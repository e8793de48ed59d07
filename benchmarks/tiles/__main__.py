"""Panoptic quality of wide images, whole and in tiles.

    python -m benchmarks.tiles --model runs/train/model.safetensors

Draws landscapes that are wider than those of mini, with their ground truth, and predicts them as a whole and in tiles.
Writes tiles.md and tiles.json.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.mini_network import MINI_SIDE, load_mini
from benchmarks.harness.results import publish
from model.assembly.tiles import Tiling, join_tiles
from model.inference.post_processing import PanopticPrediction
from model.inference.predictor import Predictor
from panoptic.evaluation.image import WITHOUT_BOUNDARY, SegmentedImage, evaluate_image
from panoptic.evaluation.scores import ScoreCounter, count_image
from panoptic.format.segments import SegmentLabel
from panoptic.markdown import markdown_page, markdown_table
from panoptic.robustness.summary import CLASS_GROUPS
from panoptic.runtime.cli import run_command
from panoptic.tools.mini.categories import CATEGORIES
from panoptic.tools.mini.scene import make_scene

WIDTHS = (160, 256, 384)
OVERLAP = 32


@dataclass(frozen=True)
class TilesReport:
    """PQ in percent by width, method and group of categories."""

    images: int
    tile: int
    overlap: int
    qualities: Mapping[str, Mapping[str, Mapping[str, float]]]


def draw(width: int, number: int) -> tuple[npt.NDArray[np.uint8], SegmentedImage]:
    """Draw a landscape (H, W, 3) RGB and its ground truth; equal arguments give equal ones."""
    scene = make_scene(np.random.default_rng([19, width, number]), (MINI_SIDE, width))
    ids, segments = np.zeros((MINI_SIDE, width), np.int32), []
    for key, region in enumerate(scene.regions, 1):
        ids[region.mask] = key
        segments.append(SegmentLabel(key, region.category.id, region.is_crowd))
    return scene.image, SegmentedImage(ids, segments)


def predict_methods(
    network: Predictor, fitted: Predictor, image: npt.NDArray[np.uint8]
) -> Iterator[tuple[str, PanopticPrediction]]:
    """Predict an image by every method."""
    for name, predictor in (("whole", network), ("whole, fitted", fitted)):
        (prediction,) = predictor.predict([predictor.prepare(image, "")])
        yield name, prediction
    tiling = Tiling.of((image.shape[0], image.shape[1]), MINI_SIDE, OVERLAP)
    parts = [network.predict([network.prepare(crop, "")])[0] for crop in tiling.crops(image)]
    yield "tiles", join_tiles(tiling, parts)


def _as_result(prediction: PanopticPrediction) -> SegmentedImage:
    return SegmentedImage(prediction.ids, prediction.result_segments(CATEGORIES))


def _quality(counter: ScoreCounter) -> dict[str, float]:
    """Return PQ in percent by group; NaN where no category of a group occurs."""
    averages = {group: counter.result().average("pq", group) for group in CLASS_GROUPS}
    return {group: math.nan if pq is None else 100 * pq for group, pq in averages.items()}


def measure(weights: Path, images: int, widths: Sequence[int] = WIDTHS) -> TilesReport:
    """Measure all methods on `images` landscapes of each width."""
    network, fitted = load_mini(weights, max(widths)), load_mini(weights, 160)
    qualities = {}
    for width in widths:
        counters = defaultdict[str, ScoreCounter](lambda: ScoreCounter(CATEGORIES, WITHOUT_BOUNDARY))
        for number in tqdm(range(images), f"{width} pixels", unit="image"):
            image, gt = draw(width, number)
            for name, prediction in predict_methods(network, fitted, image):
                counters[name].add(count_image(evaluate_image(gt, _as_result(prediction), WITHOUT_BOUNDARY)))
        qualities[str(width)] = {name: _quality(counter) for name, counter in counters.items()}
    return TilesReport(images, MINI_SIDE, OVERLAP, qualities)


def tiles_page(report: TilesReport) -> str:
    """Render the qualities, a row for every width and method."""
    how = (
        f"Written by `python -m benchmarks.tiles` with weights of `make run`. {report.images} drawn landscapes of each"
        f" width, with things at mini's scale, that were never trained on; all are {report.tile} pixels high, as mini's"
        f" images. Tiles are {report.tile} x {report.tile} pixels and overlap by {report.overlap} at least. *Whole* is"
        " the image at its own size, which the network was not trained at beyond 160 pixels; *whole, fitted* is shrunk"
        " until its longer side is 160 pixels, as the settings of mini say."
    )
    rows = [
        [width, method, *(f"{quality[group]:.1f}" for group in CLASS_GROUPS)]
        for width, methods in report.qualities.items()
        for method, quality in methods.items()
    ]
    table = markdown_table(["width", "method", "PQ", *CLASS_GROUPS[1:]], rows, labels=2)
    return markdown_page("# Tiles: panoptic quality of large images", how, table)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = benchmark_parser("tiles", __doc__)
    parser.add_argument("--model", type=Path, default=Path("runs/train/model.safetensors"), help="weights of mini")
    parser.add_argument("--images", type=int, default=150, help="landscapes of each width (default: %(default)s)")
    arguments = parser.parse_args(argv)

    def command() -> None:
        report = measure(arguments.model, arguments.images)
        publish("tiles", tiles_page(report), report, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()

"""Panoptic quality of wide images, whole and in tiles.

    python -m benchmarks.tiles --model runs/train/model.safetensors

Draws landscapes that are wider than those of mini, with their ground truth, and predicts them as a whole and in tiles.
Writes tiles.md and tiles.json.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.mini_network import MINI_SIDE, load_mini
from benchmarks.harness.results import publish
from benchmarks.tiles.report import Quality, TilesReport, tiles_page
from model.assembly.tiles import Tiling, join_tiles
from model.inference.post_processing import PanopticPrediction
from model.inference.predictor import Predictor
from panoptic.evaluation.overlaps import count_overlaps
from panoptic.evaluation.panoptic_quality import match_overlaps
from panoptic.evaluation.scores import ClassQuality, count_by_class
from panoptic.format.segments import SegmentLabel
from panoptic.runtime.cli import run_command
from panoptic.tools.mini.categories import CATEGORIES
from panoptic.tools.mini.scene import make_scene

WIDTHS = (160, 256, 384)
OVERLAP = 32


@dataclass(frozen=True)
class DrawnImage:
    """A landscape (H, W, 3) RGB with its id map (H, W) and segments."""

    image: npt.NDArray[np.uint8]
    ids: npt.NDArray[np.int32]
    segments: Sequence[SegmentLabel]


def draw(width: int, number: int) -> DrawnImage:
    """Draw a landscape; equal arguments give equal ones."""
    scene = make_scene(np.random.default_rng([19, width, number]), (MINI_SIDE, width))
    ids, segments = np.zeros((MINI_SIDE, width), np.int32), []
    for key, region in enumerate(scene.regions, 1):
        ids[region.mask] = key
        segments.append(SegmentLabel(key, region.category.id, region.is_crowd))
    return DrawnImage(scene.image, ids, segments)


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


def count(drawn: DrawnImage, prediction: PanopticPrediction) -> Mapping[int, ClassQuality]:
    """Count one image for PQ, by category."""
    found = [SegmentLabel(one.id, CATEGORIES.category_of(one.label).id, False) for one in prediction.segments]
    return count_by_class(match_overlaps(count_overlaps(drawn.ids, prediction.ids), drawn.segments, found))


def quality_of(counts: Iterable[Mapping[int, ClassQuality]]) -> Quality:
    """Average PQ over the categories that occur."""
    total: dict[int, ClassQuality] = defaultdict(ClassQuality)
    for image in counts:
        for category, found in image.items():
            total[category] += found
    values = [(category, found.pq) for category, found in total.items() if found.pq is not None]
    chosen = (
        [pq for category, pq in values if CATEGORIES.by_id(category).is_thing in kinds]
        for kinds in ((True, False), (True,), (False,))
    )
    return Quality(*(100 * float(np.mean(group)) for group in chosen))


def measure(weights: Path, images: int, widths: Sequence[int] = WIDTHS) -> TilesReport:
    """Measure all methods on `images` landscapes of each width."""
    network, fitted = load_mini(weights, max(widths)), load_mini(weights, 160)
    qualities = {}
    for width in widths:
        counts = defaultdict[str, list[Mapping[int, ClassQuality]]](list)
        for number in tqdm(range(images), f"{width} pixels", unit="image"):
            drawn = draw(width, number)
            for name, prediction in predict_methods(network, fitted, drawn.image):
                counts[name].append(count(drawn, prediction))
        qualities[str(width)] = {name: quality_of(found) for name, found in counts.items()}
    return TilesReport(images, MINI_SIDE, OVERLAP, qualities)


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

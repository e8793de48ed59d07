"""IDF1 of tracked segments on drawn videos, against tracking by IoU alone.

    python -m benchmarks.tracking --model runs/train/model.safetensors

Writes tracking.md and tracking.json.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.mini_network import load_mini
from benchmarks.harness.results import publish
from benchmarks.tracking.drawn_video import SIDE, Frame, draw_video
from benchmarks.tracking.identity import id_f1
from model.assembly.tracking import Box, TrackingSettings, Tracks, follow
from model.inference.post_processing import PanopticPrediction
from model.inference.predictor import Predictor
from panoptic.format.segments import measure_segments
from panoptic.markdown import markdown_page, markdown_table
from panoptic.runtime.cli import run_command

FIRST_SEED = 100  # the settings were chosen on videos below
FRAMES = 48
THRESHOLD = 0.12  # mini's scores of things that hide one another are low
NEVER = 9.0  # more than any affinity
METHODS: Mapping[str, TrackingSettings] = {
    "IoU, within a category": TrackingSettings(appearance=0, least=0.05, other_category=NEVER),
    "IoU": TrackingSettings(appearance=0, least=0.05),
    "queries": TrackingSettings(appearance=1),
    "IoU and queries, within a category": TrackingSettings(other_category=NEVER),
    "IoU and queries": TrackingSettings(),
}
"""IoU alone with a low `least`, which suits it best on the videos that settings were chosen on."""


@dataclass(frozen=True)
class TrackingReport:
    """IDF1 of every video in percent, by method."""

    frames: int
    threshold: float
    scores: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Seen:
    """A predicted segment, as tracking reads it."""

    id: int
    category_id: int
    is_thing: bool
    box: Box
    embedding: npt.NDArray[np.float32] | None


@dataclass(frozen=True)
class PredictedFrame:
    """True things (H, W), and the predicted map (H, W) with its segments."""

    things: npt.NDArray[np.int32]
    ids: npt.NDArray[np.int32]
    segments: Sequence[Seen]


def predict_frame(predictor: Predictor, frame: Frame) -> PredictedFrame:
    """Predict a frame."""
    (prediction,) = predictor.predict([predictor.prepare(frame.image, "a drawn frame")])
    return PredictedFrame(frame.things, prediction.ids, _segments(prediction))


def _segments(prediction: PanopticPrediction) -> list[Seen]:
    extents = measure_segments(prediction.ids)
    return [
        Seen(one.id, one.label, one.is_thing, extents[one.id].box_xywh, prediction.embedding(one))
        for one in prediction.segments
    ]


def score_tracks(frames: Iterable[PredictedFrame], settings: TrackingSettings) -> float:
    """Track the things of a video; return IDF1 in percent."""
    tracks, maps = Tracks(), []
    for frame in frames:
        tracks, assigned = follow(tracks, frame.ids, frame.segments, settings)
        maps.append((frame.things, _renamed(frame, assigned)))
    return 100 * id_f1(maps)


def score_best(frames: Iterable[PredictedFrame]) -> float:
    """Score true identities given to the predicted things; return IDF1 in percent."""
    maps = []
    for frame in frames:
        covered = {one.id: np.bincount(frame.things[frame.ids == one.id], minlength=2)[1:] for one in frame.segments}
        # What covers no true thing has a track of its own.
        best = {key: int(counts.argmax()) + 1 if counts.any() else 1000 + key for key, counts in covered.items()}
        maps.append((frame.things, _renamed(frame, best)))
    return 100 * id_f1(maps)


def _renamed(frame: PredictedFrame, names: Mapping[int, int]) -> npt.NDArray[np.int32]:
    """Return the map of the things alone, with the ids that `names` gives them."""
    table = np.zeros(len(frame.segments) + 1, np.int32)
    for segment in frame.segments:
        table[segment.id] = names[segment.id] if segment.is_thing else 0
    return table[frame.ids]


def measure(weights: Path, videos: int, frames: int = FRAMES) -> TrackingReport:
    """Measure all methods on drawn videos."""
    predictor = load_mini(weights, SIDE, THRESHOLD)
    scores: dict[str, list[float]] = {name: [] for name in (*METHODS, "best possible")}
    for seed in tqdm(range(FIRST_SEED, FIRST_SEED + videos), unit="video"):
        predicted = [predict_frame(predictor, frame) for frame in draw_video(seed, frames)]
        for name, settings in METHODS.items():
            scores[name].append(score_tracks(predicted, settings))
        scores["best possible"].append(score_best(predicted))
    return TrackingReport(frames, THRESHOLD, scores)


def tracking_page(report: TrackingReport) -> str:
    """Render the mean and the range of each method."""
    videos = len(next(iter(report.scores.values())))
    how = (
        f"Written by `python -m benchmarks.tracking` with weights of `make run`. {videos} drawn videos of"
        f" {report.frames} frames, in which the camera pans over a landscape and five things cross, hide one another,"
        f" enter and leave. The network predicts them with a score threshold of {report.threshold:g}. IDF1 (Ristani et"
        " al., 2016) counts for how many detections a track keeps the identity of the true one; a thing counts while"
        " half of it is visible. *Best possible* gives every predicted segment the identity that it covers most of:"
        " what is left is not found at all. The settings were chosen on other videos."
    )
    rows = [
        [method, f"{sum(values) / videos:.1f}", f"{min(values):.0f} to {max(values):.0f}"]
        for method, values in report.scores.items()
    ]
    table = markdown_table(["ids by", "IDF1", "lowest and highest"], rows)
    return markdown_page("# Tracking: steady ids in videos", how, table)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = benchmark_parser("tracking", __doc__)
    parser.add_argument("--model", type=Path, default=Path("runs/train/model.safetensors"), help="weights of mini")
    parser.add_argument("--videos", type=int, default=24, help="number of videos (default: %(default)s)")
    arguments = parser.parse_args(argv)

    def command() -> None:
        report = measure(arguments.model, arguments.videos)
        publish("tracking", tracking_page(report), report, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()

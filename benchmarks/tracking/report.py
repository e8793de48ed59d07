"""The page of `benchmarks.tracking`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from panoptic.markdown import markdown_page, markdown_table


@dataclass(frozen=True)
class TrackingReport:
    """IDF1 of every video in percent, by method."""

    frames: int
    threshold: float
    scores: Mapping[str, Sequence[float]]


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

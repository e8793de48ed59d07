"""The page of the loading benchmark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.harness.results import Summary
from panoptic.markdown import markdown_page, markdown_table

READ_IMAGE, DECODE_IMAGE, READ_MAP, DECODE_MAP = "image read", "image decoded", "id map read", "id map decoded"
AUGMENT, COLLATE = "augmented: resize, crop, flip", "segments indexed, padded, packed into one tensor"
PARTS = (READ_IMAGE, DECODE_IMAGE, READ_MAP, DECODE_MAP, AUGMENT, COLLATE)
ARRIVED = "in the training process, on a CPU: normalized, one mask per segment"
BY_PILLOW = {"image decoded by Pillow": DECODE_IMAGE, "id map decoded by Pillow, ids from colors": DECODE_MAP}
"""The usual way to decode, and the part that it is compared with."""


@dataclass(frozen=True)
class LoadingRounds:
    """Images of each round, numbers of loader workers to measure, and rounds."""

    images: int
    workers: tuple[int, ...]
    rounds: int


@dataclass(frozen=True)
class LoadingReport:
    """Seconds per image of every part, and images per second by number of workers; a value for each round."""

    plan: LoadingRounds
    device: str
    source: str
    parts: Mapping[str, Sequence[float]]
    rates: Mapping[int, Sequence[float]]


def loading_page(report: LoadingReport) -> str:
    """Render where the time of an image goes, and the rates of the loader."""
    plan = report.plan
    return markdown_page(
        "# Loading images for training",
        f"Written by `python -m benchmarks.loading` on {report.device}: {report.source}. Medians of {plan.rounds}"
        f" interleaved rounds of {plan.images} images, with the lowest and the highest in brackets; files are in the"
        " system's cache.",
        "## One image in one process with one thread",
        _parts(report.parts),
        "## Training loader",
        _rates(report.rates),
    )


def _parts(parts: Mapping[str, Sequence[float]]) -> str:
    total = [sum(values) for values in zip(*(parts[name] for name in PARTS), strict=True)]
    rows = []
    for name in PARTS:
        fraction = Summary.of(parts[name]).median / Summary.of(total).median
        rows.append([name, _milliseconds(parts[name]), f"{fraction:.0%}"])
    rows += [["total", _milliseconds(total), ""], [ARRIVED, _milliseconds(parts[ARRIVED]), ""]]
    for name, own in BY_PILLOW.items():
        ratio = Summary.of_ratios(parts[name], parts[own])
        rows.append([name, _milliseconds(parts[name]), f"{ratio:.2f} times ours"])
    return markdown_table(["", "milliseconds", "of the total"], rows)


def _rates(rates: Mapping[int, Sequence[float]]) -> str:
    rows = [
        [str(workers or "none"), f"{Summary.of(values):.1f}", f"{Summary.of_ratios(values, rates[0]):.2f}"]
        for workers, values in rates.items()
    ]
    return markdown_table(["worker processes", "images per second", "relative to no workers"], rows, labels=0)


def _milliseconds(seconds: Sequence[float]) -> str:
    return f"{Summary.of(seconds) * 1000:.2f}"

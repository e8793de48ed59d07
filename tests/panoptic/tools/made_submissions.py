"""A valid submission of two small images, and variants with one change."""

import json
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from panoptic.format.id_map import encode_id_map
from panoptic.format.panoptic_json import ImageEntry
from panoptic.tools.submission.validate import SubmissionName

BALL, SKY = 3, 11
NAME = SubmissionName("test-dev2017", "tiny_net.2")
STEM = "panoptic_test-dev2017_tiny_net.2_results"
SEGMENTS = ((70_000, SKY), (300, BALL), (5, BALL))
IMAGES = (ImageEntry(11, "000011.jpg", 6, 8), ImageEntry(12, "000012.jpg", 9, 7))


def id_map(height: int, width: int) -> NDArray[np.int32]:
    """Draw two balls in front of the sky, and some void."""
    ids = np.full((height, width), 70_000, np.int32)
    ids[1:3, 1:3], ids[3:5, 3:5], ids[0, 0] = 300, 5, 0
    return ids


def document(*first: tuple[int, int]) -> dict[str, object]:
    """Make the JSON; the segments of the first image, as pairs of id and category, can be replaced."""
    listed = {11: first or SEGMENTS, 12: SEGMENTS}
    return {
        "annotations": [
            {
                "image_id": image_id,
                "file_name": f"0000{image_id}.png",
                "segments_info": [{"id": key, "category_id": category} for key, category in segments],
            }
            for image_id, segments in listed.items()
        ]
    }


def content() -> dict[str, bytes]:
    """Make the files of the zip, by name."""
    return {
        f"{STEM}.json": json.dumps(document()).encode(),
        f"{STEM}/000011.png": encode_id_map(id_map(6, 8)),
        f"{STEM}/000012.png": encode_id_map(id_map(9, 7)),
    }


def with_segments(*segments: tuple[int, int]) -> dict[str, bytes]:
    """List other segments for the first image."""
    return content() | {f"{STEM}.json": json.dumps(document(*segments)).encode()}


def with_text(old: str, new: str) -> dict[str, bytes]:
    """Replace the first `old` in the JSON."""
    text = json.dumps(document())
    assert old in text
    return content() | {f"{STEM}.json": text.replace(old, new, 1).encode()}


def with_png(data: bytes) -> dict[str, bytes]:
    """Replace the PNG of the first image."""
    return content() | {f"{STEM}/000011.png": data}


def without(name: str) -> dict[str, bytes]:
    """Leave out the JSON (`.json`) or a PNG (`/000011.png`)."""
    return {key: data for key, data in content().items() if key != f"{STEM}{name}"}


def pack(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def write_image_list(path: Path, *more: ImageEntry) -> Path:
    """Write the list of the two images and more."""
    entries = [
        {"id": image.id, "file_name": image.file_name, "height": image.height, "width": image.width}
        for image in (*IMAGES, *more)
    ]
    path.write_text(json.dumps({"images": entries}))
    return path

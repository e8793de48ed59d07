"""Writing results in COCO's panoptic format: a folder of PNGs and a JSON that lists their segments."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from panoptic.format.annotations import Annotation, check_drawn
from panoptic.format.categories import CategoryTable
from panoptic.format.id_map import encode_id_map
from panoptic.format.image_id import ImageId
from panoptic.format.segments import SegmentLabel, measure_segments
from panoptic.io.errors import DatasetError
from panoptic.io.files import naming_disk_errors, write_together
from panoptic.io.names import checked_name


@dataclass(frozen=True, slots=True)
class ResultSegment(SegmentLabel):
    """A predicted segment with its confidence score."""

    is_crowd: bool = False
    score: float | None = None


class ResultsWriter:
    """Writes the PNGs of a split to a folder and collects their segments; `write_results` replaces both."""

    def __init__(self, folder: Path, categories: CategoryTable) -> None:
        self._folder = folder
        self._categories = categories
        self._annotations: dict[ImageId, dict[str, object]] = {}
        self._file_names: set[str] = set()

    def add(self, image_id: ImageId, file_name: str, ids: NDArray[np.int32], segments: Sequence[ResultSegment]) -> None:
        """Write one image: its (H,W) id map as the PNG `file_name`, and its segments.

        Raises `DatasetError` for an image that is given twice, an unknown category, or ids that differ from `segments`.
        """
        where = f"result for image id {image_id} ({file_name})"
        if image_id in self._annotations or file_name in self._file_names:
            raise DatasetError(f"{where}: given twice; predict each image once, with a PNG name of its own")
        for segment in segments:
            if segment.category_id not in self._categories:
                raise DatasetError(f"{where}: unknown category {segment.category_id}; use the training categories")
        check_drawn(measure_segments(ids).keys(), Annotation(image_id, file_name, tuple(segments)), where)
        path = self._folder / checked_name(file_name, self._folder)
        with naming_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_id_map(ids))
        self._file_names.add(file_name)
        self._annotations[image_id] = {
            "image_id": image_id,
            "file_name": file_name,
            "segments_info": [_segment_to_json(segment) for segment in segments],
        }

    def to_json(self) -> bytes:
        """The results JSON of all images added so far, in that order."""
        document = {"categories": self._categories.to_json(), "annotations": list(self._annotations.values())}
        return (json.dumps(document) + "\n").encode()


@contextmanager
def write_results(json_path: Path, folder: Path, categories: CategoryTable) -> Iterator[ResultsWriter]:
    """Write the results of a split; they replace earlier ones only when all images are done.

    An interrupted run leaves the earlier results untouched, or, at the moment of replacement, no JSON at all, but never
    a JSON next to the PNGs of another run.
    """
    with write_together() as results:
        writer = ResultsWriter(results.folder(folder), categories)
        yield writer
        results.write(json_path, writer.to_json())


def _segment_to_json(segment: ResultSegment) -> dict[str, object]:
    info: dict[str, object] = {"id": segment.id, "category_id": segment.category_id}
    return info if segment.score is None else info | {"score": segment.score}

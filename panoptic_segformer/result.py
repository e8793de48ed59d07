"""The panoptic map of one image, with its segments."""

from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.inference.post_processing import Instances, PanopticPrediction
from panoptic.format.categories import CategoryTable
from panoptic.format.id_map import encode_id_map
from panoptic.format.results import ResultSegment
from panoptic.format.segments import Segment as CocoSegment
from panoptic.format.segments import measure_segments
from panoptic.visualization import overlay


@dataclass(frozen=True)
class Segment:
    """One segment of a panoptic map."""

    id: int
    """The value of its pixels in `Result.ids`."""
    category: str
    category_id: int
    """As in the dataset that the model was trained on."""
    is_thing: bool
    """True for a single object, False for stuff, of which an image has one segment a category."""
    score: float
    """What it was ordered by: class probability^alpha x mask quality^beta, which may exceed 1."""
    area: int
    """Pixels."""
    box: tuple[int, int, int, int]
    """Tightest box: left, top, width, height in pixels."""
    embedding: NDArray[np.float32] | None = field(repr=False, compare=False)
    """Vector (C,) of its query, similar for similar objects; None where an exported model lacks it."""

    def to_coco(self) -> dict[str, object]:
        """Return the entry of `segments_info` in COCO's panoptic format, with the score."""
        segment = CocoSegment(self.id, self.category_id, is_crowd=False, area=self.area, box_xywh=self.box)
        return segment.to_json() | {"score": self.score}


@dataclass(frozen=True)
class Result:
    """The panoptic map of an image, at the image's size."""

    name: str
    """The file, or what the image was called."""
    image: NDArray[np.uint8] = field(repr=False)
    """(H, W, 3) RGB, upright."""
    ids: NDArray[np.int32] = field(repr=False)
    """(H, W): the id of the segment that a pixel belongs to; 0 is void, where nothing was found."""
    segments: tuple[Segment, ...]
    """Best score first."""
    categories: CategoryTable = field(repr=False)
    instances: Instances = field(repr=False)
    """Scored masks of things before merging, which may overlap; of an image in tiles, the things of the map."""

    @classmethod
    def of(
        cls, name: str, image: NDArray[np.uint8], prediction: PanopticPrediction, categories: CategoryTable
    ) -> "Result":
        """Describe the segments of a prediction by their categories and extents."""
        extents = measure_segments(prediction.ids)
        segments = []
        for found in prediction.segments:
            category, extent = categories.category_of(found.label), extents[found.id]
            segments.append(
                Segment(
                    id=found.id,
                    category=category.name,
                    category_id=category.id,
                    is_thing=found.is_thing,
                    score=found.score,
                    area=extent.area,
                    box=extent.box_xywh,
                    embedding=prediction.embedding(found),
                )
            )
        return cls(name, image, prediction.ids, tuple(segments), categories, prediction.instances)

    def mask(self, segment: Segment) -> NDArray[np.bool_]:
        """Return the pixels (H, W) of a segment."""
        pixels: NDArray[np.bool_] = self.ids == segment.id
        return pixels

    def overlay(self) -> Image.Image:
        """Draw the segments on the image, at its size."""
        labels = [ResultSegment(one.id, one.category_id, score=one.score) for one in self.segments]
        return Image.fromarray(overlay(self.image, self.ids, labels, self.categories))

    def encode_overlay(self, form: str = "PNG", **options: int) -> bytes:
        """Encode the overlay as an image file, with options of Pillow for the form."""
        buffer = BytesIO()
        self.overlay().save(buffer, form, **options)
        return buffer.getvalue()

    def to_coco(self) -> dict[str, object]:
        """Describe the image as an annotation of COCO's panoptic format, with scores; `to_png` is its map."""
        return {
            "file_name": f"{self.name.rpartition('.')[0] or self.name}.png",
            "segments_info": [segment.to_coco() for segment in self.segments],
        }

    def to_png(self) -> bytes:
        """Encode the map as a PNG of COCO's panoptic format: the id of a pixel is R + 256 G + 65536 B."""
        return encode_id_map(self.ids)

    def show(self) -> None:
        """Show the overlay in a notebook, or else in the viewer of the desktop."""
        self.overlay().show()

    def _repr_png_(self) -> bytes:
        """Return what a notebook shows for a result."""
        return self.encode_overlay(compress_level=1)  # a third of the time for a tenth more bytes

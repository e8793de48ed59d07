"""Results as LabelMe files (labelme.io), so that a person corrects them and `panoptic.tools.convert` takes them back.

A segment of several parts is as many polygons with one `group_id`. The score is in the description, which LabelMe
shows, and in the field that X-AnyLabeling reads.
"""

import numpy as np
import yaml

from panoptic.format.categories import CategoryTable
from panoptic_segformer.predict.polygons import mask_polygons
from panoptic_segformer.result import Result, Segment

CLASSES = "classes.yaml"
_VERSION = "5.5.0"  # of LabelMe, whose format this is


def labelme_document(result: Result, image_name: str) -> dict[str, object]:
    """Describe a result as the content of a LabelMe file beside the image `image_name`."""
    names = result.categories.unique_names()
    height, width = result.ids.shape
    return {
        "version": _VERSION,
        "flags": {},
        "shapes": [
            shape for segment in result.segments for shape in _shapes(result, segment, names[segment.category_id])
        ],
        "imagePath": image_name,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def classes_yaml(categories: CategoryTable) -> bytes:
    """Encode the class table with which `panoptic.tools.convert` reads the LabelMe files; ids and colors are kept."""
    entries = {"categories": categories.with_unique_names().to_json()}
    return yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, default_flow_style=None).encode()


def _shapes(result: Result, segment: Segment, label: str) -> list[dict[str, object]]:
    left, top, width, height = segment.box
    mask = result.ids[top : top + height, left : left + width] == segment.id
    polygons = mask_polygons(np.ascontiguousarray(mask))
    return [
        {
            "label": label,
            "points": (polygon + np.array([left, top])).astype(float).tolist(),
            "group_id": segment.id if len(polygons) > 1 else None,
            "description": f"score {segment.score:.3f}",
            "shape_type": "polygon",
            "flags": {},
            "mask": None,
            "score": round(segment.score, 5),
        }
        for polygon in polygons
    ]

"""The labels of Cityscapes, and the rule that makes a panoptic map from a map of instances; arrays in, arrays out.

Labels are those of cityscapesScripts (mcordts/cityscapesScripts, `cityscapesscripts/helpers/labels.py`): 19 of the 34
are evaluated, with 8 things among them; the other 15, such as ego vehicle, parking or caravan, are void. The map is the
one of `cityscapesscripts/preparation/createPanopticImgs.py`, in every pixel and every field of a segment: an instance
keeps its number as its id, a stuff class has its label as its id, and a thing class without instance number is a group
(`persongroup`), which is a crowd.
"""

import numpy as np
from numpy.typing import NDArray

from panoptic.datasets.cityscapes.layout import AGAIN
from panoptic.format.categories import Category, CategoryTable
from panoptic.format.id_map import VOID
from panoptic.format.segments import Segment, measure_segments
from panoptic.io.errors import DatasetError, shown_ids

CATEGORIES = CategoryTable.of(
    (
        Category(7, "road", False, (128, 64, 128), "flat"),
        Category(8, "sidewalk", False, (244, 35, 232), "flat"),
        Category(11, "building", False, (70, 70, 70), "construction"),
        Category(12, "wall", False, (102, 102, 156), "construction"),
        Category(13, "fence", False, (190, 153, 153), "construction"),
        Category(17, "pole", False, (153, 153, 153), "object"),
        Category(19, "traffic light", False, (250, 170, 30), "object"),
        Category(20, "traffic sign", False, (220, 220, 0), "object"),
        Category(21, "vegetation", False, (107, 142, 35), "nature"),
        Category(22, "terrain", False, (152, 251, 152), "nature"),
        Category(23, "sky", False, (70, 130, 180), "sky"),
        Category(24, "person", True, (220, 20, 60), "human"),
        Category(25, "rider", True, (255, 0, 0), "human"),
        Category(26, "car", True, (0, 0, 142), "vehicle"),
        Category(27, "truck", True, (0, 0, 70), "vehicle"),
        Category(28, "bus", True, (0, 60, 100), "vehicle"),
        Category(31, "train", True, (0, 80, 100), "vehicle"),
        Category(32, "motorcycle", True, (0, 0, 230), "vehicle"),
        Category(33, "bicycle", True, (119, 11, 32), "vehicle"),
    )
)
LABELS = 34
_FIRST_INSTANCE = 1000
_UNKNOWN = -1
# Both maps of an image are drawn from the same polygons, and agree unless one of them was drawn again, as Pillow's
# versions differ along outlines. Where more differs, one is of another image or has other labels.
_MOST_DIFFERING = 0.1

_VALUES = np.arange(1 << 16, dtype=np.int32)
_LABEL_OF = np.where(_VALUES < _FIRST_INSTANCE, _VALUES, _VALUES // _FIRST_INSTANCE)
_ID_OF = np.where(np.isin(_LABEL_OF, [category.id for category in CATEGORIES]), _VALUES, VOID)
_ID_OF[_LABEL_OF >= LABELS] = _UNKNOWN


def draw_segments(instances: NDArray[np.uint16], where: str) -> NDArray[np.int32]:
    """Draw the panoptic (H,W) id map of an image. Raises `DatasetError` for an unknown label; `where` names the map."""
    ids = np.take(_ID_OF, instances)
    if ids.size and ids.min() == _UNKNOWN:
        expected = f"0 to {LABELS - 1}, or 1000 times that plus a number"
        raise _unknown_labels(np.unique(instances[ids == _UNKNOWN]), expected, where)
    return ids


def list_segments(ids: NDArray[np.int32]) -> tuple[Segment, ...]:
    """List the segments of a map of `draw_segments` by id."""
    segments = []
    for identity, extent in measure_segments(ids).items():
        category = CATEGORIES.by_id(int(_LABEL_OF[identity]))
        is_group = category.is_thing and identity < _FIRST_INSTANCE
        segments.append(Segment(identity, category.id, is_group, extent.area, extent.box_xywh))
    return tuple(segments)


def check_labels(labels: NDArray[np.uint8], instances: NDArray[np.uint16], where: str, than: str) -> None:
    """Raise `DatasetError` if the label map `where` has unknown labels, or others than the map of instances `than`."""
    if labels.size and labels.max() >= LABELS:
        raise _unknown_labels(np.unique(labels[labels >= LABELS]), f"0 to {LABELS - 1}", where)
    differing = np.count_nonzero(np.take(_LABEL_OF, instances) != labels)
    if differing > _MOST_DIFFERING * labels.size:
        found = f"{differing} of {labels.size} pixels have another label than in {than}"
        raise DatasetError(f"{where}: {found}, so that it is of another image or has train ids; {AGAIN}")


def _unknown_labels(values: NDArray[np.generic], expected: str, where: str) -> DatasetError:
    found = shown_ids(values.tolist(), 5)
    return DatasetError(f"{where}: unknown label ids {found}; expected {expected}; {AGAIN}")

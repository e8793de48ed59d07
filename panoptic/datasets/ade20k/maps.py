"""The rule that makes a panoptic map of ADE20K from a semantic map and instances; arrays in, arrays out.

Stuff is taken from the semantic map, and the instances are drawn over it. Pixels are void if their semantic class is
other (0), or a thing class but no instance covers them; completely covered stuff is not a segment.

The published conversion (facebookresearch/Mask2Former, `datasets/prepare_ade20k_pan_seg.py`) gives every pixel the
same class and instance, and lists segments in the same order. The differences:

areas, boxes   are measured in the finished map. There, those of stuff are measured before things are drawn over it, so
               that they disagree with the PNGs wherever a thing covers stuff, and covered stuff stays listed
segment ids    depend on class and number alone: they are equal in every run, and for stuff in all images. There, those
               of things are random
image ids      are the number in the name, as in COCO. There, they are the name without its suffix
names          are complete, as in `objectInfo150.txt`. There, some are shortened

The category ids, class - 1, are the same. Instance numbers are unique in an image, across all things
(CSAILVision/placeschallenge, `instancesegmentation/README.md`).
"""

import numpy as np
from numpy.typing import NDArray

from panoptic.datasets.ade20k.things import CLASS_OF_THING
from panoptic.format.id_map import MAX_ID, VOID
from panoptic.format.segments import Segment, measure_segments
from panoptic.io.errors import DatasetError

CLASSES = 150
_NUMBERS = 255
_NO_INSTANCE = -1
# Red, green and blue advance by steps of the three-dimensional golden ratio (1 / 1.2207 and its powers), so that
# segments with neighboring keys have colors that are well apart. It is odd, so that no two keys share an id.
_COLOR_STEP = 210 << 16 | 172 << 8 | 141
_INVERSE_STEP = pow(_COLOR_STEP, -1, MAX_ID + 1)


def segment_id(class_number: int, number: int = 0) -> int:
    """The id of instance `number` (1 to 255), or of stuff (0), of a class (1 to 150): from 1 to 2^24 - 1."""
    return (number * (CLASSES + 1) + class_number) * _COLOR_STEP & MAX_ID


def draw_segments(semantic: NDArray[np.uint8], instances: NDArray[np.int32], where: str) -> NDArray[np.int32]:
    """Draw the panoptic (H,W) id map of an image.

    `semantic` (H,W) holds classes, 0 for other; `instances` (H,W) thing + 256 number, 0 for none, and a third byte that
    is ignored. `where` names the instances in errors. Raises `DatasetError` for a number without a thing and for an
    unknown thing.
    """
    keys = instances & 0xFFFF
    # Every index is inside its table; "clip" saves numpy the check.
    drawn = np.take(_THING_IDS, keys, mode="clip")
    if drawn.size and drawn.min() == _NO_INSTANCE:
        raise _no_instances(np.unique(keys[drawn == _NO_INSTANCE]), where)
    return np.where(drawn == VOID, np.take(_STUFF_IDS, semantic, mode="clip"), drawn)


def list_segments(ids: NDArray[np.int32], where: str) -> tuple[Segment, ...]:
    """List the segments of a map of `draw_segments`: stuff by class, then things by number. `where` as there.

    Raises `DatasetError` if two things have one number.
    """
    segments: dict[int, Segment] = {}
    class_of_number: dict[int, int] = {}
    for identity, extent in measure_segments(ids).items():
        key = identity * _INVERSE_STEP & MAX_ID
        number, class_number = divmod(key, CLASSES + 1)
        other = class_of_number.setdefault(number, class_number) if number else class_number
        if other != class_number:
            things = " and ".join(str(CLASS_OF_THING.index(one) + 1) for one in sorted((other, class_number)))
            raise DatasetError(f"{where}: things {things} share the number {number}; give each instance its own")
        segments[key] = Segment(identity, class_number - 1, False, extent.area, extent.box_xywh)
    return tuple(segments[key] for key in sorted(segments))


def _stuff_ids() -> NDArray[np.int32]:
    """The id of stuff by class, (256,); void for things, for other, and for numbers that are not classes."""
    table = np.full(256, VOID, np.int32)
    for class_number in set(range(1, CLASSES + 1)).difference(CLASS_OF_THING):
        table[class_number] = segment_id(class_number)
    return table


def _thing_ids() -> NDArray[np.int32]:
    """The id of an instance by thing + 256 number, (65536,)."""
    table = np.full((256, 256), _NO_INSTANCE, np.int32)
    table[0] = VOID  # number 0 is not an instance, with or without a thing; the published conversion leaves it out too
    for thing, class_number in enumerate(CLASS_OF_THING, 1):
        table[1:, thing] = [segment_id(class_number, number) for number in range(1, _NUMBERS + 1)]
    return table.reshape(-1)


def _no_instances(keys: NDArray[np.int32], where: str) -> DatasetError:
    pairs = [f"{key & 255} and {key >> 8}" for key in keys[:5].tolist()]
    found = "; ".join(pairs) + ("; ..." if len(keys) > len(pairs) else "")
    expected = f"1 to {len(CLASS_OF_THING)} and 1 to {_NUMBERS}, or any and 0"
    return DatasetError(
        f"{where}: red and green, the thing and its number, are {found}; expected {expected}. The `_seg.png` files of "
        "the full ADE20K are encoded otherwise; use those of annotations_instance.tar, or correct the file"
    )


_STUFF_IDS, _THING_IDS = _stuff_ids(), _thing_ids()

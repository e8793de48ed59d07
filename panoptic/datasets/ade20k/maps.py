"""The rule that makes a panoptic map of ADE20K from its semantic map and its instances; arrays in, arrays out.

Stuff is taken from the semantic map, and the instances are drawn over it. Void is what the semantic map calls other
(class 0) or by the class of a thing where no instance lies; stuff that is covered completely is no segment.

The published conversion (facebookresearch/Mask2Former, `datasets/prepare_ade20k_pan_seg.py`) gives every pixel the
same class and instance, and lists segments in the same order. What differs:

areas, boxes   measured in the finished map. There, those of stuff are taken before things are drawn over it, so that
               they disagree with its PNGs wherever a thing reaches over stuff, and covered stuff stays listed
segment ids    a function of class and number alone: equal in every run, stuff of a class in all images. There, they
               are random for things
image ids      the number in the name, as COCO has it. There, the name without its ending
names          whole, as in `objectInfo150.txt`. There, some are shortened

Its category ids, class - 1, are ours too. The numbers of instances are unique in an image, whatever the things
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
# Red, green and blue advance by steps of the three-dimensional golden ratio (1 / 1.2207 and its powers), so that a few
# segments with keys that lie close together have colors that do not. It is odd: no two keys share an id.
_SPREAD = 210 << 16 | 172 << 8 | 141
_GATHER = pow(_SPREAD, -1, MAX_ID + 1)


def segment_id(class_number: int, number: int = 0) -> int:
    """The id of instance `number` (1 to 255), or of stuff (0), of a class (1 to 150): from 1 to 2^24 - 1."""
    return (number * (CLASSES + 1) + class_number) * _SPREAD & MAX_ID


def draw_segments(semantic: NDArray[np.uint8], instances: NDArray[np.int32], where: str) -> NDArray[np.int32]:
    """The panoptic (H,W) id map of an image.

    `semantic` (H,W) holds classes, 0 for other; `instances` (H,W) thing + 256 number, 0 for none, and in the third
    byte something that is not looked at. `where` names the instances in errors. Raises `DatasetError` for numbers
    without thing and for unknown things.
    """
    codes = instances & 0xFFFF
    # Every index lies in its table; "clip" spares numpy a second look at them.
    drawn = np.take(_THING_IDS, codes, mode="clip")
    if drawn.size and drawn.min() == _NO_INSTANCE:
        raise _no_instances(np.unique(codes[drawn == _NO_INSTANCE]), where)
    return np.where(drawn == VOID, np.take(_STUFF_IDS, semantic, mode="clip"), drawn)


def list_segments(ids: NDArray[np.int32], where: str) -> tuple[Segment, ...]:
    """The segments of a map of `draw_segments`: stuff by class, then things by number. `where` as there.

    Raises `DatasetError` for two things of one number.
    """
    segments: dict[int, Segment] = {}
    class_of_number: dict[int, int] = {}
    for identity, extent in measure_segments(ids).items():
        key = identity * _GATHER & MAX_ID
        number, class_number = divmod(key, CLASSES + 1)
        other = class_of_number.setdefault(number, class_number) if number else class_number
        if other != class_number:
            things = " and ".join(str(CLASS_OF_THING.index(one) + 1) for one in sorted((other, class_number)))
            raise DatasetError(f"{where}: things {things} share the number {number}; give each instance its own")
        segments[key] = Segment(identity, class_number - 1, False, extent.area, extent.box_xywh)
    return tuple(segments[key] for key in sorted(segments))


def _stuff_ids() -> NDArray[np.int32]:
    """(256,): the id of stuff by class; void for things, for other, and for what is no class."""
    table = np.full(256, VOID, np.int32)
    for class_number in set(range(1, CLASSES + 1)).difference(CLASS_OF_THING):
        table[class_number] = segment_id(class_number)
    return table


def _thing_ids() -> NDArray[np.int32]:
    """(65536,): the id of an instance by thing + 256 number."""
    table = np.full((256, 256), _NO_INSTANCE, np.int32)
    table[0] = VOID  # number 0, with a thing or without, is no instance: the published conversion leaves it out too
    for thing, class_number in enumerate(CLASS_OF_THING, 1):
        table[1:, thing] = [segment_id(class_number, number) for number in range(1, _NUMBERS + 1)]
    return table.reshape(-1)


def _no_instances(codes: NDArray[np.int32], where: str) -> DatasetError:
    pairs = [f"{code & 255} and {code >> 8}" for code in codes[:5].tolist()]
    found = "; ".join(pairs) + ("; ..." if len(codes) > len(pairs) else "")
    expected = f"1 to {len(CLASS_OF_THING)} and 1 to {_NUMBERS}, or any and 0"
    return DatasetError(
        f"{where}: red and green, the thing and its number, are {found}; expected {expected}. The `_seg.png` files of "
        "the full ADE20K are encoded otherwise; use those of annotations_instance.tar, or correct the file"
    )


_STUFF_IDS, _THING_IDS = _stuff_ids(), _thing_ids()

"""An example of each type of issue that `check` finds, in the sound dataset of `made_datasets`."""

import shutil
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from tests.panoptic.tools.check.made_datasets import (
    JsonDict,
    MadeDataset,
    claim_enormous,
    halve,
    jpeg_with_orientation,
    save_as_gray,
)

Spoil = Callable[[MadeDataset], object]


def _edited(change: Callable[[JsonDict], object], split: str = "val") -> Spoil:
    return lambda made: made.edit(split, change)


def _first_segment(**fields: object) -> Spoil:
    return lambda made: made.edit("val", lambda document: made.segments(document)[0].update(fields))


def _new_segment(**fields: object) -> Spoil:
    return lambda made: made.edit("val", lambda document: made.segments(document).append(fields))


def _in_both(change: Callable[[JsonDict], object]) -> Spoil:
    def spoil(made: MadeDataset) -> None:
        made.edit("train", change)
        made.edit("val", change)

    return spoil


def _draw_unlisted(made: MadeDataset) -> None:
    ids = made.ids(11)
    ids[0, :3] = 77
    made.draw(11, ids)


def _make_transparent(made: MadeDataset) -> None:
    pixels = cv2.cvtColor(np.asarray(cv2.imread(str(made.mask(11)))), cv2.COLOR_BGR2BGRA)
    pixels[0, :5, 3] = 254
    cv2.imwrite(str(made.mask(11)), pixels)


def _draw_nothing(made: MadeDataset) -> None:
    made.draw(11, np.zeros((24, 32), np.int32))
    made.edit("val", lambda document: made.segments(document).clear())


def _draw_one_pixel(made: MadeDataset) -> None:
    ids = made.ids(11)
    ids[0, 0] = 77
    made.draw(11, ids)
    _new_segment(id=77, category_id=3)(made)


def _draw_stuff_twice(made: MadeDataset) -> None:
    ids = np.full((24, 32), 5, np.int32)
    ids[:, 16:] = 6
    made.draw(11, ids)
    made.edit("val", lambda document: made.segments(document).clear())
    _new_segment(id=5, category_id=11)(made)
    _new_segment(id=6, category_id=11)(made)


def _draw_thing_like_stuff(made: MadeDataset) -> None:
    """A new class, whose one segment covers the upper half of every image."""
    for split, first in (("train", 1), ("val", 11)):
        for number in range(first, first + 6):
            ids = made.ids(number, split)
            ids[ids == ids[0, 0]] = 99
            ids[:12] = 99
            cv2.imwrite(str(made.mask(number, split)), np.dstack([ids >> 16, ids >> 8 & 255, ids & 255]))

        def change(document: JsonDict, split: str = split) -> None:
            document["categories"].append({"id": 30, "name": "fog", "isthing": 1})
            for position, annotation in enumerate(document["annotations"]):
                drawn = set(np.unique(made.ids(int(str(annotation["image_id"])), split)).tolist())
                kept: list[dict[str, object]] = [{"id": 99, "category_id": 30}]
                kept += [
                    {"id": segment["id"], "category_id": segment["category_id"], "iscrowd": segment["iscrowd"]}
                    for segment in made.segments(document, position)
                    if segment["id"] in drawn
                ]
                annotation["segments_info"] = kept

        made.edit(split, change)


def _rename_image(made: MadeDataset) -> None:
    made.image(11).rename(made.image(11).with_suffix(".JPG"))


def _rotate(made: MadeDataset) -> None:
    """Store the image rotated with an EXIF orientation, as cameras do; the JSON has the size as displayed."""
    made.image(11).write_bytes(jpeg_with_orientation(32, 24, 6))


def _copy_split(made: MadeDataset) -> None:
    shutil.copytree(made.root / "val", made.root / "val2")
    shutil.copytree(made.mask(11).parent, made.mask(11, "val2").parent)
    shutil.copy(made.json("val"), made.json("val2"))


def _image_of(image: Image.Image, kind: str, **options: object) -> Spoil:
    return lambda made: image.save(made.image(11), kind, **options)


def _things(annotation: dict[str, object]) -> list[dict[str, object]]:
    segments = annotation["segments_info"]
    assert isinstance(segments, list)
    return [segment for segment in segments if segment["category_id"] in (3, 7)]


# type: what to do to the dataset, the end of the place, a part of what was found
def _crowd_with_things(made: MadeDataset) -> None:
    """Draw 101 stars of a pixel each in a 12 x 9 corner of the first image, and nothing else."""
    ids = np.zeros((24, 32), np.int32)
    ids[:12, :9].flat[:101] = np.arange(1, 102)
    made.draw(11, ids)
    stars: list[dict[str, object]] = [{"id": number, "category_id": 7, "iscrowd": 0} for number in range(1, 102)]
    made.edit("val", lambda document: made.segments(document).__setitem__(slice(None), stars))


ISSUES: dict[str, tuple[Spoil, str, str]] = {
    "part-missing": (lambda made: shutil.rmtree(made.root / "val"), "own/val", "no such folder"),
    "json-unreadable": (lambda made: made.json().write_text('{"images": ['), "panoptic_val.json", "not valid JSON"),
    "json-field": (
        _edited(lambda document: document["images"][2].__delitem__("height")),
        "panoptic_val.json: images[2]",
        "'height' is missing",
    ),
    "more-things-than-queries": (
        _crowd_with_things,
        "panoptic_val.json",
        "1 of 6 images have more than 100 things, one has 101: more than model.selected_queries (100) can find",
    ),
    "more-things-than-ap": (
        _crowd_with_things,
        "panoptic_val.json",
        "1 of 6 images have more than 100 things, one has 101",
    ),
    "no-annotations": (_edited(lambda d: d.update(images=[], annotations=[])), "panoptic_val.json", "no annotation"),
    "category-twice": (
        _edited(lambda document: document["categories"].append({"id": 7, "name": "comet", "isthing": 1})),
        "panoptic_val.json: categories[4]",
        "category id 7: 'star' and 'comet'",
    ),
    "categories-differ": (
        _edited(lambda document: document["categories"][1].update(name="sun")),
        "panoptic_val.json",
        "id 7 is 'sun' instead of 'star'",
    ),
    "image-id-twice": (
        _edited(lambda document: document["images"].append(document["images"][0])),
        "panoptic_val.json: images[6]",
        "image id 11 is listed twice",
    ),
    "image-unannotated": (_edited(lambda d: d["annotations"].pop()), "panoptic_val.json", "image id 16"),
    "image-undeclared": (_edited(lambda d: d["images"].pop()), "panoptic_val.json", "image id 16"),
    "image-missing": (_rename_image, "own/val: 000011.png", "but '000011.JPG' is there"),
    "image-damaged": (lambda made: halve(made.image(11)), "own/val: 000011.png", "cut short"),
    "image-type": (
        _image_of(Image.fromarray(np.zeros((24, 32), np.float32)), "TIFF"),
        "own/val: 000011.png",
        "the TIFF has 32-bit floating-point samples, not integers",
    ),
    "png-missing": (lambda made: made.mask(11).unlink(), "panoptic_val: 000011.png", "no such file"),
    "png-shared": (
        _edited(lambda document: document["annotations"][1].update(file_name="000011.png")),
        "panoptic_val.json",
        "'000011.png' belongs to image ids 11 and 12",
    ),
    "png-damaged": (lambda made: halve(made.mask(11)), "panoptic_val: 000011.png", "cut short"),
    "png-not-rgb": (lambda made: save_as_gray(made.mask(11)), "panoptic_val: 000011.png", "8-bit gray"),
    "bomb": (lambda made: claim_enormous(made.mask(11)), "panoptic_val: 000011.png", "60000 x 60000"),
    "name-leaves-folder": (
        _edited(lambda document: document["annotations"][0].update(file_name="../../x.png")),
        "panoptic_val",
        "'../../x.png'",
    ),
    "size-differs": (_rotate, "own/val: 000011.png", "once the EXIF orientation is applied"),
    "segment-id": (_new_segment(id=1 << 24, category_id=3), "segments_info[", "segment id 16777216"),
    "segment-twice": (
        lambda made: made.edit("val", lambda d: made.segments(d).append(made.segments(d)[0])),
        "]",
        "segment id ",
    ),
    "unknown-category": (_first_segment(category_id=999), "annotations[0]: segments_info[0]", "unknown category 999"),
    "drawn-unlisted": (_draw_unlisted, "panoptic_val: 000011.png", "id 77 (3 pixels)"),
    "listed-undrawn": (_new_segment(id=5, category_id=3), "panoptic_val: 000011.png", "id 5"),
    "stuff-divided": (_draw_stuff_twice, "panoptic_val: 000011.png", "category 11 (2 segments)"),
    "area-differs": (_first_segment(area=1), "panoptic_val: 000011.png", "1 listed"),
    "box-differs": (_first_segment(bbox=[0, 0, 1, 1]), "panoptic_val: 000011.png", "[0, 0, 1, 1] listed"),
    "category-name-twice": (
        _in_both(lambda document: document["categories"][1].update(name="ball")),
        "categories",
        "'ball': ids 3, 7",
    ),
    "thing-without-instance": (
        _in_both(lambda document: document["categories"].append({"id": 40, "name": "fox", "isthing": 1})),
        "categories",
        "40 'fox'",
    ),
    "void-image": (_draw_nothing, "panoptic_val: 000011.png", "every pixel is void"),
    "exif-rotation": (
        lambda made: made.image(11).write_bytes(jpeg_with_orientation(24, 32, 3)),
        "own/val: 000011.png",
        "orientation 3",
    ),
    "png-transparent": (_make_transparent, "panoptic_val: 000011.png", "5 pixels; alpha is ignored"),
    "image-bit-depth": (
        _image_of(Image.fromarray(np.full((24, 32), 3743, np.uint16)), "PNG"),
        "own/val: 000011.png",
        "16-bit samples, read as 12-bit",
    ),
    "image-frames": (
        _image_of(Image.new("L", (32, 24), 3), "TIFF", save_all=True, append_images=[Image.new("L", (32, 24))]),
        "own/val: 000011.png",
        "2 images, of which the first is read",
    ),
    "image-shared": (
        _edited(lambda document: document["images"][1].update(file_name="000011.png")),
        "panoptic_val.json",
        "'000011.png' belongs to image ids 11 and 12",
    ),
    "image-duplicate": (
        lambda made: shutil.copy(made.image(11), made.image(12)),
        "own/val: 000012.png",
        "the same as '000011.png' (image id 11)",
    ),
    "image-across-splits": (
        lambda made: shutil.copy(made.image(3, "train"), made.image(12)),
        "own/val: 000012.png",
        "the same as '000003.png' of 'train'",
    ),
    "image-unlisted": (
        lambda made: cv2.imwrite(str(made.image(99)), np.zeros((4, 4, 3), np.uint8)),
        "own/val: 000099.png",
        "does not name it",
    ),
    "png-unlisted": (lambda made: save_as_gray(made.mask(99)), "panoptic_val: 000099.png", "does not name it"),
    "class-not-in-split": (
        _edited(lambda d: [s.update(category_id=7) for a in d["annotations"] for s in _things(a)]),
        "panoptic_val.json",
        "3 'ball' is only in 'train'",
    ),
    "stuff-unused": (
        _in_both(lambda document: document["categories"].append({"id": 40, "name": "fog", "isthing": 0})),
        "categories",
        "40 'fog'",
    ),
    "thing-like-stuff": (_draw_thing_like_stuff, "categories", "30 'fog': one segment in each of 12 images"),
    "tiny-segment": (_draw_one_pixel, "panoptic_val: 000011.png", "1 of "),
    "image-alpha": (
        _image_of(Image.new("RGBA", (32, 24), (9, 8, 7, 0)), "PNG"),
        "own/val: 000011.png",
        "as if every pixel were opaque",
    ),
    "id-across-splits": (
        _copy_split,
        "panoptic_val2.json",
        "6 ids are in 'val' as well",
    ),
    "file-unusable": (
        lambda made: made.image(99).symlink_to("/nonexistent/x.jpg"),
        "own: val/000099.png",
        "is a link to /nonexistent/x.jpg, which does not exist",
    ),
    "files-left-out": (
        lambda made: [
            made.image(1).with_name(name).write_bytes(b"") for name in ("a.heic", "b.HEIC", "c.mp4", "Thumbs.db")
        ],
        "own/val",
        "3 files left out: 2 .heic (convert to JPEG or PNG), 1 .mp4",
    ),
    "json-ignored": (
        lambda made: made.json("detection").write_text('{"annotations": [{"bbox": [0, 0, 1, 1]}]}'),
        "panoptic_detection.json",
        "no 'segments_info'",
    ),
}

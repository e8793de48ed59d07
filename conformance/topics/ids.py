"""Ids of segments, up to three bytes, and of images, integers or text; and the order of lists."""

from collections.abc import Iterator

from conformance.case import Case
from conformance.topics.drawing import Drawn, Topic, drawn_image

TOPIC = Topic("ids")
draw = TOPIC.draw
several = TOPIC.draw_several
LARGEST = (1 << 24) - 1


def cases() -> Iterator[Case]:
    gt, predicted = "aaabbbppp", "aabbbbppp"
    for segment_id in (1, 255, 256, 257, 65535, 65536, 65537, 1 << 23, LARGEST - 1, LARGEST):
        both = {"a": segment_id}
        purpose = f"Segment id {segment_id}, in red, green and blue, on both sides."
        yield draw(f"both-{segment_id}", "I1", purpose, Drawn(gt, both), Drawn(predicted, both))
    clashes = {
        "same-red": (256 + 7, 512 + 7, 7),
        "same-green": (256 + 7, 256 + 9, 256),
        "same-blue": (65536, 2 * 65536, 3 * 65536),
        "same-low-bytes": (65536 + 300, 131072 + 300, 300),
        "gray": (0x010101, 0x020202, 0x030303),
        "largest": (LARGEST, LARGEST - 1, LARGEST - 2),
        "one-and-largest": (1, LARGEST, 2),
    }
    for name, ids in clashes.items():
        gt_ids, predicted_ids = dict(zip("abp", ids, strict=True)), dict(zip("abp", ids[::-1], strict=True))
        purpose = "Ids that share some of their bytes are different segments, and the other side has them exchanged."
        yield draw(name, "I1", purpose, Drawn(gt, gt_ids), Drawn(predicted, predicted_ids))
    yield draw(
        "category-ids", "I1", "Segment ids that are category ids of others.",
        Drawn("aaggppt", {"a": 3, "g": 1, "p": 2, "t": 4}), Drawn("aagpppt", {"a": 2, "g": 4, "p": 1, "t": 3}),
    )  # fmt: skip
    yield draw("void-is-0", "I1", "Id 0 is void, 1 is not.", Drawn("aa..pp", {"a": 1}), Drawn("aaaapp", {"a": 1}))
    yield draw("reversed", "I1", "Lists in reversed order.", Drawn(gt, order="pba"), Drawn(predicted, order="pba"))
    yield draw("shuffled", "I1", "Lists in other orders.", Drawn(gt, order="bap"), Drawn(predicted, order="apb"))
    pairs = (("aapp", "aapp"), ("abpp", "aapp"), ("gapp", "ggpp"))
    image_ids: dict[str, tuple[int | str, ...]] = {
        "text": ("aachen_000000_000019", "bochum_000000_000313", "bremen_000001_000019"),
        "text-digits": ("1", "01", "001"),
        "text-unusual": ("a b", "ä", "x.y-z"),
        "text-case": ("image", "Image", "IMAGE"),
        "zero": (0, 1, 2),
        "large": (2**31, 2**32 + 1, 2**53 - 1),
    }
    for name, found in image_ids.items():
        images = [drawn_image(image_id, *pair) for image_id, pair in zip(found, pairs, strict=True)]
        yield several(f"image-{name}", "I2", f"Image ids {', '.join(map(repr, found))}.", images)

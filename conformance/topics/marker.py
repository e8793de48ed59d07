"""Segments whose id is the largest category id + 1, with which boundary-iou-api paints interiors."""

from collections.abc import Iterator
from fractions import Fraction

from conformance.case import Case
from conformance.topics.drawing import CATEGORIES, Box, Drawing, Drawn, Topic, paint

draw = Topic("marker").draw
MARKER = max(category.id for category in CATEGORIES) + 1
WIDE = Fraction(1, 6)


def cases() -> Iterator[Case]:
    boxes: list[Box] = [("a", 1, 1, 7, 5), ("b", 1, 7, 7, 4)]
    moved: list[Box] = [("a", 1, 1, 7, 5), ("b", 2, 7, 7, 4)]
    gt, predicted = paint(10, 12, boxes), paint(10, 12, moved)
    for letter, what in (("a", "thing"), ("b", "thing"), ("p", "stuff")):
        ids = {letter: MARKER}
        pairs: dict[str, tuple[Drawing, Drawing]] = {
            "gt": (Drawn(gt, ids), predicted),
            "prediction": (gt, Drawn(predicted, ids)),
            "both": (Drawn(gt, ids), Drawn(predicted, ids)),
        }
        for side, pair in pairs.items():
            purpose = f"A {what} has the largest category id + 1 as its id, in: {side}."
            yield draw(f"{letter}-{side}", "B6", purpose, *pair)
    listed_first, listed_last = "bap", "apb"
    ids = {"b": MARKER}
    for name, order in (("first", listed_first), ("last", listed_last)):
        sides = Drawn(gt, ids, order=order), Drawn(predicted, ids, order=order)
        yield draw(f"listed-{name}", "B6", f"It is listed {name}.", *sides)
    yield draw("wide", "B6", "With a wider band.", Drawn(gt, ids), Drawn(predicted, ids), WIDE)
    small = paint(10, 12, [("a", 0, 0, 9, 9), ("b", 9, 9, 1, 3)])
    for segment_id, name in ((MARKER - 1, "below"), (MARKER, "same"), (MARKER + 1, "above")):
        ids = {"b": segment_id}
        purpose = f"A small segment beside a large one, with id {segment_id}; the largest category id is {MARKER - 1}."
        yield draw(f"small-{name}", "B6", purpose, Drawn(small, ids, order="apb"), Drawn(small, ids, order="apb"))
    crowd = paint(10, 12, [("a", 1, 1, 7, 5), ("B", 1, 7, 7, 4)])
    yield draw("crowd", "B6", "A crowd region has that id.", Drawn(crowd, {"B": MARKER}), paint(10, 12, moved))

import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic.format.categories import Category, CategoryTable
from panoptic.format.results import ResultSegment
from panoptic.format.segments import SegmentLabel
from panoptic.visualization.colors import contrast
from panoptic.visualization.labels import Label, Lettering, PlateBox, draw_labels, text_color
from panoptic.visualization.placing import place_labels
from panoptic.visualization.regions import Regions
from panoptic.visualization.style import Style
from tests.panoptic.visualization.scenes import BALL, SKY, STAR, TABLE, WATER, mosaic


def _texts(*names: str) -> list[str]:
    table = CategoryTable.of(Category(key, name, True, (200, 0, 0)) for key, name in enumerate(names, 1))
    segments = [SegmentLabel(10 * category.id, category.id, False) for category in table]
    return list(Lettering.of(segments, table, Style.of(480, 640)).texts.values())


def _place(ids: NDArray[np.int32], segments: list[ResultSegment]) -> list[Label]:
    lettering = Lettering.of(segments, TABLE, Style.of(*ids.shape))
    return place_labels(Regions.of(ids, segments), TABLE, lettering)


def _overlap(a: PlateBox, b: PlateBox) -> bool:
    return a.left < b.right and b.left < a.right and a.top < b.bottom and b.top < a.bottom


def test_scores_have_two_digits_and_crowds_are_named() -> None:
    segments = [ResultSegment(1, BALL, score=0.476), SegmentLabel(2, BALL, True), SegmentLabel(3, SKY, False)]
    texts = Lettering.of(segments, TABLE, Style.of(480, 640)).texts
    assert texts == {1: "ball 0.48", 2: "ball (crowd)", 3: "sky"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("traffic light", "traffic light"),
        ("caffè", "caffè"),
        ("Straße", "Straße"),
        ("медведь", "медведь"),
        ("ἄνθρωπος", "ἄνθρωπος"),
        ("\uff43\uff41\uff54", "cat"),
        ("猫", "category 1"),
        ("猫 cat", "category 1"),
        ("고양이", "category 1"),
        ("قطة", "category 1"),
        ("חתול", "category 1"),
        ("बिल्ली", "category 1"),
        ("a\nb", "category 1"),
    ],
)
def test_names_that_no_font_draws_are_replaced(name: str, shown: str) -> None:
    assert _texts(name) == [shown]


@pytest.mark.parametrize("name", ["caffè", "медведь"])
def test_letters_outside_of_ascii_are_drawn_and_not_boxes(name: str) -> None:
    """Two letters of a name look different, as two boxes for missing glyphs would not."""
    table = CategoryTable.of([Category(1, name, True, (0, 0, 0))])
    font = Lettering.of([SegmentLabel(1, 1, False)], table, Style.of(480, 640)).font
    assert len({bytes(font.getmask(letter)) for letter in set(name)}) == len(set(name))


@pytest.mark.parametrize("value", range(0, 256, 15))
def test_text_contrasts_with_every_plate(value: int) -> None:
    plates = [(value, green, blue) for green in range(0, 256, 15) for blue in range(0, 256, 15)]
    assert min(contrast(text_color(plate), plate) for plate in plates) >= 4.5


@pytest.mark.parametrize(("size", "count"), [((48, 64), 6), ((160, 128), 12), ((300, 400), 30), ((300, 400), 150)])
@pytest.mark.parametrize("seed", [0, 1])
def test_labels_lie_in_the_image_and_do_not_overlap(size: tuple[int, int], count: int, seed: int) -> None:
    boxes = [label.box for label in _place(*mosaic(*size, count, seed))]
    assert all(0 <= b.left < b.right <= size[1] and 0 <= b.top < b.bottom <= size[0] for b in boxes)
    assert not [(a, b) for a in boxes for b in boxes if a is not b and _overlap(a, b)]
    covered = sum((b.right - b.left) * (b.bottom - b.top) for b in boxes)
    assert covered <= 0.18 * size[0] * size[1]


def test_a_label_stands_where_its_segment_is_widest() -> None:
    """A long handle of 12 rows on a wide pan."""
    ids = np.full((300, 400), 1, np.int32)
    ids[100:112, 20:250] = 2
    ids[50:200, 250:380] = 2
    pan = next(
        label
        for label in _place(ids, [ResultSegment(1, SKY), ResultSegment(2, STAR, score=0.5)])
        if label.segment_id == 2
    )
    assert (pan.box.left >= 250, pan.box.right <= 380, pan.box.top >= 50, pan.box.bottom <= 200) == (True,) * 4
    assert pan.led_to is None


def test_a_small_thing_is_led_to_by_a_line_and_a_tiny_one_or_small_stuff_has_no_name() -> None:
    ids = np.full((480, 640), 1, np.int32)
    ids[200:218, 300:318], ids[400:405, 300:305], ids[400:418, 500:518] = 2, 3, 4
    segments = [ResultSegment(1, SKY), ResultSegment(2, BALL), ResultSegment(3, BALL), ResultSegment(4, WATER)]
    labels = {label.segment_id: label for label in _place(ids, segments)}
    assert labels.keys() == {1, 2}
    assert labels[1].led_to is None
    point = labels[2].led_to
    assert point is not None
    assert ids[point[1], point[0]] == 2
    box = labels[2].box
    assert not (ids[box.top : box.bottom, box.left : box.right] == 2).any()


@pytest.mark.parametrize(("scores", "named"), [((0.9, 0.1), 1), ((0.1, 0.9), 2), ((0.5, 0.5), 1)])
def test_of_two_segments_without_room_for_both_names_the_better_is_named(
    scores: tuple[float, float], named: int
) -> None:
    ids = np.repeat(np.repeat(np.array([[1, 2]], np.int32), 50, axis=1), 50, axis=0)
    segments = [ResultSegment(key, BALL, score=score) for key, score in zip((1, 2), scores, strict=True)]
    assert [label.segment_id for label in _place(ids, segments)] == [named]


def test_images_smaller_than_a_plate_have_no_labels() -> None:
    assert _place(np.ones((8, 400), np.int32), [ResultSegment(1, BALL)]) == []
    assert _place(np.ones((1, 1), np.int32), [ResultSegment(1, BALL)]) == []


def test_plates_are_drawn_in_the_color_of_their_segment_with_legible_text() -> None:
    ids = np.ones((200, 300), np.int32)
    segments = [ResultSegment(1, BALL, score=0.5)]
    lettering = Lettering.of(segments, TABLE, Style.of(*ids.shape))
    (label,) = place_labels(Regions.of(ids, segments), TABLE, lettering)
    canvas = np.full((200, 300, 3), 128, np.uint8)
    draw_labels(canvas, [label], {1: (0, 60, 0)}, lettering, 2)
    box = label.box
    plate = canvas[box.top : box.bottom, box.left : box.right].reshape(-1, 3)
    colors = {tuple(pixel) for pixel in plate.tolist()}
    assert {(0, 60, 0), (255, 255, 255)} <= colors
    canvas[box.top : box.bottom, box.left : box.right] = 128
    assert (canvas == 128).all()

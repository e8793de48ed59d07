"""The width of the band: a fraction of the diagonal, rounded to the nearest number, a half to the even one."""

from collections.abc import Iterator
from fractions import Fraction

from conformance.case import Case
from conformance.topics.drawing import Topic, paint

draw = Topic("widths").draw
FIFTIETH, TENTH = Fraction(1, 50), Fraction(1, 10)
SIZES = (
    (3, 4, TENTH, "0.5, so 0, but at least 1"),
    (9, 12, TENTH, "1.5, so 2"),
    (12, 9, TENTH, "1.5, so 2"),
    (15, 20, TENTH, "2.5, so 2"),
    (20, 15, TENTH, "2.5, so 2"),
    (7, 24, TENTH, "2.5, so 2"),
    (21, 28, TENTH, "3.5, so 4"),
    (27, 36, TENTH, "4.5, so 4"),
    (15, 19, TENTH, "2.42, so 2"),
    (15, 21, TENTH, "2.58, so 3"),
    (8, 12, TENTH, "1.44, so 1"),
    (10, 12, TENTH, "1.56, so 2"),
    (15, 20, FIFTIETH, "0.5, so 0, but at least 1"),
    (30, 40, FIFTIETH, "1, so 1"),
    (45, 59, FIFTIETH, "1.48, so 1"),
    (45, 60, FIFTIETH, "1.5, so 2"),
    (60, 45, FIFTIETH, "1.5, so 2"),
    (45, 61, FIFTIETH, "1.52, so 2"),
    (75, 99, FIFTIETH, "2.48, so 2"),
    (75, 100, FIFTIETH, "2.5, so 2"),
    (75, 101, FIFTIETH, "2.52, so 3"),
    (35, 120, FIFTIETH, "2.5, so 2"),
)


def cases() -> Iterator[Case]:
    for height, width, ratio, result in SIZES:
        # Two blocks, of which one is predicted too small.
        gt = paint(height, width, [("a", 0, 0, height, width // 2)])
        predicted = paint(height, width, [("a", 0, 0, height, width // 2 - 1)])
        purpose = f"{float(ratio)} of the diagonal of {height} x {width} is {result}."
        yield draw(f"{height}x{width}-by-{ratio.denominator}", "B1", purpose, gt, predicted, ratio)
    for name, (height, width) in {"row": (1, 40), "column": (40, 1), "two-rows": (2, 30), "square": (3, 3)}.items():
        gt, predicted = (paint(height, width, [("a", 0, 0, height, (width + 1) // 2 - cut)]) for cut in (0, width > 9))
        purpose = "A band wider than the image takes in every pixel."
        yield draw(f"wide-{name}", "B1", purpose, gt, predicted, Fraction(1, 2))
    whole = paint(6, 8, [("a", 1, 1, 4, 4)])
    yield draw(
        "whole-diagonal", "B1", "A band as wide as the diagonal.", whole, paint(6, 8, [("a", 1, 1, 4, 5)]), Fraction(1)
    )
    yield draw(
        "tiny-ratio",
        "B1",
        "The band is never narrower than 1.",
        whole,
        paint(6, 8, [("a", 1, 1, 4, 5)]),
        Fraction(1, 1000),
    )

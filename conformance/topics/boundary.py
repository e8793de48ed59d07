"""Boundary PQ: the bands of segments, their IoU, and the smaller of it and the mask IoU."""

from collections.abc import Iterator
from fractions import Fraction

from conformance.case import Case
from conformance.topics.drawing import Box, Drawn, Topic, paint

draw = Topic("boundary").draw
# On images of 10 x 10 the band is 1 wide, by a fifth of the diagonal 3.
NARROW, WIDE = Fraction(1, 50), Fraction(1, 5)


def cases() -> Iterator[Case]:
    yield from _shapes()
    yield from _decisions()
    yield from _unclear()


def _shapes() -> Iterator[Case]:
    square: Box = ("a", 1, 1, 7, 7)
    shapes: dict[str, tuple[str, tuple[list[Box], list[Box]]]] = {
        "equal": ("A square equal to the ground truth.", ([square], [square])),
        "shifted": ("A square, moved by one.", ([square], [("a", 1, 2, 7, 7)])),
        "shifted-both-ways": ("A square, moved by one each way.", ([square], [("a", 2, 2, 7, 7)])),
        "larger": ("A square, too large by one.", ([square], [("a", 0, 0, 9, 9)])),
        "smaller": ("A square, too small by one.", ([square], [("a", 2, 2, 5, 5)])),
        "corner": ("A square in the corner of the image.", ([("a", 0, 0, 7, 7)], [("a", 0, 0, 6, 7)])),
        "edge": ("A square at the edge of the image.", ([("a", 0, 2, 7, 7)], [("a", 0, 2, 7, 6)])),
        "whole": ("A segment of the whole image has a band along its edges.", ([("a", 0, 0, 10, 10)],) * 2),
        "hole": ("A missed hole has an outline too.", ([square, ("p", 4, 4, 2, 2)], [square])),
        "hole-of-thing": ("A thing inside a thing.", ([square, ("b", 3, 3, 3, 3)], [square, ("b", 3, 3, 3, 4)])),
        "line": ("A line is all band.", ([("a", 4, 0, 1, 10)], [("a", 4, 0, 1, 8)])),
        "two-lines": ("Lines of two pixels are all band.", ([("a", 4, 0, 2, 10)], [("a", 4, 0, 2, 7)])),
        "diagonal": ("The band reaches diagonally.", ([square, ("p", 1, 1, 1, 1)], [square])),
        "pieces": (
            "A segment in two pieces.",
            ([("a", 0, 0, 4, 4), ("a", 6, 6, 4, 4)], [("a", 0, 0, 4, 4), ("a", 6, 6, 3, 4)]),
        ),
        "neighbors": (
            "Two things that touch.",
            ([("a", 0, 0, 8, 5), ("b", 0, 5, 8, 5)], [("a", 0, 0, 8, 6), ("b", 0, 6, 8, 4)]),
        ),
        "stuff": ("Stuff has bands too.", ([("t", 0, 0, 5, 10)], [("t", 0, 0, 6, 10)])),
        "pixel-inside": ("One wrong pixel inside.", ([square], [square, ("p", 4, 4, 1, 1)])),
    }
    for name, (purpose, (gt, predicted)) in shapes.items():
        for size, ratio in (("narrow", NARROW), ("wide", WIDE)):
            yield draw(f"{name}-{size}", "B2", purpose, paint(10, 10, gt), paint(10, 10, predicted), ratio)


def _decisions() -> Iterator[Case]:
    outer = paint(12, 12, [("a", 0, 0, 12, 12)])
    purpose = "Mask IoU is above 1/2, boundary IoU below: missed."
    yield draw("mask-only", "B4", purpose, paint(12, 12, [("a", 1, 1, 10, 10)]), outer)
    purpose = "Mask IoU is smaller than boundary IoU, and counts."
    inner = paint(12, 12, [("a", 0, 0, 12, 12), ("b", 2, 2, 8, 3)])
    yield draw("mask-smaller", "B4", purpose, inner, inner.replace("aaaaaaaaaaaa", "aaaaaaapaaaa"))
    purpose = "A boundary IoU of exactly 1/2 is no match."
    yield draw("tie", "B4", purpose, "aaaaaapp", "aaapppgg")
    yield draw("tie-thin", "B4", purpose, "pppppp aaaaaa pppppp", "pppppp aaattt pppppp")
    ring = paint(9, 9, [("a", 1, 1, 7, 7), ("p", 2, 2, 5, 5)])
    yield draw(
        "ring", "B2", "A ring and the filled square: their bands differ inside.", ring, paint(9, 9, [("a", 1, 1, 7, 7)])
    )
    yield draw("other-class", "P1", "Equal outlines of another class do not match.", ring, ring.replace("a", "g"))


def _unclear() -> Iterator[Case]:
    framed = paint(10, 10, [(".", 0, 0, 10, 10), ("a", 2, 2, 6, 6)], ground=".")
    purpose = "A band on void is left out of the union."
    yield draw("void-around", "B3", purpose, framed, paint(10, 10, [("a", 0, 0, 10, 10)]))
    yield draw("void-around-less", "B3", purpose, framed, paint(10, 10, [("a", 1, 1, 8, 7)]))
    half = paint(10, 10, [("a", 2, 0, 6, 6), (".", 2, 6, 6, 4)])
    yield draw("void-beside", "B3", "Void has an outline of its own.", half, paint(10, 10, [("a", 2, 0, 6, 9)]))
    purpose = "Whole masks, not bands, decide what is ignored"
    void_inside = paint(10, 10, [("g", 0, 0, 10, 10), (".", 1, 1, 8, 8)])
    yield draw("ignored-inside", "B5", f"{purpose}: most is void.", void_inside, paint(10, 10, [("a", 0, 0, 10, 10)]))
    void_rim = paint(10, 10, [(".", 0, 0, 10, 10), ("g", 1, 1, 8, 8)])
    yield draw("not-ignored-rim", "B5", f"{purpose}: little is void.", void_rim, paint(10, 10, [("a", 0, 0, 10, 10)]))
    crowd = paint(10, 10, [("a", 1, 1, 8, 4), ("A", 1, 5, 8, 4)])
    yield draw("crowd-beside", "B3", "Crowd stays in the union of bands.", crowd, paint(10, 10, [("a", 1, 1, 8, 5)]))
    yield draw(
        "crowd-only", "C2", "Bands on crowd are ignored.", crowd, paint(10, 10, [("a", 1, 1, 8, 4), ("b", 1, 5, 8, 4)])
    )
    wrong = Drawn(paint(10, 10, [("a", 1, 1, 7, 7)]), areas={"a": 90})
    yield draw("area", "A1", "A claimed area changes the mask IoU only.", wrong, paint(10, 10, [("a", 1, 1, 7, 7)]))
    crowds = paint(10, 10, [("A", 0, 0, 10, 3), ("B", 0, 3, 10, 2)])
    yield draw("two-crowds", "C2", "Two crowd regions absorb together.", crowds, paint(10, 10, [("a", 0, 0, 8, 8)]))

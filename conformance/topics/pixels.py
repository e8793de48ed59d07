"""Segments of one pixel, and images of one pixel, row or column."""

from collections.abc import Iterator

from conformance.case import Case
from conformance.topics.drawing import Topic

draw = Topic("pixels").draw
BOARD = "apap papa apap papa"


def cases() -> Iterator[Case]:
    yield draw("image-of-one", "P1", "An image of one pixel.", "a", "a")
    yield draw("image-of-one-other-class", "P3", "An image of one pixel, of another class.", "a", "g")
    yield draw("image-of-one-void", "V2", "A prediction on nothing but void is ignored.", ".", "a")
    yield draw("image-of-one-nothing", "P3", "A segment without prediction is a false negative.", "a", ".")
    yield draw("image-of-one-crowd", "C2", "A prediction on nothing but crowd of its class is ignored.", "A", "a")
    yield draw("row", "P1", "A row of segments of one pixel.", "abpgt", "abpgt")
    yield draw("column", "P1", "A column of segments of one pixel.", "a b p g t", "a b p g t")
    yield draw("row-shifted", "P3", "A row of one-pixel segments, moved by one.", "abcghi", "gabchi")
    yield draw("pixel-moved", "P3", "A pixel beside its place matches nothing.", "pppp pagp pppp", "pppp pgap pppp")
    yield draw("pixel-and-two", "P1", "One pixel and two: IoU 1/2, no match.", "ppp pap ppp", "ppp paa ppp")
    yield draw("two-and-pixel", "P1", "Two pixels and one: IoU 1/2, no match.", "ppp paa ppp", "ppp pap ppp")
    yield draw("pixel-and-four", "P1", "One pixel and four.", "pppp papp pppp", "pppp paap paap")
    yield draw("corners", "P1", "One pixel in each corner.", "appb pppp cppd", "appb pppp cppd")
    yield draw("corners-apart", "P1", "A segment may be four pixels far apart.", "appa pppp appa", "appa pppp appa")
    yield draw("corners-apart-missed", "P1", "Three of four pixels far apart.", "appa pppp appa", "appa pppp appp")
    yield draw("board", "P1", "A chessboard of two segments.", BOARD, BOARD)
    yield draw("board-shifted", "P3", "A chessboard, moved by one: no pixel is shared.", BOARD, BOARD.translate(SWAP))
    yield draw("hole", "P1", "A missed segment of one pixel inside another.", "ppp pap ppp", "ppp ppp ppp")
    yield draw("hole-invented", "P1", "An invented segment of one pixel inside another.", "ppp ppp ppp", "ppp pap ppp")
    yield draw("void-pixel", "V1", "A void pixel inside a segment costs nothing.", "ppp p.p ppp", "ppp ppp ppp")
    yield draw("many", "P1", "Many segments of one pixel, two of them swapped.", "abcd efgh ijkl", "bacd efgh ijkl")
    yield draw("many-classes", "P1", "Swapped between classes, they do not match.", "abcg hipt", "gbca hitp")


SWAP = str.maketrans("ap", "pa")

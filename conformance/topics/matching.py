"""Which segments match: IoU above 1/2, never equal to it, and of one class."""

from collections.abc import Iterator

from conformance.case import Case
from conformance.topics.drawing import Topic, drawn_image, paint

TOPIC = Topic("matching")
draw = TOPIC.draw


def cases() -> Iterator[Case]:
    yield draw("equal", "P1", "A prediction equal to the ground truth scores 1.", "aapp aapp", "aapp aapp")
    yield draw("disjoint", "P3", "Segments without a common pixel are a false positive and negative.", "aapp", "ppaa")
    for n in (1, 2, 3, 8):
        tie = "An IoU of exactly 1/2 is no match"
        yield draw(f"tie-inside-{n}", "P1", f"{tie}: half of a segment of {2 * n}.", "a" * 2 * n, "a" * n + "g" * n)
        yield draw(f"tie-around-{n}", "P1", f"{tie}: twice a segment of {n}.", "a" * n + "g" * n, "a" * 2 * n)
        left, right = "a" * 3 * n + "p" * n, "p" * n + "a" * 3 * n
        yield draw(f"tie-shifted-{n}", "P1", f"{tie}: {2 * n} of {4 * n} pixels shared.", left, right)
    for n in (1, 2, 5, 20):
        whole = 2 * n + 1
        gt = "a" * whole
        above, below = f"{n + 1} of {whole}", f"{n} of {whole}"
        yield draw(f"above-{n}", "P1", f"IoU {above} is a match.", gt, "a" * (n + 1) + "p" * n)
        yield draw(f"below-{n}", "P1", f"IoU {below} is no match.", gt, "a" * n + "p" * (n + 1))
        yield draw(f"above-around-{n}", "P1", f"IoU {above} is a match.", "a" * (n + 1) + "p" * n, gt)
    large = paint(100, 101, [("a", 0, 0, 99, 101)])
    for name, extra in (("closest-below", 0), ("closest-above", 1)):
        half = paint(100, 101, [("a", 0, 0, 49, 101), ("a", 49, 0, 1, 50 + extra)])
        purpose = f"{4999 + extra} of 9999 pixels: one of them decides the match."
        yield draw(name, "P1", purpose, large, half)
    yield draw("sum", "S1", "IoUs of several matches of a class add up.", "aaabbbbbcccccccp", "aapbbbpppcccccpp")
    yield draw("two-in-one", "P1", "The larger part of a segment matches, the smaller is false.", "aaaaa", "aaabb")
    yield draw("halves", "P1", "Two halves of a segment: neither matches.", "aaaa", "aabb")
    yield draw("one-over-two", "P1", "A prediction over two segments matches the larger.", "aaabb", "aaaaa")
    yield draw("one-over-halves", "P1", "A prediction over two halves matches none.", "aabb", "aaaa")
    yield draw("swapped", "P1", "Ids mean nothing: segments match by pixels.", "aabbb", "bbaaa")
    yield draw("other-class", "P1", "Equal pixels of another class do not match.", "aapp", "ggpp")
    yield draw("stuff-for-thing", "P1", "A stuff class does not match a thing class.", "aapp", "ttpp")
    yield draw("stuff-tie", "P1", "The threshold holds for stuff.", "ppaa", "ptaa")
    yield draw("class-between", "P1", "A prediction of another class does not hinder a match.", "aaaag", "aaagg")
    yield draw(
        "best-is-other-class", "P1", "The largest overlap may be of another class.", "gggaa ggpaa", "aaaaa ggpaa"
    )
    images = [drawn_image(1, "aapp", "ppaa"), drawn_image(2, "ppaa", "aapp")]
    yield TOPIC.draw_several("not-across-images", "P1", "Segments of different images do not match.", images)

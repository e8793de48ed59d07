"""Sums over images, and means over the classes that occur, of all classes, of things and of stuff."""

from collections.abc import Iterator

from conformance.case import Case
from conformance.topics.drawing import Topic, drawn_image

TOPIC = Topic("groups")
draw = TOPIC.draw
several = TOPIC.draw_several


def cases() -> Iterator[Case]:
    yield draw("no-stuff", "M2", "No stuff occurs: its mean is null.", "aabb", "aaab")
    yield draw("no-things", "M2", "No thing occurs: its mean is null.", "pptt", "pttt")
    yield draw("nothing", "M2", "Nothing occurs: all means are null.", "....", "....")
    yield draw("only-ignored", "M2", "Nothing but ignored predictions: all means are null.", "..AA", "ggbb")
    yield draw("only-false", "M2", "Nothing but a false positive: means of 0, and none of stuff.", "AAAA", "gggg")
    yield draw("no-match", "S2", "SQ of a class without a match is 0.", "aabbgpp", "gcbbapp")
    yield draw("mean", "M1", "The mean is over classes, not over segments.", "aabbccgpp", "aabbcc.pp")
    yield draw("mean-of-pq", "M1", "Mean PQ is no product of mean SQ and mean RQ.", "aaaaggghpp", "aaa.gggapp")
    yield draw("ignored-class", "M1", "A class of one ignored prediction does not occur.", "..aapp", "ggaapp")
    ratios = {"two-thirds": ("aaapp", "aagpp"), "five-sixths": ("aaaaaapp", "aaaaatpp")}
    for name, sides in ratios.items():
        yield draw(name, "S2", "SQ and RQ of one match.", *sides)
    sums = {
        "sum-of-images": (("aaap", "aapp"), ("aabp", "aabp")),
        "sum-is-no-mean": (("aabbccpp", "aabbccpp"), ("aapp", "ppaa")),
        "class-in-one-image": (("aapp", "aapp"), ("ggpp", "ggpp"), ("ttpp", "ttpp")),
        "false-elsewhere": (("aapp", "aapp"), ("ggpp", "aapp")),
        "missed-elsewhere": (("aapp", "aapp"), ("aapp", "ggpp")),
        "empty-image": (("aapp", "aapp"), ("....", "....")),
        "crowd-elsewhere": (("AApp", "aapp"), ("ggpp", "aapp")),
        "many-images": tuple(("a" * n + "p" * (9 - n), "a" * (n - 1) + "p" * (10 - n)) for n in range(2, 9)),
        "sizes-differ": (("aap aap", "aap app"), ("ggpp", "ggpp"), ("t t p", "t p p")),
    }
    for name, pairs in sums.items():
        images = [drawn_image(10 + number, *pair) for number, pair in enumerate(pairs)]
        yield several(name, "S1", "Counts and IoUs add up over images before anything is divided.", images)

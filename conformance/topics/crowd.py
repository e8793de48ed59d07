"""Crowd regions: never matched, never missed, and what lies on those of its class for more than half is ignored."""

from collections.abc import Iterator

from conformance.case import Case
from conformance.topics.drawing import Drawn, Topic, around_half

draw = Topic("crowd").draw


def cases() -> Iterator[Case]:
    for n in (1, 3, 7):
        for name, on_crowd, what in around_half(n):
            gt = "A" * on_crowd + "g" * (2 * n - on_crowd)
            result = "ignored" if name == "more" else "a false positive"
            purpose = f"A prediction with {what} of its {2 * n} pixels on crowd ({on_crowd}) is {result}."
            yield draw(f"{name}-{n}", "C2", purpose, gt + "pp", "a" * 2 * n + "pp")
    yield draw("not-missed", "C1", "A crowd region without prediction is not missed.", "AAgg", "..gg")
    yield draw("not-matched", "C1", "A prediction equal to a crowd region is no match.", "AApp", "aapp")
    yield draw("only-crowd", "M1", "A class of nothing but crowd does not occur.", "AAAA", "aaaa")
    yield draw("other-class", "C2", "Crowd of another class absorbs nothing.", "GGpp", "aapp")
    yield draw("two-classes", "C2", "Each class has its own crowd.", "AAGG", "aagg")
    yield draw("two-classes-crossed", "C2", "Crowds of each other's class absorb nothing.", "AAGG", "ggaa")
    yield draw("several-predictions", "C2", "A crowd region absorbs any number.", "AAAAAApp", "aabbccpp")
    yield draw("beside-a-match", "C1", "Crowd and a match of one class.", "aaaAAApp", "aaabbbpp")
    yield draw("in-union", "P2", "Crowd counts in the union: IoU is 3/5.", "aaaAApp", "aaaaapp")
    yield draw("no-match-then-ignored", "C2", "IoU 2/5 is no match, but most is crowd.", "aaAAApp", "aaaaapp")
    yield draw("no-match-tie", "C2", "No match, and half is crowd.", "aaAApp", "aaaapp")
    yield draw("with-void", "C2", "Void and crowd together are more than half.", "AA.ggpp", "aaaaapp")
    yield draw("with-void-half", "C2", "Void and crowd together are exactly half.", "AA.gggpp", "aaaaaapp")
    yield draw("with-void-other", "C2", "Void and crowd of another class.", "GG.aapp", "bbbbbpp")
    yield draw("predicted-void", "C1", "Crowd predicted as void counts nowhere.", "aaAA", "aa..")
    yield draw("predicted-other", "C2", "Another class on crowd is false.", "aaAA", "aagg")
    yield draw("stuff", "C2", "A crowd of stuff absorbs stuff.", "PPPaa", "pppaa")
    yield draw("stuff-half", "C2", "Stuff with half on crowd is false.", "PPaatt", "pppptt")
    yield draw("stuff-and-segment", "C1", "Stuff as segment and as crowd.", "ppPPaa", "ppqqaa")
    yield draw("around", "C2", "A prediction inside crowd.", "AAAA AAAA AAAA", "aaaa abba aaaa")
    yield draw("two-both", "C2", "Two crowd regions of a class absorb together.", "AABBggpp", "aaaaaapp")
    yield draw("two-first", "C2", "The crowd region listed first absorbs.", "AAAABBpp", "aaaabbpp")
    yield draw("two-last", "C2", "The crowd region listed last absorbs.", "AABBBBpp", "ccaaaapp")
    reversed_list = Drawn("AAAABBpp", order="pBA")
    yield draw("two-reversed", "C2", "The order of the list does not matter.", reversed_list, "aaaabbpp")
    yield draw("two-each", "C2", "Each crowd region absorbs one prediction.", "AAABBBpp", "aaabbbpp")
    yield draw("two-half", "C2", "Two crowd regions are exactly half.", "ABggpp", "aaaapp")
    yield draw("three", "C2", "Three crowd regions absorb together.", "ABCggpp", "aaaaapp")
    yield draw("three-of-four", "C2", "One of four predictions lies on no crowd.", "AABBCCggpp", "aabbccddpp")
    yield draw("two-with-void", "C2", "Two crowd regions and void absorb together.", "AB.ggpp", "aaaaapp")
    yield draw("two-of-two-classes", "C2", "Two crowd regions of each class.", "ABGHaagg", "ccllaagg")

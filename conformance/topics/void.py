"""Void, the pixels without ground truth: left out of unions, and what lies on it for more than half is ignored."""

from collections.abc import Iterator

from conformance.case import Case
from conformance.topics.drawing import Topic, around_half

draw = Topic("void").draw


def cases() -> Iterator[Case]:
    for n in (1, 2, 4, 9):
        for name, on_void, what in around_half(n):
            gt = "." * on_void + "g" * (2 * n - on_void)
            result = "ignored" if name == "more" else "a false positive"
            purpose = f"A prediction with {what} of its {2 * n} pixels on void ({on_void}) is {result}."
            yield draw(f"{name}-{n}", "V2", purpose, gt + "pp", "a" * 2 * n + "pp")
    yield draw("odd", "V2", "Three of five pixels on void are more than half.", "...ggpp", "aaaaapp")
    yield draw("union", "V1", "The part of a prediction on void is not in the union.", "aa..pp", "aaaapp")
    yield draw("union-rescues", "V1", "A match only because void is left out.", "aaa...pp", "aaaaaapp")
    yield draw("union-tie", "V1", "IoU is 1/2 exactly only without void: no match.", "aagg..pp", "aaaaaapp")
    yield draw("union-above", "V1", "IoU is above 1/2 only without void.", "aaagg...pp", "aaaaaaaapp")
    yield draw("mostly-void-matches", "V1", "A match may lie mostly on void.", "a.......pp", "aaaaaaaapp")
    yield draw("match-below-on-void", "V2", "No match, but mostly on void: ignored.", "aaaa....pp", "ggaaaaaapp")
    yield draw("prediction-void", "V3", "Void of the prediction counts against the match.", "aaapp", "aa.pp")
    yield draw("prediction-void-tie", "V3", "Half of a segment predicted as void is no match.", "aaaapp", "aa..pp")
    yield draw("prediction-void-more", "V3", "A segment mostly predicted as void is missed.", "aaaapp", "a...pp")
    yield draw("prediction-void-other", "V3", "Predicted as void and another class: missed.", "aaaapp", "..gapp")
    yield draw("prediction-all-void", "V3", "A prediction without segments misses all.", "aapp", "....")
    yield draw("all-void", "V2", "All predictions on void are ignored.", "....", "aapp")
    yield draw("both-void", "M1", "Nothing occurs.", "....", "....")
    yield draw("void-on-void", "V1", "Void predicted on void counts nowhere.", "aa..", "aa..")
    yield draw("around", "V1", "Void around a segment.", "..... .aaa. .aaa. .....", "aaaaa aaaaa aaaaa aaaaa")
    yield draw("scattered", "V1", "Void in pieces.", "a.a.a.pp .a.a.app", "aaaaaapp aaaaaapp")
    yield draw("two-classes", "V2", "Ignored in each class alone.", "..gg.. pp....", "aaaabb pptttt")
    yield draw("stuff", "V2", "Stuff on void is ignored.", "pp...a", "ppttta")
    yield draw("stuff-half", "V2", "Stuff with half on void is not ignored.", "pp..aa", "ppttta")
    yield draw("matched-and-ignored", "V2", "Of two predictions one matches, one is ignored.", "aaa...p", "aaabbbp")

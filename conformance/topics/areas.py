"""The area of a ground truth segment is the number of its pixels, whatever its JSON claims."""

from collections.abc import Iterator

from conformance.case import Case
from conformance.topics.drawing import Drawn, Topic

draw = Topic("areas").draw


def cases() -> Iterator[Case]:
    gt, predicted = "aaaaaabbbppp", "aaaaappbbppp"
    for name, areas in {
        "larger": {"a": 8},
        "slightly-larger": {"a": 7},
        "smaller": {"a": 5},
        "much-larger": {"a": 600},
        "of-another": {"b": 4},
        "of-stuff": {"p": 9},
        "of-two": {"a": 7, "b": 4},
    }.items():
        listed = ", ".join(f"{area} instead of {gt.count(letter)}" for letter, area in areas.items())
        yield draw(name, "A1", f"The JSON claims an area of {listed}.", Drawn(gt, areas=areas), predicted)
    loses = Drawn("aaaaapp", areas={"a": 7})
    yield draw("loses-match", "A1", "By the claimed area IoU would not exceed 1/2.", loses, "aaaggpp")
    wins = Drawn("aaaaapp", areas={"a": 3})
    yield draw("wins-match", "A1", "By the claimed area IoU would exceed 1/2.", wins, "aagggpp")
    tie = Drawn("aaaaapp", areas={"a": 6})
    yield draw("tie", "A1", "By the claimed area IoU would be 1/2.", tie, "aaaggpp")
    crowd = Drawn("AAAAggpp", areas={"A": 40})
    yield draw("of-crowd", "A1", "The claimed area of a crowd region.", crowd, "aaaaggpp")
    void = Drawn("aaa..pp", areas={"a": 5})
    yield draw("with-void", "A1", "The claimed area counts void in.", void, "aaaaapp")

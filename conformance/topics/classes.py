"""Segments are what is listed: nothing is merged, and category ids are any numbers."""

from collections.abc import Iterator

from conformance.case import Case, Category
from conformance.topics.drawing import CATEGORIES, Drawn, Topic

draw = Topic("classes").draw
_ODD = (Category(0, "zero", True), Category(255, "many", True), Category(70000, "lots", False))
_WIDE = (*CATEGORIES, Category(5, "unseen", True), Category(6, "unseen too", False))


def cases() -> Iterator[Case]:
    yield draw("stuff-in-two", "N1", "A stuff class predicted in two parts is two predictions.", "ppppaa", "pppqaa")
    yield draw("stuff-in-halves", "N1", "Of two halves of a stuff segment none matches.", "ppppaa", "ppqqaa")
    yield draw("stuff-twice", "N1", "Two ground truth segments of a stuff class.", "ppqqaa", "ppqqaa")
    yield draw("stuff-twice-merged", "N1", "Two segments of stuff, predicted as one.", "pppqaa", "ppppaa")
    yield draw("stuff-twice-missed", "N1", "Two segments of stuff, one missed.", "ppqqaa", "pp..aa")
    yield draw("things-touch", "N1", "Two things that touch remain two.", "aabb", "aabb")
    yield draw("things-merged", "N1", "Two things, predicted as one.", "aabbb", "aaaaa")
    yield draw("unlisted-class", "M1", "Classes that do not occur are not averaged.", "aapp", "aapp", categories=_WIDE)
    yield draw(
        "unlisted-class-false", "M1", "A class with one false positive occurs.", "aapp", "hhpp", categories=_WIDE
    )
    for name, categories in (("unsorted", CATEGORIES[::-1]), ("stuff-first", CATEGORIES[2:] + CATEGORIES[:2])):
        yield draw(
            name, "N1", "The order of the category list does not matter.", "aaggpt", "aagggt", categories=categories
        )
    odd = {"a": 0, "g": 255, "p": 70000}
    for name, predicted in (("odd-ids", "aaggpp"), ("odd-ids-wrong", "aagppp"), ("odd-ids-missed", "g.gapp")):
        yield draw(
            name,
            "N1",
            "Category ids 0, 255 and 70000.",
            Drawn("aaggpp", categories=odd),
            Drawn(predicted, categories=odd),
            categories=_ODD,
        )
    for name, kind in (("all-things", True), ("all-stuff", False)):
        one_type = [Category(category.id, category.name, kind) for category in CATEGORIES]
        yield draw(name, "M1", "Classes of one type only.", "aaggpt", "aagppt", categories=one_type)
    yield draw("one-class", "M1", "A single class.", "aabb", "aaab", categories=CATEGORIES[:1])

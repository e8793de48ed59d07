"""Input that has no score: a tool must refuse it instead of printing a number."""

from collections.abc import Iterator

from conformance.case import Case
from conformance.topics.drawing import CATEGORIES, Drawn, Topic, drawn_image

TOPIC = Topic("invalid")
draw = TOPIC.draw
several = TOPIC.draw_several


def cases() -> Iterator[Case]:
    yield draw("prediction-unlisted", "X1", "A predicted id is drawn but not listed.", "aapp", Drawn("aapp", order="a"))
    yield draw(
        "prediction-undrawn", "X2", "A predicted id is listed but not drawn.", "aapp", Drawn("aapp", order="abp")
    )
    yield draw("prediction-nothing-listed", "X1", "Nothing is listed.", "aapp", Drawn("aapp", order=""))
    yield draw("gt-unlisted", "X1", "A ground truth id is drawn but not listed.", Drawn("aabbpp", order="ap"), "aabbpp")
    yield draw("gt-undrawn", "X2", "A ground truth id is listed but not drawn.", Drawn("aapp", order="abp"), "aapp")
    yield draw("gt-crowd-unlisted", "X1", "A crowd region is not listed.", Drawn("AAAppp", order="p"), "aaappp")
    unknown = Drawn("aapp", categories={"a": 99})
    yield draw("unknown-category", "X3", "A predicted category is not in the table.", "aapp", unknown)
    void_category = Drawn("aapp", categories={"a": 0})
    yield draw("category-0", "X3", "A predicted category 0 that is not in the table.", "aapp", void_category)
    yield draw(
        "unused-category",
        "X3",
        "A predicted category is not in a shorter table.",
        "aapp",
        "ggpp",
        categories=CATEGORIES[::2],
    )
    yield draw("size", "X4", "The prediction is of another size.", "aapp aapp aapp", "aapp aapp")
    yield draw("transposed", "X4", "The prediction is transposed.", "aapp aapp", "aa aa pp pp")
    images = [drawn_image(1, "aapp", "aapp"), drawn_image(2, "aapp", None)]
    yield several("missing", "X5", "An image has no prediction.", images)
    yield several("missing-all", "X5", "No image has a prediction.", [drawn_image(1, "aapp", None)])

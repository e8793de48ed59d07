"""Drawing cases as text: a letter is a segment, and says its class.

`a`-`f` are things of class 1, `g`-`l` things of class 2, `p`-`s` stuff of class 3 and `t`-`w` stuff of class 4; capital
letters are crowd regions of the same classes, and `.` is void. Rows are separated by spaces.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from conformance.case import Case, Category, Image, Segment, Side

CATEGORIES = (
    Category(1, "cat", True),
    Category(2, "dog", True),
    Category(3, "grass", False),
    Category(4, "sky", False),
)
LETTERS = {"abcdef": 1, "ghijkl": 2, "pqrs": 3, "tuvw": 4}
RATIO = Fraction(1, 50)
Box = tuple[str, int, int, int, int]


@dataclass(frozen=True)
class Drawn:
    """One side with what differs from the letters: ids, areas and categories by letter, and the order of the list.

    The list is in order of the letters unless `order` names other letters, which are then all that are listed.
    """

    rows: str
    ids: Mapping[str, int] = field(default_factory=dict)
    areas: Mapping[str, int] = field(default_factory=dict)
    categories: Mapping[str, int] = field(default_factory=dict)
    order: str | None = None

    def side(self, with_areas: bool) -> Side:
        """The id map and its segments; ground truth has areas."""
        rows = self.rows.split()
        letters = sorted(set(self.rows) - set(". "))
        names = {".": 0} | {letter: self.ids.get(letter, _id_of(letter)) for letter in letters}
        segments = [
            Segment(
                self.ids.get(letter, _id_of(letter)),
                self.categories.get(letter, _category_of(letter)),
                letter.isupper(),
                self.areas.get(letter, self.rows.count(letter)) if with_areas else None,
            )
            for letter in (letters if self.order is None else self.order)
        ]
        return Side(tuple(tuple(names[letter] for letter in row) for row in rows), tuple(segments))


Drawing = str | Drawn


@dataclass(frozen=True)
class Topic:
    """Draws the cases of a topic."""

    name: str

    def draw(
        self,
        name: str,
        rule: str,
        purpose: str,
        ground_truth: Drawing,
        prediction: Drawing | None,
        ratio: Fraction = RATIO,
        categories: Iterable[Category] = CATEGORIES,
    ) -> Case:
        """Draw a case of one image."""
        images = (drawn_image(1, ground_truth, prediction),)
        return Case(self.name, name, purpose, rule, tuple(categories), images, ratio)

    def draw_several(self, name: str, rule: str, purpose: str, images: Iterable[Image]) -> Case:
        """Draw a case of several images."""
        return Case(self.name, name, purpose, rule, CATEGORIES, tuple(images), RATIO)


def drawn_image(image_id: int | str, ground_truth: Drawing, prediction: Drawing | None) -> Image:
    """Draw both sides of an image."""
    gt, predicted = (
        Drawn(drawing) if isinstance(drawing, str) else drawing for drawing in (ground_truth, prediction or "")
    )
    return Image(image_id, gt.side(with_areas=True), None if prediction is None else predicted.side(with_areas=False))


def around_half(count: int) -> Iterable[tuple[str, int, str]]:
    """Half of an even number of pixels, and one more and less: name, pixels and words."""
    return ("half", count, "exactly half"), ("more", count + 1, "more"), ("less", count - 1, "less")


def paint(height: int, width: int, boxes: Iterable[Box], ground: str = "p") -> str:
    """Draw boxes (letter, top, left, height, width), later ones over earlier ones."""
    rows = [[ground] * width for _ in range(height)]
    for letter, top, left, box_height, box_width in boxes:
        for row in rows[top : top + box_height]:
            row[left : left + box_width] = [letter] * len(row[left : left + box_width])
    return " ".join("".join(row) for row in rows)


def _id_of(letter: str) -> int:
    """Ids that are no category's, nor next to one."""
    return ord(letter) - ord("A") + 41 if letter.isupper() else ord(letter) - ord("a") + 11


def _category_of(letter: str) -> int:
    return next(category for letters, category in LETTERS.items() if letter.lower() in letters)

"""Classes are matched by equal names and known spellings alone, and what does not match is named in both directions."""

import pytest

from model.comparators.classes import SPELLINGS, match_classes
from model.weights.official.classes import coco_categories
from panoptic.format.categories import Category, CategoryTable

COCO = coco_categories()
WATER = CategoryTable.of([Category(1, "boat", True, (0, 0, 0)), Category(9, "water", False, (0, 0, 0))])


def test_cocos_own_names_match_in_any_order_and_say_nothing() -> None:
    names = [category.name for category in COCO][::-1]
    classes = match_classes(names, COCO, "net")
    assert classes.labels == tuple(range(len(COCO)))[::-1]
    assert not classes.notes


def test_every_known_spelling_is_of_one_of_cocos_categories() -> None:
    names = {category.name for category in COCO}
    assert set(SPELLINGS.values()) <= names
    assert not SPELLINGS.keys() & names
    assert len(set(SPELLINGS.values())) == len(SPELLINGS)


def test_what_does_not_match_is_named_in_both_directions() -> None:
    names = ["N/A", "boat", "LABEL_2", "sea monster", "boats", "Boat"]
    classes = match_classes(names, WATER, "net")
    assert classes.labels == (None, 0, None, None, None, None)
    assert classes.notes == (
        "net: 3 of 6 classes are no categories of the dataset, and void where they are found: sea monster, boats, Boat",
        "net: 1 of 2 categories of the dataset are unknown to it, and never found: water",
        "net: 2 of 6 classes have no name, and are void",
    )


@pytest.mark.parametrize("name", ["water", "water-other"])
def test_a_known_spelling_on_either_side_matches(name: str) -> None:
    assert match_classes([name], WATER, "net").labels == (1,)
    assert COCO.category_of(match_classes([name], COCO, "net").labels[0] or 0).name == "water-other"


def test_an_equal_name_comes_before_a_spelling() -> None:
    both = CategoryTable.of([*WATER.things, *WATER.stuff, Category(10, "water-other", False, (0, 0, 0))])
    assert match_classes(["water-other", "water"], both, "net").labels == (2, 1)


def test_a_name_of_several_categories_is_that_of_none() -> None:
    twice = CategoryTable.of([*WATER.things, *WATER.stuff, Category(10, "water", False, (0, 0, 0))])
    classes = match_classes(["boat", "water"], twice, "net")
    assert classes.labels == (0, None)
    assert "2 of 3 categories of the dataset are unknown to it, and never found: water, water" in classes.notes[1]


def test_a_network_of_other_classes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"net: none of its classes \(cat, dog\) is a category of the dataset \(boat"):
        match_classes(["cat", "dog"], WATER, "net")

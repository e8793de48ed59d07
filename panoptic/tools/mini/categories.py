"""The twelve categories of `mini`: six things (shapes) and six stuff classes (land). Ids have gaps, as in COCO."""

from typing import Final

from panoptic.format.categories import Category, CategoryTable

BALL: Final = Category(2, "ball", True, (220, 60, 60), "round")
RING: Final = Category(5, "ring", True, (255, 150, 40), "round")
MOON: Final = Category(9, "moon", True, (245, 215, 70), "round")
STAR: Final = Category(14, "star", True, (200, 70, 200), "pointed")
KITE: Final = Category(17, "kite", True, (120, 80, 220), "pointed")
HEART: Final = Category(23, "heart", True, (240, 130, 170), "pointed")

SKY: Final = Category(101, "sky", False, (150, 200, 240), "air")
MOUNTAIN: Final = Category(104, "mountain", False, (130, 120, 130), "land")
FOREST: Final = Category(108, "forest", False, (40, 100, 60), "plant")
MEADOW: Final = Category(113, "meadow", False, (130, 190, 80), "plant")
SAND: Final = Category(119, "sand", False, (220, 195, 140), "land")
WATER: Final = Category(126, "water", False, (50, 110, 180), "water")

CATEGORIES: Final = CategoryTable(
    things=(BALL, RING, MOON, STAR, KITE, HEART), stuff=(SKY, MOUNTAIN, FOREST, MEADOW, SAND, WATER)
)

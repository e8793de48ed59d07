"""Images of `mini`: labeled without overlap, varied, with classes that differ in shape alone."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from panoptic.tools.mini.categories import CATEGORIES
from panoptic.tools.mini.scene import Scene, make_scene


@pytest.fixture(scope="module")
def scenes() -> tuple[Scene, ...]:
    return tuple(make_scene(np.random.default_rng([1, index])) for index in range(60))


def test_regions_do_not_overlap_and_are_large_enough(scenes: tuple[Scene, ...]) -> None:
    for scene in scenes:
        assert scene.image.shape[:2] in {(128, 128), (128, 160), (160, 128)}
        assert np.sum([region.mask for region in scene.regions], axis=0).max() == 1
        for region in scene.regions:
            assert region.mask.sum() >= (30 if region.category.is_thing else 100)


def test_each_stuff_category_is_one_region(scenes: tuple[Scene, ...]) -> None:
    for scene in scenes:
        stuff = [region.category.id for region in scene.regions if not region.category.is_thing]
        assert 3 <= len(stuff) == len(set(stuff)) <= 5


def test_scenes_vary(scenes: tuple[Scene, ...]) -> None:
    """All classes occur, with 0 to 7 things per image, about 3 on average, some crowds and some void."""
    assert {region.category.id for scene in scenes for region in scene.regions} == {each.id for each in CATEGORIES}
    counts = [sum(region.category.is_thing and not region.is_crowd for region in scene.regions) for scene in scenes]
    assert min(counts) == 0
    assert 2 < np.mean(counts) < 4
    assert max(counts) <= 7
    assert any(region.is_crowd for scene in scenes for region in scene.regions)
    labeled = [sum(int(region.mask.sum()) for region in scene.regions) / scene.image[..., 0].size for scene in scenes]
    assert 0.95 < np.mean(labeled) < 1
    assert min(labeled) > 0.8


def test_color_does_not_reveal_the_class(scenes: tuple[Scene, ...]) -> None:
    """Analyze the variance over classes of the mean of each color channel within a thing."""
    by_class: dict[int, list[NDArray[np.float64]]] = {thing.id: [] for thing in CATEGORIES.things}
    for scene in scenes:
        for region in scene.regions:
            if region.category.is_thing and not region.is_crowd:
                by_class[region.category.id].append(scene.image[region.mask].mean(axis=0))
    assert min(len(means) for means in by_class.values()) >= 15
    for channel in range(3):
        groups = [np.stack(means)[:, channel] for means in by_class.values()]
        assert stats.f_oneway(*groups).pvalue > 0.01

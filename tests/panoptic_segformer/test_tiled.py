"""Large images in tiles, through the model: what a single tile gives, and the benchmarks that measure tiles."""

from pathlib import Path

import numpy as np
import pytest

import panoptic_segformer
from benchmarks.tiles.__main__ import measure as measure_tiles
from benchmarks.tracking.__main__ import METHODS
from benchmarks.tracking.__main__ import measure as measure_tracking
from panoptic.tools.mini.categories import CATEGORIES
from panoptic_segformer.images import NamedImage
from tests.panoptic_segformer.made_model import write_model


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("weights") / "model.safetensors", categories=CATEGORIES)


def photo(height: int, width: int) -> NamedImage:
    return NamedImage("photo", np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def test_an_image_no_larger_than_a_tile_is_predicted_as_ever(weights: Path) -> None:
    model, image = panoptic_segformer.load(weights), photo(48, 40)
    expected, tiled = model(image.pixels), model.predict_tiled(image, 48, 8)
    np.testing.assert_array_equal(tiled.ids, expected.ids)
    assert [(one.category, one.area, one.box) for one in tiled.segments] == [
        (one.category, one.area, one.box) for one in expected.segments
    ]
    assert [one.score for one in tiled.segments] == pytest.approx([one.score for one in expected.segments])
    np.testing.assert_array_equal(
        [one.embedding for one in tiled.segments], [one.embedding for one in expected.segments]
    )


def test_segments_of_a_large_image_describe_its_map(weights: Path) -> None:
    image = photo(100, 130)
    model = panoptic_segformer.load(weights, batch_size=2)
    result, by_default = model.predict_tiled(image, 48, 12), model.predict_tiled(image.pixels)
    np.testing.assert_array_equal(result.ids, by_default.ids)
    assert result.ids.shape == (100, 130)
    assert [one.id for one in result.segments] == sorted(set(np.unique(result.ids).tolist()) - {0})
    assert len({one.category for one in result.segments if not one.is_thing}) == sum(
        not one.is_thing for one in result.segments
    )
    assert [one.area for one in result.segments] == [int(result.mask(one).sum()) for one in result.segments]
    scores = [one.score for one in result.segments]
    assert scores == sorted(scores, reverse=True)
    assert all(one.embedding is not None for one in result.segments)


def test_benchmarks_run_with_any_weights_of_mini(weights: Path) -> None:
    tiles = measure_tiles(weights, images=1, widths=(160,))
    assert set(tiles.qualities["160"]) == {"whole", "whole, fitted", "tiles"}
    assert tiles.qualities["160"]["whole"] == tiles.qualities["160"]["whole, fitted"]
    tracking = measure_tracking(weights, videos=1, frames=2)
    assert set(tracking.scores) == {*METHODS, "best possible"}
    assert all(0 <= score <= 100 for scores in tracking.scores.values() for score in scores)

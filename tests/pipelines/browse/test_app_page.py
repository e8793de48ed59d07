"""The App's page in a real browser: what tells outcomes apart is on it, and what is in the way is not."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.browse.views import OUTCOME_COLORS
from tests.pipelines.browse.conftest import app

pytestmark = pytest.mark.slow
# Playwright is missing where only the App is wanted.
Browser = Any
Context = Any
Page = Any
_TILE = "[data-cy=looker]"
_TOOLTIP = "[data-cy=sample-canvas-tooltip-content]"


@pytest.fixture(scope="module")
def context(
    browser: Browser, mongod: Path, browsed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Context]:
    """A profile that was never there before; pages open at the App's dataset, without a slash at the end."""
    with app(browsed / "first", tmp_path_factory.mktemp("app"), mongod, signal.SIGTERM) as (_, address, _):
        found = browser.new_context(viewport={"width": 1280, "height": 800}, base_url=address)
        found.set_default_timeout(120_000)
        yield found
        found.close()


def open_view(context: Context, slug: str) -> Page:
    """Open a saved view, and wait for its images."""
    page = context.new_page()
    page.goto(f"?view={slug}")
    page.locator(_TILE).first.wait_for()
    page.wait_for_function(f"document.querySelector('{_TILE}').innerText.includes('PQ')")
    return page


def open_tile(page: Page) -> dict[str, float]:
    """Open the first image, and return its box; a click while the grid still settles is lost."""
    canvas = page.locator("[data-cy=modal] canvas").first
    for _ in range(12):
        # Where nothing is written on the tile.
        tile = page.locator(_TILE).first.bounding_box()
        page.mouse.click(tile["x"] + tile["width"] * 0.7, tile["y"] + tile["height"] * 0.45)
        page.wait_for_timeout(5_000)
        if canvas.is_visible():
            break
    canvas.wait_for()
    box: dict[str, float] = canvas.bounding_box()
    return box


def test_a_legend_below_the_images_names_every_outcome(context: Context) -> None:
    page = open_view(context, "worst-pq")
    legend, root = page.locator("#panoptic-legend"), page.locator("#root")
    names = legend.inner_text().split("\n")
    assert names[:2] == ["ground truth", "prediction"]
    assert {name for entry in names[2:] for name in entry.split(" / ")} == set(OUTCOME_COLORS)
    below, above = legend.bounding_box(), root.bounding_box()
    assert below["y"] + below["height"] == 800
    assert above["y"] + above["height"] <= below["y"], "it covers nothing"
    assert page.get_by_text("Accelerate your workflow").count() == 0, "the pop-up of a first visit"


def test_tiles_say_corruption_severity_and_quality(context: Context) -> None:
    page = open_view(context, "most-hurt")
    text = page.locator(_TILE).first.inner_text()
    assert re.search(r"^PQ \d+\.\d \([-+]\d+\.\d\)\s*contrast [25]\b", text), text


def test_tooltips_have_no_paths_and_nothing_without_a_value(context: Context) -> None:
    page = open_view(context, "most-hurt")  # of which few things are confused, so that little is written on the tiles
    box = open_tile(page)
    found: dict[str, list[str]] = {}
    for step in range(400):
        x, y = divmod(step, 20)
        page.mouse.move(box["x"] + box["width"] * (x + 0.5) / 20, box["y"] + box["height"] * (y + 0.5) / 20)
        page.wait_for_timeout(30)
        if page.locator(_TOOLTIP).is_visible():
            title = page.locator("[data-cy=sample-canvas-tooltip-title]").inner_text()
            found[title] = page.locator(_TOOLTIP).inner_text().split("\n")
        if {"ground_truth", "prediction"} <= found.keys():
            break
    for side in ("ground_truth", "prediction"):
        values, names = found[side][::2], found[side][1::2]
        assert {"label", "outcome", "iou", "area"} <= set(names)
        assert not {"mask_path", "closed", "filled", "index", "id"} & set(names)
        assert "None" not in values
        assert not [value for value in values if "/" in value]

"""The page in a real browser.

Skipped where Chromium or playwright is missing; neither is installed with the project.
"""

import importlib
import importlib.util
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import panoptic_segformer
from panoptic.format.id_map import decode_id_map
from tests.panoptic_segformer.made_model import photo_file
from tests.panoptic_segformer.serve.servers import Program

pytestmark = pytest.mark.slow
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Browser:
    """Chromium, driven by playwright."""

    started: Any


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if path is None or importlib.util.find_spec("playwright") is None:
        pytest.skip("Chromium or playwright is missing")
    with importlib.import_module("playwright.sync_api").sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield Browser(browser)
        browser.close()


@dataclass(frozen=True)
class Screen:
    """The page in a tab of the browser."""

    page: Any

    def until(self, condition: str) -> None:
        """Wait for a condition, which the page's policy does not let playwright evaluate again and again itself."""
        deadline = time.monotonic() + 30
        while not self.page.evaluate(condition):
            assert time.monotonic() < deadline, f"{condition}: {self.page.inner_text('body')}"
            self.page.wait_for_timeout(20)

    def choose(self, folder: Path, data: bytes) -> None:
        """Choose a photo, and wait for its segments."""
        (folder / "a photo.png").write_bytes(data)
        self.page.set_input_files("#file", folder / "a photo.png")
        self.until("document.getElementById('status').textContent.includes(', in ')")

    def move(self, name: str, value: float) -> None:
        """Move a slider."""
        self.page.evaluate(
            "([name, value]) => {const input = document.getElementById(name); input.value = value;"
            "input.dispatchEvent(new Event('input'))}",
            [name, value],
        )

    def until_shown(self, result: panoptic_segformer.Result) -> None:
        """Wait until the list has the segments of a result."""
        self.until(
            "JSON.stringify([...document.querySelectorAll('#segments button')].map(one => one.ariaLabel)) === "
            f"JSON.stringify({json.dumps(labels(result))})"
        )


@pytest.fixture(params=[(1280, 800), (390, 844)], ids=["wide", "phone"])
def screen(request: pytest.FixtureRequest, browser: Browser, program: Program) -> Iterator[Screen]:
    width, height = request.param
    page = browser.started.new_page(viewport={"width": width, "height": height})
    issues: list[str] = []
    requested: list[str] = []
    page.on("console", lambda message: issues.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: issues.append(str(error)))
    page.on("request", lambda sent: requested.append(sent.url))
    page.goto(program.address)
    page.wait_for_selector("#alpha")
    yield Screen(page)
    assert not [issue for issue in issues if "status of 4" not in issue]
    own = (program.address, "blob:", "data:")
    assert [address for address in requested if not address.startswith(own)] == []
    assert page.evaluate("document.documentElement.scrollWidth") == width, "nothing to scroll sideways"
    page.close()


def labels(result: panoptic_segformer.Result) -> list[str]:
    def size(area: int) -> str:
        percent = 100 * area / result.ids.size
        return "<1" if percent < 1 else str(int(percent + 0.5))

    return [f"{one.category}, score {one.score:.2f}, {size(one.area)} % of the photo" for one in result.segments]


def test_a_photo_is_predicted_and_merged_again(
    screen: Screen, model: panoptic_segformer.Model, weights: Path, tmp_path: Path
) -> None:
    data = photo_file(5)
    screen.choose(tmp_path, data)
    screen.until_shown(model(data))
    screen.move("alpha", 0.5)
    screen.move("score_threshold", 0.3)
    changed = panoptic_segformer.load(weights, device="cpu", alpha=0.5, score_threshold=0.3)(data)
    assert len(changed.segments) != len(model(data).segments)
    screen.until_shown(changed)
    screen.page.select_option("#method", "pixel")
    assert screen.page.locator("#alpha").is_disabled()
    screen.page.click("#reset")
    screen.until_shown(model(data))


def test_pointing_at_a_segment_names_it(screen: Screen, model: panoptic_segformer.Model, tmp_path: Path) -> None:
    data = photo_file(6)
    screen.choose(tmp_path, data)
    result = model(data)
    box = screen.page.locator("#view").bounding_box()
    screen.page.mouse.move(box["x"] + box["width"] * 10.5 / 64, box["y"] + box["height"] * 20.5 / 48)
    segment = next(one for one in result.segments if one.id == result.ids[20, 10])
    assert screen.page.inner_text("#tip") == f"{segment.category} {segment.score:.2f}"
    assert screen.page.locator("#segments button.on").count() == 1
    screen.page.locator("#segments button").nth(1).focus()  # as with the keyboard
    assert screen.page.locator("#segments button").nth(1).get_attribute("class") == "on"


def test_results_are_downloaded_as_they_are_shown(
    screen: Screen, model: panoptic_segformer.Model, weights: Path, tmp_path: Path
) -> None:
    data = photo_file(7)
    screen.choose(tmp_path, data)
    screen.move("beta", 0)
    expected = panoptic_segformer.load(weights, device="cpu", beta=0)(data)
    screen.until("document.getElementById('png').href.includes('beta=0&')")
    found = {}
    for link in ("overlay", "png", "coco"):
        with screen.page.expect_download() as download:
            screen.page.click(f"#{link}")
        found[download.value.suggested_filename] = Path(download.value.path()).read_bytes()
    assert set(found) == {"a photo-overlay.png", "a photo-map.png", "a photo-panoptic.json"}
    np.testing.assert_array_equal(decode_id_map(found["a photo-map.png"], ""), expected.ids)
    listed = json.loads(found["a photo-panoptic.json"])["annotations"][0]["segments_info"]
    assert listed == expected.to_coco()["segments_info"]
    (tmp_path / "overlay.png").write_bytes(found["a photo-overlay.png"])
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "overlay.png")), np.asarray(expected.overlay()))


def test_what_is_no_photo_is_said(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "drawing.svg").write_text("<svg onload='alert(1)'/>")
    screen.page.set_input_files("#file", tmp_path / "drawing.svg")
    screen.page.wait_for_selector("#error:not([hidden])")
    assert "none of JPEG, PNG" in screen.page.inner_text("#error")
    screen.choose(tmp_path, photo_file(8))
    assert screen.page.locator("#error").is_hidden()

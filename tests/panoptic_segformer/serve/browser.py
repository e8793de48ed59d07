"""The page in Chromium, which playwright drives."""

import json
import re
import shutil
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

import panoptic_segformer
from panoptic.format.id_map import decode_id_map

WIDE, PHONE = (1280, 800), (390, 844)
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_DRAWN = "document.getElementById('view').toDataURL('image/png')"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the Chromium that is installed."""
    path = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if path is None:
        pytest.skip("Chromium is missing")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass(frozen=True)
class Screen:
    """The page in a tab of the browser."""

    page: Page

    def until(self, condition: str) -> None:
        """Wait for a condition, which the page's policy does not let playwright evaluate again and again itself."""
        deadline = time.monotonic() + 30
        while not self.page.evaluate(condition):
            assert time.monotonic() < deadline, f"{condition}: {self.page.inner_text('body')}"
            self.page.wait_for_timeout(20)

    def choose(self, folder: Path, data: bytes, name: str = "a photo.png") -> None:
        """Choose a photo, and wait for its segments."""
        (folder / name).write_bytes(data)
        self.page.set_input_files("#file", folder / name)
        self.until_predicted()

    def until_predicted(self) -> None:
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

    def download(self, link: str) -> tuple[str, bytes]:
        """Click a link; returns name and content of the file."""
        with self.page.expect_download() as download:
            self.page.click(f"#{link}")
        return download.value.suggested_filename, Path(download.value.path()).read_bytes()

    def downloaded_map(self) -> NDArray[np.int32]:
        return decode_id_map(self.download("png")[1], "")

    def pixels(self) -> NDArray[np.uint8]:
        """Return what is drawn, (H, W, 3) RGB."""
        drawn: str = self.page.evaluate(_DRAWN)
        return np.asarray(Image.open(BytesIO(b64decode(drawn.partition(",")[2]))).convert("RGB"))

    def issue(self) -> str:
        """Wait for an error, and return it."""
        self.page.wait_for_selector("#error", state="visible")
        return self.page.inner_text("#issue")

    def point(self, result: panoptic_segformer.Result, row: int, column: int) -> tuple[float, float]:
        """Return where a pixel of the photo is on the screen."""
        box = self.page.locator("#view").bounding_box()
        assert box is not None
        height, width = result.ids.shape
        return box["x"] + box["width"] * (column + 0.5) / width, box["y"] + box["height"] * (row + 0.5) / height


@contextmanager
def opened(
    browser: Browser, address: str, size: tuple[int, int] = WIDE, touch: bool = False, allowed: str = "status of 4"
) -> Iterator[Screen]:
    """Open the page; at the end, no error but those `allowed` may have been logged, and no other server asked."""
    width, height = size
    context = browser.new_context(viewport={"width": width, "height": height}, has_touch=touch)
    page = context.new_page()
    issues: list[str] = []
    requested: list[str] = []
    page.on("console", lambda message: issues.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: issues.append(str(error)))
    page.on("request", lambda sent: requested.append(sent.url))
    page.goto(address)
    page.wait_for_selector("#alpha", state="attached")
    yield Screen(page)
    assert not [issue for issue in issues if not re.search(allowed, issue)]
    own = (address, "blob:", "data:")
    assert [other for other in requested if not other.startswith(own)] == []
    assert page.evaluate("document.documentElement.scrollWidth") == width, "nothing to scroll sideways"
    context.close()


def labels(result: panoptic_segformer.Result) -> list[str]:
    def size(area: int) -> str:
        percent = 100 * area / result.ids.size
        return "<1" if percent < 1 else str(int(percent + 0.5))

    return [f"{one.category}, score {one.score:.2f}, {size(one.area)} % of the photo" for one in result.segments]

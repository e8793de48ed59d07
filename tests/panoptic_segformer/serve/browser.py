"""The page in Chromium, which playwright drives."""

import json
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page

import panoptic_segformer
from panoptic.format.id_map import decode_id_map
from tests.chromium import WIDE, opened_page

_DRAWN = "document.getElementById('view').toDataURL('image/png')"


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
    """Open the page, and wait for its controls."""
    with opened_page(browser, address, size, touch=touch, allowed=allowed) as page:
        page.wait_for_selector("#alpha", state="attached")
        yield Screen(page)


def labels(result: panoptic_segformer.Result) -> list[str]:
    def size(area: int) -> str:
        percent = 100 * area / result.ids.size
        return "<1" if percent < 1 else str(int(percent + 0.5))

    return [f"{one.category}, score {one.score:.2f}, {size(one.area)} % of the photo" for one in result.segments]

"""A headless Chromium for tests of pages, which are skipped where there is none."""

import importlib
import importlib.util
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # it is missing where only the App is wanted
    from playwright.sync_api import Browser, Page

WIDE, PHONE = (1280, 800), (390, 844)
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> Iterator["Browser"]:
    """Start the Chromium that is installed."""
    path = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if path is None or importlib.util.find_spec("playwright") is None:
        pytest.skip("Chromium or playwright is missing")
    with importlib.import_module("playwright.sync_api").sync_playwright() as playwright:
        browser: Browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened_page(
    browser: "Browser",
    address: str,
    size: tuple[int, int] = WIDE,
    is_dark: bool = False,
    touch: bool = False,
    allowed: str = r"\b\B",
) -> Iterator["Page"]:
    """Open a page; at the end, nothing but what is `allowed` may have been logged, and nothing else asked for."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height}, has_touch=touch, color_scheme="dark" if is_dark else "light"
    )
    page = context.new_page()
    issues: list[str] = []
    requested: list[str] = []
    page.on("console", lambda message: issues.append(message.text))
    page.on("pageerror", lambda error: issues.append(str(error)))
    page.on("request", lambda sent: requested.append(sent.url))
    page.goto(address)
    yield page
    assert not [issue for issue in issues if not re.search(allowed, issue)]
    own = (address, "blob:", "data:")
    assert [other for other in requested if not other.startswith(own)] == []
    assert page.evaluate("document.documentElement.scrollWidth") == width, "nothing to scroll sideways"
    context.close()

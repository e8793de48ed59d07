"""A headless Chromium for tests of pages, which are skipped where there is none."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright import sync_api

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Screen:
    """A page in a tab, with what it has asked for and the errors of its console."""

    page: Any
    requested: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Browser:
    """Chromium, driven by playwright."""

    started: sync_api.Browser

    def show(self, file: Path, width: int, color_scheme: str = "light") -> Screen:
        """Open a file in a tab of its own."""
        scheme: Literal["light", "dark"] = "dark" if color_scheme == "dark" else "light"
        page = self.started.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
        screen = Screen(page)
        page.on("request", lambda sent: screen.requested.append(sent.url))
        page.on("console", lambda message: screen.errors.append(message.text))
        page.on("pageerror", lambda error: screen.errors.append(str(error)))
        page.goto(file.as_uri())
        return screen


@contextmanager
def started_browser() -> Iterator[Browser]:
    """Start Chromium."""
    path = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if path is None:
        pytest.skip("Chromium is missing")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield Browser(browser)
        browser.close()

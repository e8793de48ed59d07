"""The report in a real browser."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from panoptic.report.page import render
from panoptic.report.run_files import RunFiles
from tests.chromium import PHONE, WIDE, opened_page
from tests.panoptic.report.made_runs import write_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    (root / "report.html").write_text(render(RunFiles.read(write_run(root))))
    return root / "report.html"


@pytest.fixture(params=[WIDE, PHONE], ids=["wide", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser, file: Path) -> Iterator[Page]:
    with opened_page(browser, file.as_uri(), request.param) as page:
        yield page


def column(page: Page, number: int) -> list[str]:
    return [row.split("\t")[number].strip() for row in rows(page)]


def rows(page: Page) -> list[str]:
    found: list[str] = page.locator("#classes tbody tr").all_inner_texts()
    return found


def test_a_click_on_a_heading_sorts_and_another_reverses(page: Page) -> None:
    heading = page.locator("#classes th", has_text="boundary PQ")
    for order in ("descending", "ascending"):
        heading.locator("button").click()
        values = [float(value) for value in column(page, 5)]
        assert len(values) == 4
        assert values == sorted(values, reverse=order == "descending")
        assert heading.get_attribute("aria-sort") == order
    name = page.locator("#classes th button").first
    name.focus()
    page.keyboard.press("Enter")
    assert column(page, 0) == ["ball", "sky", "star", "water"]
    assert heading.get_attribute("aria-sort") is None


def test_what_has_no_value_stays_at_the_end(page: Page) -> None:
    button = page.locator("#robustness th button", has_text="severity 5")
    for _ in range(2):
        button.click()
        assert page.locator("#robustness tbody tr").last.inner_text().startswith("fog")


def test_every_entry_of_the_contents_leads_to_its_section(page: Page) -> None:
    links = page.locator("nav a")
    for number in range(links.count()):
        links.nth(number).press("Enter")  # a click is lost where the row of links scrolls at that moment
        target = links.nth(number).get_attribute("href")
        assert target
        page.wait_for_url(re.compile(f"{target}$"))
        assert page.locator(target).locator("h2").count() == 1


def test_images_are_shown_in_their_shape(page: Page) -> None:
    wrong = "[...document.images].filter(one => !one.naturalWidth || Math.abs(one.width / one.height - one.naturalWidth"
    assert page.evaluate(f"{wrong} / one.naturalHeight) > 0.1).length") == 0
    assert page.evaluate("document.images.length") >= 6


@pytest.mark.parametrize("table", ["#errors .stacks + .wide", "#errors h3 + .wide"])
def test_the_tables_of_errors_fit_a_phone(browser: Browser, file: Path, table: str) -> None:
    with opened_page(browser, file.as_uri(), PHONE) as page:
        assert page.locator(table).first.evaluate("one => one.scrollWidth - one.clientWidth") == 0


def test_folded_parts_are_printed(page: Page) -> None:
    folded = "document.querySelectorAll('details:not([open])').length"
    before = page.evaluate(folded)
    assert before
    assert page.evaluate(f"dispatchEvent(new Event('beforeprint')), {folded}") == 0
    assert page.evaluate(f"dispatchEvent(new Event('afterprint')), {folded}") == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_theme(scheme: str, browser: Browser, file: Path) -> None:
    with opened_page(browser, file.as_uri(), is_dark=scheme == "dark") as page:
        red = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0]")
        assert (int(red) > 200) == (scheme == "light")
        ink = page.evaluate("getComputedStyle(document.querySelector('.chart text')).fill.match(/[0-9]+/)[0]")
        assert (int(ink) < 100) == (scheme == "light")

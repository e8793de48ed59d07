"""The comparison of runs in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from panoptic.report.comparison import Comparison
from panoptic.report.comparison_page import render_comparison
from tests.chromium import PHONE, WIDE, opened_page
from tests.panoptic.report.made_runs import write_runs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=[2, 3], ids=["two", "three"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    runs = write_runs(root)
    page = root / "comparison.html"
    page.write_text(render_comparison(Comparison.read([*runs, runs[0]][: request.param])))
    return page


@pytest.fixture(params=[(WIDE, False), (PHONE, True)], ids=["wide", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser, file: Path) -> Iterator[Page]:
    size, is_dark = request.param
    with opened_page(browser, file.as_uri(), size, is_dark) as page:
        yield page


def test_classes_are_sorted_by_their_differences(page: Page) -> None:
    heading = page.locator("#classes th", has_text="B \N{MINUS SIGN} A")
    cells = "[...document.querySelectorAll('#classes tbody tr')].map(row => row.querySelector('.change'))"
    for order in ("descending", "ascending"):
        heading.locator("button").click()
        values = page.evaluate(f"{cells}.map(cell => Number(cell.dataset.value))")
        assert len(values) == 4
        assert values == sorted(values, reverse=order == "descending")


def test_every_entry_of_the_contents_leads_to_its_section(page: Page) -> None:
    links = page.locator("nav a")
    for number in range(links.count()):
        links.nth(number).click()
        target = links.nth(number).get_attribute("href")
        assert target
        assert page.locator(target).locator("h2").count() == 1


def test_intervals_are_drawn_on_the_side_of_their_sign(page: Page) -> None:
    """The second run is better in all scores, so every interval is to the right of the line at 0."""
    drawn = "[...document.querySelectorAll('#scores .forest.higher')].map(one => [one, one.querySelector('i')])"
    values = page.evaluate(f"{drawn}.map(pair => pair.map(part => part.getBoundingClientRect().left))")
    assert len(values) == 12
    zeros = page.evaluate("getComputedStyle(document.querySelector('#scores .forest'), '::before').left")
    assert all(interval - box > float(zeros.removesuffix("px")) for box, interval in values)


def test_images_are_shown_with_the_predictions_of_both(page: Page) -> None:
    assert page.locator("#images article").first.locator("img").count() == 4
    assert page.evaluate("[...document.images].filter(one => !one.naturalWidth).length") == 0

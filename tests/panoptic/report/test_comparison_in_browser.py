"""The comparison of runs in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from panoptic.report.compared import Comparison
from panoptic.report.comparison_page import render_comparison
from tests.chromium import Browser, Screen, started_browser
from tests.panoptic.report.made_runs import write_perfect_run, write_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started_browser() as browser:
        yield browser


@pytest.fixture(scope="module", params=[2, 3], ids=["two", "three"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    folders = [root / "first", root / "second"]
    for folder in folders:
        folder.mkdir()
    runs = [write_run(folders[0]), write_perfect_run(folders[1])]
    page = root / "comparison.html"
    page.write_text(render_comparison(Comparison.read([*runs, runs[0]][: request.param])))
    return page


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["wide", "phone"])
def screen(request: pytest.FixtureRequest, browser: Browser, file: Path) -> Iterator[Screen]:
    width, scheme = request.param
    screen = browser.show(file, width, color_scheme=scheme)
    yield screen
    assert [address for address in screen.requested if not address.startswith((file.as_uri(), "data:"))] == []
    assert screen.errors == []
    assert screen.page.evaluate("document.documentElement.scrollWidth") == width, "nothing to scroll sideways"
    screen.page.close()


def test_classes_are_sorted_by_their_differences(screen: Screen) -> None:
    heading = screen.page.locator("#classes th", has_text="B \N{MINUS SIGN} A")
    cells = "[...document.querySelectorAll('#classes tbody tr')].map(row => row.querySelector('.change'))"
    for order in ("descending", "ascending"):
        heading.locator("button").click()
        values = screen.page.evaluate(f"{cells}.map(cell => Number(cell.dataset.value))")
        assert len(values) == 4
        assert values == sorted(values, reverse=order == "descending")


def test_every_entry_of_the_contents_leads_to_its_section(screen: Screen) -> None:
    links = screen.page.locator("nav a")
    for number in range(links.count()):
        links.nth(number).click()
        target = links.nth(number).get_attribute("href")
        assert screen.page.locator(target).locator("h2").count() == 1


def test_intervals_are_drawn_on_the_side_of_their_sign(screen: Screen) -> None:
    """The second run is better in all scores, so every interval is to the right of the line at 0."""
    drawn = "[...document.querySelectorAll('#scores .forest.higher')].map(one => [one, one.querySelector('i')])"
    values = screen.page.evaluate(f"{drawn}.map(pair => pair.map(part => part.getBoundingClientRect().left))")
    assert len(values) == 12
    zeros = screen.page.evaluate("getComputedStyle(document.querySelector('#scores .forest'), '::before').left")
    assert all(interval - box > float(zeros.removesuffix("px")) for box, interval in values)


def test_images_are_shown_with_the_predictions_of_both(screen: Screen) -> None:
    assert screen.page.locator("#images article").first.locator("img").count() == 4
    assert screen.page.evaluate("[...document.images].filter(one => !one.naturalWidth).length") == 0

"""The page in a real browser. Skipped where there is no Chromium, which is not installed with the project."""

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser

import panoptic_segformer
from panoptic.format.id_map import decode_id_map
from tests.chromium import PHONE, WIDE
from tests.panoptic_segformer.made_model import photo, photo_file
from tests.panoptic_segformer.serve.browser import Screen, opened
from tests.panoptic_segformer.serve.servers import Program, map_of_stage, started

pytestmark = pytest.mark.slow


@pytest.fixture(params=[WIDE, PHONE], ids=["wide", "phone"])
def screen(request: pytest.FixtureRequest, browser: Browser, program: Program) -> Iterator[Screen]:
    with opened(browser, program.address, request.param) as page:
        yield page


@pytest.fixture
def wide(browser: Browser, program: Program) -> Iterator[Screen]:
    with opened(browser, program.address) as page:
        yield page


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
    screen.page.evaluate("document.getElementById('merging').open = true")  # a phone shows it on request
    screen.page.select_option("#method", "pixel")
    assert screen.page.locator("#alpha").is_disabled()
    screen.page.click("#reset")
    screen.until_shown(model(data))


@pytest.mark.parametrize(
    "changed",
    [
        {"score_threshold": 0.02},
        {"mask_threshold": 0.45},
        {"alpha": 2},
        {"beta": 0.25},
        {"overlap_things": 0.7, "mask_threshold": 0.4},
        {"overlap_stuff": 0.3, "method": "pixel"},
        {"method": "pixel"},
        {"method": "pixel_class"},
    ],
    ids=lambda changed: "-".join(map(str, changed)),
)
def test_controls_merge_as_the_stage_does(
    wide: Screen, weights: Path, tmp_path: Path, changed: dict[str, float | str]
) -> None:
    data = photo_file(0)
    before = map_of_stage(tmp_path / "before", weights, data)
    wide.choose(tmp_path, data)
    np.testing.assert_array_equal(wide.downloaded_map(), before)
    for name, value in changed.items():
        if isinstance(value, str):
            wide.page.select_option(f"#{name}", value)
        else:
            wide.move(name, value)
    expected = map_of_stage(tmp_path / "after", weights, data, **changed)
    assert expected.any()
    assert (expected != before).any()
    query = " && ".join(f"document.getElementById('png').href.includes('{name}={changed[name]}&')" for name in changed)
    wide.until(f"{query} && document.getElementById('status').textContent.includes('merged in')")
    np.testing.assert_array_equal(wide.downloaded_map(), expected)


def test_a_photo_is_dropped_and_compared(wide: Screen, model: panoptic_segformer.Model) -> None:
    data = photo_file(0)
    dropped = wide.page.evaluate_handle(
        "bytes => {const all = new DataTransfer();"
        "all.items.add(new File([Uint8Array.from(bytes)], 'dropped.png', {type: 'image/png'})); return all}",
        list(data),
    )
    wide.page.dispatch_event("#drop", "drop", {"dataTransfer": dropped})
    wide.until_shown(model(data))
    wide.page.uncheck("#names")
    overlay = wide.pixels()
    button = wide.page.locator("#compare").bounding_box()
    assert button is not None
    wide.page.mouse.move(button["x"] + 5, button["y"] + 5)
    wide.page.mouse.down()
    bare = wide.pixels()
    wide.page.mouse.up()
    assert (wide.pixels() == overlay).all()
    scale = bare.shape[0] // 48
    blocks = np.asarray(photo(0))[4::8, 4::8]  # the centers of blocks of one color
    np.testing.assert_array_equal(bare[4 * scale :: 8 * scale, 4 * scale :: 8 * scale], blocks)
    assert (overlay != bare).any(axis=2).mean() > 0.9
    assert wide.download("overlay")[0] == "dropped-overlay.png"


def test_the_numbers_of_segments_stand_below_their_names(screen: Screen, tmp_path: Path) -> None:
    screen.choose(tmp_path, photo_file(0))
    rights = "all => all.map(one => Math.round(one.getBoundingClientRect().right))"
    heads = screen.page.locator(".heads small")
    assert heads.all_inner_texts() == ["area", "score"]
    numbers = screen.page.locator("#segments li:first-child small").evaluate_all(rights)
    assert heads.evaluate_all(rights) == numbers[1:]


def test_pointing_at_a_segment_names_it(screen: Screen, model: panoptic_segformer.Model, tmp_path: Path) -> None:
    data = photo_file(0)
    screen.choose(tmp_path, data)
    result = model(data)
    screen.page.mouse.move(*screen.point(result, 20, 10))
    segment = next(one for one in result.segments if one.id == result.ids[20, 10])
    assert screen.page.inner_text("#tip") == f"{segment.category} {segment.score:.2f}"
    assert screen.page.locator("#segments button.on").count() == 1
    screen.page.locator("#segments button").nth(1).focus()  # as with the keyboard
    assert screen.page.locator("#segments button").nth(1).get_attribute("class") == "on"


def test_touching_a_segment_names_it(
    browser: Browser, program: Program, model: panoptic_segformer.Model, tmp_path: Path
) -> None:
    data = photo_file(0)
    result = model(data)
    with opened(browser, program.address, PHONE, touch=True) as screen:
        screen.choose(tmp_path, data)
        screen.page.touchscreen.tap(*screen.point(result, 20, 10))
        segment = next(one for one in result.segments if one.id == result.ids[20, 10])
        assert screen.page.inner_text("#tip") == f"{segment.category} {segment.score:.2f}"
        assert screen.page.locator("#segments button.on").get_attribute("value") == str(segment.id)
        screen.page.locator("#merging summary").tap()
        screen.page.locator("#alpha").tap()
        screen.until("document.getElementById('status').textContent.includes('merged in')")


def test_everything_is_done_by_keyboard(
    wide: Screen, model: panoptic_segformer.Model, weights: Path, tmp_path: Path
) -> None:
    data = photo_file(7)
    keys, reached = wide.page.keyboard, "document.activeElement.id || document.activeElement.tagName"
    keys.press("Tab")
    assert wide.page.evaluate(reached) == "file"
    (tmp_path / "photo.png").write_bytes(data)
    with wide.page.expect_file_chooser() as chooser:
        keys.press("Space")
    chooser.value.set_files(tmp_path / "photo.png")
    wide.until_predicted()
    wide.page.locator("#names").focus()
    order: list[str] = []
    while "reset" not in order and len(order) < 60:
        keys.press("Tab")
        order.append(wide.page.evaluate(reached))
        if order[-1] == "alpha":
            keys.press("ArrowLeft")
    found = [name for name in order if name != "BUTTON"]  # segments have no id
    assert order.count("BUTTON") == len(model(data).segments)
    controls = ["score_threshold", "mask_threshold", "alpha", "beta", "overlap_things", "overlap_stuff", "reset"]
    before = ["compare", "opacity", "file", "overlay", "png", "coco", "SUMMARY", "method"]
    assert found == [*before, *controls]
    wide.until_shown(panoptic_segformer.load(weights, device="cpu", alpha=0.95)(data))
    overlay = wide.pixels()
    wide.page.locator("#compare").focus()
    keys.down("Space")
    assert (wide.pixels() != overlay).any()
    keys.up("Space")
    assert (wide.pixels() == overlay).all()


def test_results_are_downloaded_as_they_are_shown(screen: Screen, weights: Path, tmp_path: Path) -> None:
    data = photo_file(7)
    screen.choose(tmp_path, data)
    screen.move("beta", 0)
    expected = panoptic_segformer.load(weights, device="cpu", beta=0)(data)
    screen.until("document.getElementById('png').href.includes('beta=0&')")
    found = dict(screen.download(link) for link in ("overlay", "png", "coco"))
    assert set(found) == {"a photo-overlay.png", "a photo-map.png", "a photo-panoptic.json"}
    np.testing.assert_array_equal(decode_id_map(found["a photo-map.png"], ""), expected.ids)
    listed = json.loads(found["a photo-panoptic.json"])["annotations"][0]["segments_info"]
    assert listed == expected.to_coco()["segments_info"]
    overlay = np.asarray(Image.open(BytesIO(found["a photo-overlay.png"])))
    np.testing.assert_array_equal(overlay, np.asarray(expected.overlay()))


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("notes.txt", b"no image", "none of JPEG, PNG"),
        ("drawing.svg", b"<svg onload='alert(1)'/>", "none of JPEG, PNG"),
        ("cut.png", photo_file(1)[:-20], "cut short"),
        ("large.png", photo_file(1) + bytes(4_000_000), "large.png has more than 4 MB"),
        ("wide.png", photo_file(1, 8, 300_000), "300000 x 8 pixels"),
    ],
)
def test_what_is_no_photo_is_said(wide: Screen, tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    wide.page.set_input_files("#file", tmp_path / name)
    assert said in wide.issue()
    wide.choose(tmp_path, photo_file(8))
    assert wide.page.locator("#error").is_hidden()


def test_of_two_photos_the_last_is_shown(wide: Screen, model: panoptic_segformer.Model, tmp_path: Path) -> None:
    (tmp_path / "first.png").write_bytes(photo_file(3, 800, 1000))
    wide.page.set_input_files("#file", tmp_path / "first.png")
    wide.choose(tmp_path, photo_file(4), "second.png")
    wide.until_shown(model(photo_file(4)))
    wide.page.wait_for_timeout(300)
    wide.until_shown(model(photo_file(4)))
    assert wide.download("png")[0] == "second-map.png"


def test_a_server_that_went_away_is_said_until_it_is_back(
    browser: Browser, weights: Path, model: panoptic_segformer.Model, tmp_path: Path
) -> None:
    data = photo_file(9)
    with started(weights) as program, opened(browser, program.address, allowed="ERR_CONNECTION|status of 4") as screen:
        screen.choose(tmp_path, data)
        program.process.kill()
        program.process.wait()
        screen.move("alpha", 0.5)
        assert screen.issue() == "The server does not answer; is it still running?"
        with started(weights, "--port", program.address.rpartition(":")[2]):
            screen.page.click("#retry")
            screen.until_shown(panoptic_segformer.load(weights, device="cpu", alpha=0.5)(data))
            assert screen.page.locator("#error").is_hidden()

"""The output of `check`: the numbers of the summary, the JSON, the page, and the exit status of the command."""

import json
import subprocess
import sys
from base64 import b64decode
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.network.config import NetworkConfig
from panoptic.format.id_map import encode_id_map
from panoptic.io.errors import DatasetError
from panoptic.tools.check.__main__ import main
from panoptic.tools.check.capacity import PUBLISHED_QUERIES, Queries
from panoptic.tools.check.dataset import DatasetCheck, check_dataset
from panoptic.tools.check.images import choose_images, show_images
from panoptic.tools.check.issues import ISSUE_TYPES
from panoptic.tools.check.layout import find_splits
from panoptic.tools.check.page import make_page
from panoptic.tools.check.report import as_json, as_text
from tests.panoptic.tools.check.made_datasets import MadeDataset
from tests.panoptic.tools.check.made_issues import ISSUES

HOSTILE = "<script>alert('x')</script>\"&\x1b[2J\nERROR"


@pytest.fixture
def made(tmp_path: Path) -> MadeDataset:
    return MadeDataset(tmp_path / "own")


def _check(made: MadeDataset) -> DatasetCheck:
    splits, issues = find_splits(made.root)
    return check_dataset(str(made.root), splits, issues)


def test_the_summary_counts_what_is_drawn(made: MadeDataset) -> None:
    """Compared with counting pixels; areas are around COCO's limits of 1024 and 9216 pixels."""
    ids = np.zeros((100, 200), np.int32)
    ids[:32, :32], ids[40:71, :33], ids[:96, 100:196] = 1, 2, 3
    ids[99], ids[98] = 4, 5
    made.draw(11, ids)
    cv2.imwrite(str(made.image(11)), np.full((100, 200, 3), 9, np.uint8))
    listed = [{"id": key, "category_id": 3, "iscrowd": int(key == 4)} for key in range(1, 6)]
    made.edit("val", lambda document: document["annotations"][0].update(segments_info=listed))
    made.edit("val", lambda document: document["images"][0].update(height=100, width=200))
    check = _check(made)
    summary = check.splits[1].summary
    assert summary.sizes() == ((24, 32), (24, 32), (100, 200))
    drawn = [made.ids(number) for number in range(11, 17)]
    infos = [made.segments(json.loads(made.json().read_text()), position) for position in range(6)]
    pixels = sum(image.size for image in drawn)
    assert summary.void_fraction == sum(int((image == 0).sum()) for image in drawn) / pixels
    crowd = sum(
        int((image == info["id"]).sum())
        for image, listed in zip(drawn, infos, strict=True)
        for info in listed
        if info["iscrowd"]
    )
    assert summary.crowd_fraction == crowd / pixels
    assert summary.segments_per_image() == (
        min(map(len, infos)),
        sorted(map(len, infos))[3],
        max(map(len, infos)),
    )
    instances = Counter(info["category_id"] for listed in infos for info in listed if not info["iscrowd"])
    assert {key: counts.instances for key, counts in summary.classes.items() if counts.instances} == instances
    assert (summary.areas.medium, summary.areas.large) == (1, 1)
    assert summary.areas.small == instances.total() - 2


def test_the_json_lists_every_issue(made: MadeDataset) -> None:
    for issue_type in ("drawn-unlisted", "image-duplicate", "unknown-category", "thing-without-instance"):
        ISSUES[issue_type][0](made)
    check = _check(made)
    document = json.loads(as_json(check))
    assert (document["format"], document["version"], document["dataset"]) == ("panoptic-check", 2, str(made.root))
    told = [(f["kind"], f["split"], f["where"], f["found"], f["image_id"]) for f in document["issues"]]
    assert told == [(f.type, f.split, f.where, f.found, f.image_id) for f in check.issues]
    for issue in document["issues"]:
        expected = ISSUE_TYPES[issue["kind"]]
        assert (issue["severity"], issue["hint"]) == (str(expected.severity), expected.hint)
    counts = Counter(f"{issue['severity']}s" for issue in document["issues"])
    assert document["counts"] == {"errors": 0, "warnings": 0, "notes": 0} | counts
    assert [split["split"] for split in document["splits"]] == ["train", "val"]
    assert document["splits"][0]["images"] == 6
    assert {entry["name"] for entry in document["classes"]} == {"ball", "star", "sky", "water", "fox"}


def test_the_table_names_kind_count_file_and_hint(made: MadeDataset) -> None:
    for number in range(11, 16):
        made.mask(number).unlink()
    check = _check(made)
    text = as_text(check)
    assert "ERROR png-missing (5): a panoptic PNG does not exist" in text
    assert f"{made.mask(11).parent}: 000011.png: there is no such file" in text
    assert "and 2 more (--all lists them)" in text
    assert "000015.png" not in text
    assert "000015.png" in as_text(check, every_issue=True)
    assert f"to do: {ISSUE_TYPES['png-missing'].hint}" in text
    assert text.splitlines()[-1].startswith("5 errors, 0 warnings, ")


class _Page(HTMLParser):
    """The tags of a page, its text, and the sources of its images."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.text = ""
        self.images: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        values = dict(attrs)
        assert not any(name.startswith("on") or name == "href" for name in values)
        if tag == "img":
            self.images.append(values["src"] or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def _make_hostile(made: MadeDataset) -> None:
    for split in ("train", "val"):
        made.edit(split, lambda document: document["categories"][0].update(name=HOSTILE))
        made.edit(split, lambda document: document["categories"][1].update(name=f"{HOSTILE}2"))
    made.edit("val", lambda document: document["images"][0].update(file_name=f"{HOSTILE}.png"))
    made.edit("val", lambda document: document["annotations"][1].update(file_name=f"../{HOSTILE}.png"))
    made.edit("val", lambda document: document["annotations"][2].update(file_name=[HOSTILE]))
    made.edit("val", lambda document: [image.update(id=f"{HOSTILE}{image['id']}") for image in document["images"]])
    made.edit("val", lambda d: [entry.update(image_id=f"{HOSTILE}{entry['image_id']}") for entry in d["annotations"]])


def test_hostile_names_stay_text(made: MadeDataset) -> None:
    _make_hostile(made)
    check = _check(made)
    page = _Page(make_page(check, images=3))
    assert page.tags["script"] == 0
    assert HOSTILE in page.text
    assert "\x1b" not in as_text(check)
    assert "\\x1b[2J\\nERROR" in as_text(check)
    assert "\nERROR." not in as_text(check)


def test_the_page_needs_no_external_resource(made: MadeDataset) -> None:
    page = make_page(_check(made), images=5)
    assert f"5 of {sum(len(split.annotations.images) for split in _check(made).splits)} images" in page
    assert "http" not in page.replace("http-equiv", "")
    images = _Page(page).images
    assert len(images) == 5
    for source in images:
        head, data = source.split(",")
        assert head == "data:image/jpeg;base64"
        assert cv2.imdecode(np.frombuffer(b64decode(data), np.uint8), cv2.IMREAD_COLOR) is not None


def test_images_with_issues_come_first_and_a_seed_chooses_the_others(made: MadeDataset) -> None:
    made.mask(13).unlink()
    made.mask(4, "train").write_bytes(b"?")
    check = _check(made)
    chosen = [(split.split, image.image_id) for split, image in choose_images(check, 6, seed=0)]
    assert sorted(chosen[:2]) == [("train", 4), ("val", 13)]
    assert len(set(chosen)) == 6
    assert chosen == [(split.split, image.image_id) for split, image in choose_images(check, 6, seed=0)]
    others = [[image.image_id for _, image in choose_images(check, 6, seed)[2:]] for seed in range(5)]
    assert len({tuple(ids) for ids in others}) > 1
    assert len(choose_images(check, 100, seed=0)) == 12


def test_no_image_is_too_damaged_for_the_page(made: MadeDataset) -> None:
    """With each type of issue, the image is shown as far as possible."""
    for issue_type in ("bomb", "image-damaged", "png-damaged", "size-differs", "unknown-category", "image-missing"):
        dataset = MadeDataset(made.root.parent / issue_type)
        ISSUES[issue_type][0](dataset)
        (first, *_) = show_images(_check(dataset), 1, seed=0)
        assert first.image.image_id == 11
        assert issue_type in {issue.type for issue in first.issues}
        assert cv2.imdecode(np.frombuffer(first.jpeg, np.uint8), cv2.IMREAD_COLOR) is not None


def test_unlisted_pixels_are_visible(made: MadeDataset) -> None:
    """A smoothly resampled PNG has an id for every pixel: they are shown as one, in a color of its own."""
    ids = np.arange(1, 24 * 32 + 1, dtype=np.int32).reshape(24, 32) * 7
    made.mask(11).write_bytes(encode_id_map(ids))
    (first, *_) = show_images(_check(made), 1, seed=0)
    image = cv2.imdecode(np.frombuffer(first.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    blue, green, red = image[60:, image.shape[1] // 2 + 20 : -20].reshape(-1, 3).mean(axis=0)
    assert red > green + 60
    assert blue > green + 60


def _status(*argv: str) -> int:
    try:
        main(argv)
    except SystemExit as ended:
        return int(str(ended.code))
    return 0


def test_the_status_distinguishes_sound_data_issues_and_wrong_use(made: MadeDataset, tmp_path: Path) -> None:
    assert _status(str(made.root), "--workers", "0") == 0
    ISSUES["area-differs"][0](made)
    assert _status(str(made.root), "--workers", "0") == 0
    ISSUES["png-missing"][0](made)
    assert _status(str(made.root), "--workers", "0") == 1
    assert _status(str(made.root), "--workers", "0", "--split", "train") == 0
    assert _status(str(made.root), "--split", "test") == 2
    assert _status(str(tmp_path / "nothing")) == 2
    assert _status() == 2
    assert _status("--masks", "x") == 2


def test_the_command_writes_json_and_page(made: MadeDataset, capsys: pytest.CaptureFixture[str]) -> None:
    page, file = made.root / "page.html", made.root / "check.json"
    assert (
        _status(str(made.root), "--workers", "0", "--page", str(page), "--json", str(file), "--page-images", "2") == 0
    )
    assert "fit for use" in capsys.readouterr().out
    assert _status(str(made.root), "--workers", "0", "--json", "-") == 0
    assert capsys.readouterr().out == file.read_text() == as_json(_check(made))
    assert page.read_text() == make_page(_check(made), images=2)


def test_names_that_no_file_can_have_are_reported(made: MadeDataset) -> None:
    made.edit("val", lambda document: document["images"][0].update(file_name="\ud800.png"))
    page, file = made.root / "page.html", made.root / "check.json"
    assert (
        _status(str(made.root), "--workers", "0", "--page", str(page), "--json", str(file), "--page-images", "2") == 1
    )
    assert "\\ud800.png" in page.read_text()
    assert "\\ud800.png" in file.read_text()


def test_a_single_split_may_be_anywhere(made: MadeDataset, capsys: pytest.CaptureFixture[str]) -> None:
    moved = made.json().rename(made.root.parent / "ground_truth.json")
    parts = ("--masks", str(made.mask(11).parent), "--images", str(made.root / "val"), "--workers", "0")
    assert _status("--panoptic-json", str(moved), *parts) == 0
    assert "splits ground_truth" in capsys.readouterr().out


def test_the_embedded_dataset_is_sound(capsys: pytest.CaptureFixture[str]) -> None:
    root = Path(__file__).parents[4] / "data" / "mini"
    assert _status(str(root), "--split", "val", "--workers", "0") == 0
    assert "0 errors, 0 warnings, 0 notes: fit for use" in capsys.readouterr().out


LABELME = {"version": "5.5.0", "flags": {}, "shapes": [], "imagePath": "a.jpg", "imageData": "A" * (1 << 17)}
INSTANCES: dict[str, list[object]] = {"images": [], "annotations": [], "categories": []}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.json", json.dumps(LABELME), "LabelMe; convert the folder: python -m panoptic.tools.convert "),
        ("annotations/instances_val.json", json.dumps(INSTANCES), "COCO's format, and no panoptic JSON is here; conv"),
        ("annotations.xml", "<?xml version='1.0'?>\n<annotations>\n", "CVAT; export the task as 'COCO 1.0'"),
        ("ADEChallengeData2016.zip", "", "dataset.name to ade20k"),
        ("panoptic_val.json", "{}", "give the parent folder"),
        ("readme.txt", "", "expected annotations/panoptic_<split>.json"),
    ],
)
def test_another_layout_is_recognized(tmp_path: Path, name: str, content: str, told: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    with pytest.raises(DatasetError) as raised:
        find_splits(tmp_path)
    assert told in str(raised.value)


def test_a_reader_of_the_tables_that_ends_early_does_not_lose_the_page(made: MadeDataset, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    command = [sys.executable, "-m", "panoptic.tools.check", str(made.root), "--page", str(page), "--workers", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert "Broken pipe" not in process.stderr.read()
    assert process.returncode in (0, 1)
    assert page.read_text().endswith("</html>\n")


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (
            "{queries: 2, selected_queries: 9}",
            "have more than 2 things, one has 6: more than model.queries (2) can",
        ),
        (
            "{queries: 7, selected_queries: 7, stuff: joint}",
            "segments, one has 8: more than model.queries (7) and",
        ),
    ],
)
def test_images_with_more_things_than_the_settings_allow_are_counted(
    made: MadeDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str, found: str
) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(f"model: {model}\n")
    assert _status(str(made.root), "--params", str(params), "--workers", "0") == 0
    assert found in capsys.readouterr().out


def test_settings_that_were_asked_for_have_to_exist(made: MadeDataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert _status(str(made.root), "--params", "nowhere.yaml") == 2
    assert "nowhere.yaml: there is no such file" in capsys.readouterr().err


def test_the_published_numbers_of_queries_are_the_defaults_of_the_network() -> None:
    published = NetworkConfig()
    assert Queries(published.queries, published.selected_queries) == PUBLISHED_QUERIES

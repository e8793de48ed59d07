"""`check`: every type of issue is made for real in a sound dataset, and found by its type, file and hint."""

import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panoptic.datasets.coco import build_index
from panoptic.io.errors import DatasetError
from panoptic.tools.check.annotations import read_split_annotations
from panoptic.tools.check.dataset import DatasetCheck, check_dataset
from panoptic.tools.check.image import Source, inspect_images
from panoptic.tools.check.issues import ISSUE_TYPES, Issue, Severity
from panoptic.tools.check.layout import find_splits
from tests.panoptic.tools.check.made_datasets import MadeDataset, halve, jpeg_with_orientation
from tests.panoptic.tools.check.made_issues import ISSUES


@pytest.fixture
def made(tmp_path: Path) -> MadeDataset:
    return MadeDataset(tmp_path / "own")


def _check(made: MadeDataset, workers: int = 0) -> DatasetCheck:
    splits, issues = find_splits(made.root)
    return check_dataset(str(made.root), splits, issues, workers)


def _zip_damaged(made: MadeDataset) -> None:
    folder = made.mask(11).parent
    archive = Path(shutil.make_archive(str(folder), "zip", folder))
    shutil.rmtree(folder)
    with zipfile.ZipFile(archive) as file:
        info = file.getinfo("000011.png")
        start = info.header_offset + 60
    data = bytearray(archive.read_bytes())
    data[start : start + 8] = bytes(8)
    archive.write_bytes(data)


def test_there_is_an_example_of_every_kind_of_issue() -> None:
    assert ISSUES.keys() == ISSUE_TYPES.keys()


def test_a_sound_dataset_has_no_issue(made: MadeDataset) -> None:
    assert _check(made).issues == ()


@pytest.mark.parametrize("issue_type", ISSUES)
def test_an_issue_is_found_with_its_file_and_hint(made: MadeDataset, issue_type: str) -> None:
    spoil, place, found = ISSUES[issue_type]
    spoil(made)
    check = _check(made)
    (issue, *_) = [issue for issue in check.issues if issue.type == issue_type]
    assert issue.where.endswith(place) or place in issue.where
    assert found in issue.found
    assert issue.hint == ISSUE_TYPES[issue_type].hint
    assert check.has_errors == any(other.severity is Severity.ERROR for other in check.issues)


# Issues that bring others along, and which.
CONSEQUENCES = {
    "more-things-than-queries": {"more-things-than-ap", "tiny-segment"},
    "more-things-than-ap": {"more-things-than-queries", "tiny-segment"},
    "json-unreadable": {"image-unlisted", "png-unlisted", "class-not-in-split"},
    "json-field": {"image-undeclared", "image-unlisted"},
    "no-annotations": {"image-unlisted", "png-unlisted", "class-not-in-split"},
    "category-twice": set(),
    "image-unannotated": {"png-unlisted"},
    "image-undeclared": {"image-unlisted"},
    "image-missing": {"image-unlisted"},
    "png-shared": {"png-unlisted", "drawn-unlisted", "listed-undrawn", "area-differs", "box-differs"},
    "png-missing": set(),
    "name-leaves-folder": {"png-unlisted"},
    "size-differs": {"exif-rotation"},
    "stuff-divided": {"class-not-in-split"},
    "area-differs": set(),
    "drawn-unlisted": {"area-differs", "box-differs"},
    "category-name-twice": set(),
    "void-image": set(),
    "image-shared": {"image-unlisted"},
    "thing-like-stuff": {"tiny-segment", "class-not-in-split"},
    "tiny-segment": {"area-differs", "box-differs"},
    "id-across-splits": {"image-across-splits"},
}


@pytest.mark.parametrize("issue_type", ISSUES)
def test_one_issue_is_not_mistaken_for_others(made: MadeDataset, issue_type: str) -> None:
    ISSUES[issue_type][0](made)
    assert {issue.type for issue in _check(made).issues} - {issue_type} <= CONSEQUENCES.get(issue_type, set())


# Errors that annotate accepts by design: `categories-differ` shows only when splits are compared, which stages.annotate
# does after reading each, a divided stuff class can be trained on but is scored wrongly by any tool, and DVC stops at a
# dangling link before annotate is run.
BY_DESIGN = {"categories-differ", "stuff-divided", "file-unusable"}
# Issues of the dataset's layout: annotate is told its splits, so that it never looks for others.
OF_LAYOUT = {"id-across-splits", "json-ignored"}


def _refused(check: DatasetCheck) -> bool:
    """Tell whether annotate refuses a split of a checked dataset."""
    try:
        for split in check.splits:
            build_index(split.files.panoptic_json, split.files.masks, split.files.images)
    except DatasetError:
        return True
    return False


@pytest.mark.parametrize("issue_type", [issue_type for issue_type in ISSUES if issue_type not in OF_LAYOUT])
def test_annotate_refuses_exactly_what_check_calls_an_error(made: MadeDataset, issue_type: str) -> None:
    ISSUES[issue_type][0](made)
    check = _check(made)
    assert check.has_errors == (_refused(check) or issue_type in BY_DESIGN)


def test_annotate_and_check_agree_on_random_damage_of_the_json(made: MadeDataset) -> None:
    """Up to three values of the JSON at a time are removed, repeated or replaced."""
    sound = json.loads(made.json().read_text())
    rng = np.random.default_rng(11)
    splits, _ = find_splits(made.root)
    verdicts = []
    for _ in range(150):
        document = json.loads(json.dumps(sound))
        damages = [_damage(document, rng) for _ in range(rng.integers(1, 4))]
        made.json().write_text(json.dumps(document))
        check = check_dataset("own", {"val": splits["val"]})
        errors = {issue.type for issue in check.issues if issue.severity is Severity.ERROR} - BY_DESIGN
        assert bool(errors) == _refused(check), f"{damages}: {sorted(errors)}"
        verdicts.append(bool(errors))
    assert 15 < sum(verdicts) < 145


def _damage(document: object, rng: np.random.Generator) -> str:
    """Change one value at a random depth of a JSON document; returns what was done, for a message."""
    places = list(_places(document, ""))
    parent, key, path = places[rng.integers(len(places))]
    action = rng.integers(3)
    if action == 0:
        del parent[key]
    elif action == 1 and isinstance(parent, list):
        parent.append(parent[key])
    else:
        values: tuple[object, ...] = (None, "x", "", -1, 0, 1, 7, 11, 12, 24, 32, 1 << 24, [], {}, 1.5, True, 10**400)
        parent[key] = values[rng.integers(len(values))]
    return f"{('removed', 'repeated', 'replaced')[action]} {path}"


def _places(value: object, path: str) -> Iterator[tuple[Any, Any, str]]:
    """Every value inside a JSON document: what holds it, its key or position there, and its path."""
    if not isinstance(value, dict | list):
        return
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key, f"{path}/{key}"
        yield from _places(value[key], f"{path}/{key}")


def test_all_issues_are_found_at_once(made: MadeDataset) -> None:
    """A broken entry hides no other issue: not in its list, not in its image, not in other files."""
    spoiled = ("unknown-category", "image-damaged", "category-twice", "image-undeclared")
    for issue_type in spoiled:
        ISSUES[issue_type][0](made)
    made.json().write_text(made.json().read_text().replace('"annotations": [', '"annotations": [5, '))
    halve(made.mask(13))
    made.mask(2, "train").unlink()
    types = {issue.type for issue in _check(made).issues}
    assert {*spoiled, "json-field", "png-damaged", "png-missing"} <= types


def test_workers_and_zip_files_give_the_same(made: MadeDataset) -> None:
    for issue_type in ("drawn-unlisted", "image-duplicate", "exif-rotation"):
        ISSUES[issue_type][0](made)
    alone = _check(made)
    together = _check(made, workers=2)
    assert together.issues == alone.issues
    assert [split.summary for split in together.splits] == [split.summary for split in alone.splits]
    for folder in (made.root / "val", made.mask(11).parent):
        shutil.make_archive(str(folder), "zip", folder)
        shutil.rmtree(folder)
    zipped = _check(made)
    assert [_unzipped(issue) for issue in zipped.issues] == [_unzipped(issue) for issue in alone.issues]


def _unzipped(issue: Issue) -> tuple[str, str, str]:
    return issue.type, issue.where.replace(".zip", ""), issue.found


def test_a_damaged_entry_of_a_zip_is_named(made: MadeDataset) -> None:
    _zip_damaged(made)
    (issue,) = _check(made).issues
    assert (issue.type, issue.where) == ("png-damaged", f"{made.root}/annotations/panoptic_val.zip: 000011.png")


def test_a_zip_bomb_is_not_unpacked(made: MadeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("panoptic.tools.check.image._FILE_BYTES", 1 << 12)
    folder = made.root / "val"
    made.image(11).unlink()
    with zipfile.ZipFile(f"{folder}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
        archive.writestr("000011.png", bytes(1 << 20))
    shutil.rmtree(folder)
    (issue,) = _check(made).issues
    assert (issue.type, issue.where) == ("bomb", f"{folder}.zip: 000011.png")


def test_the_same_name_with_other_content_is_not_a_duplicate(made: MadeDataset) -> None:
    """Each split may have its own 000001.png."""
    made.image(11).rename(made.image(1))
    made.edit("val", lambda document: document["images"][0].update(file_name="000001.png"))
    assert _check(made).issues == ()


def test_wrong_types_everywhere_are_issues_and_no_crash(made: MadeDataset) -> None:
    """Each value of the JSON in turn becomes something else."""
    sound = json.loads(made.json().read_text())
    splits, _ = find_splits(made.root)
    wrong_values: tuple[object, ...] = (None, "x", -1, [], {}, 1.5, True, 10**400, float("inf"))
    harmless = {"color", "iscrowd", "area", "bbox", "isthing"}
    for wrong in wrong_values:
        for path in _paths():
            document = json.loads(json.dumps(sound))
            target = document
            for step in path[:-1]:
                target = target[step]
            target[path[-1]] = wrong
            made.json().write_text(json.dumps(document))
            if wrong in (None, -1, 10**400):
                check = check_dataset("own", {"val": splits["val"]})
                assert check.has_errors or path[-1] in harmless, f"{path} = {wrong!r}"
            else:
                read_split_annotations("val", made.json())


def _paths() -> list[list[str | int]]:
    """Paths in the JSON: the lists, and each field of the first entry of each list."""
    paths: list[list[str | int]] = [["images"], ["annotations"], ["categories"], ["images", 0], ["annotations", 0]]
    paths += [["categories", 0], ["annotations", 0, "segments_info", 0]]
    entries: tuple[tuple[list[str | int], set[str]], ...] = (
        (["images", 0], {"id", "file_name", "height", "width"}),
        (["annotations", 0], {"image_id", "file_name", "segments_info"}),
        (["categories", 0], {"id", "name", "isthing", "color"}),
        (["annotations", 0, "segments_info", 0], {"id", "category_id", "iscrowd", "area", "bbox"}),
    )
    for place, entry in entries:
        paths += [[*place, key] for key in sorted(entry)]
    return paths


def test_no_damage_of_a_file_ends_the_check(made: MadeDataset) -> None:
    """Random bytes at random positions of an image with EXIF data and of a panoptic PNG."""
    rng = np.random.default_rng(5)
    image, mask = jpeg_with_orientation(24, 32, 3), made.mask(11).read_bytes()
    for _ in range(60):
        for file, data in ((made.image(11), image), (made.mask(11), mask)):
            damaged = np.frombuffer(data, np.uint8).copy()
            places = rng.integers(0, min(len(data), 200), 6)
            damaged[places] = rng.integers(0, 256, 6)
            file.write_bytes(damaged.tobytes())
        result = read_split_annotations("val", made.json())
        source = Source("val", made.root / "val", made.mask(11).parent, frozenset())
        (inspected,) = inspect_images(source, result.images[:1])
        assert inspected.issues

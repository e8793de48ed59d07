"""`make` writes a valid submission or nothing; the exit status distinguishes issues from wrong arguments."""

import json
import zipfile
from pathlib import Path

import pytest

from panoptic.format.categories import CategoryTable
from panoptic.format.id_map import encode_id_map
from panoptic.format.panoptic_json import ImageEntry
from panoptic.format.results import ResultSegment, write_results
from panoptic.io.errors import DatasetError
from panoptic.tools.submission.__main__ import main, make_submission
from tests.panoptic.tools.made_submissions import (
    IMAGES,
    NAME,
    SEGMENTS,
    STEM,
    content,
    document,
    id_map,
    pack,
    without,
    write_image_list,
)
from tests.tiny_dataset import CATEGORIES


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """A folder with `panoptic.json` and `panoptic/`: results for the two images and one more."""
    root = tmp_path / "predict"
    segments = [ResultSegment(segment_id, category_id, score=0.5) for segment_id, category_id in SEGMENTS]
    with write_results(root / "panoptic.json", root / "panoptic", CategoryTable.from_json(CATEGORIES)) as writer:
        for image_id, size in {12: (9, 7), 99: (6, 8), 11: (6, 8)}.items():
            writer.add(image_id, f"0000{image_id}.png", id_map(*size), segments)
    return root


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_image_list(tmp_path / "image_info.json")


@pytest.fixture
def categories(tmp_path: Path) -> Path:
    path = tmp_path / "categories.json"
    path.write_text(json.dumps(CATEGORIES))
    return path


def _make(predictions: Path, images: Path, out: Path, *more: str) -> tuple[str, ...]:
    files = ("--predictions-json", f"{predictions}/panoptic.json", "--predictions-folder", f"{predictions}/panoptic")
    name = ("--split", NAME.split, "--name", NAME.algorithm)
    return ("make", *files, "--images", str(images), *name, "--out", str(out), *more)


def _status(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


def test_make_writes_what_validate_accepts(
    tmp_path: Path, predictions: Path, images: Path, categories: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(_make(predictions, images, tmp_path / "out"))
    assert "1 results belong to images that are not listed and were left out (image ids " in capsys.readouterr().out
    path = tmp_path / "out" / f"{STEM}.zip"
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == sorted(content())
        # The documented format has no score.
        assert json.loads(archive.read(f"{STEM}.json")) == document()
        assert archive.read(f"{STEM}/000011.png") == (predictions / "panoptic" / "000011.png").read_bytes()
    main(["validate", str(path), "--images", str(images), "--categories", str(categories)])
    assert "2 images; no issues found" in capsys.readouterr().out


def test_results_in_a_zip_with_other_names_give_equal_bytes(tmp_path: Path, predictions: Path) -> None:
    files = sorted((predictions / "panoptic").iterdir())
    masks = pack(tmp_path / "masks.zip", {f"deep/{path.name}": path.read_bytes() for path in files})
    results = json.loads((predictions / "panoptic.json").read_text())
    for annotation in results["annotations"]:
        annotation["file_name"] = f"deep/{annotation['file_name']}"
    (tmp_path / "other.json").write_text(json.dumps(results))
    written = [
        make_submission(predictions / "panoptic.json", predictions / "panoptic", IMAGES, NAME, tmp_path / "a"),
        make_submission(tmp_path / "other.json", masks, IMAGES, NAME, tmp_path / "b"),
    ]
    assert written[0].read_bytes() == written[1].read_bytes()


def test_invalid_results_do_not_replace_an_earlier_zip(
    tmp_path: Path, predictions: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (predictions / "panoptic" / "000011.png").write_bytes(encode_id_map(id_map(8, 6)))
    earlier = tmp_path / "out" / f"{STEM}.zip"
    earlier.parent.mkdir()
    earlier.write_bytes(b"earlier")
    assert _status(*_make(predictions, images, tmp_path / "out")) == 1
    assert f"{earlier}: 1 issue found" in capsys.readouterr().err
    assert [path.name for path in earlier.parent.iterdir()] == [earlier.name]
    assert earlier.read_bytes() == b"earlier"


def test_missing_files_and_images_are_reported(
    tmp_path: Path, predictions: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("000011.png", "000012.png"):
        (predictions / "panoptic" / name).unlink()
    assert _status(*_make(predictions, images, tmp_path / "out")) == 2
    message = capsys.readouterr().err
    assert "000011.png: the file is missing" in message
    assert "000012.png: the file is missing" in message
    write_image_list(images, ImageEntry(13, "000013.jpg", 6, 8))
    assert _status(*_make(predictions, images, tmp_path / "out")) == 1
    assert "no result for 1 of 3 images (image ids 13)" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def test_results_for_other_categories_are_refused(
    tmp_path: Path, predictions: Path, images: Path, categories: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    categories.write_text(json.dumps(CATEGORIES[1:]))
    assert _status(*_make(predictions, images, tmp_path / "out", "--categories", str(categories))) == 2
    assert "other categories than those given: id 20 'water' is new" in capsys.readouterr().err


def test_results_without_categories_name_the_option_for_them(
    tmp_path: Path, predictions: Path, images: Path, categories: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = predictions / "panoptic.json"
    listed = json.loads(results.read_text())
    del listed["categories"]
    results.write_text(json.dumps(listed))
    assert _status(*_make(predictions, images, tmp_path / "out")) == 2
    message = capsys.readouterr().err
    assert "the field 'categories' is missing" in message
    assert message.endswith("need those of the dataset: --categories\n")
    main(_make(predictions, images, tmp_path / "out", "--categories", str(categories)))
    results.write_text("[]")
    assert _status(*_make(predictions, images, tmp_path / "out")) == 2
    assert "is a list" in capsys.readouterr().err


def test_images_with_the_same_result_name_are_refused(tmp_path: Path, predictions: Path) -> None:
    images = (IMAGES[0], ImageEntry(12, "more/000011.png", 9, 7))
    with pytest.raises(DatasetError, match=r"image ids 11 and 12 would share the result '000011\.png'"):
        make_submission(predictions / "panoptic.json", predictions / "panoptic", images, NAME, tmp_path / "out")


def test_the_exit_status_is_1_for_issues_and_2_for_wrong_arguments(tmp_path: Path, images: Path) -> None:
    listed = ("--images", str(images))
    incomplete = pack(tmp_path / f"{STEM}.zip", without("/000011.png"))
    assert _status("validate", str(incomplete), *listed) == 1
    assert _status("validate", str(pack(tmp_path / "results.zip", content())), *listed) == 1
    assert _status("validate", str(tmp_path / "none" / f"{STEM}.zip"), *listed) == 2
    assert _status("validate", str(incomplete), "--images", str(tmp_path / "none.json")) == 2

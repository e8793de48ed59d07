"""`panoptic explain` draws photos without ground truth, and says what needs it."""

import re
from pathlib import Path

import pytest

from panoptic.report.explained import Explanation
from panoptic_segformer.explain.__main__ import main
from tests.panoptic_segformer.made_model import write_model, write_photos


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model.safetensors")


def explained(model: Path, out: Path, *photos: Path) -> None:
    main([*map(str, photos), "--model", str(model), "--out", str(out), "--segments", "1"])


def test_a_page_shows_photos_and_names_what_needs_ground_truth(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = write_photos(tmp_path / "photos"), tmp_path / "out"
    explained(model, out, photos)
    printed = capsys.readouterr().out
    assert "3 images explained, 0 of them against ground truth; 6 drawings" in printed
    assert "left out: numbers of attention: needs ground truth" in printed
    found = Explanation.read(out / "explain.json")
    numbers = ["numbers of attention", "numbers of sampling", "preference"]
    assert sorted(found.left_out) == sorted([*numbers, "merging", "early exit"])
    assert sorted(path.name for path in (out / "images").iterdir()) == sorted(one.file for one in found.drawings)
    page = (out / "explain.html").read_text()
    assert page.count("data:image/webp") == 6
    assert "preference: needs ground truth, which none of the 3 images has" in re.sub(r"\s+", " ", page)
    before = page
    explained(model, out, photos)
    assert (out / "explain.html").read_text() == before


def test_a_damaged_photo_is_named_and_the_others_are_explained(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = write_photos(tmp_path / "photos", count=1)
    (photos / "broken.jpg").write_bytes(b"nothing")
    with pytest.raises(SystemExit) as end:
        explained(model, tmp_path / "out", photos)
    assert end.value.code == 1
    captured = capsys.readouterr()
    assert "broken.jpg" in captured.err
    assert captured.out.startswith("1 image explained, ")
    assert Explanation.read(tmp_path / "out/explain.json").images == 1
    with pytest.raises(SystemExit) as end:
        explained(model, tmp_path / "other", photos / "broken.jpg")
    assert end.value.code == 2
    assert not (tmp_path / "other").exists()


def test_a_folder_of_something_else_is_not_replaced(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = write_photos(tmp_path / "photos", count=1)
    with pytest.raises(SystemExit):
        explained(model, photos, photos)
    assert "holds other files, which would be replaced; name another folder with --out" in capsys.readouterr().err
    assert [path.name for path in photos.iterdir()] == ["0.png"]

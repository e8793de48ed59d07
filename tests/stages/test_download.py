"""The download stage on data that is already there. Published datasets are tested in test_download_public.py."""

import json
import shutil
from pathlib import Path

import pytest

from stages.download import main
from tests.tiny_dataset import random_images, write_split


@pytest.fixture
def own(tmp_path: Path) -> Path:
    for seed, split in enumerate(("train", "val")):
        write_split(tmp_path / "own", split, random_images(seed, count=2 + seed))
    return tmp_path / "own"


def _inspect(root: Path, name: str = "own") -> dict[str, object]:
    params = root.parent / "params.yaml"
    params.write_text(f"dataset: {{name: {name}, root: {root}, train: train, val: val}}\ndownload:\n")
    manifest = root.parent / "out" / "download.json"
    main(["--params", str(params), "--manifest", str(manifest)])
    content: dict[str, object] = json.loads(manifest.read_text())
    return content


def test_the_manifest_lists_parts_files_and_bytes(own: Path) -> None:
    content = _inspect(own)
    val = own / "annotations" / "panoptic_val"
    sizes = [path.stat().st_size for path in val.iterdir()]
    assert content["dataset"] == "own"
    splits = content["splits"]
    assert isinstance(splits, dict)
    assert [splits[role]["image_count"] for role in ("train", "val")] == [2, 3]
    assert splits["val"]["masks"] == {"path": val.as_posix(), "files": 3, "bytes": sum(sizes)}
    assert _inspect(own) == content


def test_archives_count_their_content(own: Path) -> None:
    archive = Path(shutil.make_archive(str(own / "val"), "zip", own / "val"))
    shutil.rmtree(own / "val")
    splits = _inspect(own)["splits"]
    assert isinstance(splits, dict)
    expected = {"path": archive.as_posix(), "folder": "", "files": 3, "bytes": archive.stat().st_size}
    assert splits["val"]["images"] == expected


@pytest.mark.parametrize(("name", "hint"), [("mini", "dvc pull data.dvc"), ("own", "expected layout")])
def test_missing_parts_are_listed_with_the_hint(
    own: Path, name: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(own / "val")
    with pytest.raises(SystemExit, match="2"):
        _inspect(own, name)
    message = capsys.readouterr().err
    assert hint in message
    assert str(own / "val") in message
    assert not (own.parent / "out").exists()


def test_links_that_lead_nowhere_are_named_before_dvc_meets_them(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No JSON lists the image, so nothing but DVC would notice."""
    (own / "train" / "old.jpg").symlink_to("/nonexistent/x.jpg")
    with pytest.raises(SystemExit) as ended:
        _inspect(own)
    assert ended.value.code == 2
    assert f"{own}: 1 issue found\n  - train/old.jpg: is a link to /nonexistent/x.jpg" in capsys.readouterr().err

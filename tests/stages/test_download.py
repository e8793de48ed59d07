import json
import shutil
from pathlib import Path

import pytest

from stages.download import main
from tests.tiny_dataset import random_pictures, write_split


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, split in enumerate(("train", "val")):
        write_split(tmp_path / "own", split, random_pictures(seed, count=2 + seed))
    return tmp_path / "own"


def _run(root: Path, name: str = "own") -> dict[str, object]:
    params = root.parent / "params.yaml"
    params.write_text(f"dataset: {{name: {name}, root: {root}, train: train, val: val}}")
    manifest = root.parent / "out" / "download.json"
    main(["--params", str(params), "--manifest", str(manifest)])
    content: dict[str, object] = json.loads(manifest.read_text())
    return content


def test_the_manifest_lists_parts_files_and_bytes(root: Path) -> None:
    content = _run(root)
    val = root / "annotations" / "panoptic_val"
    sizes = [path.stat().st_size for path in val.iterdir()]
    assert content["dataset"] == "own"
    splits = content["splits"]
    assert isinstance(splits, dict)
    assert [splits[role]["pictures"] for role in ("train", "val")] == [2, 3]
    assert splits["val"]["masks"] == {"path": val.as_posix(), "files": 3, "bytes": sum(sizes)}
    assert _run(root) == content


def test_archives_count_their_content(root: Path) -> None:
    archive = Path(shutil.make_archive(str(root / "val"), "zip", root / "val"))
    shutil.rmtree(root / "val")
    splits = _run(root)["splits"]
    assert isinstance(splits, dict)
    assert splits["val"]["images"] == {"path": archive.as_posix(), "files": 3, "bytes": archive.stat().st_size}


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("mini", "dvc pull data.dvc"), ("own", "expected layout"), ("coco", "cannot be fetched yet")],
)
def test_what_is_missing_is_listed_with_the_remedy(
    root: Path, name: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(root / "val")
    with pytest.raises(SystemExit, match="2"):
        _run(root, name)
    message = capsys.readouterr().err
    assert remedy in message
    assert name == "coco" or str(root / "val") in message
    assert not (root.parent / "out").exists()

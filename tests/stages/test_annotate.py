import json
from pathlib import Path

import pytest

from panoptic.index import PanopticIndex
from panoptic.reader import PanopticReader
from stages.annotate import main
from tests.tiny_dataset import random_pictures, write_split

WRITTEN = ["categories.json", "instances_train.json", "instances_val.json", "train.json", "val.json"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, split in enumerate(("train", "val")):
        write_split(tmp_path / "own", split, random_pictures(seed, count=2 + seed))
    return tmp_path / "own"


def _run(root: Path, output: str = "out") -> Path:
    params = root.parent / "params.yaml"
    params.write_text("dataset: {name: own, root: elsewhere, train: train, val: val}")
    main(["--params", str(params), "--root", str(root), "--output", str(root.parent / output)])
    return root.parent / output


def test_it_writes_what_later_stages_read(root: Path) -> None:
    output = _run(root)
    assert sorted(path.name for path in output.iterdir()) == WRITTEN
    index = PanopticIndex.load(output / "val.json")
    assert len([PanopticReader(index).sample(record) for record in index.records]) == 3
    instances = json.loads((output / "instances_val.json").read_text())
    assert len(instances["annotations"]) == sum(len(record.segments) for record in index.records)
    names = [category["name"] for category in json.loads((output / "categories.json").read_text())["categories"]]
    assert names == ["ball", "star", "sky", "water"]


def test_equal_input_gives_equal_bytes(root: Path) -> None:
    first, second = _run(root, "a"), _run(root, "b")
    for name in WRITTEN:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_nothing_is_written_when_one_picture_of_one_split_is_wrong(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = root / "annotations" / "panoptic_val" / "000102.png"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SystemExit, match="2"):
        _run(root)
    assert "000102.png: the PNG is cut short" in capsys.readouterr().err
    assert not (root.parent / "out").exists()


def test_splits_must_share_their_categories(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = root / "annotations" / "panoptic_val.json"
    path.write_text(path.read_text().replace('"ball"', '"moon"'))
    with pytest.raises(SystemExit, match="2"):
        _run(root)
    assert "id 3 is 'moon' instead of 'ball'" in capsys.readouterr().err

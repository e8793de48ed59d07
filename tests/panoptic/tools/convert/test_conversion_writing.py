"""Writing converted datasets: splits, links to the images, and files that are never overwritten."""

import json
from pathlib import Path

import pytest

from panoptic.io.errors import DatasetError
from panoptic.tools.convert.__main__ import main
from panoptic.tools.convert.writing import split_randomly
from tests.panoptic.tools.convert.made_own_data import read_split, shape, write_classes, write_image, write_labelme


def _run(tmp_path: Path, source: Path, *options: str) -> None:
    main([str(source), "--out", str(tmp_path / "out"), *options])


def _bytes_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _photos(tmp_path: Path, count: int) -> list[str]:
    names = [f"{number:02d}.png" for number in range(count)]
    for name in names:
        write_labelme(tmp_path / "photos", name, [shape("coin", "circle", [[9, 9], [9, 14]])])
    return ["--classes", str(write_classes(tmp_path))]


def test_a_random_split_is_disjoint_and_repeatable(tmp_path: Path) -> None:
    options = [*_photos(tmp_path, 10), "--val-fraction", "0.3"]
    _run(tmp_path, tmp_path / "photos", *options)
    train, val = (set(read_split(tmp_path / "out", split)) for split in ("train", "val"))
    assert (len(train), len(val), len(train & val)) == (7, 3, 0)
    first = _bytes_below(tmp_path / "out")
    _run(tmp_path, tmp_path / "photos", *options)
    assert _bytes_below(tmp_path / "out") == first
    _run(tmp_path, tmp_path / "photos", *options, "--seed", "1")
    assert set(read_split(tmp_path / "out", "val")) != val
    ids = [
        image["id"]
        for split in ("train", "val")
        for image in json.loads((tmp_path / "out" / "annotations" / f"panoptic_{split}.json").read_text())["images"]
    ]
    assert sorted(ids) == list(range(1, 11))


def test_an_added_image_moves_few_others() -> None:
    names = [str(number) for number in range(100)]
    before, after = (set(split_randomly(listed, 0.2, 0)["val"]) for listed in (names, [*names, "new"]))
    assert len(before) == 20
    assert len(before - after) <= 1
    with pytest.raises(DatasetError, match="leaves a split empty"):
        split_randomly(["a", "b"], 0.1, 0)


def test_images_are_linked_and_the_source_is_unchanged(tmp_path: Path) -> None:
    options = _photos(tmp_path, 2)
    before = _bytes_below(tmp_path / "photos")
    _run(tmp_path, tmp_path / "photos", *options)
    for name in ("00.png", "01.png"):
        assert (tmp_path / "photos" / name).samefile(tmp_path / "out" / "train" / name)
    assert _bytes_below(tmp_path / "photos") == before


def test_a_failure_keeps_the_earlier_split(tmp_path: Path) -> None:
    options = _photos(tmp_path, 3)
    _run(tmp_path, tmp_path / "photos", *options)
    before = _bytes_below(tmp_path / "out")
    write_labelme(tmp_path / "photos", "01.png", [shape("dog", "circle", [[9, 9], [9, 14]])])
    with pytest.raises(SystemExit):
        _run(tmp_path, tmp_path / "photos", *options)
    assert _bytes_below(tmp_path / "out") == before


def test_files_of_others_are_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = _photos(tmp_path, 2)
    write_image(tmp_path / "out" / "train" / "mine.png")
    with pytest.raises(SystemExit):
        _run(tmp_path, tmp_path / "photos", *options)
    assert "was not written by this command" in capsys.readouterr().err
    assert (tmp_path / "out" / "train" / "mine.png").is_file()


def test_the_source_is_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = _photos(tmp_path, 2)
    _run(tmp_path, tmp_path / "photos", *options)
    write_labelme(tmp_path / "out" / "train", "00.png", [shape("coin", "circle", [[9, 9], [9, 14]])])
    with pytest.raises(SystemExit):
        _run(tmp_path, tmp_path / "out" / "train", *options)
    assert "but contains the source" in capsys.readouterr().err
    assert (tmp_path / "out" / "train" / "00.json").is_file()
    with pytest.raises(SystemExit):
        main([str(tmp_path / "photos"), "--out", str(tmp_path / "photos" / "out"), *options])
    assert "is inside the source" in capsys.readouterr().err

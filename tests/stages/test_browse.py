"""The browse stage: its numbers are those of evaluate, its files are complete, and wrong input is refused."""

import json
import unicodedata
import zipfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from panoptic.data.reader import PanopticReader
from panoptic.datasets.coco import build_index
from panoptic.index import PanopticIndex
from panoptic.robustness.corrupted_split import CorruptedSplit, CorruptSettings
from panoptic.robustness.corruptions import Variant, corrupt_image
from stages import browse, evaluate
from tests.stages.browse_files import TABLE, write_predictions
from tests.tiny_dataset import TinySplit, random_images, write_split


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the index `val.index`, `predict/` and `params.yaml`."""
    split = write_split(tmp_path / "data", "val", random_images(3, 4))
    build_index(split.panoptic_json, split.masks, split.images).save(tmp_path / "val.index")
    write_predictions(split, tmp_path / "predict")
    (tmp_path / "params.yaml").write_text("browse: {}\nevaluate: {bootstrap: 0}\n")
    return tmp_path


def run(root: Path, *more: str, out: str = "browse", settings: str = "{}") -> list[dict[str, object]]:
    params = root / f"{out}.yaml"
    params.write_text(f"browse: {settings}\n")
    paths = ["--index", str(root / "val.index"), "--predictions", str(root / "predict"), "--out", str(root / out)]
    browse.main(["--params", str(params), *paths, *more])
    return [json.loads(line) for line in (root / out / "images.jsonl").read_text().splitlines()]


def segments_of(image: dict[str, object], side: str) -> list[dict[str, object]]:
    segments = image[side]
    assert isinstance(segments, list)
    return segments


def test_counts_are_those_that_evaluate_finds(root: Path) -> None:
    images = run(root)
    files = ["--predictions-json", str(root / "predict/panoptic.json"), "--per-image", str(root / "per_image.json")]
    files += ["--predictions-folder", str(root / "predict/panoptic"), "--metrics", str(root / "metrics.json")]
    evaluate.main(["--params", str(root / "params.yaml"), "--ground-truth-index", str(root / "val.index"), *files])
    per_image = json.loads((root / "per_image.json").read_text())
    assert len(images) == len(per_image) == 4
    for image in images:
        expected = per_image[str(image["image_id"])]
        assert {name: image[name] for name in ("tp", "fp", "fn")} == {
            name: expected[name] for name in ("tp", "fp", "fn")
        }
        outcomes = Counter(segment["outcome"] for segment in segments_of(image, "prediction"))
        assert (outcomes["matched"], sum(outcomes.values())) == (
            expected["tp"],
            expected["tp"] + expected["fp"] + outcomes["ignored"],
        )
        qualities = [
            count["iou_sum"] / (count["tp"] + count["fp"] / 2 + count["fn"] / 2)
            for count in expected["boundary"]["classes"].values()
        ]
        assert image["boundary_pq"] == pytest.approx(np.mean(qualities))


def test_masks_are_cropped_to_their_boxes_and_stuff_is_one_map(root: Path) -> None:
    images, reader = run(root), PanopticReader(PanopticIndex.load(root / "val.index"))
    records = {record.image_id: record for record in reader.index.records}
    things = {category.id for category in TABLE.things}
    with zipfile.ZipFile(root / "browse" / "files.zip") as archive:

        def read(name: object) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
            data = np.frombuffer(archive.read(str(name)), np.uint8)
            return np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.uint8)

        for image in images:
            ids = reader.id_map(records[int(str(image["image_id"]))])
            expected = np.zeros_like(ids)
            for segment in segments_of(image, "ground_truth"):
                inside = ids == segment["id"]
                if segment["category_id"] in things:
                    box = segment["box_xywh"]
                    assert isinstance(box, list)
                    left, top, width, height = box
                    crop = inside[top : top + height, left : left + width]
                    assert np.array_equal(read(segment["mask"]), 255 * crop.astype(np.uint8))
                    assert crop.sum() == inside.sum() == segment["area"]
                else:
                    assert segment["mask"] is None
                    expected[inside] = TABLE.label_of(int(str(segment["category_id"]))) + 1
            assert np.array_equal(read(image["stuff_ground_truth"]), expected)
            assert read(image["overlay"]).shape == (*ids.shape, 3)


def test_images_that_a_browser_shows_differently_are_stored_as_they_are_read(root: Path) -> None:
    files, exif = sorted((root / "data" / "val").iterdir()), Image.Exif()
    exif[0x0112] = 3  # a browser would turn it upside down
    for file, step in ((files[0], 1), (files[1], 16)):  # 12 bits are nearly black in a browser
        with Image.open(file) as image:
            pixels = np.arange(image.height * image.width).reshape(image.height, image.width) * step // 3
        Image.fromarray(pixels.astype(np.uint8 if step == 1 else np.uint16)).save(
            file, exif=exif if step == 1 else None
        )
    images = run(root)
    assert [image["image"] is None for image in images] == [True, True, False, False]
    reader = PanopticReader(PanopticIndex.load(root / "val.index"))
    with zipfile.ZipFile(root / "browse" / "files.zip") as archive:
        for record, shown in zip(reader.index.records[:2], images[:2], strict=True):
            with Image.open(archive.open(str(shown["overlay"]).replace("overlay", "image"))) as image:
                assert np.abs(np.asarray(image).astype(int) - reader.image(record)).mean() < 3


def test_existing_scores_are_kept(root: Path) -> None:
    for image in run(root):
        scores = [segment["score"] for segment in segments_of(image, "prediction")]
        assert scores == [0.5 if number % 2 else None for number in range(len(scores))]
        assert {segment["score"] for segment in segments_of(image, "ground_truth")} == {None}


def test_corrupted_images_are_beside_the_clean_ones(root: Path) -> None:
    index = PanopticIndex.load(root / "val.index")
    settings = CorruptSettings(corruptions=["contrast"], severities=[2, 5], archives=False)
    (root / "corrupt").mkdir()
    (root / "corrupt" / "manifest.json").write_bytes(CorruptedSplit.choose(index, settings).to_json())
    split = TinySplit(
        root / "data/annotations/panoptic_val.json", root / "data/annotations/panoptic_val", root / "data/val"
    )
    for severity, shift in ((2, 2), (5, 6)):
        write_predictions(split, root / "robustness" / f"contrast_{severity}", slice(2), shift)
    more = ["--corrupted", str(root / "corrupt"), "--corrupted-predictions", str(root / "robustness")]
    images = run(root, *more)
    variants = [(image["image_id"], image["corruption"], image["severity"]) for image in images[4:]]
    assert variants == [(100, "contrast", 2), (101, "contrast", 2), (100, "contrast", 5), (101, "contrast", 5)]
    assert all(image["pq_lost_to_corruption"] is None for image in images[:4])
    for image in images[4:]:
        clean = next(one for one in images if one["image_id"] == image["image_id"])
        assert image["pq_lost_to_corruption"] == pytest.approx(float(str(clean["pq"])) - float(str(image["pq"])))
    with zipfile.ZipFile(root / "browse" / "files.zip") as archive:
        data = np.frombuffer(archive.read("000000000101/contrast_5/image.jpg"), np.uint8)
    shown = cv2.cvtColor(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB)
    expected = corrupt_image(PanopticReader(index).image(index.records[1]), *_named(Variant("contrast", 5)), 101)
    assert np.abs(shown.astype(int) - expected).mean() < 12, "a JPEG of the corrupted image"


def test_classes_that_share_a_name_are_told_apart(root: Path) -> None:
    names = root / "data" / "annotations" / "panoptic_val.json", root / "predict" / "panoptic.json"
    for path in names:
        path.write_text(path.read_text().replace('"name": "ball"', '"name": "star"'))
    build_index(names[0], names[0].with_suffix(""), root / "data" / "val").save(root / "val.index")
    run(root)
    categories = json.loads((root / "browse" / "run.json").read_text())["categories"]
    assert [entry["name"] for entry in categories] == ["star (id 3)", "star (id 7)", "sky", "water"]


def _named(variant: Variant) -> tuple[str, int]:
    return variant.corruption, variant.severity


def test_workers_change_no_byte(root: Path) -> None:
    run(root)
    run(root, out="parallel", settings="{workers: 2}")
    for name in ("images.jsonl", "files.zip", "run.json"):
        assert (root / "browse" / name).read_bytes() == (root / "parallel" / name).read_bytes()


def test_images_inside_an_archive_are_copied(root: Path) -> None:
    with zipfile.ZipFile(root / "data" / "images.zip", "w") as archive:
        for path in sorted((root / "data" / "val").iterdir()):
            archive.write(path, path.name)
    split = TinySplit(
        root / "data/annotations/panoptic_val.json", root / "data/annotations/panoptic_val", root / "data/images.zip"
    )
    build_index(split.panoptic_json, split.masks, split.images).save(root / "val.index")
    images = run(root, settings="{images: 2}")
    assert [image["image"] for image in images] == [None, None]
    with zipfile.ZipFile(root / "browse" / "files.zip") as made:
        assert "000000000100/none_0/image.jpg" in made.namelist()


def test_an_image_without_prediction_is_an_error(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = root / "predict" / "panoptic.json"
    document = json.loads(path.read_text())
    document["annotations"].pop()
    path.write_text(json.dumps(document))
    with pytest.raises(SystemExit) as ended:
        run(root)
    assert ended.value.code == 2
    assert "no result for 1 of 4 images (image ids 103)" in capsys.readouterr().err
    assert not (root / "browse").exists()


def test_a_damaged_prediction_names_its_file_and_leaves_what_was_there(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(root)
    before = (root / "browse" / "images.jsonl").read_bytes()
    (root / "predict" / "panoptic" / "101.png").write_bytes(b"no image")
    with pytest.raises(SystemExit):
        run(root)
    assert "101.png" in capsys.readouterr().err
    assert (root / "browse" / "images.jsonl").read_bytes() == before


@pytest.mark.parametrize("more", [["--corrupted", "x"], ["--corrupted-predictions", "x"]])
def test_corrupted_images_and_predictions_belong_together(
    more: list[str], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(root, *more)
    assert "belong together" in capsys.readouterr().err


def test_an_image_is_shown_from_where_it_lies(root: Path) -> None:
    """Its name may be written in another form than in the JSON, here with the accent as a character of its own."""
    composed, decomposed = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
    (root / "data" / "val" / "000100.png").rename(root / "data" / "val" / decomposed)
    document = json.loads((root / "data/annotations/panoptic_val.json").read_text())
    document["images"][0]["file_name"] = composed
    (root / "data/annotations/panoptic_val.json").write_text(json.dumps(document))
    parts = (root / "data/annotations/panoptic_val.json", root / "data/annotations/panoptic_val", root / "data/val")
    build_index(*parts).save(root / "val.index")
    images = run(root)
    assert images[0]["file_name"] == composed
    assert all(Path(str(image["image"])).is_file() for image in images)

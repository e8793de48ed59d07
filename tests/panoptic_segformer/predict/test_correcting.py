"""Results as LabelMe files: a person corrects them, they are converted, and a network is trained on them."""

import json
import zipfile
from collections import Counter
from pathlib import Path

import pytest

import panoptic_segformer
from panoptic.datasets.coco import build_index
from panoptic.format.id_map import decode_id_map
from panoptic.index import PanopticIndex
from panoptic.tools.convert.__main__ import main as convert
from panoptic_segformer.predict.__main__ import main as predict
from tests.archive_server import ArchiveServer
from tests.panoptic_segformer.made_model import photo_file, write_model, write_photos
from tests.stages.own_data import fails
from tests.stages.training_runs import Training


@pytest.fixture
def labelme(tmp_path: Path) -> Path:
    """Predict photos, of which one is turned by its EXIF orientation, and return the folder of LabelMe files."""
    photos = write_photos(tmp_path / "photos")
    (photos / "turned.jpg").write_bytes(photo_file(7, form="JPEG", orientation=6))
    weights = write_model(tmp_path / "model.safetensors")
    out = tmp_path / "predictions"
    predict([str(photos), "--model", str(weights), "--out", str(out), "--labelme", "--quiet"])
    return out / "labelme"


def converted(labelme: Path, out: Path) -> PanopticIndex:
    classes = ["--classes", str(labelme / "classes.yaml"), "--exif-orientation", "apply"]
    convert([str(labelme), *classes, "--out", str(out)])
    annotations = out / "annotations"
    return build_index(annotations / "panoptic_train.json", annotations / "panoptic_train.zip", out / "train")


def test_files_are_those_that_labelme_opens(labelme: Path) -> None:
    document = json.loads((labelme / "turned.json").read_text())
    assert document["imagePath"] == "turned.jpg"
    assert document["imageData"] is None
    assert (document["imageHeight"], document["imageWidth"]) == (64, 48)
    assert (labelme / "turned.jpg").samefile(labelme.parents[1] / "photos" / "turned.jpg")
    groups = [shape["group_id"] for shape in document["shapes"]]
    for shape in document["shapes"]:
        # All fields of LabelMe's _label_file.py, of the types that it needs.
        assert shape.keys() == {
            *("label", "points", "group_id", "description", "shape_type", "flags", "mask"),
            "score",
        }
        assert shape["shape_type"] == "polygon"
        assert len(shape["points"]) >= 3
        assert shape["description"] == f"score {shape['score']:.3f}"
        assert shape["group_id"] is None or groups.count(shape["group_id"]) > 1


def test_images_that_are_in_no_file_are_copied(weights: Path, tmp_path: Path) -> None:
    photos, out = write_photos(tmp_path / "photos"), tmp_path / "out"
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(photos / "1.png", "deep/1.png")
    (photos / "photo").write_bytes((photos / "0.png").read_bytes())
    with ArchiveServer(photos).running() as server:
        inputs = [f"{server.address}/photo", str(tmp_path / "more.zip")]
        predict([*inputs, "--model", str(weights), "--out", str(out), "--labelme", "--quiet"])
        assert len(server.requests) == 1
    assert (out / "labelme" / "photo.png").read_bytes() == (photos / "0.png").read_bytes()
    assert (out / "labelme" / "deep" / "1.png").read_bytes() == (photos / "1.png").read_bytes()
    assert json.loads((out / "labelme" / "deep" / "1.json").read_text())["imagePath"] == "1.png"


def test_conversion_gives_the_predicted_segments_back(labelme: Path, tmp_path: Path) -> None:
    index = converted(labelme, tmp_path / "own")
    results = json.loads((labelme.parent / "panoptic.json").read_text())
    assert index.categories.to_json() == results["categories"]
    predicted = {one["file_name"]: one for one in results["annotations"]}
    for record in index.records:
        ids = decode_id_map((labelme.parent / "panoptic" / record.mask_name).read_bytes(), "")
        expected = sum(segment["area"] for segment in predicted[record.mask_name]["segments_info"])
        assert (record.height, record.width) == ids.shape
        counts = [len(record.segments), len(predicted[record.mask_name]["segments_info"])]
        assert counts[0] == counts[1]
        assert sum(segment.area for segment in record.segments) == pytest.approx(expected, rel=0.05)


def test_instances_convert_to_exactly_the_predicted_segments(labelme: Path, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "exact"
    arguments = [str(photos), "--model", str(tmp_path / "model.safetensors"), "--out", str(labelme.parent), "--quiet"]
    predict([*arguments, "--coco-instances"])
    images = ["--images", str(photos), "--exif-orientation", "apply"]
    convert([str(labelme.parent / "instances.json"), *images, "--out", str(out)])
    written = json.loads((out / "annotations" / "panoptic_train.json").read_text())["annotations"]
    expected = json.loads((labelme.parent / "panoptic.json").read_text())["annotations"]
    extents = [
        sorted((one["category_id"], one["area"], *one["bbox"]) for one in annotation["segments_info"])
        for annotation in (*written, *expected)
    ]
    assert len(written) == 4
    assert extents[:4] == extents[4:]


def test_corrected_results_train_a_network(labelme: Path, tmp_path: Path) -> None:
    path = labelme / "1.json"
    before = segments_of(converted(labelme, tmp_path / "own"))
    document = json.loads(path.read_text())
    relabeled, dropped = document["shapes"][0], document["shapes"][-1]
    assert relabeled["group_id"] is None
    relabeled["label"] = new = "star" if relabeled["label"] == "ball" else "ball"
    gone = dropped["label"], dropped["group_id"]
    document["shapes"] = [shape for shape in document["shapes"] if (shape["label"], shape["group_id"]) != gone]
    path.write_text(json.dumps(document))
    index = converted(labelme, tmp_path / "own")
    after = segments_of(index)
    assert after[new] == before[new] + 1
    assert after.total() == before.total() - 1
    index.save(tmp_path / "index")
    Training(tmp_path, tmp_path / "run").run(epochs=1)
    assert panoptic_segformer.load(tmp_path / "run")(tmp_path / "photos" / "0.png").ids.shape == (48, 64)


def segments_of(index: PanopticIndex) -> Counter[str]:
    """Count the segments of the second photo by category."""
    (record,) = (record for record in index.records if record.mask_name == "1.png")
    return Counter(index.categories.by_id(segment.category_id).name for segment in record.segments)


def test_corrections_are_never_overwritten(labelme: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = labelme / "1.json"
    document = json.loads(path.read_text())
    path.write_text(corrected := json.dumps(document | {"shapes": document["shapes"][1:]}))
    arguments = [str(tmp_path / "photos"), "--model", str(tmp_path / "model.safetensors"), "--out", str(labelme.parent)]
    predict([*arguments, "--labelme", "--coco-instances", "--quiet"])
    said = fails(lambda: predict([*arguments, "--overwrite", "--quiet"]), 2, capsys)
    assert f"--overwrite would delete 1 LabelMe file ({path}) that changed since" in said
    assert path.read_text() == corrected

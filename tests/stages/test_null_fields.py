"""Fields that are null, as many programs write where they have nothing to say, are as if absent in every reader."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from panoptic.tools.check.__main__ import main as check
from panoptic.tools.convert.__main__ import main as convert
from panoptic.tools.submission.__main__ import main as submission
from stages import evaluate
from tests.panoptic.tools.convert.made_own_data import shape, write_classes, write_coco, write_labelme
from tests.stages.evaluation_files import write_evaluation
from tests.tiny_instances import write_instances

OPTIONAL = (
    *("supercategory", "color", "iscrowd", "area", "bbox", "score", "license", "url", "coco_url", "date_captured"),
    *("info", "licenses", "type", "flags", "group_id", "shape_type", "imageData", "mask", "version", "attributes"),
)


def with_nulls(value: object, *more: str) -> object:
    """Add every optional field that is absent to every object, as null; `more` are optional as well."""
    if isinstance(value, list):
        return [with_nulls(item, *more) for item in value]
    if isinstance(value, dict):
        given = {key: with_nulls(item, *more) for key, item in value.items()}
        return dict.fromkeys((*OPTIONAL, *more)) | given
    return value


def without(value: object, *names: str) -> object:
    """Remove some fields from every object."""
    if isinstance(value, list):
        return [without(item, *names) for item in value]
    if isinstance(value, dict):
        return {key: without(item, *names) for key, item in value.items() if key not in names}
    return value


def edit(path: Path, change: Callable[[object], object]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_panoptic_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = write_evaluation(tmp_path)
    ground_truth, results = (tmp_path / side / "annotations/panoptic_val.json" for side in ("ground_truth", "results"))
    edit(ground_truth, lambda document: without(document, "color"))
    edit(results, lambda document: without(document, "color", "iscrowd", "images", "categories"))
    found = []
    for _ in range(2):
        evaluate.main(arguments)
        capsys.readouterr()
        check([str(tmp_path / "ground_truth")])
        found.append((contents(tmp_path / "out"), capsys.readouterr().out))
        edit(ground_truth, with_nulls)
        edit(results, lambda document: with_nulls(document, "images", "categories"))
    assert found[0] == found[1]


def test_instances(tmp_path: Path) -> None:
    files = write_instances(tmp_path)
    arguments = write_evaluation(tmp_path)
    arguments += ["--instances-ground-truth", str(files.ground_truth), "--instances-predictions", str(files.results)]
    edit(files.ground_truth, lambda document: without(document, "iscrowd", "color"))
    edit(files.results, lambda document: without(document, "bbox"))
    found = []
    for _ in range(2):
        evaluate.main(arguments)
        found.append(contents(tmp_path / "out"))
        edit(files.ground_truth, with_nulls)
        edit(files.results, with_nulls)
    assert json.loads(found[0]["metrics.json"])["ap"]["segm"]["AP"] > 0
    assert found[0] == found[1]


def test_lists_for_a_submission(tmp_path: Path) -> None:
    write_evaluation(tmp_path)
    results = tmp_path / "results/annotations"
    images, categories = tmp_path / "images.json", tmp_path / "categories.json"
    document = json.loads((results / "panoptic_val.json").read_text())
    images.write_text(json.dumps({"images": document["images"]}))
    categories.write_text(json.dumps(without(document["categories"], "color")))
    files = [
        "--predictions-json",
        str(results / "panoptic_val.json"),
        "--predictions-folder",
        f"{results}/panoptic_val",
    ]
    lists = ["--images", str(images), "--categories", str(categories), "--split", "val2017", "--name", "tiny"]
    found = []
    for number in ("1", "2"):
        submission(["make", *files, *lists, "--out", str(tmp_path / number)])
        found.append(contents(tmp_path / number))
        for path in (images, categories, results / "panoptic_val.json"):
            edit(path, with_nulls)
    assert found[0] == found[1]


@pytest.mark.parametrize("classes", [False, True])
def test_own_annotations(tmp_path: Path, classes: bool) -> None:
    """COCO's instance format, whose classes are things unless 'isthing' says otherwise."""
    square: dict[str, object] = {"segmentation": [[1, 1, 9, 1, 9, 9, 1, 9]]}
    source = write_coco(tmp_path, [square, {"segmentation": [[12, 1, 20, 1, 20, 9]], "category_id": 9}])
    table = tmp_path / "classes.json"
    table.write_text('{"things": ["coin", "key"]}')
    options = ["--images", str(tmp_path / "images"), *(("--classes", str(table)) if classes else ())]
    found = []
    for number in ("1", "2"):
        convert([str(source), "--out", str(tmp_path / number), *options])
        found.append(contents(tmp_path / number / "annotations"))
        edit(source, lambda document: with_nulls(document, "isthing"))
        table.write_text('{"things": ["coin", "key"], "stuff": null, "void": null, "values": null, "categories": null}')
    assert found[0] == found[1]


def test_labelme_files(tmp_path: Path) -> None:
    drawn = [[1, 1], [9, 1], [9, 9]], [[12, 1], [20, 1], [20, 9]]
    path = write_labelme(tmp_path / "own", "a.png", [shape("coin", "polygon", points) for points in drawn])
    edit(path, lambda document: without(document, "flags", "group_id", "shape_type", "mask", "imageData", "version"))
    options = ["--classes", str(write_classes(tmp_path))]
    found = []
    for number in ("1", "2"):
        convert([str(tmp_path / "own"), "--out", str(tmp_path / number), *options])
        found.append(contents(tmp_path / number / "annotations"))
        edit(path, with_nulls)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("where", "field", "expected"),
    [
        ("annotations", "segments_info", "annotations[0]: 'segments_info' should be a list, found null"),
        ("annotations", "file_name", "annotations[0]: 'file_name' should be a text, found null"),
        ("categories", "name", "categories[0]: 'name' should be a text, found null"),
        ("categories", "isthing", "categories[0]: 'isthing' should be 0 or 1, found null"),
        ("images", "height", "images[0]: 'height' should be an integer, found null"),
    ],
)
def test_a_required_field_that_is_null_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str, field: str, expected: str
) -> None:
    arguments = write_evaluation(tmp_path)
    path = tmp_path / "ground_truth/annotations/panoptic_val.json"
    document = json.loads(path.read_text())
    document[where][0][field] = None
    path.write_text(json.dumps(document))
    with pytest.raises(SystemExit):
        evaluate.main(arguments)
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("segment", "expected"),
    [
        ({"id": "300"}, "'id' should be an integer, found '300'"),
        ({"id": 300.0}, "'id' should be an integer, found 300.0"),
        ({"id": None}, "'id' should be an integer, found null"),
        ({"id": True}, "'id' should be an integer, found True"),
        ({"category_id": "3"}, "'category_id' should be an integer, found '3'"),
        ({"category_id": 3.5}, "'category_id' should be an integer, found 3.5"),
        ({"iscrowd": "0"}, "'iscrowd' should be 0 or 1, found '0'"),
        ({"iscrowd": 2}, "'iscrowd' should be 0 or 1, found 2"),
    ],
)
def test_ids_of_other_types_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], segment: dict[str, object], expected: str
) -> None:
    arguments = write_evaluation(tmp_path)
    path = tmp_path / "results/annotations/panoptic_val.json"
    document = json.loads(path.read_text())
    document["annotations"][0]["segments_info"][0].update(segment)
    path.write_text(json.dumps(document))
    with pytest.raises(SystemExit):
        evaluate.main(arguments)
    assert f"annotations[0]: segments_info[0]: {expected}; correct it" in capsys.readouterr().err


def test_flags_may_be_boolean(tmp_path: Path) -> None:
    arguments = write_evaluation(tmp_path)
    path = tmp_path / "ground_truth/annotations/panoptic_val.json"
    document = json.loads(path.read_text())
    evaluate.main(arguments)
    expected = contents(tmp_path / "out")
    for category in document["categories"]:
        category["isthing"] = bool(category["isthing"])
    for segment in (segment for annotation in document["annotations"] for segment in annotation["segments_info"]):
        segment["iscrowd"] = bool(segment["iscrowd"])
    assert any(segment["iscrowd"] for annotation in document["annotations"] for segment in annotation["segments_info"])
    path.write_text(json.dumps(document))
    evaluate.main(arguments)
    assert contents(tmp_path / "out") == expected

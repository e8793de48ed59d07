"""Text as image ids, as in Cityscapes' panoptic format: every command gives what it gives for integer ids."""

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from panoptic.format.id_map import encode_id_map
from panoptic.format.image_id import ImageId
from panoptic.index import PanopticIndex
from panoptic.tools.check.__main__ import main as check
from panoptic.tools.convert.__main__ import main as convert
from panoptic.tools.submission.__main__ import main as submission
from panoptic.tools.unlabeled import main as unlabeled
from stages import annotate, browse, corrupt, evaluate, predict, robustness, train
from tests.panoptic.tools.convert.made_own_data import write_coco
from tests.stages.evaluation_files import write_evaluation
from tests.tiny_dataset import TinySplit, random_image, write_split

COUNT = 4
PARAMS = """
dataset: {name: own, root: own, train: train, val: val}
annotate: {workers: 0}
model: {backbone: tiny, backbone_norm: group, frozen_stages: 0, channels: 32, heads: 2, levels: 3, points: 2,
  encoder_layers: 1, location_layers: 1, thing_mask_layers: 1, stuff_mask_layers: 1, feedforward: 32,
  mask_feedforward: 32, queries: 6}
train: {initial_weights: random, epochs: 1, batch_size: 2, images_per_forward: 2, workers: 0, validate_every: 100}
predict: {shorter: 32, longer: 64, batch_size: 1, images: 1,
  merging: {score_threshold: 0, mask_threshold: 0, overlap_things: 1, overlap_stuff: 1}}
evaluate: {bootstrap: 20}
corrupt: {corruptions: [contrast], severities: [2], archives: true, image_ids: "%s"}
browse: {}
"""


def text_id(number: int) -> str:
    """As in Cityscapes, with characters that no file name may have."""
    return f"münchen/{number:06d}_000019.v1"


def run_all(root: Path, ids: Sequence[ImageId]) -> dict[str, str]:
    """Run every stage on the dataset in `own`; returns the JSON files written, by stage and name."""
    (root / "ids.txt").write_text("".join(f"{image_id}\n" for image_id in ids))
    params = root / "params.yaml"
    params.write_text(PARAMS % (root / "ids.txt"))

    def paths(**options: str) -> list[str]:
        return [part for name, path in options.items() for part in (f"--{name.replace('_', '-')}", str(root / path))]

    settings = ["--params", str(params)]
    check([str(root / "own"), "--json", str(root / "check.json")])
    annotate.main([*settings, *paths(root="own", state="state", output="annotate")])
    indices = paths(train_index="annotate/train.index", val_index="annotate/val.index")
    train.main([*settings, *indices, *paths(state="state", model="model.safetensors", curves="curves")])
    index, model = paths(index="annotate/val.index"), paths(model="model.safetensors")
    predict.main([*settings, *index, *model, *paths(out="predict")])
    predicted = paths(predictions_json="predict/panoptic.json", predictions_folder="predict/panoptic")
    instances = paths(
        instances_ground_truth="annotate/instances_val.json", instances_predictions="predict/instances.json"
    )
    written = paths(metrics="metrics.json", per_image="per_image.json", error_breakdown="error_breakdown.json")
    evaluate.main([*settings, *paths(ground_truth_index="annotate/val.index"), *predicted, *instances, *written])
    corrupt.main([*settings, *index, *paths(state="state", out="corrupt")])
    robustness.main([*settings, *index, *model, *paths(corrupted="corrupt", state="state", out="robustness")])
    corrupted = paths(corrupted="corrupt", corrupted_predictions="robustness/predictions")
    browse.main([*settings, *index, *paths(predictions="predict", out="browse"), *corrupted])
    listed = ["--images", str(root / "own/annotations/panoptic_val.json"), "--split", "val2017", "--name", "tiny"]
    submission(["make", *predicted, *listed, "--out", str(root / "submission")])
    zipped = root / "submission/panoptic_val2017_tiny_results.zip"
    submission(["validate", str(zipped), *listed[:2]])
    shutil.unpack_archive(zipped, root / "submission")
    names = (
        "annotate/instances_val annotate/detection_val predict/panoptic predict/instances metrics per_image"
        " error_breakdown corrupt/manifest robustness/variants robustness/predictions/contrast_2/panoptic"
        " submission/panoptic_val2017_tiny_results"
    )
    documents = {name: json.dumps(json.loads((root / f"{name}.json").read_text())) for name in names.split()}
    documents["check"] = json.dumps(
        [issue["kind"] for issue in json.loads((root / "check.json").read_text())["issues"]]
    )
    return documents | {"browse": (root / "browse/images.jsonl").read_text()}


def translated(text: str) -> str:
    """Put the text ids in place of the integers, wherever a document of a run has an image id or a file named by it."""

    def quoted(match: re.Match[str]) -> str:
        return re.sub(r"\d+", lambda number: json.dumps(text_id(int(number[0]))), match[0])

    text = re.sub(r'(?<="image_id": )\d+|(?<=\{"id": )\d+(?=, "file_name")|(?<="image_ids": )\[[^]]*', quoted, text)
    return re.sub(r"\d{6}(\d{6})(?=/(none|contrast)_)", r"m=C3=BCnchen=2F\1_000019=2Ev1", text)


def test_the_whole_chain_gives_the_same_for_text(tmp_path: Path) -> None:
    found = []
    for name in ("integers", "texts"):
        root = tmp_path / "run"  # one path for both, because some documents name it
        rng = np.random.default_rng(0)
        for split in ("train", "val"):
            written = write_split(root / "own", split, [random_image(rng, n, 32, 48) for n in range(1, COUNT + 1)])
            if name == "texts":
                set_ids(written.panoptic_json, text_id)
        found.append(run_all(root, [text_id(3), text_id(2)] if name == "texts" else [3, 2]))
        root.rename(tmp_path / name)
    numbers, texts = found
    per_image = json.loads(numbers.pop("per_image"))
    assert sum(image["tp"] + image["fn"] for image in per_image.values()) > COUNT, "something was scored"
    assert json.loads(texts.pop("per_image")) == {text_id(int(key)): counts for key, counts in per_image.items()}
    for name, document in numbers.items():
        assert texts[name] == translated(document), name


def test_an_index_keeps_text_ids(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    split = write_split(tmp_path, "val", [random_image(rng, number, 8, 8) for number in range(3)])
    set_ids(split.panoptic_json, text_id)
    annotated = annotated_index(split, tmp_path)
    assert [record.image_id for record in annotated.records] == [text_id(number) for number in range(3)]
    assert [annotated.records[1].image_id, annotated.records[1:][1].image_id] == [text_id(1), text_id(2)]


def annotated_index(split: TinySplit, root: Path) -> PanopticIndex:
    shutil.copytree(split.images, root / "train")
    shutil.copytree(split.masks, split.masks.with_name("panoptic_train"))
    shutil.copy(split.panoptic_json, split.panoptic_json.with_name("panoptic_train.json"))
    (root / "params.yaml").write_text(PARAMS % "")
    places = ["--root", str(root), "--state", str(root / "state"), "--output", str(root / "annotate")]
    annotate.main(["--params", str(root / "params.yaml"), *places])
    return PanopticIndex.load(root / "annotate/val.index")


def test_own_annotations_and_photos_keep_text_ids(tmp_path: Path) -> None:
    """Converted from COCO's instance format, and as a list of images to predict."""
    source = write_coco(tmp_path, [{"segmentation": [[1, 1, 9, 1, 9, 9]]}, {"segmentation": [[12, 1, 20, 1, 20, 9]]}])
    document = json.loads(source.read_text())
    document["images"][0]["id"] = text_id(1)
    for annotation in document["annotations"]:
        annotation["image_id"] = text_id(1)
    source.write_text(json.dumps(document))
    convert([str(source), "--images", str(tmp_path / "images"), "--out", str(tmp_path / "own")])
    converted = tmp_path / "own/annotations/panoptic_train.json"
    written = json.loads(converted.read_text())
    assert ([image["id"] for image in written["images"]], len(written["annotations"])) == ([text_id(1)], 1)
    assert written["annotations"][0]["image_id"] == text_id(1)
    assert len(written["annotations"][0]["segments_info"]) == 2
    lists = ["--images-json", str(converted), "--categories", str(converted)]
    unlabeled(["--images", str(tmp_path / "images"), *lists, "--out", str(tmp_path / "photos.index")])
    assert [record.image_id for record in PanopticIndex.load(tmp_path / "photos.index").records] == [text_id(1)]


def write_cityscapes(root: Path, shifted: int) -> Path:
    """A frame in the layout of Cityscapes' createPanopticImgs: road, and a car of 4 x 8 pixels, moved rightwards."""
    name = "aachen_000000_000019"
    ids = np.full((8, 32), 7, np.int32)
    ids[0] = 0  # void
    ids[2:6, 4 + shifted : 12 + shifted] = 26_001
    root.mkdir()
    (root / f"{name}_gtFine_panoptic.png").write_bytes(encode_id_map(ids))
    segments = [{"id": 7, "category_id": 7, "iscrowd": 0}, {"id": 26_001, "category_id": 26, "iscrowd": 0}]
    document = {
        "images": [{"id": name, "width": 32, "height": 8, "file_name": f"{name}_gtFine_leftImg8bit.png"}],
        "annotations": [{"image_id": name, "file_name": f"{name}_gtFine_panoptic.png", "segments_info": segments}],
        "categories": [
            {"id": 7, "name": "road", "color": [128, 64, 128], "supercategory": "flat", "isthing": 0},
            {"id": 26, "name": "car", "color": [0, 0, 142], "supercategory": "vehicle", "isthing": 1},
        ],
    }
    path = root.with_suffix(".json")
    path.write_text(json.dumps(document))
    return path


def test_cityscapes_files_are_scored(tmp_path: Path) -> None:
    """Of 7 x 32 pixels that are not void, the car has 32 and the road 192; two columns of the car are missed."""
    gt, predicted = write_cityscapes(tmp_path / "gt", 0), write_cityscapes(tmp_path / "predicted", 2)
    files = ["--ground-truth-json", str(gt), "--ground-truth-folder", str(tmp_path / "gt")]
    files += ["--predictions-json", str(predicted), "--predictions-folder", str(tmp_path / "predicted")]
    outputs = ["--metrics", str(tmp_path / "metrics.json"), "--per-image", str(tmp_path / "per_image.json")]
    evaluate.main([*files, *outputs, "--boundary-ratio", "0"])
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["pq"] == {"all": (24 / 40 + 184 / 200) / 2, "things": 24 / 40, "stuff": 184 / 200}
    per_image = json.loads((tmp_path / "per_image.json").read_text())
    assert list(per_image) == ["aachen_000000_000019"]
    assert per_image["aachen_000000_000019"]["classes"]["26"] == {"tp": 1, "fp": 0, "fn": 0, "iou_sum": 24 / 40}


def set_ids(path: Path, convert: Callable[[int], object], images: bool = True) -> None:
    """Convert the image ids of a panoptic JSON; those in 'images' only if asked for."""
    document = json.loads(path.read_text())
    for annotation in document["annotations"]:
        annotation["image_id"] = convert(annotation["image_id"])
    for image in document["images"] if images else ():
        image["id"] = convert(image["id"])
    path.write_text(json.dumps(document))


def panoptic_json(root: Path, side: str) -> Path:
    return root / side / "annotations/panoptic_val.json"


def refused(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        evaluate.main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("side", "message"),
    [
        ("results", "image ids are of another type than in {}: '100' here, 100 there; write them as they are there"),
        ("ground_truth", "image ids are of another type than in {}: 100 here, '100' there"),
    ],
)
@pytest.mark.parametrize("option", ["--seed=0", "--missing-as-empty"])
def test_numbers_and_text_are_different_ids(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], side: str, message: str, option: str
) -> None:
    arguments = write_evaluation(tmp_path)
    set_ids(panoptic_json(tmp_path, side), str)
    error = refused([*arguments, option], capsys)
    assert message.format(panoptic_json(tmp_path, "ground_truth")) in error
    assert f"error: {panoptic_json(tmp_path, 'results')}" in error
    assert not (tmp_path / "out").exists()


def test_scores_need_only_the_ids_of_annotations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As panopticapi, which does not look at 'images'; a dataset to train on needs them, and is told so once."""
    arguments = write_evaluation(tmp_path)
    for side in ("ground_truth", "results"):
        set_ids(panoptic_json(tmp_path, side), str, images=False)
    evaluate.main(arguments)
    assert list(json.loads((tmp_path / "out/per_image.json").read_text())) == ["100", "101", "102"]
    with pytest.raises(SystemExit):
        check([str(tmp_path / "ground_truth")])
    found = capsys.readouterr().out
    assert "image ids of two types, 100 and '100', in 'images' and 'annotations'" in found
    assert "1 error," in found


@pytest.mark.parametrize(
    ("image_id", "found"),
    [(100.5, "100.5"), (True, "True"), (None, "null"), ("", "''"), (2**63, str(2**63)), ([1], "[1]"), ("\ud800", "'")],
)
def test_what_is_no_id_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], image_id: object, found: str
) -> None:
    arguments = write_evaluation(tmp_path)
    set_ids(panoptic_json(tmp_path, "results"), lambda number: number if number > 100 else image_id)
    error = refused(arguments, capsys)
    assert f"annotations[0]: 'image_id' should be an integer of 64 bits or a text, found {found}" in error


def test_ids_of_two_types_in_one_list_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = write_evaluation(tmp_path)
    set_ids(panoptic_json(tmp_path, "results"), lambda number: number if number > 100 else str(number))
    assert "annotations: image ids of two types, '100' and 101; write all of them" in refused(arguments, capsys)


def test_negative_and_large_integers_are_ids(tmp_path: Path) -> None:
    arguments = write_evaluation(tmp_path)
    for side in ("ground_truth", "results"):
        set_ids(panoptic_json(tmp_path, side), lambda number: {100: -1, 101: 2**63 - 1, 102: 0}[number])
    evaluate.main(arguments)
    assert list(json.loads((tmp_path / "out/per_image.json").read_text())) == ["-1", str(2**63 - 1), "0"]

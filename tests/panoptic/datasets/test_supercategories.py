"""Super-categories as classes: equal to a plain conversion of the files, and refused where they are not given."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from panoptic.data.reader import PanopticReader
from panoptic.format.id_map import decode_id_map, encode_id_map
from panoptic.format.segments import SegmentLabel
from panoptic.index import PanopticIndex
from stages import annotate, evaluate
from tests.coco_documents import instances
from tests.stages.own_data import fails
from tests.tiny_dataset import TinyImage, write_split

ROLES = ("train", "val")
# In no order of their own; `tool` has things and stuff, and both, with the ids 5 and 9, begin with the smaller one.
CATEGORIES: list[dict[str, object]] = [
    {"id": 40, "name": "river", "isthing": 0, "supercategory": "water"},
    {"id": 7, "name": "cat", "isthing": 1, "supercategory": "animal"},
    {"id": 31, "name": "sea", "isthing": 0, "supercategory": "water", "color": [0, 0, 200]},
    {"id": 3, "name": "dog", "isthing": 1, "supercategory": "animal", "color": [1, 2, 3]},
    {"id": 5, "name": "hammer", "isthing": 1, "supercategory": "tool"},
    {"id": 9, "name": "rope", "isthing": 0, "supercategory": "tool"},
    {"id": 50, "name": "wire", "isthing": 0, "supercategory": "tool"},
]
EXPECTED = [(3, "animal", True), (5, "tool", True), (9, "tool", False), (31, "water", False)]


def draw(seed: int) -> TinyImage:
    """Blocks of random segments of random categories, of which about a third are crowds, and void."""
    rng = np.random.default_rng(seed)
    names = np.concatenate([[0], 1 + rng.choice((1 << 24) - 1, size=14, replace=False)]).astype(np.int32)
    ids = names[np.kron(rng.integers(0, 15, size=(8, 9)), np.ones((4, 5), np.int64))]
    chosen = rng.integers(0, len(CATEGORIES), size=14).tolist()
    labels = tuple(
        SegmentLabel(name, int(str(CATEGORIES[kind]["id"])), bool(rng.random() < 0.3))
        for name, kind in zip(names[1:].tolist(), chosen, strict=True)
        if (ids == name).any()
    )
    return TinyImage(seed, rng.integers(0, 256, size=(*ids.shape, 3), dtype=np.uint8), ids, labels)


def write_dataset(root: Path) -> None:
    for place, role in enumerate(ROLES):
        write_split(root, role, [draw(10 * place + number) for number in range(4)])
        edit(root, role, lambda document: document.update(categories=CATEGORIES))


def edit(root: Path, role: str, change: Callable[[dict[str, Any]], object]) -> None:
    path = root / "annotations" / f"panoptic_{role}.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def convert_plainly(root: Path) -> None:
    """Rewrite a dataset file by file, one mask at a time: COCO has one segment per stuff class and one per crowd class.

    Areas and boxes are those of panopticapi's converters; its PQ knows one crowd region per class in an image.
    """
    classes: dict[tuple[object, object], dict[str, object]] = {}
    for category in sorted(CATEGORIES, key=lambda one: int(str(one["id"]))):
        name, is_thing = category["supercategory"], category["isthing"]
        classes.setdefault((name, is_thing), {**category, "name": name})
    class_of = {one["id"]: classes[one["supercategory"], one["isthing"]] for one in CATEGORIES}

    def convert(document: dict[str, Any]) -> None:
        document["categories"] = list(classes.values())
        for annotation in document["annotations"]:
            path = root / "annotations" / f"panoptic_{role}" / annotation["file_name"]
            before = decode_id_map(path.read_bytes(), str(path))
            after, kept = before.copy(), dict[tuple[object, object], dict[str, Any]]()
            for segment in annotation["segments_info"]:
                new, crowd = class_of[segment["category_id"]], segment["iscrowd"]
                single = new["isthing"] and not crowd
                key = (segment["id"], None) if single else (new["id"], crowd)
                target = kept.setdefault(key, {"id": segment["id"], "category_id": new["id"], "iscrowd": crowd})
                after[before == segment["id"]] = target["id"]
            for target in kept.values():
                target |= measured(after == target["id"])
            annotation["segments_info"] = list(kept.values())
            path.write_bytes(encode_id_map(after))

    for role in ROLES:
        edit(root, role, convert)


def measured(mask: NDArray[np.bool_]) -> dict[str, object]:
    """Area and box as panopticapi's converters compute them."""
    columns, rows = np.nonzero(mask.any(0))[0], np.nonzero(mask.any(1))[0]
    x, y = int(columns[0]), int(rows[0])
    return {"area": int(mask.sum()), "bbox": [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1]}


def run(folder: Path, root: Path, **settings: object) -> dict[str, PanopticIndex]:
    """Annotate a dataset; returns the indices."""
    folder.mkdir(exist_ok=True)
    params = folder / "params.yaml"
    dataset = {"name": "own", "root": str(root), "train": "train", "val": "val"}
    params.write_text(json.dumps({"dataset": dataset, "annotate": settings}))
    annotate.main(["--params", str(params), "--state", str(folder / "state"), "--output", str(folder / "out")])
    return {role: PanopticIndex.load(folder / "out" / f"{role}.index") for role in ROLES}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "own")
    return tmp_path / "own"


def test_annotate_equals_a_plain_conversion_of_the_files(root: Path, tmp_path: Path) -> None:
    found = run(tmp_path / "a", root, categories="supercategory", workers=1)
    listed = {
        role: json.loads((tmp_path / "a" / "out" / f"panoptic_{role}.json").read_text())["annotations"]
        for role in ROLES
    }
    convert_plainly(root)
    expected = run(tmp_path / "b", root)
    for role in ROLES:
        assert [(one.id, one.name, one.is_thing) for one in found[role].categories] == EXPECTED
        assert [(one.id, one.color) for one in found[role].categories] == [
            (one.id, one.color) for one in expected[role].categories
        ]
        assert list(found[role].records) == list(expected[role].records)
        reader, plain = PanopticReader(found[role]), PanopticReader(expected[role])
        for record in found[role].records:
            assert np.array_equal(reader.id_map(record), plain.id_map(record))
        document = json.loads((root / "annotations" / f"panoptic_{role}.json").read_text())
        assert listed[role] == document["annotations"]
        for name in (f"detection_{role}.json", f"instances_{role}.json", f"semantic_{role}.zip"):
            assert (tmp_path / "a" / "out" / name).read_bytes() == (tmp_path / "b" / "out" / name).read_bytes()
    assert json.loads((tmp_path / "a" / "out" / "categories.json").read_text())["categories"][0] == {
        "id": 3,
        "name": "animal",
        "supercategory": "animal",
        "isthing": 1,
        "color": [1, 2, 3],
    }


def test_stuff_and_crowds_have_one_segment_per_class(root: Path, tmp_path: Path) -> None:
    """The random images have what is to be joined, and things of one class that are not."""
    before, after = run(tmp_path / "b", root), run(tmp_path / "a", root, categories="supercategory")
    joined = separate = 0
    for role in ROLES:
        things = {category.id for category in after[role].categories.things}
        for old, new in zip(before[role].records, after[role].records, strict=True):
            single, others = [], []
            for one in new.segments:
                if one.category_id in things and not one.is_crowd:
                    single.append(one.category_id)
                else:
                    others.append((one.category_id, one.is_crowd))
            assert len(set(others)) == len(others)
            assert sum(one.area for one in new.segments) == sum(one.area for one in old.segments)
            joined += len(old.segments) - len(new.segments)
            separate += len(single) - len(set(single))
    assert joined > 10
    assert separate > 3


def test_evaluation_speaks_of_super_categories(root: Path, tmp_path: Path) -> None:
    run(tmp_path / "a", root, categories="supercategory")
    folder = tmp_path / "a" / "out"
    parts = {"predictions-json": folder / "panoptic_val.json", "predictions-folder": folder / "panoptic_val.zip"}
    parts |= {"ground-truth-index": folder / "val.index", "per-class": tmp_path / "classes.json"}
    parts |= {"metrics": tmp_path / "metrics.json"}
    without_crowds(folder / "panoptic_val.json")
    evaluate.main([*(word for name, path in parts.items() for word in (f"--{name}", str(path))), "--bootstrap", "0"])
    assert json.loads((tmp_path / "metrics.json").read_text())["pq"]["all"] == 1.0
    per_class = json.loads((tmp_path / "classes.json").read_text())
    assert [(int(key), entry["name"]) for key, entry in per_class.items()] == [one[:2] for one in EXPECTED]


def without_crowds(path: Path) -> None:
    """Turn ground truth into predictions, which have no crowds."""
    document = json.loads(path.read_text())
    for annotation in document["annotations"]:
        for segment in annotation["segments_info"]:
            segment["iscrowd"] = 0
    path.write_text(json.dumps(document))


def test_instances_of_the_datasets_own_give_way_to_those_of_the_classes(root: Path, tmp_path: Path) -> None:
    own = root / "annotations" / "instances_val.json"
    own.write_text(json.dumps(instances([])))
    run(tmp_path / "a", root, categories="supercategory")
    out = tmp_path / "a" / "out"
    assert (out / "instances_val.json").read_bytes() == (out / "detection_val.json").read_bytes()
    run(tmp_path / "b", root)
    assert (tmp_path / "b" / "out" / "instances_val.json").read_bytes() == own.read_bytes()


@pytest.mark.parametrize("value", [None, "", " ", "missing"])
def test_a_category_without_super_category_is_refused(
    root: Path, tmp_path: Path, value: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(document: dict[str, Any]) -> None:
        for category in document["categories"]:
            if category["id"] in (7, 50):
                category["supercategory"] = value
                if value == "missing":
                    del category["supercategory"]

    for role in ROLES:
        edit(root, role, change)
    said = fails(lambda: run(tmp_path / "a", root, categories="supercategory"), 2, capsys)
    assert f"{root}: 2 of 7 categories have no super-category (id 7 'cat', id 50 'wire')" in said
    assert "give each a 'supercategory' in the JSON, or set annotate.categories to original" in said
    run(tmp_path / "a", root)


def test_splits_must_agree_on_super_categories(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(root, "val", lambda document: document["categories"][1].update(supercategory="pet"))
    said = fails(lambda: run(tmp_path / "a", root, categories="supercategory"), 2, capsys)
    differs = "other categories than train: id 7 is 'pet' instead of 'animal'; use one list for both"
    assert f"{root}: super-categories of val: {differs}" in said


def test_another_value_is_refused(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = fails(lambda: run(tmp_path / "a", root, categories="super"), 2, capsys)
    assert "annotate.categories" in said
    assert "choose one of original, supercategory" in said


def test_images_stay_as_they_are(root: Path, tmp_path: Path) -> None:
    index = run(tmp_path / "a", root, categories="supercategory")["val"]
    reader = PanopticReader(index)
    for record in index.records:
        stored = Image.open(root / "val" / record.file_name)
        assert np.array_equal(reader.image(record), np.asarray(stored))

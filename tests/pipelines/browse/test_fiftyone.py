"""Loading runs into FiftyOne on a real MongoDB, and the App as a program of its own."""

import importlib
import json
import shutil
import signal
import urllib.request
from collections import Counter
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from pipelines.browse.agreement import agreement_table
from pipelines.browse.database import answers
from pipelines.browse.labels import NamedRun, name_runs
from pipelines.browse.loading import Dataset, load
from pipelines.browse.run_files import BrowseError, Run
from pipelines.browse.views import OUTCOME_COLORS, arrange_app, save_views
from tests.pipelines.browse.conftest import app

pytestmark = pytest.mark.slow


THINGS = {"ground_truth": "ground_truth.polylines", "prediction": "prediction.detections"}


def open_runs(browsed: Path, state: Path, *names: str) -> list[NamedRun]:
    return name_runs({name: Run.open(browsed / name, state) for name in names})


def ids_of(dataset: Dataset) -> list[object]:
    fields = [
        "id",
        "key",
        "ground_truth.polylines.id",
        "prediction.detections.id",
        "ground_truth_stuff.id",
        "summary.id",
    ]
    return [dataset.values(field) for field in fields]


def test_loading_gives_what_the_stage_wrote(fiftyone: ModuleType, browsed: Path, tmp_path: Path) -> None:
    dataset = load(fiftyone, "whole", open_runs(browsed, tmp_path, "first"))
    lines = [json.loads(line) for line in (browsed / "first/images.jsonl").read_text().splitlines()]
    assert len(dataset) == len(lines)
    for side in ("ground_truth", "prediction"):
        found = Counter(
            outcome
            for field in (THINGS[side], f"{side}_stuff_segments.detections")
            for outcomes in dataset.values(f"{field}.outcome")
            for outcome in outcomes
        )
        assert found == Counter(segment["outcome"] for line in lines for segment in line[side])
    assert sorted(dataset.values("pq")) == sorted(line["pq"] for line in lines)
    for sample in dataset:
        for detection in sample["prediction"].detections:
            assert detection.mask is None, "masks are files, not in the database"
            assert Path(detection.mask_path).is_file()
        assert sample["ground_truth_stuff"].get_mask().shape == (sample.metadata.height, sample.metadata.width)
        assert Path(sample.filepath).is_file()
        assert Path(sample["overlay"]).is_file()


def test_outlines_are_the_borders_of_the_masks(fiftyone: ModuleType, browsed: Path, tmp_path: Path) -> None:
    runs = open_runs(browsed, tmp_path, "first")
    dataset = load(fiftyone, "outlines", runs)
    masks = {
        (entry.image_id, segment.id): cv2.imread(str(runs[0].run.files / segment.mask), cv2.IMREAD_GRAYSCALE)
        for entry in runs[0].run.entries()
        for segment in entry.ground_truth
        if segment.mask is not None
    }
    boxes = {
        (entry.image_id, segment.id): segment.box_xywh
        for entry in runs[0].run.entries()
        for segment in entry.ground_truth
    }
    seen = set()
    for sample in dataset:
        size = (sample.metadata.width, sample.metadata.height)
        for outline in sample["ground_truth"].polylines:
            key = (sample["image_id"], outline["segment_id"])
            seen.add(key)
            assert outline.closed
            assert not outline.filled
            corner = np.array(boxes[key][:2])
            parts = [np.array(part) * size - 0.5 - corner for part in outline.points]
            pixels = [np.rint(part).astype(np.int32) for part in parts]
            assert all(np.abs(part - near).max() < 0.01 for part, near in zip(parts, pixels, strict=True))
            mask = masks[key]
            assert mask is not None
            assert all(mask[y, x] for part in pixels for x, y in part), "corners lie on the thing"
            drawn = cv2.fillPoly(np.zeros_like(mask), [part.reshape(-1, 1, 2) for part in pixels], 255)
            assert np.all(cv2.dilate(drawn, np.ones((3, 3), np.uint8))[mask > 0]), "nothing of it is outside"
    assert seen == masks.keys()


def test_attributes_without_a_value_are_left_out(fiftyone: ModuleType, browsed: Path, tmp_path: Path) -> None:
    shutil.copytree(browsed / "first", tmp_path / "first")
    lines = [json.loads(line) for line in (browsed / "first/images.jsonl").read_text().splitlines()]
    segments = [segment for line in lines for side in THINGS for segment in line[side]]
    for segment in segments[::3]:
        segment["other_id"] = segment["other_category_id"] = None
    (tmp_path / "first/images.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    dataset = load(fiftyone, "values", open_runs(tmp_path, tmp_path, "first"))
    own = {"outcome", "other_label", "iou", "boundary_iou", "area", "segment_id", "other_segment_id", "iscrowd"}
    found = Counter[str]()
    for document in dataset._sample_collection.find():
        for field in ("ground_truth_stuff_segments", "prediction_stuff_segments", *THINGS):
            for label in document[field].get("detections", document[field].get("polylines")):
                assert not [name for name in own & label.keys() if label[name] is None]
                found.update(own & label.keys())
    assert found["outcome"] == found["area"] == len(segments)
    assert found["other_label"] == found["other_segment_id"] == len(segments) - len(segments[::3])
    assert found["iscrowd"] == sum(segment["is_crowd"] for segment in segments) > 0


def test_metadata_are_those_of_the_file(fiftyone: ModuleType, browsed: Path, tmp_path: Path) -> None:
    for sample in load(fiftyone, "metadata", open_runs(browsed, tmp_path, "first")):
        found, file = sample.metadata, Path(sample.filepath)
        image = cv2.imread(str(file))
        assert image is not None
        assert (found.height, found.width, found.num_channels) == image.shape
        assert found.size_bytes == file.stat().st_size
        assert found.mime_type == ("image/png" if sample["severity"] == 0 else "image/jpeg")


def test_an_image_that_is_gone_is_named(fiftyone: ModuleType, browsed: Path, tmp_path: Path) -> None:
    shutil.copytree(browsed / "first", tmp_path / "first")
    lines = (tmp_path / "first/images.jsonl").read_text().splitlines()
    moved = json.dumps({**json.loads(lines[0]), "image": "elsewhere/100.png"})
    (tmp_path / "first/images.jsonl").write_text("\n".join([moved, *lines[1:]]) + "\n")
    with pytest.raises(BrowseError, match=r"elsewhere/100\.png: cannot be read \(No such file.*dvc repro browse"):
        load(fiftyone, "gone-image", open_runs(tmp_path, tmp_path, "first"))


def test_summaries_say_corruption_and_quality(fiftyone: ModuleType, browsed: Path, tmp_path: Path) -> None:
    runs = open_runs(browsed, tmp_path, "first", "second")
    for sample in load(fiftyone, "summaries", runs):
        quality = f"PQ {100 * sample['pq']:.1f}"
        texts = [label.label for label in sample["summary"].classifications]
        if sample["severity"] == 0:
            assert texts == [quality]
            (second,) = sample["summary_second"].classifications
            assert second.label == f"second: PQ {100 * sample['pq_second']:.1f}"
        else:
            lost = f"({-100 * sample['pq_lost_to_corruption']:+.1f})"
            assert texts == [f"{quality} {lost}", f"contrast {sample['severity']}"]
            assert sample["summary_second"] is None


def test_labels_of_the_former_format_keep_their_tags(fiftyone: ModuleType, browsed: Path, tmp_path: Path) -> None:
    runs = open_runs(browsed, tmp_path, "first")
    dataset = load(fiftyone, "former", runs)
    label_id = dataset.first()["ground_truth"].polylines[0].id
    key = dataset.first()["key"]
    dataset.delete_sample_fields(["ground_truth", "summary"])
    dataset.add_sample_field("ground_truth", fiftyone.EmbeddedDocumentField, embedded_doc_type=fiftyone.Detections)
    boxes = [fiftyone.Detection(id=label_id, label="x", bounding_box=[0, 0, 1, 1], tags=["odd"])]
    dataset.set_values("ground_truth", {key: fiftyone.Detections(detections=boxes)}, key_field="key")
    dataset.info["loaded"] = None
    dataset.save()
    again = load(fiftyone, "former", runs)
    (tagged,) = again.match_labels(tags="odd").values("key")
    assert tagged == key
    assert {name for name in again.get_field_schema() if name.startswith("former")} == set()


def test_loading_again_keeps_ids_and_tags(fiftyone: ModuleType, browsed: Path, tmp_path: Path) -> None:
    runs = open_runs(browsed, tmp_path, "first")
    dataset = load(fiftyone, "again", runs)
    sample = dataset.first()
    sample.tags.append("look")
    sample["ground_truth"].polylines[0].tags.append("odd")
    sample["prediction"].detections[0].tags.append("odd")
    sample["summary"].classifications[0].tags.append("seen")
    sample.save()
    before = ids_of(dataset)
    dataset.info["loaded"] = None  # as if the files had changed
    dataset.save()
    again = load(fiftyone, "again", runs)
    assert ids_of(again) == before
    assert again.match_tags("look").count() == 1
    assert again.match_labels(tags="odd").count() == again.match_labels(tags="seen").count() == 1
    assert again.count_label_tags() == {"odd": 2, "seen": 1}
    views = [view.slug for view in save_views(fiftyone, again, runs)]
    assert [view.slug for view in save_views(fiftyone, again, runs)] == views
    assert len(again.list_saved_views()) == len(views)


def test_images_that_are_gone_are_removed_from_the_dataset(fiftyone: ModuleType, browsed: Path, tmp_path: Path) -> None:
    load(fiftyone, "gone", open_runs(browsed, tmp_path, "first"))
    dataset = load(fiftyone, "gone", open_runs(browsed, tmp_path, "second"))
    assert set(dataset.values("severity")) == {0}


def test_views(fiftyone: ModuleType, browsed: Path, tmp_path: Path) -> None:
    runs = open_runs(browsed, tmp_path, "first", "second")
    dataset = load(fiftyone, "views", runs)
    slugs = {view.slug for view in save_views(fiftyone, dataset, runs)}
    arrange_app(fiftyone, dataset, runs)
    wanted = {"worst-pq", "confident-mistakes", "small-things-missed", "most-hurt", "all-variants", "worse-in-second"}
    assert wanted <= slugs
    worst = dataset.load_saved_view("worst-pq").values("pq")
    assert worst == sorted(worst)
    hurt = dataset.load_saved_view("most-hurt")
    assert hurt.values("pq_lost_to_corruption") == sorted(hurt.values("pq_lost_to_corruption"), reverse=True)
    mistakes = {
        outcome
        for outcomes in dataset.load_saved_view("confident-mistakes").values("prediction.detections.outcome")
        for outcome in outcomes
    }
    assert mistakes <= {"classification", "localization", "background"}
    grouped = dataset.load_saved_view("all-variants")
    group = grouped.get_dynamic_group(grouped.first()["image_id"])
    assert [(sample["corruption"], sample["severity"]) for sample in group] == [
        ("none", 0),
        ("contrast", 2),
        ("contrast", 5),
    ]
    behind = dataset.load_saved_view("worse-in-second")
    gains = [second - first for first, second in zip(behind.values("pq"), behind.values("pq_second"), strict=True)]
    assert gains == sorted(gains)


def test_a_view_of_a_confusion_shows_it_alone(fiftyone: ModuleType, browsed: Path, tmp_path: Path) -> None:
    shutil.copytree(browsed / "first", tmp_path / "first")
    lines = [json.loads(line) for line in (browsed / "first/images.jsonl").read_text().splitlines()]
    for segment in (segment for line in lines for side in THINGS for segment in line[side]):
        segment["outcome"] = "matched"
    ball = next(segment for segment in lines[0]["ground_truth"] if segment["category_id"] == 3)
    star = next(segment for segment in lines[0]["prediction"] if segment["category_id"] == 7)
    ball |= {"outcome": "merging", "other_category_id": 7}  # merging dropped a ball, and kept a star in its place
    star |= {"outcome": "classification", "other_category_id": 3}
    (tmp_path / "first/images.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    runs = open_runs(tmp_path, tmp_path, "first")
    dataset = load(fiftyone, "confusion", runs)
    save_views(fiftyone, dataset, runs)
    arrange_app(fiftyone, dataset, runs)
    (shown,) = dataset.load_saved_view("confused ball for star")
    assert [label["segment_id"] for label in shown["ground_truth"].polylines] == [ball["id"]]
    assert [label["segment_id"] for label in shown["prediction"].detections] == [star["id"]]
    colors = {entry["path"]: entry["valueColors"] for entry in dataset.app_config.color_scheme.fields}
    assert colors["confusions"] == [{"value": "ball -> star", "color": OUTCOME_COLORS["classification"]}]


def test_image_ids_may_be_text_also_where_they_were_integers(
    fiftyone: ModuleType, browsed: Path, tmp_path: Path
) -> None:
    load(fiftyone, "texts", open_runs(browsed, tmp_path, "first"))
    shutil.copytree(browsed / "first", tmp_path / "texts")
    lines = [json.loads(line) for line in (browsed / "first/images.jsonl").read_text().splitlines()]
    renamed = [{**line, "image_id": f"town/{line['image_id']}"} for line in lines]
    (tmp_path / "texts/images.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in renamed))
    runs = open_runs(tmp_path, tmp_path, "texts")
    dataset = load(fiftyone, "texts", runs)
    assert sorted(dataset.values("image_id")) == sorted(f"town/{line['image_id']}" for line in lines)
    assert sorted(dataset.values("pq")) == sorted(line["pq"] for line in lines)
    save_views(fiftyone, dataset, runs)
    grouped = dataset.load_saved_view("all-variants")
    assert len(grouped.get_dynamic_group(grouped.first()["image_id"])) == 3


def test_fiftyone_matches_things_as_we_do(fiftyone: ModuleType, browsed: Path, tmp_path: Path) -> None:
    runs = open_runs(browsed, tmp_path, "first")
    dataset = load(fiftyone, "agreement", runs)
    lines = agreement_table(fiftyone, dataset, runs[0]).splitlines()
    ours, theirs = (line.split()[-3:] for line in lines[1:3])
    assert ours[0] == theirs[0], lines
    # They differ only in what PQ ignores, or leaves out of the union: void of the ground truth.
    assert all("ignored" in line for line in lines[3:] if " x " in line), lines


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_app_answers_and_stops_with_all_its_processes(
    number: signal.Signals, mongod: Path, browsed: Path, tmp_path: Path
) -> None:
    with app(browsed / "first", tmp_path, mongod, number) as (pid, address, said):
        assert any(f"{address}?view=worst-pq" in line for line in said), said
        with urllib.request.urlopen(f"{address}?view=worst-pq") as page:
            assert b"FiftyOne" in page.read()
        listening = _listening(pid)
        assert len(listening) >= 2
        assert {host for host, _ in listening} == {"127.0.0.1"}
    assert not any(answers(port) for _, port in listening)


def _listening(pid: int) -> set[tuple[str, int]]:
    """Addresses and ports on which a process and its descendants listen."""
    psutil = importlib.import_module("psutil")
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    found = [connection for member in family for connection in member.net_connections()]
    return {(one.laddr.ip, one.laddr.port) for one in found if one.status == psutil.CONN_LISTEN}

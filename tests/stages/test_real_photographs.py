"""The whole chain on real photographs, by the commands of dvc.yaml: every step runs, and its numbers are right.

Skipped where ../shared/coco-160 is missing: 100 images of COCO's train2017 and 60 of val2017 with their panoptic
annotations, of which nothing may be copied into this repository.
"""

import json
import os
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import ItemsView
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panoptic.data.reader import PanopticReader
from panoptic.format.results import ResultSegment, write_results
from panoptic.index import PanopticIndex
from panoptic.tools.check import __main__ as check
from pipelines.override import override_settings
from stages import evaluate
from tests.pipelines.services import write_dvc_project
from tests.stages.counted_segments import COUNTS, count_segments, id_map

ROOT = Path(__file__).parents[2]
COCO = ROOT.parent / "shared" / "coco-160"
GROUND_TRUTH = COCO / "annotations" / "panoptic_val2017.json"
SPLITS = {"train": "train2017", "val": "val2017"}
IMAGES = {"train": 100, "val": 60}
SEGMENTS, CROWDS = {"train": 1111, "val": 622}, {"train": 6, "val": 4}
CORRUPTIONS, SEVERITIES, CORRUPTED, BROWSED = (
    ("gaussian_noise", "motion_blur", "snow", "jpeg_compression"),
    (1, 5),
    3,
    2,
)
VARIANTS = [f"{name}_{severity}" for name in CORRUPTIONS for severity in SEVERITIES]
SETTINGS = {
    "dataset": {"name": "coco-160", "root": str(COCO), **SPLITS},
    "train": {"epochs": 1, "augmentation": {"resize_shorter": [64], "resize_longer_max": 128}},
    "predict": {"shorter": 96, "longer": 160, "images": BROWSED},
    "corrupt": {"images": CORRUPTED, "corruptions": CORRUPTIONS, "severities": SEVERITIES, "archives": True},
}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not COCO.is_dir(), reason="../shared/coco-160 is missing")]


def repro(project: Path) -> str:
    """Bring all scores and browser entries of the project up to date, and return what was printed."""
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    command = [sys.executable, "-m", "dvc", "repro", "evaluate", "robustness", "browse"]
    done = subprocess.run(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder `runs` of a project that has gone through the whole chain, and what that printed."""
    project = write_dvc_project(tmp_path_factory.mktemp("chain") / "project", (ROOT / "dvc.yaml").read_text())
    for name in ("panoptic", "model", "cluster", "stages", ".dvcignore"):
        (project / name).symlink_to(ROOT / name)
    (project / "changes.yaml").write_text(json.dumps(SETTINGS))  # JSON is YAML
    override_settings(ROOT / "params.yaml", [project / "changes.yaml"], project / "params.yaml")
    return project / "runs", repro(project)


@pytest.fixture
def runs(printed: tuple[Path, str]) -> Path:
    return printed[0]


@cache
def annotations(split: str) -> dict[str, Any]:
    return read(COCO / "annotations" / f"panoptic_{SPLITS[split]}.json")


def image_files() -> dict[int, Path]:
    """The files of the validation images in the order of the index."""
    names = {image["id"]: image["file_name"] for image in annotations("val")["images"]}
    return {image_id: COCO / SPLITS["val"] / names[image_id] for image_id in sorted(names)}


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def test_check_finds_no_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check.main([str(COCO), "--json", "-", "--page", str(tmp_path / "page.html"), "--workers", "0"])
    found = json.loads(capsys.readouterr().out)
    assert found["counts"]["errors"] == 0
    assert {split["split"]: split["images"] for split in found["splits"]} == {
        SPLITS[name]: count for name, count in IMAGES.items()
    }
    assert len(found["classes"]) == 133
    for split, name in SPLITS.items():
        counts = [one["splits"][name] for one in found["classes"]]
        assert sum(one["crowds"] for one in counts) == CROWDS[split]
        assert sum(one["instances"] for one in counts) == SEGMENTS[split] - CROWDS[split]
    # One of them is gray, and is drawn like the others.
    assert (tmp_path / "page.html").read_text().count("data:image/jpeg;base64,") == 24


@pytest.mark.parametrize("split", SPLITS)
def test_the_index_has_what_the_annotations_say(runs: Path, split: str) -> None:
    index = PanopticIndex.load(runs / "annotate" / f"{split}.index")
    listed = {image["image_id"]: image["segments_info"] for image in annotations(split)["annotations"]}
    assert len(index.records) == len(listed) == IMAGES[split]
    for record in index.records:
        found = {
            segment.id: (segment.category_id, int(segment.is_crowd), segment.area, list(segment.box_xywh))
            for segment in record.segments
        }
        assert found == {
            segment["id"]: (segment["category_id"], segment["iscrowd"], segment["area"], segment["bbox"])
            for segment in listed[record.image_id]
        }
    crowds = [segment.is_crowd for record in index.records for segment in record.segments]
    assert (len(crowds), sum(crowds), len(index.categories)) == (SEGMENTS[split], CROWDS[split], 133)


def test_ground_truth_scores_100_against_itself(tmp_path: Path) -> None:
    masks = GROUND_TRUTH.with_suffix("")
    files = {"ground-truth-json": GROUND_TRUTH, "ground-truth-folder": masks, "metrics": tmp_path / "metrics.json"}
    score(files | {"predictions-json": GROUND_TRUTH, "predictions-folder": masks})
    found = read(tmp_path / "metrics.json")
    assert {found[name][group] for name in ("pq", "boundary_pq") for group in ("all", "things", "stuff")} == {1.0}


def test_every_image_has_a_prediction_of_its_size(runs: Path) -> None:
    results = {result["image_id"]: result for result in read(runs / "predict" / "panoptic.json")["annotations"]}
    assert results.keys() == image_files().keys()
    for image_id, path in image_files().items():
        ids = id_map(runs / "predict" / "panoptic" / results[image_id]["file_name"])
        assert ids.shape[::-1] == Image.open(path).size
        assert set(np.unique(ids)) - {0} == {segment["id"] for segment in results[image_id]["segments_info"]}
    assert len(list((runs / "predict" / "images").iterdir())) == BROWSED


def test_predictions_score_as_counted_segment_by_segment(runs: Path) -> None:
    counts, pq = count_segments(GROUND_TRUTH, runs / "predict")
    assert read(runs / "evaluate" / "metrics.json")["pq"]["all"] == pytest.approx(pq)
    assert {
        int(key): tuple(image[name] for name in COUNTS) for key, image in read_per_image(runs / "evaluate")
    } == counts


def test_shifted_ground_truth_scores_as_counted_segment_by_segment(runs: Path, tmp_path: Path) -> None:
    index = PanopticIndex.load(runs / "annotate" / "val.index")
    write_shifted(index, tmp_path / "shifted", 5)
    files = {"ground-truth-index": runs / "annotate" / "val.index", "per-image": tmp_path / "per_image.json"}
    files |= {"predictions-json": tmp_path / "shifted" / "panoptic.json", "metrics": tmp_path / "metrics.json"}
    score(files | {"predictions-folder": tmp_path / "shifted" / "panoptic"})
    counts, pq = count_segments(GROUND_TRUTH, tmp_path / "shifted")
    assert 0.3 < pq < 0.9
    assert read(tmp_path / "metrics.json")["pq"]["all"] == pytest.approx(pq)
    assert {int(key): tuple(image[name] for name in COUNTS) for key, image in read_per_image(tmp_path)} == counts


def test_corrupted_images_differ_and_keep_their_size(runs: Path) -> None:
    chosen = dict(list(image_files().items())[:CORRUPTED])
    for variant in VARIANTS:
        with zipfile.ZipFile(runs / "corrupt" / f"{variant}.zip") as archive:
            assert len(archive.namelist()) == CORRUPTED
            for image_id, path in chosen.items():
                corrupted = np.asarray(Image.open(BytesIO(archive.read(f"{image_id:012d}.png"))))
                image = np.asarray(Image.open(path).convert("RGB"))
                assert corrupted.shape == image.shape
                assert np.abs(corrupted.astype(int) - image).mean() > 1, variant


def test_robustness_is_measured_for_every_variant(runs: Path) -> None:
    found = read(runs / "robustness" / "variants.json")
    assert set(found["corruptions"]) == set(CORRUPTIONS)
    for measured in found["corruptions"].values():
        assert list(measured) == [str(severity) for severity in SEVERITIES]
        assert all(0 <= one["pq"]["all"] <= 1 for one in measured.values())
    rows = (runs / "robustness" / "severity.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows] == ["severity", "0", *map(str, SEVERITIES)]
    assert all(len(row.split(",")) == 2 + len(CORRUPTIONS) and "" not in row.split(",") for row in rows)
    assert Image.open(runs / "robustness" / "severity.png").size > (1000, 400)


def test_browser_entries_are_complete(runs: Path) -> None:
    entries = [json.loads(line) for line in (runs / "browse" / "images.jsonl").read_text().splitlines()]
    variants = Counter(f"{entry['corruption']}_{entry['severity']}" for entry in entries)
    assert variants == {"none_0": IMAGES["val"], **dict.fromkeys(VARIANTS, BROWSED)}
    per_image = read(runs / "evaluate" / "per_image.json")
    with zipfile.ZipFile(runs / "browse" / "files.zip") as archive:
        packed = set(archive.namelist())
    for entry in entries:
        masks = {one["mask"] for side in ("ground_truth", "prediction") for one in entry[side] if one["mask"]}
        assert masks | {entry["overlay"], entry["stuff_ground_truth"], entry["stuff_prediction"]} <= packed
        if entry["severity"]:
            assert entry["image"] is None
            assert entry["overlay"].replace("overlay", "image") in packed
            continue
        assert Path(entry["image"]) == image_files()[entry["image_id"]]
        counted = per_image[str(entry["image_id"])]
        assert [entry[name] for name in COUNTS] == [counted[name] for name in COUNTS]


def test_what_a_step_leaves_out_is_said(printed: tuple[Path, str]) -> None:
    said = printed[1]
    assert f"{BROWSED} of 60 images drawn (predict.images)" in said
    assert f"{CORRUPTED} of 60 images each (corrupt.images)" in said
    assert f"{CORRUPTED} of 60 images scored (corrupt.images), predictions of {BROWSED} kept" in said
    assert f"60 of 60 images (browse.images) and {BROWSED * len(VARIANTS)} corrupted versions" in said


def test_a_second_run_does_nothing(runs: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}
    again = repro(runs.parent)
    ran = [line for line in again.splitlines() if line.startswith("Running stage")]
    assert ran == ["Running stage 'download':"]  # which verifies the dataset every time
    after = {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}
    assert {path for path in after if after[path] != before.get(path)} <= {runs / "download" / "manifest.json"}
    assert before.keys() == after.keys()


def score(files: dict[str, Path]) -> None:
    evaluate.main([part for name, path in files.items() for part in (f"--{name}", str(path))])


def read_per_image(folder: Path) -> ItemsView[str, Any]:
    per_image: dict[str, Any] = read(folder / "per_image.json")
    return per_image.items()


def write_shifted(index: PanopticIndex, folder: Path, pixels: int) -> None:
    """Write the ground truth, moved to the right, as predictions."""
    reader = PanopticReader(index)
    with write_results(folder / "panoptic.json", folder / "panoptic", index.categories) as writer:
        for record in index.records:
            segments = [ResultSegment(one.id, one.category_id) for one in record.segments]
            shifted = np.roll(reader.id_map(record), pixels, 1)
            shifted[:, :pixels] = 0
            kept = [one for one in segments if (shifted == one.id).any()]
            writer.add(record.image_id, record.mask_name, shifted, kept)

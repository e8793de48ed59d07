"""The evaluation benchmark: its files are valid and reproducible, and its page shows its measurements."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.evaluation import __main__ as evaluation
from benchmarks.evaluation import worker
from benchmarks.evaluation.make_files import write_workload
from benchmarks.evaluation.report import MEASUREMENTS, VAL2017, EvaluationReport
from benchmarks.evaluation.worker import ImageCost, measure, prepare
from benchmarks.evaluation.workload import Workload
from benchmarks.harness.results import read_report
from panoptic.evaluation import overlaps
from panoptic.evaluation.dataset import FileScores, PanopticFiles, PanopticGroundTruth, score_results
from panoptic.evaluation.image import ScoringSettings
from panoptic.format import id_map
from panoptic.format.annotations import read_annotations
from panoptic.format.id_map import decode_id_map
from tests.markdown import unpadded
from tests.tiny_dataset import random_images, write_split


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    return write_workload(tmp_path_factory.mktemp("drawn"), images=2, painted=1, seed=0, given=None)


def _score(ground_truth: PanopticFiles, prediction: PanopticFiles) -> FileScores:
    return score_results(PanopticGroundTruth.from_files(ground_truth), prediction, ScoringSettings())


def test_drawn_pairs_are_valid_and_imperfect(workload: Workload) -> None:
    found = _score(workload.ground_truth, workload.prediction)
    assert not found.wrong_areas
    assert 0.4 < (found.scores.average("pq") or 0) < 0.95
    for annotation in read_annotations(workload.ground_truth.panoptic_json).annotations:
        assert 12 <= len(annotation.segments) <= 16
    same = _score(workload.ground_truth, workload.ground_truth).scores.average("pq")
    assert same == 1


def test_the_same_seed_draws_the_same_files(workload: Workload, tmp_path: Path) -> None:
    write_workload(tmp_path, images=2, painted=1, seed=0, given=None)
    files = [path for path in sorted(workload.folder.rglob("*")) if path.is_file()]
    assert len(files) == 2 + 2 + 1 + 5
    for path in files:
        assert (tmp_path / path.relative_to(workload.folder)).read_bytes() == path.read_bytes()


def test_a_dataset_of_your_own_is_copied_unchanged(tmp_path: Path) -> None:
    split = write_split(tmp_path / "own", "val", random_images(0, 4))
    given = PanopticFiles(split.panoptic_json, split.masks)
    workload = write_workload(tmp_path / "work", images=3, painted=0, seed=0, given=given)
    assert workload.count == 3
    taken = [path.read_bytes() for path in sorted(workload.ground_truth.masks.iterdir())]
    assert taken == [path.read_bytes() for path in sorted(split.masks.iterdir())[:3]]
    ground_truth = read_annotations(workload.ground_truth.panoptic_json)
    assert [one.segments for one in ground_truth.annotations]
    assert _score(workload.ground_truth, workload.prediction).scores.average("pq") is not None


@pytest.mark.parametrize("library", ["pillow", "opencv", "ours"])
def test_every_way_of_decoding_gives_the_same_ids(workload: Workload, library: str) -> None:
    path = workload.ground_truth.masks / "000001.png"
    expected = decode_id_map(path.read_bytes(), "1.png")
    assert np.array_equal(worker.DECODERS[library](path), expected)


@pytest.mark.parametrize("name", ["pq", "pq_and_boundary", "pq_and_boundary_by_numpy", "hotcoco", "processes:1"])
def test_all_that_score_find_the_same_pq(workload: Workload, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (id_map, overlaps):
        monkeypatch.setattr(module, "COMPILED", module.COMPILED)  # restored after a measurement that switches it off
    monkeypatch.setattr(worker, "SCALING_IMAGES", 4)
    measured = measure(prepare(name, workload), repeats=1)
    expected = _score(workload.ground_truth, workload.prediction).scores.average("pq")
    assert measured.scores["PQ"] == pytest.approx(expected, abs=1e-12)
    assert measured.cpu_seconds > 0
    assert measured.wall_seconds > 0
    assert measured.peak_memory > 10


def test_all_that_score_instances_find_the_same_ap(workload: Workload) -> None:
    found = [measure(prepare(name, workload), repeats=1).scores for name in ("ap", "ap_hotcoco", "ap_pycocotools")]
    assert found[0] == found[1] == found[2]
    assert 0.2 < found[0]["AP of masks"] < 0.95


@pytest.mark.parametrize("name", ["val2017:without_ap", "val2017:predicted", "val2017:hundred", "corrupt:brightness"])
def test_other_measurements_give_a_time(workload: Workload, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "VAL2017_IMAGES", 6)
    measured = measure(prepare(name, workload), repeats=1)
    assert measured.cpu_seconds > 0
    assert measured.scores == {}
    if name.startswith("val2017"):
        metrics = json.loads((workload.folder / "metrics.json").read_text())
        assert bool(metrics.get("ap")) == (name != "val2017:without_ap")


def test_repeated_instances_are_those_of_the_repeated_images(workload: Workload) -> None:
    documents = [json.loads(path.read_text()) for path in workload.repeated_instances(3)]
    ground_truth, results, hundred = documents
    panoptic = json.loads(workload.repeated(3)[0].panoptic_json.read_text())
    assert [image["id"] for image in ground_truth["images"]] == [entry["image_id"] for entry in panoptic["annotations"]]
    annotations = ground_truth["annotations"]
    assert [entry["id"] for entry in annotations] == list(range(1, len(annotations) + 1))
    for entries in (annotations, results, hundred):
        counts = Counter(entry["image_id"] for entry in entries)
        assert counts[0] == counts[2] == counts[4]
        assert counts[1] == counts[3] == counts[5]
    assert set(Counter(entry["image_id"] for entry in hundred).values()) == {100}


def test_an_unknown_measurement_is_refused(workload: Workload) -> None:
    with pytest.raises(ValueError, match="unknown measurement 'speed'"):
        prepare("speed", workload)


def test_measurements_run_in_processes_of_their_own(tmp_path: Path) -> None:
    options = ["--images", "2", "--repeats", "1", "--out", str(tmp_path)]
    evaluation.main([*options, "--only", "ap", "decode:ours"])
    content = json.loads((tmp_path / "evaluation.json").read_text())
    assert content["measurements"].keys() == {"ap", "decode:ours"}
    assert read_report("evaluation", EvaluationReport, tmp_path).ratio("hotcoco") is None
    page = unpadded((tmp_path / "evaluation.md").read_text())
    assert "| AP of masks and boxes |" in page
    assert "Corruptions" not in page


def test_the_page_has_every_measurement_and_the_ratios(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(name: str, workload: Workload, repeats: int) -> ImageCost:
        scores = {"PQ": 0.5, "boundary PQ": 0.5 if name == "vernier_boundary" else 0.4, "AP of masks": 0.25}
        return ImageCost(0.003 if name == "pq" else 0.002, 0.004, 41.0, scores)

    monkeypatch.setattr(evaluation, "_measure_alone", fake)
    monkeypatch.setattr(evaluation, "_version", lambda package: "9.9")
    evaluation.main(["--images", "1", "--out", str(tmp_path)])
    content = json.loads((tmp_path / "evaluation.json").read_text())
    assert list(content["measurements"]) == list(MEASUREMENTS)
    report = read_report("evaluation", EvaluationReport, tmp_path)
    assert report.ratio("hotcoco") == report.ratio("vernier") == pytest.approx(1.5)
    assert report.ratio("ap_pycocotools") == pytest.approx(1)
    page = unpadded((tmp_path / "evaluation.md").read_text())
    for line in (
        "| PQ | 3.00 | 333 | 41 |",
        "| PQ and boundary PQ | | 0.500000000 | 0.400000000 | 0.250000000 | |",
        "| PQ by hotcoco | 9.9 | 0.500000000 | 0.400000000 | 0.250000000 | 1.50 |",
        "| PQ and boundary PQ by vernier | 9.9 | 0.500000000 | 0.500000000 | 0.250000000 | 1.00 |",
        "5000 images, as many as COCO's val2017 has: the pairs 5000 times",
        "| with AP | 10.0 |",
        "two 250, 1.00 times",
    ):
        assert line in page
    shown = len(MEASUREMENTS) - 1 - 2 - len(VAL2017)  # all but our PQ, the two of processes and those in seconds
    assert page.count("| 2.00 | 500 | 41 |") == shown


@pytest.mark.parametrize(("names", "title"), [(("pq", "hotcoco"), "PQ"), (("ap", "ap_pycocotools"), "AP of masks")])
def test_different_answers_are_not_compared(
    names: tuple[str, str],
    title: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = {names[0]: 0.5, names[1]: 0.6}
    monkeypatch.setattr(evaluation, "_measure_alone", lambda name, *_: ImageCost(1, 1, 1, {title: found[name]}))
    monkeypatch.setattr(evaluation, "_version", lambda package: "9.9")
    with pytest.raises(SystemExit):
        evaluation.main(["--images", "1", "--only", *names, "--out", str(tmp_path)])
    assert f"our {title} and" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_without_a_peer_the_rest_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(evaluation, "_measure_alone", lambda *_: ImageCost(1, 1, 1, {}))
    monkeypatch.setattr(evaluation, "_version", lambda package: "9.9" if package == "vernier" else None)
    options = ["--only", "pq", "hotcoco", "vernier", "vernier_boundary", "boundary_iou_api"]
    evaluation.main(["--images", "1", *options, "--out", str(tmp_path)])
    errors = capsys.readouterr().err
    assert "hotcoco is not installed" in errors
    assert "boundary_iou is not installed (see conformance/requirements): its rows are left out" in errors
    assert "vernier is not" not in errors
    content = json.loads((tmp_path / "evaluation.json").read_text())
    assert list(content["measurements"]) == ["pq", "vernier", "vernier_boundary"]
    assert content["conditions"]["peers"] == {"vernier": "9.9"}

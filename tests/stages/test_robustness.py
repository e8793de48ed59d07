"""The robustness stage: equal from archives and on the fly, equal to predict and evaluate, and resumed after a stop."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.inference.merging import MergingSettings
from model.inference.predict import ImagePrediction, ReadImages, predict_images
from model.inference.predictor import Predictor, Runtime
from model.inference.settings import InferenceSettings
from model.network.panoptic_segformer import PanopticSegFormer
from model.weights.checkpoint import Checkpoint, save_checkpoint
from panoptic.data.reader import PanopticReader
from panoptic.datasets.coco import build_index
from panoptic.format.categories import CategoryTable
from panoptic.format.image_id import ImageId
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.robustness.corruptions import corrupt_image
from stages import corrupt, evaluate, predict, robustness
from stages.settings import load_section
from tests.model.training.synthetic import NETWORK
from tests.tiny_dataset import TinyImage, TinySplit, random_image, write_split

# Without thresholds even an untrained network predicts something.
PARAMS = """
predict: {shorter: 48, longer: 64, batch_size: 2, images: 4,
  merging: {score_threshold: 0, mask_threshold: 0, overlap_things: 1, overlap_stuff: 1}}
evaluate: {bootstrap: 0}
corrupt: {corruptions: [contrast, gaussian_noise], severities: [1, 5], images: 4, archives: %s, workers: %d}
"""
SIZES = ((48, 64), (64, 48), (48, 64), (40, 64), (48, 64))


def network_for(categories: CategoryTable) -> PanopticSegFormer:
    torch.manual_seed(0)
    return PanopticSegFormer(NETWORK, len(categories.things), len(categories.stuff))


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> TinySplit:
    """A split whose ground truth is the prediction under little contrast, so that the quality is 1 there."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    images: dict[ImageId, TinyImage] = {number: random_image(rng, number, *size) for number, size in enumerate(SIZES)}
    first = write_split(folder / "first", "val", images.values())
    index = build_index(first.panoptic_json, first.masks, first.images)

    def contrast(records: Sequence[ImageRecord]) -> Iterator[NDArray[np.uint8]]:
        return (corrupt_image(images[record.image_id].image, "contrast", 1, record.image_id) for record in records)

    network = network_for(index.categories)
    params = folder / "params.yaml"
    params.write_text(PARAMS % ("false", 0))
    settings = load_section(params, "predict", InferenceSettings)
    predictions = predict_images(Predictor(network, settings), index, read=contrast)
    seen = [
        replace(images[prediction.record.image_id], ids=prediction.ids, segments=prediction.segments)
        for prediction in predictions
    ]
    return write_split(folder / "second", "val", sorted(seen, key=lambda image: image.image_id))


def prepare(folder: Path, split: TinySplit, archives: bool = False, workers: int = 0, rename: str = "") -> list[str]:
    """Write index, weights and corrupted images below `folder`; returns the arguments of the stage."""
    folder.mkdir(exist_ok=True)
    index = build_index(split.panoptic_json, split.masks, split.images)
    index.save(folder / "index.json")
    (folder / "params.yaml").write_text(PARAMS % (str(archives).lower(), workers))
    first, *others = index.categories.things
    categories = CategoryTable((replace(first, name=rename or first.name), *others), index.categories.stuff)
    save_checkpoint(folder / "model.safetensors", Checkpoint(NETWORK, categories, {}, network_for(categories)))
    common = ["--params", str(folder / "params.yaml"), "--index", str(folder / "index.json")]
    state = ["--state", str(folder / "state")]
    corrupt.main([*common, *state, "--out", str(folder / "corrupted")])
    files = ["--model", str(folder / "model.safetensors"), "--corrupted", str(folder / "corrupted")]
    return [*common, *state, *files, "--out", str(folder / "out")]


def contents(folder: Path) -> dict[str, bytes]:
    out = folder / "out"
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_archives_and_workers_change_nothing(split: TinySplit, tmp_path: Path) -> None:
    found = []
    for archives, workers in ((True, 0), (False, 0), (False, 1)):
        folder = tmp_path / f"{archives}-{workers}"
        robustness.main(prepare(folder, split, archives, workers))
        found.append(contents(folder))
        assert not list((folder / "state").iterdir())
    tables = {"metrics.json", "variants.json", "table.md", "severity.csv", "severity.png"}
    assert {name for name in found[0] if not name.startswith("predictions/")} == tables
    kept = json.loads(found[0]["predictions/contrast_5/panoptic.json"])["annotations"]
    assert sorted(annotation["image_id"] for annotation in kept) == [0, 1, 2, 3]
    assert sum(name.endswith(".png") and "predictions/" in name for name in found[0]) == 4 * 4
    assert found[0] == found[1] == found[2]
    assert len(list(csv.reader(found[0]["severity.csv"].decode().splitlines()))) == 4
    variants = json.loads(found[0]["variants.json"])
    assert variants["corruptions"]["contrast"]["1"]["pq"]["all"] == 1
    assert variants["corruptions"]["contrast"]["1"]["boundary_pq"]["all"] == 1
    others = [variants["clean"], *variants["corruptions"]["gaussian_noise"].values()]
    assert all(0 < measured["pq"]["all"] < 1 for measured in others)


def test_clean_images_score_as_in_the_evaluate_stage(split: TinySplit, tmp_path: Path) -> None:
    arguments = prepare(tmp_path, split)
    params = tmp_path / "params.yaml"
    params.write_text(params.read_text().replace("images: 4", "images: 0"))
    corrupt.main([*arguments[:6], "--out", str(tmp_path / "corrupted")])
    robustness.main(arguments)
    results = tmp_path / "predicted"
    predict.main([*arguments[:4], "--model", str(tmp_path / "model.safetensors"), "--out", str(results)])
    ground_truth = ["--ground-truth-json", str(split.panoptic_json), "--ground-truth-folder", str(split.masks)]
    files = ["--predictions-json", str(results / "panoptic.json"), "--predictions-folder", str(results / "panoptic")]
    evaluate.main([*ground_truth, *files, "--params", str(params), "--metrics", str(tmp_path / "metrics.json")])
    expected = json.loads((tmp_path / "metrics.json").read_text())
    clean = json.loads((tmp_path / "out" / "variants.json").read_text())["clean"]
    assert set(clean) == {f"{prefix}{name}" for prefix in ("", "boundary_") for name in ("pq", "sq", "rq")}
    assert 0 < clean["pq"]["all"] < 1
    for name, groups in clean.items():
        assert groups == pytest.approx(expected[name], abs=1e-12)


def test_a_stopped_run_measures_only_what_is_missing(
    split: TinySplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted: list[ImageId] = []
    stop_at = 10  # images: clean 4, the first variant 4, and half of the second

    def counted(runtime: Runtime, index: PanopticIndex, read: ReadImages | None = None) -> Iterator[ImagePrediction]:
        for prediction in predict_images(runtime, index, read=read):
            if len(predicted) == stop_at:
                raise KeyboardInterrupt
            predicted.append(prediction.record.image_id)
            yield prediction

    arguments = prepare(tmp_path, split)
    monkeypatch.setattr(robustness, "predict_images", counted)
    with pytest.raises(SystemExit, match="130"):
        robustness.main(arguments)
    assert not (tmp_path / "out").exists()
    predicted, stop_at = [], 1000
    robustness.main(arguments)
    assert len(predicted) == 3 * 4
    predicted = []
    again = prepare(tmp_path / "again", split)
    robustness.main(again)
    assert len(predicted) == 5 * 4
    assert contents(tmp_path) == contents(tmp_path / "again")


@pytest.mark.parametrize("of", [1, 3, 7])
def test_shards_together_leave_nothing_to_measure(
    split: TinySplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: int
) -> None:
    """Also where there are more shards than variants; the result is that of one program."""
    alone = prepare(tmp_path / "alone", split)
    robustness.main(alone)
    arguments = prepare(tmp_path, split)
    for number in range(of, 0, -1):
        robustness.main([*arguments, "--shard", f"{number}/{of}"])
        assert not (tmp_path / "out").exists()

    def nothing(*_: object, **__: object) -> Iterator[ImagePrediction]:
        raise AssertionError("an image is predicted again")

    monkeypatch.setattr(robustness, "predict_images", nothing)
    robustness.main(arguments)
    assert contents(tmp_path) == contents(tmp_path / "alone")


def test_a_shard_says_what_it_measures_and_where_it_stopped(
    split: TinySplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> Iterator[ImagePrediction]:
        raise RuntimeError("no memory")

    arguments = prepare(tmp_path, split)
    capsys.readouterr()
    monkeypatch.setattr(robustness, "predict_images", broken)
    with pytest.raises(RuntimeError, match="no memory"):
        robustness.main([*arguments, "--shard", "1/2"])
    said = capsys.readouterr()
    assert "shard 1 of 2: contrast_1, gaussian_noise_1\n" in said.out
    assert "stopped while measuring contrast_1;" in said.err


@pytest.mark.parametrize(
    ("shard", "said"), [("0/2", "from 1"), ("3/2", "from 1"), ("2", "NUMBER/OF"), ("a/b", "as in")]
)
def test_a_malformed_shard_is_refused(
    split: TinySplit, tmp_path: Path, shard: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        robustness.main([*prepare(tmp_path, split), "--shard", shard])
    assert said in capsys.readouterr().err


def test_measures_made_with_other_settings_are_not_used(
    split: TinySplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def first_only(runtime: Runtime, index: PanopticIndex, read: ReadImages | None = None) -> Iterator[ImagePrediction]:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise KeyboardInterrupt
        yield from predict_images(runtime, index, read=read)

    arguments = prepare(tmp_path, split)
    monkeypatch.setattr(robustness, "predict_images", first_only)
    for shorter in (48, 32):
        calls = 0
        params = tmp_path / "params.yaml"
        params.write_text(params.read_text().replace("shorter: 48", f"shorter: {shorter}"))
        with pytest.raises(SystemExit, match="130"):
            robustness.main(arguments)
    assert len(list((tmp_path / "state").rglob("clean.json"))) == 2


def test_other_categories_than_in_training_are_refused(
    split: TinySplit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        robustness.main(prepare(tmp_path, split, rename="zebra"))
    assert "zebra" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_corrupted_images_of_another_split_are_refused(
    split: TinySplit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = prepare(tmp_path, split)
    manifest = tmp_path / "corrupted" / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"image_ids": [0, 77]}))
    with pytest.raises(SystemExit):
        robustness.main(arguments)
    assert "manifest.json: 1 of 2 image ids are not in the index (77)" in capsys.readouterr().err
    for found in ("other", "coco-c/1"):
        manifest.write_text(json.dumps(content | {"format": found}))
        with pytest.raises(SystemExit):
            robustness.main(arguments)
        expected = (
            f"manifest.json: format '{found}', expected 'coco-c/2': written by another version; run stages.corrupt"
        )
        assert expected in capsys.readouterr().err


def test_images_are_requested_once_in_the_order_of_use(split: TinySplit) -> None:
    index = build_index(split.panoptic_json, split.masks, split.images)
    reader, asked = PanopticReader(index), list[ImageId]()

    def read(records: Sequence[ImageRecord]) -> Iterator[NDArray[np.uint8]]:
        asked.extend(record.image_id for record in records)
        return map(reader.image, records)

    merging = MergingSettings(score_threshold=0, mask_threshold=0)
    settings = InferenceSettings(shorter=48, longer=64, batch_size=2, merging=merging)
    predictor = Predictor(network_for(index.categories), settings)
    own = list(predict_images(predictor, index))
    others = list(predict_images(predictor, moved(index), read=read))
    assert asked == [prediction.record.image_id for prediction in own] == [0, 2, 4, 1, 3]
    assert all(np.array_equal(one.ids, other.ids) for one, other in zip(own, others, strict=True))


def moved(index: PanopticIndex) -> PanopticIndex:
    """The same index with images in place of the masks, none of which may be read."""
    return replace(index, images=index.masks)

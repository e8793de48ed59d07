"""ONNX files that end in the panoptic map, with float and with int8 weights, written by the command."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from model.export import check_images, files
from model.export.__main__ import main
from model.export.int8 import LARGEST, quantize_weights, quantized
from model.export.onnx_inference import normalized, open_onnx, run_onnx
from model.export.panoptic_check import by_network
from model.export.panoptic_outputs import ORIGINAL_SIZE, PANOPTIC_INPUTS, PANOPTIC_OUTPUTS
from model.export.sizes import Sizes
from model.inference.merging import MergingSettings
from model.inference.predictor import NetworkInput
from model.inference.settings import InferenceSettings
from model.weights.checkpoint import Checkpoint, save_checkpoint
from panoptic.format.id_map import encode_id_map
from panoptic.format.segments import Segment, measure_segments
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.passport.document import read_passport
from tests.model.export.test_export import CATEGORIES, CONFIG, MERGING, inference_network

SIZE = (96, 128)
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    settings = InferenceSettings(96, 144, merging=MERGING)
    save_checkpoint(path, Checkpoint(CONFIG, CATEGORIES, {}, inference_network().network, inference=settings))
    return path


@pytest.fixture(scope="module")
def exported(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export without --params, as outside a checkout: the settings are those in the weights."""
    out = tmp_path_factory.mktemp("exported")
    main(["--model", str(weights), "--out", str(out), "--size", "96x128", "--format", "onnx"])
    return out


def predict(path: Path, image: NetworkInput, **options: object) -> dict[str, np.ndarray]:
    inputs = {name: np.asarray(value) for name, value in options.items()}
    return run_onnx(open_onnx(path), {"images": normalized([image]).numpy(), **inputs})


def test_the_file_is_valid_small_and_describes_itself(exported: Path) -> None:
    model = onnx.load(exported / files.ONNX_FILE)
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.input] == ["images", *(given.name for given in PANOPTIC_INPUTS)]
    assert [value.name for value in model.graph.output] == [output.name for output in PANOPTIC_OUTPUTS]
    assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx.ml"}
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    description = json.loads((exported / files.DESCRIPTION).read_text())
    assert description["panoptic"]["outputs"][0]["name"] == "ids"
    assert description["input"]["resize"] == {"shorter": 96, "longer": 144}
    assert read_passport(exported / files.PASSPORT).section("settings").values["predict.shorter"] == 96


@pytest.mark.parametrize("settings", [MERGING, MergingSettings(score_threshold=0.001, mask_threshold=0.4, beta=1.0)])
def test_maps_of_any_size_and_setting_are_those_of_the_project(exported: Path, settings: MergingSettings) -> None:
    network = inference_network()
    given = {option.name: getattr(settings, option.name) for option in PANOPTIC_INPUTS[1:]}
    for image in check_images.noise():
        larger = replace(check_images.resized(image, SIZE), original=(170, 201))
        expected = by_network(network, settings)(larger)
        found = predict(exported / files.ONNX_FILE, larger, original_size=larger.original, **given)
        assert expected.segments
        assert np.mean(found["ids"] == expected.ids) > 0.999
        assert found["category_ids"].tolist() == [CATEGORIES.category_of(one.label).id for one in expected.segments]
        assert found["finite"]


def test_the_map_has_by_default_the_size_of_the_input(exported: Path) -> None:
    assert predict(exported / files.ONNX_FILE, check_images.noise()[0])["ids"].shape == SIZE
    assert PANOPTIC_INPUTS[0].name == ORIGINAL_SIZE


def test_infinities_are_told_and_a_batch_is_refused(exported: Path) -> None:
    session = open_onnx(exported / files.ONNX_FILE)
    (finite,) = session.run(["finite"], {"images": np.full((1, 3, *SIZE), np.inf, np.float32)})
    assert not finite
    with pytest.raises(Exception, match="Got: 2 Expected: 1"):
        session.run(["ids"], {"images": np.zeros((2, 3, *SIZE), np.float32)})


def test_the_snippet_in_the_documentation_runs_without_this_project(exported: Path, tmp_path: Path) -> None:
    snippet = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL)
    assert snippet
    assert len(snippet[1].splitlines()) <= 20
    shown = check_images.noise()[0]
    cv2.imwrite(str(tmp_path / "image.png"), np.ascontiguousarray(shown.pixels[..., ::-1]))
    (tmp_path / files.ONNX_FILE).write_bytes((exported / files.ONNX_FILE).read_bytes())
    alone = "\nimport sys\nassert not {'torch', 'cv2', 'model', 'panoptic', 'panoptic_segformer'} & sys.modules.keys()"
    printed = subprocess.run(
        [sys.executable, "-I", "-c", snippet[1] + alone], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    network = inference_network()
    expected = by_network(network, MERGING)(shown).segments
    names = [CATEGORIES.category_of(one.label).name for one in expected]
    assert names
    assert [line.split(" 0.")[0] for line in printed.stdout.splitlines()] == names
    assert printed.stderr == ""


def test_other_methods_of_merging_are_refused(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = weights.parent / "pixel.yaml"
    params.write_text("predict: {shorter: 96, longer: 144, merging: {method: pixel}}")
    given = ["--model", str(weights), "--params", str(params), "--out", str(weights.parent / "pixel"), "--dynamic"]
    with pytest.raises(SystemExit):
        main(given)
    assert "method is 'pixel', but an ONNX file merges by 'mask' alone; give --outputs raw" in capsys.readouterr().err


def test_weights_without_settings_need_params(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "old.safetensors"
    save_checkpoint(path, Checkpoint(CONFIG, CATEGORIES, {}, inference_network().network))
    with pytest.raises(SystemExit):
        main(["--model", str(path), "--out", str(tmp_path / "out"), "--dynamic"])
    assert "old.safetensors: an earlier version wrote these weights, without the size" in capsys.readouterr().err


def test_int8_rounds_to_half_a_step_of_each_channel() -> None:
    weight = np.random.default_rng(0).normal(size=(5, 3, 2)).astype(np.float32) * np.arange(5)[:, None, None]
    values, scales = quantized(weight.astype(np.float32))
    assert values.dtype == np.int8
    assert np.abs(values.reshape(5, -1)).max(1).tolist() == [0, *[LARGEST] * 4]
    assert (np.abs(values * scales[:, None, None] - weight) <= scales[:, None, None] * 0.5001).all()


def write_index(folder: Path) -> Path:
    """Write an index whose ground truth is what the network predicts."""
    network, records = inference_network(), []
    predict = by_network(network, MERGING)
    for number, image in enumerate(check_images.noise(), 1):
        fitted = Sizes(SIZE).fit(image.pixels, image.name, 96, 144)
        found, name = predict(fitted), f"{number}.png"
        cv2.imwrite(str(folder / name), np.ascontiguousarray(image.pixels[..., ::-1]))
        (folder / f"ids {name}").write_bytes(encode_id_map(found.ids))
        extents = measure_segments(found.ids)
        labels = {one.id: CATEGORIES.category_of(one.label).id for one in found.segments}
        listed = [Segment(id_, labels[id_], False, one.area, one.box_xywh) for id_, one in extents.items()]
        records.append(ImageRecord(number, name, f"ids {name}", *image.size, tuple(listed)))
    PanopticIndex(CATEGORIES, folder, folder, records).save(folder / "val.index")
    return folder / "val.index"


def export_int8(weights: Path, folder: Path, outputs: str, most: float) -> Path:
    """Export with int8 weights, for the images of `write_index`."""
    out, index = folder / "out", write_index(folder)
    given = ["--model", weights, "--out", out, "--size", "96x128", "--format", "onnx", "--outputs", outputs]
    main([*map(str, given), "--index", str(index), "--int8", "--max-pq-loss", str(most)])
    return out


def test_int8_is_measured(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = export_int8(weights, tmp_path, "panoptic", 100)
    printed = capsys.readouterr().out
    assert re.search(r"PQ 100.00 by the network, 100.00 by model.onnx, \d+.\d\d by model.int8.onnx", printed), printed
    assert "1 threads" not in printed
    assert (out / files.INT8_FILE).stat().st_size < (out / files.ONNX_FILE).stat().st_size
    assert read_passport(out / files.PASSPORT).section("files").values.keys() >= {files.INT8_FILE, files.ONNX_FILE}
    onnx.checker.check_model(onnx.load(out / files.INT8_FILE), full_check=True)


def test_int8_is_refused_if_it_loses_too_much(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.export.int8.LARGEST", 1)  # which leaves three values for a weight
    with pytest.raises(SystemExit):
        export_int8(weights, tmp_path, "raw", 0.5)
    error = capsys.readouterr().err
    assert re.search(r"model.int8.onnx loses \d+.\d\d points of PQ, more than --max-pq-loss 0.5; nothing was", error)
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--int8"], "give --format onnx or both, and --index"),
        (["--int8", "--format", "torch", "--index", "val.index"], "give --format onnx or both, and --index"),
        (["--int8", "--index", "val.index", "--max-pq-loss", "nan"], "--max-pq-loss is nan; give points of PQ"),
        (["--int8", "--index", "val.index", "--pq-images", "-1"], "--pq-images is -1"),
    ],
)
def test_wrong_options_of_int8_are_refused_before_anything_is_done(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit):
        main(["--model", str(weights), "--out", str(tmp_path / "out"), "--dynamic", *arguments])
    assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named_before_the_work(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(SystemExit):
        main(["--model", str(weights), "--out", str(tmp_path / "out"), "--dynamic"])
    printed = capsys.readouterr()
    assert str(tmp_path / "out") in printed.err
    assert "tracing" not in printed.out


def test_an_index_without_images_is_refused(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    PanopticIndex(CATEGORIES, tmp_path, tmp_path, []).save(tmp_path / "empty.index")
    given = ["--model", str(weights), "--out", str(tmp_path / "out"), "--dynamic"]
    with pytest.raises(SystemExit):
        main([*given, "--index", str(tmp_path / "empty.index")])
    assert "empty.index: has no image to check with; give --images" in capsys.readouterr().err


def test_a_full_disk_is_named_for_int8_weights_too(exported: Path, small_disk: Path) -> None:
    with pytest.raises(OSError, match=r"could not write .*small\.onnx: No space left on device; free disk space"):
        quantize_weights(exported / files.ONNX_FILE, small_disk / "small.onnx")

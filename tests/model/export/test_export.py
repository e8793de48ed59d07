"""Exported files give the network's results at every size that they claim to accept."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import onnx
import pytest
import torch
from PIL import Image
from torch import Tensor

from model.export import check_images, checking, files
from model.export.__main__ import main
from model.export.inference_network import InferenceNetwork, as_network_output
from model.export.sizes import ExportError, Sizes
from model.inference.merging import MergingSettings
from model.inference.post_processing import selected_queries
from model.network.config import NetworkConfig
from model.weights.checkpoint import Checkpoint, save_checkpoint
from panoptic.format.categories import Category, CategoryTable
from tests.model.network.tiny_network import STUFF, THINGS, TINY, random_tensor, tiny_network

CONFIG = replace(TINY, levels=3, location_layers=1, stuff_mask_layers=1, selected_queries=5)
CATEGORIES = CategoryTable(
    tuple(Category(id_, f"thing {id_}", True, (id_, 0, 0)) for id_ in range(1, THINGS + 1)),
    tuple(Category(id_, f"stuff {id_}", False, (id_, 0, 0)) for id_ in range(50, 50 + STUFF)),
)
PARAMS = "predict: {shorter: 96, longer: 144, merging: {score_threshold: 0.0}}"  # so that random masks make segments
MERGING = MergingSettings(score_threshold=0.0)


def inference_network(config: NetworkConfig = CONFIG) -> InferenceNetwork:
    return InferenceNetwork(tiny_network(config).eval())


def export(folder: Path, *arguments: str, config: NetworkConfig = CONFIG) -> Path:
    """Export the tiny network with the command, which checks all files on three images."""
    network = inference_network(config).network
    save_checkpoint(folder / "tiny.safetensors", Checkpoint(config, CATEGORIES, {"code": "abc"}, network))
    (folder / "params.yaml").write_text(PARAMS)
    paths = [folder / f"{index}.png" for index in range(3)]
    for path, shown in zip(paths, check_images.noise(), strict=True):
        cv2.imwrite(str(path), shown.pixels)
    given = ["--model", folder / "tiny.safetensors", "--params", folder / "params.yaml", "--images", *paths]
    main([*map(str, given), "--out", str(folder), "--outputs", "raw", *arguments])
    return folder


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("fixed"), "--size", "64x96")


@pytest.fixture(scope="module")
def dynamic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("dynamic"), "--dynamic")


def runs(folder: Path) -> tuple[checking.Program, checking.Program]:
    return checking.load_torch(folder / files.TORCH_FILE), checking.load_onnx(folder / files.ONNX_FILE)


@torch.no_grad()
def require_equal(folder: Path, images: Tensor) -> None:
    expected = inference_network()(images)
    for run in runs(folder):
        for ours, theirs in zip(expected, run(images), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_fixed_size_equals_eager(fixed: Path) -> None:
    require_equal(fixed, random_tensor(1, 3, 64, 96))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 33, 33), (3, 65, 131), (2, 352, 200)])
def test_batch_and_any_sides_equal_eager(dynamic: Path, size: tuple[int, int, int]) -> None:
    batch, height, width = size
    require_equal(dynamic, random_tensor(batch, 3, height, width))


@pytest.mark.slow
def test_options_of_the_network_are_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = replace(CONFIG, query_initialization="encoder", token_classes=True, stuff="joint", classes_from="masks")
    export(tmp_path, "--dynamic", config=config)
    assert capsys.readouterr().out.count("100.00 % equal pixels, 5 queries matched") == 6


def test_description_has_the_settings(fixed: Path) -> None:
    description = json.loads((fixed / files.DESCRIPTION).read_text())
    assert description["merging"] == asdict(MERGING)
    assert description["input"]["resize"] == {"shorter": 96, "longer": 144}
    assert description["provenance"] == {"code": "abc"}


def test_onnx_file_is_valid_and_describes_itself(fixed: Path) -> None:
    model = onnx.load(fixed / files.ONNX_FILE)
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.input] == ["images"]
    assert [value.name for value in model.graph.output] == [output.name for output in inference_network().outputs]
    assert {entry.key: entry.value for entry in model.metadata_props}["description"] == (
        fixed / files.DESCRIPTION
    ).read_text()
    assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx.ml"}


def test_graph_has_only_standard_operators(fixed: Path) -> None:
    graph = torch.export.load(fixed / files.TORCH_FILE).graph
    targets = {str(node.target) for node in graph.nodes if node.op == "call_function"}
    assert any(target.startswith("aten.grid_sampler") for target in targets)
    assert all(target.startswith(("aten.", "<built-in function ", "<function ")) for target in targets), targets


def test_files_of_a_fixed_size_reject_another(fixed: Path) -> None:
    images = random_tensor(1, 3, 72, 96)
    for run, message in zip(runs(fixed), ("== 64", "Expected: 64"), strict=True):
        with pytest.raises(Exception, match=message):
            run(images)


@pytest.mark.parametrize("height", [32, 4097])
def test_sizes_outside_the_limits_are_named(height: int) -> None:
    with pytest.raises(ExportError, match=f"a.png is {height} x 96; the network accepts sides of 33 to 4096"):
        Sizes.dynamic(CONFIG).require(height, 96, "a.png")


def test_sides_are_rounded_to_the_multiple_that_a_backbone_needs() -> None:
    sizes = Sizes.dynamic(replace(CONFIG, backbone="pvt_v2_b0", backbone_norm="frozen"))
    assert (sizes.smallest, sizes.nearest(70, 1009)) == (64, (64, 1024))
    with pytest.raises(ExportError, match=r"a\.png is 96 x 100; the network accepts .* pixels, multiples of 32"):
        sizes.require(96, 100, "a.png")
    assert Sizes.dynamic(CONFIG).nearest(70, 1009) == (70, 1009)


@pytest.mark.slow
def test_pvt_is_exported_for_all_multiples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(tmp_path, "--dynamic", config=replace(CONFIG, backbone="pvt_v2_b0", backbone_norm="frozen"))
    assert capsys.readouterr().out.count("100.00 % equal pixels, 5 queries matched") == 6
    assert json.loads((tmp_path / files.DESCRIPTION).read_text())["input"]["sizes"]["height"] == {
        "smallest": 64,
        "largest": 4096,
        "multiple_of": 32,
    }


@pytest.mark.slow
def test_efficientnet_is_exported_for_all_multiples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = replace(CONFIG, backbone="efficientnet_lite0", backbone_norm="frozen")
    export(tmp_path, "--dynamic", "--format", "onnx", config=config)
    assert capsys.readouterr().out.count("100.00 % equal pixels, 5 queries matched") == 3


def test_a_network_that_torch_cannot_trace_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        export(tmp_path, "--size", "8x8", config=replace(CONFIG, backbone="pvt_v2_b0", backbone_norm="frozen"))
    assert "error: torch cannot trace pvt_v2_b0 for images of 8 x 8; give another --size" in capsys.readouterr().err


def test_swin_accepts_only_a_fixed_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        export(tmp_path, "--dynamic", config=replace(CONFIG, backbone="swin_tiny", backbone_norm="frozen"))
    assert "swin_tiny splits its maps into windows, which torch can only trace for one size" in capsys.readouterr().err


def test_a_file_that_does_not_run_is_rejected() -> None:
    def run(_: Tensor) -> tuple[Tensor, ...]:
        raise IndexError("idx=11 must be within [-5, 4]")

    with pytest.raises(ExportError, match="does not run on noise 1, so it was not written: idx=11"):
        checking.compare_program(inference_network(), run, check_images.noise()[0], MERGING)


def test_a_file_of_an_earlier_export_is_never_left_beside_a_new_description(tmp_path: Path) -> None:
    (tmp_path / files.ONNX_FILE).touch()
    files.require_no_other(tmp_path, ("torch", "onnx"))
    with pytest.raises(ExportError, match=r"model\.onnx is from an earlier export, .* --format both, or give another"):
        files.require_no_other(tmp_path, ("torch",))


def test_a_size_that_no_image_may_have_is_rejected_at_once() -> None:
    with pytest.raises(ExportError, match="--size is 64 x 4097; the network accepts sides of 1 to 4096 pixels"):
        Sizes.parse("64x4097")
    assert Sizes.parse("4096x1").fixed == (4096, 1)


@pytest.mark.parametrize("text", ["480", "0x64", "64x", "axb", f"{'9' * 5000}x64"])
def test_malformed_sizes_are_rejected(text: str) -> None:
    with pytest.raises(ExportError, match="give HEIGHTxWIDTH"):
        Sizes.parse(text)


@pytest.mark.parametrize("added", [1.0, float("nan")])
def test_a_different_network_is_detected(added: float) -> None:
    network, other = inference_network(), inference_network()
    with torch.no_grad():
        other.network.get_parameter("encoder.level_embedding").add_(added)
    comparison = checking.compare_program(network, other, check_images.noise()[0], MERGING)
    with pytest.raises(ExportError, match=r"x\.onnx differs from the network"):
        comparison.require("x.onnx")


@torch.no_grad()
def test_named_outputs_rebuild_the_output_of_the_network() -> None:
    network = inference_network()
    names = [output.name for output in network.outputs]
    found = as_network_output(THINGS, dict(zip(names, network(random_tensor(2, 3, 64, 64)), strict=True)))
    assert found.query_masks.masks.shape == (1, 2, 5, 16, 16)
    assert found.stuff_logits is not None
    assert found.stuff_logits.shape == (1, 2, STUFF)
    assert found.stuff is not None
    assert found.stuff.queries.shape == (1, 2, STUFF, CONFIG.channels)
    assert selected_queries(found).shape == (2, 5, CONFIG.channels)


@pytest.mark.parametrize("broken", ["writing", "checking"])
def test_a_failed_export_leaves_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    def save(_program: object, path: Path) -> None:
        path.write_bytes(b"new")
        if broken == "writing":
            raise OSError(28, "No space left on device")

    other = inference_network()
    with torch.no_grad():
        other.network.get_parameter("encoder.level_embedding").add_(1.0)
    (tmp_path / files.TORCH_FILE).write_bytes(b"old")
    monkeypatch.setattr(files, "trace", lambda _network, _sizes: None)
    monkeypatch.setattr(files, "save_torch", save)
    monkeypatch.setattr(checking, "load_torch", lambda _path: other)
    with pytest.raises(SystemExit):
        export(tmp_path, "--size", "64x96")
    assert ("No space left" if broken == "writing" else "model.pt2 differs from") in capsys.readouterr().err
    assert (tmp_path / files.TORCH_FILE).read_bytes() == b"old"
    assert not (tmp_path / files.DESCRIPTION).exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "big"], "give HEIGHTxWIDTH"),
        (["--dynamic", "--images", "missing.png"], "missing.png cannot be read as an image"),
        (["--dynamic", "--params", "missing.yaml"], "missing.yaml: there is no such file"),
    ],
)
def test_the_command_rejects_bad_arguments_before_tracing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(files, "trace", None)
    with pytest.raises(SystemExit):
        main(["--random", "r50", "--out", str(tmp_path), *arguments])
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_photos_are_turned_upright_and_must_be_complete(tmp_path: Path) -> None:
    path, exif = tmp_path / "turned.jpg", Image.Exif()
    exif[0x0112] = 6  # to be displayed rotated by 90 degrees
    Image.new("RGB", (48, 32)).save(path, exif=exif)
    (found,) = check_images.from_files([path])
    assert found.pixels.shape == (48, 32, 3)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ExportError, match="cut short"):
        check_images.from_files([path])


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(ExportError, match="ONNX needs onnxscript;"):
        files.require_onnx()


@pytest.mark.slow
def test_the_command_exports_r50(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--random", "r50", "--out", str(tmp_path), "--size", "64x96"])
    printed = capsys.readouterr().out
    assert (printed.count("100.00 % equal pixels"), printed.count("100.000 % equal pixels")) == (3, 3)

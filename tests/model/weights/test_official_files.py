"""Converting files in the published layout, there and back, and every way in which they can be wrong."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.official_parity.forward import read_entries
from model.weights.checkpoint import load_checkpoint
from model.weights.official.__main__ import main
from model.weights.official.classes import coco_categories
from model.weights.official.names import UNUSED, to_official
from model.weights.official.sidecar import load_sidecar, save_sidecar, sidecar_path
from tests.model.conftest import OFFICIAL

State = dict[str, Tensor]


def small_file_state() -> State:
    """An R50 checkpoint with one number per entry, which `torch.save` writes once, and some entries in full."""
    state: State = OrderedDict()
    for number, entry in enumerate(read_entries(OFFICIAL / "keys_r50.json")):
        kind = torch.float32 if entry.type == "float32" else torch.int64
        state[entry.name] = torch.tensor(number, dtype=kind).expand(entry.shape)
    generator = torch.Generator().manual_seed(0)
    for name in ("bbox_head.cls_branches.0.weight", "bbox_head.reg_branches2.0.0.weight", "backbone.conv1.weight"):
        state[name] = torch.randn(state[name].shape, generator=generator)
    # One storage under two names, as modules that share a part are saved.
    state["bbox_head.reg_branches2.1.0.weight"] = state["bbox_head.reg_branches2.0.0.weight"]
    state["bbox_head.reg_branches.1.0.bias"] = state["bbox_head.reg_branches.0.0.bias"] = torch.arange(256.0)
    return state


def with_classes(things: int, stuff: int) -> State:
    """The same for other numbers of classes."""
    state = small_file_state()
    for name, tensor in state.items():
        if ".cls_branches." in name or ".cls_thing_branches." in name:
            state[name] = torch.ones(()).expand(things, *tensor.shape[1:])
    state["bbox_head.stuff_query.weight"] = torch.ones(()).expand(stuff, 512)
    return state


def write_categories(path: Path, things: int, stuff: int) -> Path:
    entries = [
        {"id": number + 1, "name": f"class {number}", "isthing": int(number < things)}
        for number in range(things + stuff)
    ]
    path.write_text(json.dumps({"categories": entries}))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """With a checkpoint and what the command made of it; emptied at the end, as it is large."""
    folder = tmp_path_factory.mktemp("official")
    remarks = {"epoch": 24, "CLASSES": ("person", "bicycle")}
    torch.save({"meta": remarks, "state_dict": small_file_state(), "optimizer": {"lr": 1.0}}, folder / "r50.pth")
    main([str(folder / "r50.pth"), "--model", "r50", "--out", str(folder / "model.safetensors")])
    yield folder
    for path in folder.iterdir():
        path.unlink()


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Run the command, which must refuse and not write its file; returns its message."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert len(message.splitlines()) <= 20
    assert "weights_only" not in message
    return message


def convert_refused(capsys: pytest.CaptureFixture[str], path: Path, *options: str | Path, model: str = "r50") -> str:
    """The message of converting a file, which must write nothing."""
    out = path.parent / "out" / "model.safetensors"
    message = refused(capsys, path, "--model", model, "--out", out, *options)
    assert not out.parent.exists()
    return message


def test_there_and_back_is_the_same_checkpoint(folder: Path) -> None:
    main([str(folder / "model.safetensors"), "--to-official", "--model", "r50", "--out", str(folder / "back.pth")])
    back = torch.load(folder / "back.pth", weights_only=True)
    state = small_file_state()
    assert list(back["state_dict"]) == list(state)
    for name, tensor in state.items():
        assert back["state_dict"][name].dtype == tensor.dtype
        assert torch.equal(back["state_dict"][name], tensor), name
    assert back["meta"] == {"epoch": 24, "CLASSES": ["person", "bicycle"]}


def test_the_converted_files_are_complete(folder: Path) -> None:
    loaded = load_checkpoint(folder / "model.safetensors")
    ours = to_official("resnet50", loaded.network.state_dict())
    assert all(torch.equal(ours[name], tensor) for name, tensor in small_file_state().items() if name in ours)
    assert (len(loaded.categories.things), len(loaded.categories.stuff)) == (80, 53)
    assert loaded.provenance["source"] == "r50.pth"
    assert loaded.provenance["model"] == "r50"
    assert len(loaded.provenance["sha256"]) == 64
    unused = load_file(sidecar_path(folder / "model.safetensors"))
    assert sum(tensor.numel() for tensor in unused.values()) == 530_448 + 82_240
    assert all(name.startswith(tuple(UNUSED)) for name in unused)


def test_the_report_says_what_became_of_every_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file has the prefix of distributed training, and no metadata."""
    torch.save({f"module.{name}": tensor for name, tensor in small_file_state().items()}, tmp_path / "bare.pth")
    main([str(tmp_path / "bare.pth"), "--model", "r50", "--out", str(tmp_path / "m.safetensors")])
    report = capsys.readouterr().out
    unused = "530 448 parameters  bbox_head.reg_branches2.*: a second set of box heads, which nothing uses"
    for part in ("50 659 212 parameters", unused, "51 271 900 parameters"):
        assert part in report
    main([str(tmp_path / "m.safetensors"), "--to-official", "--out", str(tmp_path / "back.pth")])
    names = list(torch.load(tmp_path / "back.pth", weights_only=True)["state_dict"])
    assert names == [f"module.{name}" for name in small_file_state()]


def test_without_the_sidecar_the_way_back_says_what_is_missing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("model.safetensors", "model.json"):
        (tmp_path / name).symlink_to(folder / name)
    weights, out = tmp_path / "model.safetensors", tmp_path / "back.pth"
    message = refused(capsys, weights, "--to-official", "--out", out)
    assert "model.unused.safetensors is missing" in message
    assert "bbox_head.reg_branches2.*" in message
    assert "bbox_head.cls_thing_branches.*" in message
    assert not out.exists()
    save_file({"a": torch.zeros(1)}, sidecar_path(weights))
    assert "is not of format" in refused(capsys, weights, "--to-official", "--out", out)
    of_another_file = replace(load_sidecar(sidecar_path(folder / "model.safetensors")), source="0123")
    save_sidecar(sidecar_path(weights), of_another_file)
    assert "belongs to another published file than" in refused(capsys, weights, "--to-official", "--out", out)
    main([str(weights), "--to-official", "--without-unused", "--out", str(out)])
    names = set(torch.load(out, weights_only=True)["state_dict"])
    assert names == {name for name in small_file_state() if not name.startswith(tuple(UNUSED))}


def test_the_way_back_checks_the_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (folder / "model.safetensors", "--to-official", "--model", "swin_l", "--out", folder / "other.pth")
    assert "is r50, not swin_l; correct --model" in refused(capsys, *arguments)
    assert not (folder / "other.pth").exists()


def test_the_command_runs_as_a_module_and_ends_with_status_2(folder: Path) -> None:
    files = (str(folder / "r50.pth"), "--out", str(folder / "x.safetensors"))
    command = [sys.executable, "-m", "model.weights.official", *files, "--model", "swin_l"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].endswith("r50.pth: is a checkpoint of r50, not of swin_l; use --model r50")
    assert not (folder / "x.safetensors").exists()


class Payload:
    """Unpickled with trust, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


def save_zip(path: Path, payload: Payload) -> None:
    torch.save({"state_dict": small_file_state(), "meta": payload}, path)


def save_legacy(path: Path, payload: Payload) -> None:
    torch.save({"state_dict": payload}, path, _use_new_zipfile_serialization=False)


def save_plain(path: Path, payload: Payload) -> None:
    path.write_bytes(pickle.dumps(payload))


def save_text_pickle(path: Path, payload: Payload) -> None:
    path.write_bytes(pickle.dumps(payload, protocol=0))


@pytest.mark.parametrize("save", [save_zip, save_legacy, save_plain, save_text_pickle])
def test_a_pickle_with_code_is_refused_and_not_run(
    save: Callable[[Path, Payload], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "evil.pth", Payload(tmp_path / "made"))
    message = convert_refused(capsys, tmp_path / "evil.pth")
    assert len(message.splitlines()) == 1
    assert not (tmp_path / "made").exists()
    if save in (save_zip, save_legacy):
        assert "evil.pth: asks to run code (posix.mkdir), none of which was run" in message


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(
    legacy: bool, share: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cut.pth"
    torch.save({"state_dict": small_file_state()}, path, _use_new_zipfile_serialization=not legacy)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    message = convert_refused(capsys, path)
    assert len(message.splitlines()) == 1
    assert "cut.pth" in message


def test_other_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "ours.pth")
    assert "is a safetensors file" in convert_refused(capsys, tmp_path / "ours.pth")
    with zipfile.ZipFile(tmp_path / "zip.pth", "w") as archive:
        archive.writestr("a.txt", "x")
    assert "is damaged or not a PyTorch checkpoint" in convert_refused(capsys, tmp_path / "zip.pth")
    (tmp_path / "page.pth").write_text("<!DOCTYPE html>")
    assert "is not a PyTorch checkpoint (starts with b'<!DOCTYPE')" in convert_refused(capsys, tmp_path / "page.pth")
    assert "there is no such file" in convert_refused(capsys, tmp_path / "none.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    assert "holds a list" in convert_refused(capsys, tmp_path / "list.pth")
    torch.save({"nested": {"a": torch.zeros(1)}}, tmp_path / "nested.pth")
    assert "no key 'state_dict', should hold names and tensors only; not so: nested" in convert_refused(
        capsys, tmp_path / "nested.pth"
    )


def test_weights_that_are_not_finite_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = small_file_state()
    state["neck.convs.0.gn.weight"] = torch.tensor([torch.nan, torch.inf, *[1.0] * 254])
    torch.save(state, tmp_path / "nan.pth")
    message = convert_refused(capsys, tmp_path / "nan.pth")
    assert message.endswith("take another checkpoint:\n  - neck.convs.0.gn.weight: 2 of 256 values\n")


def test_a_checkpoint_with_other_class_counts_says_which_heads_are_concerned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(with_classes(100, 50), tmp_path / "ade.pth")
    assert convert_refused(capsys, tmp_path / "ade.pth").splitlines()[1:4] == [
        "  - location_decoder.class_heads.{0..5}.weight (6 entries): (100, 256), would become (80, 256)",
        "  - location_decoder.class_heads.{0..5}.bias (6 entries): (100,), would become (80,)",
        "  - stuff_masks.query_embedding.weight: (50, 512), would become (53, 512)",
    ]


def test_categories_of_another_dataset_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By their number, or by their order if they are COCO's; what suits is not in the list."""
    (tmp_path / "r50.pth").symlink_to(folder / "r50.pth")
    fewer = write_categories(tmp_path / "fewer.json", 80, 20)
    assert "but 80 and 20 are wanted" in convert_refused(capsys, tmp_path / "r50.pth", "--categories", fewer)
    entries = coco_categories().to_json()
    entries[0]["name"], entries[1]["name"] = entries[1]["name"], entries[0]["name"]
    (tmp_path / "others.json").write_text(json.dumps({"categories": entries}))
    message = convert_refused(capsys, tmp_path / "r50.pth", "--categories", tmp_path / "others.json")
    assert "'bicycle' is wanted instead of 'person'" in message
    assert "location_decoder.class_heads.{0..5}.weight" in message


def test_heads_are_initialized_again_when_asked(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Always to the same values; all other weights are the published ones."""
    categories = write_categories(tmp_path / "few.json", 3, 2)
    networks = []
    for name in ("a", "b"):
        out = tmp_path / f"{name}.safetensors"
        main(
            [
                str(folder / "r50.pth"),
                "--model",
                "r50",
                "--out",
                str(out),
                "--categories",
                str(categories),
                "--reinitialize",
            ]
        )
        assert "class_heads.{0..5}.weight (6 entries): re-initialized, seed 0" in capsys.readouterr().out
        networks.append(load_checkpoint(out).network.state_dict())
        out.unlink()
    first, second = networks
    assert all(torch.equal(tensor, second[key]) for key, tensor in first.items())
    published = load_file(folder / "model.safetensors")
    changed = {key.split(".")[1] for key, tensor in first.items() if not torch.equal(tensor, published[key])}
    assert changed == {"class_heads", "query_embedding"}
    assert first["location_decoder.class_heads.0.weight"].shape == (3, 256)


def test_classes_of_the_same_name_keep_their_heads(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By name, whatever their ids; without stuff its parts are dropped, and kept for the way back."""
    categories = [{"id": 1, "name": "ring", "isthing": 1}, {"id": 2, "name": "person", "isthing": 1}]
    (tmp_path / "things.json").write_text(json.dumps({"categories": categories}))
    out, source = tmp_path / "things.safetensors", folder / "r50.pth"
    options = ("--categories", tmp_path / "things.json", "--model", "r50", "--out", out)
    assert "stuff_masks.query_embedding.weight: (53, 512), would be dropped" in refused(capsys, source, *options)
    main([str(argument) for argument in (source, *options, "--reinitialize")])
    report = capsys.readouterr().out
    for line in (
        "location_decoder.class_heads.{0..5}.weight (6 entries): re-initialized for the new classes, seed 0",
        "params.yaml needs, model: {stuff: none}",
        "classes kept: 1 (person)",
        "new classes, with initial values: 1 (ring)",
        "classes dropped: 132 (bicycle, car, ",
        "dropped, as the network has no such part: stuff_masks (205 entries)",
    ):
        assert line in report
    head = "bbox_head.cls_branches.0.weight"
    loaded = load_checkpoint(out)
    assert loaded.config.stuff == "none"
    assert torch.equal(to_official("resnet50", loaded.network.state_dict())[head][1], small_file_state()[head][0])
    main([str(out), "--to-official", "--out", str(tmp_path / "back.pth")])
    back = torch.load(tmp_path / "back.pth", weights_only=True)["state_dict"]
    assert list(back) == list(small_file_state())
    assert back[head].shape == (2, 256)


def test_stuff_alone_makes_a_joint_network(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    categories, out = write_categories(tmp_path / "stuff.json", 0, 3), tmp_path / "stuff.safetensors"
    options = ["--categories", str(categories), "--model", "r50", "--reinitialize", "--out", str(out)]
    main([str(folder / "r50.pth"), *options])
    assert "params.yaml needs, model: {stuff: joint}" in capsys.readouterr().out
    assert load_checkpoint(out).network.state_dict()["location_decoder.class_heads.0.bias"].shape == (3,)
    out.unlink()


def test_a_checkpoint_of_another_trainer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With earlier names, numbers of NumPy and objects in its metadata, an optimizer's state, and averaged weights."""
    state = {name.replace("things_mask_head", "mask_head"): tensor for name, tensor in small_file_state().items()}
    bias = "bbox_head.cls_branches.0.bias"
    average = state | {bias: torch.arange(80.0)}
    meta = {"epoch": 24, "hook_msgs": {"best_score": np.float64(49.6)}, "config": Namespace(lr=0.1)}
    document = {"meta": meta, "state_dict": state, "state_dict_ema": average, "optimizer": {"lr": 1.0}}
    torch.save(document, tmp_path / "x.pth")
    for options, expected in (((), state[bias]), (("--ema",), average[bias])):
        out = tmp_path / "x.safetensors"
        main([str(tmp_path / "x.pth"), "--model", "r50", "--out", str(out), *options])
        report = capsys.readouterr().out
        assert "bbox_head.mask_head.* (108 entries) is read as bbox_head.things_mask_head.*" in report
        assert "not converted: optimizer, the content of argparse.Namespace" in report
        assert ("taken: the moving average (EMA) in 'state_dict_ema'" in report) is bool(options)
        assert ("not their moving average (EMA) in 'state_dict_ema'" in report) is not bool(options)
        assert "less precise" not in report
        assert torch.equal(load_file(out)["location_decoder.class_heads.0.bias"], expected)
        assert load_sidecar(sidecar_path(out)).meta["hook_msgs"] == {"best_score": 49.6}
    torch.save({"state_dict": {**state, bias: state[bias].half()}}, tmp_path / "x.pth")
    main([str(tmp_path / "x.pth"), "--model", "r50", "--out", str(out)])
    assert "float16 values, which are less precise, became float32" in capsys.readouterr().out
    out.unlink()


@pytest.mark.parametrize("counts", [(100, 50), (80, 53)])
def test_own_categories_with_the_counts_of_the_checkpoint_keep_its_heads(
    counts: tuple[int, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Even if COCO has as many classes, which is remarked."""
    torch.save(with_classes(*counts), tmp_path / "ade.pth")
    categories = write_categories(tmp_path / "ade.json", *counts)
    out = tmp_path / "ade.safetensors"
    main([str(tmp_path / "ade.pth"), "--model", "r50", "--out", str(out), "--categories", str(categories)])
    weights, table = load_file(out), load_checkpoint(out).categories
    out.unlink()
    assert torch.equal(weights["location_decoder.class_heads.5.weight"], torch.ones(counts[0], 256))
    assert [category.name for category in table] == [f"class {number}" for number in range(sum(counts))]
    remark = "taken for those of the 80 thing and 53 stuff classes given, in the order of their ids; if"
    assert (remark in capsys.readouterr().out) is (counts == (80, 53))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["r50.pth", "--out", "x.safetensors"], "--model is missing; give one of r50"),
        (["r50.pth", "--model", "r50", "--out", "x.pth"], "our weights end in .safetensors"),
        (["r50.pth", "--model", "r50", "--out", "x.safetensors", "--without-unused"], "belongs to --to-official"),
        (["r50.pth", "--to-official", "--out", "x.pth"], "--to-official reads .safetensors and writes .pth"),
        (["m.safetensors", "--to-official", "--reinitialize", "--out", "x.pth"], "do not go with --to-official"),
    ],
)
def test_options_that_do_not_go_together(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, *arguments)

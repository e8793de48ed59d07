"""An export carries the passport of its weights."""

from dataclasses import replace
from pathlib import Path

import pytest

from model.export import files
from model.export.__main__ import main as export
from model.verify.__main__ import main as verify
from model.weights.checkpoint import Checkpoint, save_checkpoint
from panoptic.format.categories import Category, CategoryTable
from panoptic.passport.document import read_passport, seal, write_passport
from panoptic.passport.training import described_files, passport_path
from tests.model.network.tiny_network import STUFF, THINGS, TINY, tiny_network
from tests.panoptic.passport.test_document import WEIGHTS


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    config = replace(TINY, levels=3, location_layers=1, stuff_mask_layers=1, selected_queries=5)
    things, stuff = (
        tuple(Category(first + index, f"class {first + index}", first == 1, (0, 0, 0)) for index in range(count))
        for first, count in ((1, THINGS), (50, STUFF))
    )
    weights = tmp_path / "tiny.safetensors"
    save_checkpoint(weights, Checkpoint(config, CategoryTable(things, stuff), {}, tiny_network(config).eval()))
    listed = described_files({"weights": weights}, tmp_path)
    write_passport(passport_path(weights), seal("weights", {**WEIGHTS, "files": listed}))
    (tmp_path / "params.yaml").write_text("predict: {shorter: 96, longer: 144}")
    given = ["--model", str(weights), "--params", str(tmp_path / "params.yaml"), "--out", str(tmp_path / "out")]
    export([*given, "--format", "torch", "--size", "64x96"])
    return tmp_path / "out"


def test_tampering_with_an_export_is_found(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    passport = read_passport(exported / files.PASSPORT)
    assert passport.parent is not None
    assert passport.weights.section("training").integer("steps") == 3
    assert failures(exported, capsys) == []

    model = exported / files.TORCH_FILE
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    assert failures(exported, capsys) == ["files of the export"]

    edited = replace(passport.parent, sections={**passport.parent.sections, "training": {"steps": 4}})
    write_passport(exported / files.PASSPORT, replace(passport, parent=edited))
    assert failures(exported, capsys) == ["files of the export", "chain of the weights"]


def test_weights_with_an_edited_passport_are_not_exported(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = passport_path(exported.parent / "tiny.safetensors")
    passport = read_passport(path)
    write_passport(path, replace(passport, sections={**passport.sections, "usage": {"sessions": [1]}}))
    given = ["--model", str(exported.parent / "tiny.safetensors"), "--params", str(exported.parent / "params.yaml")]
    with pytest.raises(SystemExit):
        export([*given, "--out", str(exported), "--format", "torch", "--size", "64x96"])
    assert "section 'usage' or what comes before it was edited" in capsys.readouterr().err


def test_an_export_that_cannot_have_a_passport_leaves_the_earlier_one_whole(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {name: (exported / name).stat().st_ino for name in (files.TORCH_FILE, files.DESCRIPTION)}
    (exported / files.PASSPORT).unlink()
    (exported / files.PASSPORT).mkdir()
    given = ["--model", str(exported.parent / "tiny.safetensors"), "--params", str(exported.parent / "params.yaml")]
    with pytest.raises(SystemExit):
        export([*given, "--out", str(exported), "--format", "torch", "--size", "64x96"])
    assert f"{exported / files.PASSPORT}: is a folder, which no file replaces" in capsys.readouterr().err
    assert before == {name: (exported / name).stat().st_ino for name in before}


def failures(exported: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The names of the checks that fail."""
    with pytest.raises(SystemExit):
        verify([str(exported / files.TORCH_FILE)])
    lines = capsys.readouterr().out.splitlines()
    return [line[9:43].strip() for line in lines if line.startswith("FAILED")]

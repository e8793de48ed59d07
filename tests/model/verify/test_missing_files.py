"""What is missing for a verification is named, and never passes in silence."""

from pathlib import Path

import pytest

from model.verify.__main__ import main as verify
from panoptic.passport.document import seal, write_passport
from panoptic.passport.training import described_files, passport_path
from tests.panoptic.passport.test_document import WEIGHTS


def test_missing_weights_and_a_missing_passport_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "model.safetensors"
    with pytest.raises(SystemExit, match="2"):
        verify([str(weights)])
    assert capsys.readouterr().err == f"error: {weights}: there is no such file; check the path\n"
    weights.touch()
    with pytest.raises(SystemExit, match="2"):
        verify([str(weights)])
    assert f"there is no passport at {passport_path(weights)}; copy it along" in capsys.readouterr().err


def test_results_without_a_passport_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tmp_path / "train" / "model.safetensors"
    weights.parent.mkdir()
    weights.touch()
    listed = described_files({"weights": weights}, weights.parent)
    write_passport(passport_path(weights), seal("weights", {**WEIGHTS, "files": listed}))
    with pytest.raises(SystemExit):
        verify([str(weights), "--steps", "0"])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line[9:43].strip() == "results"]
    assert line.startswith("not made")
    assert line.endswith(f"{tmp_path / 'passport.json'} is missing; `dvc repro passport` writes it")

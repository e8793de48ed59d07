"""A model and its results are made again from their passport alone, with uncommitted changes and changed settings."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.model.verify.small_runs import ROOT, commit, key_pair, make_run, run


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    make_run(folder / "run", key_pair(folder, "key"))
    return folder / "run"


def remake(passport: Path, repository: Path, into: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pipelines.remake", str(passport), "--into", str(into)]
    return subprocess.run([*command, "--repository", str(repository)], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
def test_everything_is_equal_from_the_passport_alone(original: Path, tmp_path: Path) -> None:
    passport = tmp_path / "passport.json"
    shutil.copyfile(original / "runs/passport.json", passport)
    # The checkout has gone on since: other code, other settings, no results.
    repository = tmp_path / "repository"
    shutil.copytree(original, repository, symlinks=True)
    shutil.rmtree(repository / "runs")
    (repository / "params.yaml").write_text("train: {}\n")
    (repository / "model/training/losses.py").write_text("# Gone.\n")
    commit(repository, "Go on")
    done = remake(passport, repository, tmp_path / "again")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()[-6:]
    assert [line.split("  ")[0] for line in lines[:-1]] == ["equal"] * 5
    assert lines[-2].split()[1:] == ["scores/metrics.json", "every", "number"]
    assert "# Not committed." in (tmp_path / "again/model/export/sizes.py").read_text()

    # A later passport with another metric, and another digest, is not met.
    document = json.loads(passport.read_text())
    document["sections"]["metrics"]["scores/metrics.json"]["pq"]["all"] = 0.9
    document["parent"]["sections"]["files"]["weights"]["sha256"] = "0" * 64
    passport.write_text(json.dumps(document))
    done = remake(passport, repository, tmp_path / "again")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "DIFFERS  weights" in done.stdout
    assert "DIFFERS  scores/metrics.json       pq differ" in done.stdout


@pytest.mark.slow
def test_other_data_is_found_before_training(original: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    shutil.copytree(original, repository, symlinks=True)
    masks = sorted((repository / "datasets/part/annotations/panoptic_val").iterdir())
    listed = repository / "datasets/part/annotations/panoptic_val.json"
    document = json.loads(listed.read_text())
    gone = document["annotations"].pop()
    document["images"] = [image for image in document["images"] if image["id"] != gone["image_id"]]
    listed.write_text(json.dumps(document))
    assert len(masks) == len(document["images"]) + 1
    done = remake(original / "runs/passport.json", repository, tmp_path / "again")
    assert done.returncode == 2, done.stdout
    assert "error: the data is not that of the run: the val index has the digest" in done.stderr
    assert not (tmp_path / "again/runs/train").exists()


def test_what_cannot_be_made_again_is_said(tmp_path: Path) -> None:
    passport, repository = tmp_path / "passport.json", tmp_path / "repository"
    repository.mkdir()
    run(repository, "git", "init", "--quiet")
    code = {"commit": "0" * 40, "diff": {"bytes": 0, "sha256": "", "zlib": None}}
    document = {"format": "panoptic-passport/1", "type": "weights"}
    others = {
        "files": {},
        "settings": {},
        "machine": {"threads": 1},
        "data": {"train index": {"sha256": ""}, "val index": {"sha256": ""}},
    }
    for change, message in (
        ({}, f"no commit {'0' * 40}"),
        ({"commit": None}, "made outside of git"),
        ({"diff": {"bytes": 5_000_000, "sha256": "", "zlib": None}}, "5000000 bytes of uncommitted changes"),
    ):
        passport.write_text(json.dumps(document | {"sections": {"code": code | change} | others}))
        done = remake(passport, repository, tmp_path / "again")
        assert done.returncode == 2
        assert message in done.stderr
    passport.write_text("{}")
    assert "not a passport" in remake(passport, repository, tmp_path / "again").stderr

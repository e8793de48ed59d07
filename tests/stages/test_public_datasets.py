"""`dvc repro annotate` for COCO, COCO128 and ADE20K, by the repository's dvc.yaml, from a server on loopback."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archive_server import Answer, ArchiveServer
from tests.real_archives import (
    ADE20K_COUNTS,
    COCO128_COUNTS,
    COCO_COUNTS,
    write_ade20k_archives,
    write_coco128_archives,
    write_coco_archives,
)

ROOT = Path(__file__).parents[2]
WRITE = {"coco": write_coco_archives, "coco128": write_coco128_archives, "ade20k": write_ade20k_archives}
COUNTS = {"coco": COCO_COUNTS, "coco128": COCO128_COUNTS, "ade20k": ADE20K_COUNTS}


@pytest.fixture(params=["coco", "coco128", "ade20k"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path, ArchiveServer]]:
    """A DVC project with the stages of this repository, and a server that has the archives of a dataset."""
    name: str = request.param
    folder = tmp_path / "project"
    (folder / ".dvc").mkdir(parents=True)
    config = "[core]\n    no_scm = true\n    analytics = false\n    check_update = false\n"
    (folder / ".dvc" / "config").write_text(config)
    for code in ("panoptic", "stages"):
        shutil.copytree(ROOT / code, folder / code, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("dvc.yaml", ".dvcignore"):
        shutil.copy(ROOT / file, folder / file)
    WRITE[name](tmp_path / "server", seed=0)
    with ArchiveServer(tmp_path / "server").running() as server:
        train, val = list(COUNTS[name])[:2]
        dataset = {"name": name, "root": f"datasets/{name}", "train": train, "val": val}
        download = {"mirrors": [server.address], "published": False, "backoff_s": 0}
        text = (ROOT / "params.yaml").read_text()
        kept = text[text.index("\nmodel:") :]
        annotate = {"workers": 2, "semantic": True, "categories": "original"}
        own = {"dataset": dataset, "download": download, "annotate": annotate}
        sections = "".join(f"{section}: {json.dumps(settings)}\n" for section, settings in own.items())
        (folder / "params.yaml").write_text(sections + kept)
        yield name, folder, server


def _repro(folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "dvc", "repro", "annotate"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_dvc_brings_a_public_dataset_to_its_index(project: tuple[str, Path, ArchiveServer]) -> None:
    name, folder, server = project
    first = next(iter(sorted(path.name for path in server.folder.iterdir())))
    server.answers[first].extend([Answer(status=404)])
    failed = _repro(folder)
    assert failed.returncode
    assert f"{first} answers 404 Not Found" in failed.stdout + failed.stderr
    assert not (folder / "runs" / "annotate").exists()

    server.answers[first].extend([Answer(cut_after=700), Answer(status=503, headers={"Retry-After": "0"})])
    done = _repro(folder)
    assert done.returncode == 0, done.stderr + done.stdout
    annotated = folder / "runs" / "annotate"
    before = {path.name: path.read_bytes() for path in annotated.iterdir()}
    for role, count in zip(("train", "val"), COUNTS[name].values(), strict=False):
        assert len(json.loads(before[f"detection_{role}.json"])["images"]) == count

    requests = len(server.requests)
    again = _repro(folder)
    assert again.returncode == 0, again.stderr + again.stdout
    assert "Stage 'annotate' didn't change" in again.stdout
    assert len(server.requests) == requests, "nothing is fetched a second time"

"""The download stage for COCO and ADE20K: despite server errors and kills, they end complete, or with one error."""

import json
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from panoptic.datasets import known
from panoptic.datasets.ade20k.layout import find_ade20k_split
from panoptic.datasets.description import Archive
from panoptic.datasets.layout import find_split
from panoptic.io.files import open_files
from panoptic.io.json_fields import JsonObject, read_json
from stages.download import main
from tests.archive_server import Answer, ArchiveServer
from tests.real_archives import ADE20K_COUNTS, COCO_COUNTS, write_ade20k_archives, write_coco_archives

REPOSITORY = Path(__file__).parents[2]
# Kills itself when it is about to change a file below a folder for the n-th time; prints the times where it does not.
KILLED = """
import os, signal, sys
times, folder = int(sys.argv.pop(1)), sys.argv.pop(1)

def watch(event, arguments):
    global times
    changes = event in ("os.rename", "os.remove", "os.link", "os.mkdir") or (event == "open" and arguments[2] & 3)
    if changes and str(arguments[0]).startswith(folder):
        times -= 1
        if times == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
from stages.download import main
main(sys.argv[1:])
print("left", times)
"""


@dataclass(frozen=True)
class Project:
    """A folder with settings for a dataset whose archives a server has."""

    folder: Path
    server: ArchiveServer
    dataset: str = "coco"
    splits: str = "train: train2017, val: val2017"

    @property
    def root(self) -> Path:
        return self.folder / "datasets" / self.dataset

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.json"

    def arguments(self, **settings: object) -> list[str]:
        """The arguments of the command, with additional settings."""
        params = self.folder / "params.yaml"
        download = {"mirrors": [self.server.address], "published": False, "backoff_s": 0} | settings
        params.write_text(
            f"dataset: {{name: {self.dataset}, root: {self.root}, {self.splits}}}\ndownload: {json.dumps(download)}\n"
        )
        return ["--params", str(params), "--manifest", str(self.manifest)]

    def run(self, **settings: object) -> JsonObject:
        """Run the stage; returns the manifest."""
        main(self.arguments(**settings))
        return read_json(self.manifest)

    def tree(self) -> dict[str, bytes]:
        """Every file of the dataset except the records, which contain times."""
        files = {path.relative_to(self.root).as_posix(): path for path in self.root.rglob("*") if path.is_file()}
        return {name: path.read_bytes() for name, path in files.items() if name != "archives/archives.json"}


@pytest.fixture
def coco(tmp_path: Path) -> Iterator[Project]:
    write_coco_archives(tmp_path / "server", seed=0)
    with ArchiveServer(tmp_path / "server").running() as server:
        yield Project(tmp_path / "project", server)


@pytest.fixture
def ade20k(tmp_path: Path) -> Iterator[Project]:
    write_ade20k_archives(tmp_path / "server", seed=0)
    with ArchiveServer(tmp_path / "server").running() as server:
        yield Project(tmp_path / "project", server, "ade20k", "train: training, val: validation")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()


def test_coco_is_brought_to_its_layout(coco: Project) -> None:
    content = coco.run(test=True)
    lists = {f"annotations/{kind}_{split}" for kind in ("instances", "panoptic") for split in ("train2017", "val2017")}
    annotations = {f"{name}.json" for name in lists} | {f"{name}.zip" for name in lists if "panoptic" in name}
    tests = {"annotations/image_info_test2017.json", "annotations/image_info_test-dev2017.json"}
    packed = {f"archives/{name}trainval2017.zip" for name in ("annotations_", "panoptic_annotations_")}
    others = {f"{split}.zip" for split in COCO_COUNTS} | {"archives/image_info_test2017.zip", "archives/lock"}
    assert coco.tree().keys() == annotations | tests | packed | others
    for role, (split, count) in zip(("train", "val", "test"), COCO_COUNTS.items(), strict=True):
        assert content.child("splits").child(role).integer("image_count") == count
        if role != "test":
            files = find_split(coco.root, split)
            stems = [name.removesuffix(".png") for name in open_files(files.masks).names()]
            assert [name.removesuffix(".jpg") for name in open_files(files.images).names()] == stems
            assert len(stems) == count
    with zipfile.ZipFile(coco.server.folder / "panoptic_annotations_trainval2017.zip") as archive:
        for name in archive.namelist()[1:]:
            assert (coco.root / name).read_bytes() == archive.read(name)


def test_the_manifest_of_a_published_dataset_lists_its_archives(coco: Project) -> None:
    content = coco.run()
    archive = coco.root / "archives" / "annotations_trainval2017.zip"
    assert content.values["published"] is False
    assert list(content.objects("archives"))[1].values == {
        "path": archive.as_posix(),
        "bytes": archive.stat().st_size,
        "sha256": sha256(archive.read_bytes()).hexdigest(),
        "unpacked": [
            {"path": path.as_posix(), "bytes": path.stat().st_size}
            for path in (coco.root / "annotations" / f"instances_{split}.json" for split in ("train2017", "val2017"))
        ],
    }
    path = coco.root / "annotations" / "panoptic_val2017.zip"
    masks = {"path": path.as_posix(), "bytes": path.stat().st_size, "folder": "", "files": 3}
    assert content.child("splits").child("val").child("masks").values == masks
    before = coco.manifest.read_bytes()
    coco.run(connections=1)
    assert coco.manifest.read_bytes() == before


def test_a_trial_on_val_needs_only_the_small_archives(coco: Project) -> None:
    small = replace(coco, splits="train: val2017, val: val2017")
    small.run()
    assert not any("train2017" in name for name in small.tree())
    assert all("train2017.zip" not in request.path for request in coco.server.requests)
    coco.run()
    assert "train2017.zip" in coco.tree()


def test_ade20k_stays_in_archives_that_are_read_in_place(ade20k: Project) -> None:
    content = ade20k.run()
    assert ade20k.tree().keys() == {
        "ADEChallengeData2016.zip",
        "annotations_instance.zip",
        "archives/annotations_instance.tar",
        "archives/lock",
    }
    for role, (split, count) in zip(("train", "val"), ADE20K_COUNTS.items(), strict=True):
        files = find_ade20k_split(ade20k.root, split)
        stems = {part: [Path(name).stem for name in getattr(files, part).names()] for part in vars(files)}
        assert stems["images"] == stems["semantic"] == stems["instances"]
        assert content.child("splits").child(role).integer("image_count") == len(stems["images"]) == count
        name = files.instances.names()[0]
        assert open_files(files.instances.path).read(name)[:4] == b"\x89PNG"


@pytest.mark.parametrize("seed", range(6))
def test_misbehavior_of_the_server_changes_nothing(coco: Project, seed: int) -> None:
    rng = np.random.default_rng(seed)
    moods = [
        Answer(status=503, headers={"Retry-After": "0"}),
        Answer(status=429, headers={"Retry-After": "0"}),
        Answer(status=416),
        Answer(status=500),
        Answer(ignore_range=True),
        Answer(range_from=1),
        *(Answer(cut_after=int(cut)) for cut in rng.integers(0, 5000, size=8)),
    ]
    for name in ("train2017.zip", "val2017.zip", "annotations_trainval2017.zip"):
        coco.server.answers[name].extend(moods[int(mood)] for mood in rng.integers(len(moods), size=7))
    coco.run(retries=20)
    calm = replace(coco, folder=coco.folder / "calm")
    calm.folder.mkdir()
    coco.server.answers.clear()
    calm.run()
    assert coco.tree() == calm.tree()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(status=404), "val2017.zip answers 404 Not Found"),
        (
            Answer(body=b"<html><p>Log in first</html>"),
            "answers with a web page instead of the archive: 'Log in first'",
        ),
        (Answer(length=9999), "val2017.zip failed 1 times in a row"),
        (Answer(status=429, headers={"Retry-After": "86400"}), "asks to wait 86400 s"),
    ],
)
def test_a_failure_ends_in_a_clear_message(
    coco: Project, answer: Answer, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    coco.server.answers["val2017.zip"].append(answer)
    with pytest.raises(SystemExit, match="2"):
        coco.run(retries=0)
    assert said in capsys.readouterr().err
    assert not coco.manifest.exists()
    coco.run()


@pytest.mark.parametrize("times", [3, 17, 31, 45, 59, 73, 87])
def test_killed_at_any_change_of_a_file_the_next_run_gives_the_same(coco: Project, times: int) -> None:
    for name in ("val2017.zip", "train2017.zip"):
        coco.server.answers[name].append(Answer(cut_after=1500))
    command = [sys.executable, "-c", KILLED, str(times), str(coco.root), *coco.arguments(connections=1)]
    killed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr + killed.stdout
    coco.run()
    calm = replace(coco, folder=coco.folder / "calm")
    calm.folder.mkdir()
    calm.run()
    assert coco.tree() == calm.tree()


def test_killed_while_bytes_arrive_the_next_run_resumes(ade20k: Project) -> None:
    name = "ADEChallengeData2016.zip"
    ade20k.server.answers[name].append(Answer(hold_after=9000))
    command = [sys.executable, "-m", "stages.download", *ade20k.arguments()]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        ade20k.server.held.wait()
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (ade20k.root / name).exists()
    part = ade20k.root / f"{name}.part"
    there = part.stat().st_size if part.exists() else 0
    ade20k.run()
    assert ade20k.server.ranges(name) == [None, f"bytes={there}-" if there else None]
    assert (ade20k.root / name).read_bytes() == (ade20k.server.folder / name).read_bytes()


def test_a_folder_of_archives_may_be_given_on_the_command_line(coco: Project) -> None:
    main([*coco.arguments(mirrors=[]), "--from", str(coco.server.folder)])
    assert not coco.server.requests
    assert (coco.root / "val2017.zip").samefile(coco.server.folder / "val2017.zip")


def test_published_archives_have_published_numbers(
    coco: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def published(row: Archive) -> Archive:
        content = (coco.server.folder / row.name).read_bytes()
        return replace(row, bytes=len(content), sha256=sha256(content).hexdigest())

    rows = tuple(map(published, known.DATASETS["coco"].archives))
    table = replace(known.DATASETS["coco"], archives=rows, images=COCO_COUNTS)
    monkeypatch.setitem(known.DATASETS, "coco", table)
    coco.run(published=True, test=True)
    monkeypatch.setitem(known.DATASETS, "coco", replace(table, images={**COCO_COUNTS, "val2017": 5}))
    with pytest.raises(SystemExit, match="2"):
        coco.run(published=True)
    message = capsys.readouterr().err
    path = coco.root / "annotations" / "panoptic_val2017.zip"
    assert f"split 'val2017' should have 5 images, but {coco.root / 'val2017.zip'} has 3 images, {path} has" in message


@pytest.mark.parametrize(
    ("dataset", "settings", "said"),
    [
        (
            "coco",
            {"mirrors": ["ftp://x"]},
            "params.yaml: download.mirrors: 'ftp://x' should begin with http:// or https://",
        ),
        ("coco", {"connections": 0}, "download.connections is 0; give at least 1"),
        ("coco", {"retries": -1}, "download.retries is -1; give at least 0"),
        ("coco", {"mirrors": []}, "no address is known"),
        ("ade20k", {"test": True}, "no test images of 'ade20k' are known"),
        ("ade20k", {}, "no split 'train2017', 'val2017'; there are: training, validation"),
    ],
)
def test_wrong_settings_are_refused(
    coco: Project, dataset: str, settings: dict[str, object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        replace(coco, dataset=dataset).run(**settings)
    assert said in capsys.readouterr().err
    assert not coco.server.requests

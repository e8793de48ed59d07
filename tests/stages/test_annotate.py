"""The annotate stage: its files, which are the same whatever happens on the way, and the data that it refuses."""

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from panoptic.data.reader import PanopticReader
from panoptic.datasets import shards
from panoptic.datasets.coco import build_index
from panoptic.datasets.shards import ImageShard, encode_semantic_map, make_semantic_map
from panoptic.index import PanopticIndex
from panoptic.io.files import open_files
from stages.annotate import main
from tests.detection_document import to_detection_format
from tests.stages.training_runs import commands, parent
from tests.tiny_dataset import random_images, write_split

ROOT = Path(__file__).parents[2]
OF_A_SPLIT = ("{}.index", "instances_{}.json", "detection_{}.json", "semantic_{}.zip")
WRITTEN = {"categories.json", *(name.format(role) for name in OF_A_SPLIT for role in ("train", "val"))}
IMAGES = {"train": 5, "val": 4}
# Shards of two images; kills itself when it is about to change a file below a folder for the n-th time.
KILLED = """
import os, signal, sys
times, folder = int(sys.argv.pop(1)), sys.argv.pop(1)

def watch(event, arguments):
    global times
    changes = event in ("os.rename", "os.remove", "os.mkdir") or (event == "open" and arguments[2] & 3)
    if changes and str(arguments[0]).startswith(folder):
        times -= 1
        if times == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
from panoptic.datasets import shards
shards.SHARD = 2
from stages.annotate import main
main(sys.argv[1:])
print("left", times)
"""
# Kills itself when the first part is finished, while the worker makes others.
KILLED_WITH_WORKER = """
import os, signal, sys
from tqdm import tqdm
tqdm.update = lambda bar, count: os.kill(os.getpid(), signal.SIGKILL)
from panoptic.datasets import shards
shards.SHARD = 2
from stages.annotate import main
main(sys.argv[1:])
"""
# Prints the files that a run imports, with every layout of a dataset.
IMPORTED = """
import json
import panoptic.datasets.ade20k.images, panoptic.datasets.coco, stages.annotate
from panoptic.runtime.fingerprint import PROJECT, imported_code
print(json.dumps([file.relative_to(PROJECT).as_posix() for file in imported_code()]))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, (split, count) in enumerate(IMAGES.items()):
        write_split(tmp_path / "own", split, random_images(seed, count))
    return tmp_path / "own"


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD", 2)


def _arguments(folder: Path, manifest: Path | None = None, **settings: object) -> list[str]:
    """Arguments for the dataset in `own`, with what is written below `folder`."""
    folder.mkdir(exist_ok=True)
    params = folder / "params.yaml"
    params.write_text(
        "dataset: {name: own, root: elsewhere, train: train, val: val}\n"
        f"annotate: {json.dumps({'semantic': True} | settings)}\n"
    )
    return [
        *("--params", str(params), "--root", str(folder.parent / "own"), "--state", str(folder / "work" / "state")),
        *("--output", str(folder / "work" / "out"), *(("--manifest", str(manifest)) if manifest else ())),
    ]


def _run(folder: Path, manifest: Path | None = None, **settings: object) -> Path:
    main(_arguments(folder, manifest, **settings))
    return folder / "work" / "out"


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _left_over(folder: Path) -> list[Path]:
    """The files that a run left in its folders besides the output."""
    return [
        path for path in (folder / "work").rglob("*") if path.name not in ("out", "state") and "out" not in path.parts
    ]


def test_it_writes_the_input_of_later_stages(root: Path, tmp_path: Path) -> None:
    output = _run(tmp_path / "a")
    assert {path.name for path in output.iterdir()} == WRITTEN
    assert not _left_over(tmp_path / "a")
    for role, count in IMAGES.items():
        index = PanopticIndex.load(output / f"{role}.index")
        parts = root / "annotations" / f"panoptic_{role}.json", root / "annotations" / f"panoptic_{role}", root / role
        in_memory = build_index(*parts)
        assert list(index.records) == list(in_memory.records)
        assert len(index.records) == count
        assert (output / f"detection_{role}.json").read_bytes() == to_detection_format(in_memory)
        reader, semantic = PanopticReader(index), open_files(output / f"semantic_{role}.zip")
        assert len(semantic.names()) == count
        for record in index.records:
            labels = make_semantic_map(reader.sample(record).ids, record.segments, index.categories)
            assert semantic.read(record.mask_name) == encode_semantic_map(labels)
    names = [category["name"] for category in json.loads((output / "categories.json").read_text())["categories"]]
    assert names == ["ball", "star", "sky", "water"]


def test_ground_truth_instances_are_the_datasets_own_if_it_has_any(root: Path, tmp_path: Path) -> None:
    own = root / "annotations" / "instances_val.json"
    own.write_text('{"images": [], "annotations": [], "categories": []}')
    output = _run(tmp_path / "a")
    assert (output / "instances_val.json").read_bytes() == own.read_bytes()
    assert (output / "instances_train.json").read_bytes() == (output / "detection_train.json").read_bytes()


def test_annotations_of_all_images_are_numbered_in_their_order(root: Path, tmp_path: Path) -> None:
    document = json.loads((_run(tmp_path / "a") / "detection_train.json").read_text())
    listed = json.loads((root / "annotations" / "panoptic_train.json").read_text())["annotations"]
    segments = [(image["image_id"], segment["category_id"]) for image in listed for segment in image["segments_info"]]
    assert [entry["id"] for entry in document["annotations"]] == list(range(len(segments)))
    assert [(entry["image_id"], entry["category_id"]) for entry in document["annotations"]] == segments


def test_neither_workers_nor_the_size_of_shards_change_a_byte(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = _contents(_run(tmp_path / "alone"))
    for workers in (1, 3):
        assert _contents(_run(tmp_path / str(workers), workers=workers)) == alone
    monkeypatch.setattr(shards, "SHARD", 128)
    assert _contents(_run(tmp_path / "large")) == alone


def test_semantic_maps_are_made_on_request_alone(root: Path, tmp_path: Path) -> None:
    with_maps, without = _contents(_run(tmp_path / "a")), _contents(_run(tmp_path / "b", semantic=False))
    assert without == {name: content for name, content in with_maps.items() if "semantic" not in name}


def test_maps_are_in_an_archive_without_dates(root: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(_run(tmp_path / "a") / "semantic_val.zip") as archive:
        entries = archive.infolist()
    assert [entry.filename for entry in entries] == [f"{number:06}.png" for number in range(100, 104)]
    assert {(entry.date_time, entry.compress_type) for entry in entries} == {((1980, 1, 1, 0, 0, 0), 0)}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The parts that this process makes, as it goes on."""
    names: list[str] = []
    make = ImageShard.make

    def noted(shard: ImageShard) -> tuple[str, ...]:
        names.append(shard.path.name)
        return make(shard)

    monkeypatch.setattr(ImageShard, "make", noted)
    return names


def _finished(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "work" / "state").rglob("[!.]*.zip")}


@pytest.mark.parametrize("times", [1, 8, 14, 40, 55, 58, 60, 62, 69, 73, 80])
def test_killed_at_any_change_of_a_file_the_next_run_resumes_and_gives_the_same(
    root: Path, tmp_path: Path, times: int, made: list[str]
) -> None:
    calm = _contents(_run(tmp_path / "calm"))
    parts = set(made)
    made.clear()
    command = [sys.executable, "-c", KILLED, str(times), str(tmp_path / "a" / "work"), *_arguments(tmp_path / "a")]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr + killed.stdout
    assert not (tmp_path / "a" / "work" / "out").exists()
    finished = _finished(tmp_path / "a")
    assert _contents(_run(tmp_path / "a")) == calm
    assert set(made) == parts - finished
    assert not _left_over(tmp_path / "a")


def test_killed_with_a_worker_the_next_run_resumes_and_gives_the_same(
    root: Path, tmp_path: Path, made: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-c", KILLED_WITH_WORKER, *_arguments(tmp_path / "a", workers=1)]
    # It returns when the worker, too, has closed the pipe: that one ends with its parent.
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr + killed.stdout
    finished = _finished(tmp_path / "a")
    output = _run(tmp_path / "a")
    assert f"{len(finished)} of 5 shards done" in capsys.readouterr().out
    assert len(made) == 5 - len(finished) < 5
    assert not _left_over(tmp_path / "a")
    assert _contents(output) == _contents(_run(tmp_path / "calm"))


def test_killed_while_cleaning_up_the_next_run_gives_the_same(root: Path, tmp_path: Path, made: list[str]) -> None:
    work = tmp_path / "a" / "work"
    command = [sys.executable, "-c", KILLED, "80", str(work), *_arguments(tmp_path / "a")]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert len(_finished(tmp_path / "a")) == 5
    for name in ("train-00001.index", "val-00000.zip"):
        (path,) = (work / "state").rglob(name)
        path.unlink()
    output = _run(tmp_path / "a")
    assert made == ["train-00001", "val-00000"]
    assert _contents(output) == _contents(_run(tmp_path / "calm"))


@pytest.mark.parametrize("part", ["panoptic_val.json", "panoptic_val/000101.png"])
def test_other_data_do_not_resume_an_interrupted_run(
    root: Path, tmp_path: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = _arguments(tmp_path / "a")
    work = str(tmp_path / "a" / "work")
    subprocess.run([sys.executable, "-c", KILLED, "30", work, *arguments], cwd=ROOT, capture_output=True, check=False)
    assert list((tmp_path / "a" / "work" / "state").rglob("*.zip"))
    path = root / "annotations" / part
    path.write_bytes(path.read_bytes() + b"\n")
    _run(tmp_path / "a")
    assert "resuming from" not in capsys.readouterr().out


@pytest.mark.usefixtures("root")
def test_the_identity_of_a_run_covers_all_code_that_reads_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digested = list[Path]()

    def note(path: Path) -> str:
        digested.append(path)
        return ""

    monkeypatch.setattr("panoptic.runtime.fingerprint.file_digest", note)
    _run(tmp_path / "a")
    names = {path.relative_to(ROOT).as_posix() for path in digested if path.is_relative_to(ROOT)}
    imported = subprocess.run([sys.executable, "-c", IMPORTED], cwd=ROOT, capture_output=True, text=True, check=True)
    readers = {name for name in json.loads(imported.stdout) if name.startswith("panoptic/")}
    assert "panoptic/datasets/ade20k/maps.py" in readers
    assert names >= readers - {"panoptic/__init__.py"}
    assert not any(name.startswith(("panoptic/evaluation/", "panoptic/tools/")) for name in names)


@pytest.mark.parametrize("workers", [0, 2])
def test_issues_of_all_images_are_named_in_order(
    root: Path, tmp_path: Path, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a" / "work" / "out").mkdir(parents=True)
    (tmp_path / "a" / "work" / "out" / "old").write_bytes(b"")
    for name in ("train/000104", "train/000100", "val/000102"):
        path = root / "annotations" / f"panoptic_{name}.png"
        path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SystemExit, match="2"):
        _run(tmp_path / "a", workers=workers)
    lines = capsys.readouterr().err.splitlines()
    issues = [line for line in lines if line.startswith("  - ")]
    assert [line.partition("panoptic_")[2].partition(": the PNG is cut short")[0] for line in issues] == [
        "train: 000100.png",
        "train: 000104.png",
        "val: 000102.png",
    ]
    assert any(f"{root}: 3 issues found" in line for line in lines)
    assert list(_contents(tmp_path / "a" / "work" / "out")) == ["old"]
    assert not _left_over(tmp_path / "a")


def test_splits_must_share_their_categories(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = root / "annotations" / "panoptic_val.json"
    path.write_text(path.read_text().replace('"ball"', '"moon"'))
    with pytest.raises(SystemExit, match="2"):
        _run(tmp_path / "a")
    assert "id 3 is 'moon' instead of 'ball'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"dataset": "coco"}, "it is of the dataset 'coco', not of 'own'; run stages.download again"),
        ({"val": {"split": "val", "image_count": 9}}, "split 'val' has 4 annotated images, but {manifest} says 9"),
        ({"train": {"split": "all", "image_count": 5}}, "splits: train: it is split 'all', not 'train'"),
        (
            {"val": {"split": "val"}},
            "splits: val: 'image_count' is missing, as in files of earlier versions; run stages.download again",
        ),
    ],
)
def test_there_must_be_as_many_images_as_were_downloaded(
    root: Path, tmp_path: Path, change: Mapping[str, object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = {role: change.get(role, {"split": role, "image_count": count}) for role, count in IMAGES.items()}
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"dataset": change.get("dataset", "own"), "splits": splits}))
    if not said:
        assert _run(tmp_path / "a", manifest).exists()
        return
    with pytest.raises(SystemExit, match="2"):
        _run(tmp_path / "a", manifest)
    assert said.format(manifest=manifest) in capsys.readouterr().err
    assert not (tmp_path / "a" / "work").exists()


def test_a_killed_worker_is_reported(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stages.annotate", *_arguments(tmp_path / "a", workers=1)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as running:
        workers: list[int] = []
        while running.poll() is None and not workers:
            started = [pid for pid, words in commands() if "--multiprocessing-fork" in words]
            workers = [pid for pid in started if parent(pid) == running.pid]
        os.kill(workers[0], signal.SIGKILL)
        errors = running.communicate()[1]
    assert running.returncode == 2, errors
    assert "error: a worker process has ended abruptly" in errors
    assert "annotate.workers" in errors
    assert "Traceback" not in errors

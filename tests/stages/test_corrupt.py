"""The corrupt stage: archives with the right images, reproducible bytes, and resuming after a kill."""

import json
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic.data.reader import PanopticReader
from panoptic.datasets.coco import build_index
from panoptic.index import PanopticIndex
from panoptic.io.errors import DatasetError
from panoptic.robustness.corrupted_split import CorruptedSplit, CorruptSettings, index_of_archive
from panoptic.robustness.corruptions import CORRUPTIONS, Variant, corrupt_image
from stages import corrupt
from tests.tiny_dataset import TinySplit, random_image, write_split

ROOT = Path(__file__).parents[2]
FEW = "corruptions: [fog, impulse_noise], severities: [1, 4]"


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> TinySplit:
    rng = np.random.default_rng(0)
    sizes = [(40, 48), (48, 40), (24, 64), (40, 48)]
    images = [random_image(rng, 10 + number, *size) for number, size in enumerate(sizes)]
    return write_split(tmp_path_factory.mktemp("data"), "val", images)


def prepare(folder: Path, split: TinySplit, settings: str) -> list[str]:
    """Write index and settings below `folder`; returns the arguments."""
    folder.mkdir(exist_ok=True)
    build_index(split.panoptic_json, split.masks, split.images).save(folder / "index.json")
    (folder / "params.yaml").write_text(f"corrupt: {{{settings}}}\n")
    return [
        *("--params", str(folder / "params.yaml"), "--index", str(folder / "index.json")),
        *("--state", str(folder / "state"), "--out", str(folder / "out")),
    ]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "out").iterdir())}


def test_archives_hold_the_corrupted_images(split: TinySplit, tmp_path: Path) -> None:
    corrupt.main(prepare(tmp_path, split, FEW))
    names = {f"{name}_{severity}.zip" for name in ("fog", "impulse_noise") for severity in (1, 4)}
    assert set(contents(tmp_path)) == {"manifest.json"} | names
    index = PanopticIndex.load(tmp_path / "index.json")
    archive = index_of_archive(index, tmp_path / "out" / "fog_4.zip")
    clean, corrupted = PanopticReader(index), PanopticReader(archive)
    for record, other in zip(index.records, archive.records, strict=True):
        expected = corrupt_image(clean.image(record), "fog", 4, record.image_id)
        assert np.array_equal(corrupted.image(other), expected)
        assert np.array_equal(corrupted.id_map(other), clean.id_map(record))
    with zipfile.ZipFile(tmp_path / "out" / "fog_4.zip") as opened:
        assert [entry.filename for entry in opened.infolist()] == [f"{10 + number:012d}.png" for number in range(4)]
        assert {entry.compress_type for entry in opened.infolist()} == {zipfile.ZIP_STORED}
    assert not list((tmp_path / "state").iterdir())


def test_the_manifest_describes_the_archives(split: TinySplit, tmp_path: Path) -> None:
    corrupt.main(prepare(tmp_path, split, f"{FEW}, images: 2"))
    found = CorruptedSplit.load(tmp_path / "out" / "manifest.json")
    assert found.image_ids == (10, 11)
    assert found.variants == tuple(Variant(name, severity) for name in ("fog", "impulse_noise") for severity in (1, 4))
    assert found.archives
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["format"] == "coco-c/2"
    assert "numpy" in found.libraries


def test_without_archives_there_is_the_manifest_alone(split: TinySplit, tmp_path: Path) -> None:
    corrupt.main(prepare(tmp_path, split, "archives: false"))
    assert list(contents(tmp_path)) == ["manifest.json"]
    found = CorruptedSplit.load(tmp_path / "out" / "manifest.json")
    assert found.variants == tuple(Variant(name, severity) for name in CORRUPTIONS for severity in (1, 2, 3, 4, 5))
    assert not found.archives


def test_workers_change_no_byte_and_nothing_old_stays(split: TinySplit, tmp_path: Path) -> None:
    made = []
    for workers in (0, 2):
        arguments = prepare(tmp_path / str(workers), split, f"{FEW}, workers: {workers}")
        (tmp_path / str(workers) / "out").mkdir()
        (tmp_path / str(workers) / "out" / "old.zip").write_bytes(b"")
        corrupt.main(arguments)
        made.append(contents(tmp_path / str(workers)))
    assert made[0] == made[1]
    assert "old.zip" not in made[0]


@pytest.mark.parametrize("of", [1, 3, 7])
def test_shards_together_leave_nothing_to_make(
    split: TinySplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: int
) -> None:
    """Also where there are more shards than archives; the result is that of one program."""
    corrupt.main(prepare(tmp_path / "alone", split, FEW))
    arguments = prepare(tmp_path / "shared", split, FEW)
    for number in range(of, 0, -1):
        corrupt.main([*arguments, "--shard", f"{number}/{of}"])
        assert not (tmp_path / "shared" / "out").exists()

    def nothing(*_: object) -> None:
        raise AssertionError("an archive is made again")

    monkeypatch.setattr(corrupt, "write_archive", nothing)
    corrupt.main(arguments)
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")


def test_finished_archives_are_kept_when_other_variants_are_asked_for(
    split: TinySplit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corrupt.main([*prepare(tmp_path, split, "corruptions: [contrast], severities: [1]"), "--shard", "1/1"])
    corrupt.main(prepare(tmp_path, split, "corruptions: [contrast], severities: [1, 2], workers: 1"))
    assert ": 1 of 2 archives done" in capsys.readouterr().out
    assert set(contents(tmp_path)) == {"manifest.json", "contrast_1.zip", "contrast_2.zip"}


def test_a_shard_has_nothing_to_do_without_archives(split: TinySplit, tmp_path: Path) -> None:
    corrupt.main([*prepare(tmp_path, split, "archives: false"), "--shard", "1/2"])
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "state").exists()


def test_images_may_be_listed_in_a_file(split: TinySplit, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("# two images\n13 # the last\n\n11\n")
    corrupt.main(prepare(tmp_path, split, f"{FEW}, archives: false, image_ids: {ids}"))
    assert CorruptedSplit.load(tmp_path / "out" / "manifest.json").image_ids == (13, 11)
    corrupt.main(prepare(tmp_path, split, f"{FEW}, archives: false, image_ids: {ids}, images: 1"))
    assert CorruptedSplit.load(tmp_path / "out" / "manifest.json").image_ids == (13,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("11\n99\n98\n", r"ids.txt: 2 of 3 image ids are not in the index (99, 98)"),
        ("11\n12\n11\n", "ids.txt, line 3: image id 11 is in line 1 already"),
        ("11\n1.5\n", "ids.txt, line 2: '1.5' is no image id"),
        ("# none\n", "ids.txt: no image id in it"),
        (None, "ids.txt: there is no such file; correct corrupt.image_ids"),
    ],
)
def test_a_list_with_mistakes_is_refused(
    text: str | None, message: str, split: TinySplit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / "ids.txt").write_text(text)
    with pytest.raises(SystemExit) as ended:
        corrupt.main(prepare(tmp_path, split, f"{FEW}, image_ids: {tmp_path / 'ids.txt'}"))
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("corruptions: [fogg]", "there is no corruption 'fogg'; give one of motion_blur"),
        ("severities: [6]", "of severity 6"),
        ("severities: []", "give at least one corruption and one severity"),
        ("severities: [1, 1]", "each once"),
        ("images: -1", "corrupt.images is -1; give at least 0"),
    ],
)
def test_settings_with_mistakes_are_refused(
    settings: str, message: str, split: TinySplit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        corrupt.main(prepare(tmp_path, split, settings))
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("workers", [0, 1])
def test_a_missing_image_leaves_the_old_result_as_it_was(
    workers: int, split: TinySplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = prepare(tmp_path, split, f"{FEW}, workers: {workers}")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_bytes(b"")
    choose = CorruptedSplit.choose
    moved, away = split.images / "000012.png", tmp_path / "away.png"

    def vanishing(index: PanopticIndex, settings: CorruptSettings) -> CorruptedSplit:
        chosen = choose(index, settings)
        moved.rename(away)
        return chosen

    monkeypatch.setattr(CorruptedSplit, "choose", vanishing)
    try:
        with pytest.raises(SystemExit):
            corrupt.main(arguments)
    finally:
        away.rename(moved)
    assert "000012.png" in capsys.readouterr().err
    assert list(contents(tmp_path)) == ["old"]


def test_a_killed_run_resumes_with_the_missing_archives(split: TinySplit, tmp_path: Path) -> None:
    # Before its first image of glass blur a worker compiles for seconds, which leaves time to kill it.
    settings = "corruptions: [contrast, glass_blur], workers: 1"
    arguments = prepare(tmp_path, split, settings)
    command = [sys.executable, "-m", "stages.corrupt", *arguments]
    running = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    while not list((tmp_path / "state").rglob("contrast_1.zip")) and running.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            running.wait(0.02)
    running.kill()
    running.communicate(timeout=60)  # until the worker has closed the pipe, too: it ends with its parent
    finished = list((tmp_path / "state").rglob("[!.]*.zip"))
    assert 0 < len(finished) < 10
    assert not (tmp_path / "out").exists()
    kept = {path.name: path.stat().st_ino for path in finished}
    corrupt.main(arguments)
    assert {name: (tmp_path / "out" / name).stat().st_ino for name in kept} == kept
    undisturbed = tmp_path / "undisturbed"
    corrupt.main(prepare(undisturbed, split, settings))
    assert contents(tmp_path) == contents(undisturbed)
    assert len(contents(tmp_path)) == 11


def test_other_images_do_not_resume_a_stopped_run(split: TinySplit, tmp_path: Path) -> None:
    """The folder of a stopped run is named after the bytes of the images."""
    index = PanopticIndex.load(Path(prepare(tmp_path, split, FEW)[3]))
    settings = CorruptSettings()
    before = CorruptedSplit.choose(index, settings)
    path = split.images / "000012.png"
    content = path.read_bytes()
    image = cv2.imread(str(path))
    assert image is not None
    try:
        cv2.imwrite(str(path), 255 - image)
        assert CorruptedSplit.choose(index, settings) != before
    finally:
        path.write_bytes(content)
    assert CorruptedSplit.choose(index, settings) == before


@pytest.mark.parametrize("archives", ["true", "false"])
def test_a_corruption_of_ones_own_is_known_by_its_source(
    archives: str, split: TinySplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"own_{archives}"
    source = tmp_path / f"{module}.py"
    source.write_text("def darker(image, severity, rng):\n    return image // severity\n")
    monkeypatch.syspath_prepend(tmp_path)
    settings = f"corruptions: ['{module}:darker'], severities: [2], archives: {archives}, workers: 2"
    corrupt.main(prepare(tmp_path, split, settings))
    index = PanopticIndex.load(tmp_path / "index.json")
    found = CorruptedSplit.load(tmp_path / "out" / "manifest.json")
    assert list(found.own_sources) == [f"{module}:darker"]
    found.check(index, Path("manifest.json"))
    if archives == "true":
        archive = index_of_archive(index, tmp_path / "out" / f"{module}.darker_2.zip")
        clean, darker = PanopticReader(index).image(index.records[0]), PanopticReader(archive).image(archive.records[0])
        assert np.array_equal(darker, clean // 2)
    source.write_text(source.read_text() + "# changed\n")
    if archives == "true":
        found.check(index, Path("manifest.json"))  # the archives have the images
    else:
        with pytest.raises(DatasetError, match=r"the corruptions of your own have changed since; run stages.corrupt"):
            found.check(index, Path("manifest.json"))

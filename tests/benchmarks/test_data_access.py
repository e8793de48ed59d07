"""The data access benchmark: its files are valid, every measurement is made, and the page shows the results."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.data_access import __main__ as data_access
from benchmarks.data_access.worker import AccessCost, MemoryUse, opening, reading, starting
from benchmarks.data_access.workload import DataFiles, DataSize, write_files
from panoptic.data.decoding import decode_image
from panoptic.index import PanopticIndex
from panoptic.io.files import open_files
from tests.markdown import unpadded


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> DataFiles:
    return write_files(tmp_path_factory.mktemp("made") / "files", DataSize(images=70, segments=2, files=72))


def test_archive_and_folder_hold_the_same_images(files: DataFiles) -> None:
    index = PanopticIndex.load(files.index)
    assert len(index.records) == 70
    packed, loose = index.image_files(), open_files(files.loose)
    assert packed.names() == loose.names()
    assert len(packed.names()) == 72
    for record in index.records:
        assert len(record.segments) == 2
        content = packed.read(record.file_name)
        assert content == loose.read(record.file_name)
        assert decode_image(content, record.file_name).shape == (record.height, record.width, 3)
    assert {Path(name).suffix for name in packed.names()} == {".jpg", ".png"}


@pytest.mark.parametrize("what", ["index", "objects", "archive", "directory"])
def test_opening_is_measured(what: str, files: DataFiles) -> None:
    (found,) = opening(what, files)
    assert found.name == f"open:{what}"
    assert found.seconds[0] > 0
    assert found.memory


@pytest.mark.parametrize("what", ["nothing", "index", "objects"])
def test_starting_workers_is_measured(what: str, files: DataFiles) -> None:
    (found,) = starting(what, "fork", files, workers=2, reads=5)
    assert found.name == f"start:{what}:fork"
    assert found.memory
    assert found.memory.rss >= found.memory.pss >= found.memory.private > 0


def test_reading_is_interleaved_after_a_warm_up(files: DataFiles) -> None:
    found = {one.name: one.seconds for one in reading(files, workers=2, reads=6, rounds=3)}
    works = ("read", "decode")
    assert found.keys() == {f"{work}:{name}:{n}" for work in works for name in ("folder", "archive") for n in (1, 2)}
    assert {len(seconds) for seconds in found.values()} == {3}


def test_the_page_shows_medians_and_ratios(files: DataFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(name: str, *_: object) -> list[AccessCost]:
        if name != "read":
            return [AccessCost(name, [2.0], MemoryUse(30, 20, 10 + len(name)))]
        times = {"folder": [1.0, 2.0, 4.0], "archive": [2.0, 2.0, 2.0]}
        names = [(work, source, n) for work in ("read", "decode") for source in times for n in (1, 2)]
        return [AccessCost(f"{work}:{source}:{n}", times[source]) for work, source, n in names]

    monkeypatch.setattr(data_access, "_measure_alone", measured)
    options = ["--images", "70", "--files", "72", "--workers", "2", "--rounds", "3", "--folder", str(files.folder)]
    data_access.main([*options, "--out", str(tmp_path)])
    page = unpadded((tmp_path / "data_access.md").read_text())
    assert "| bytes, 1 process | 2.000 (1.000 to 4.000) | 2.000 (2.000 to 2.000) | 1.000 (0.500 to 2.000) |" in page
    assert "| decoded, 2 processes | 2.000" in page
    assert "| index, forked | 2.00 | 20.0 | 26.0 | -2.0 |" in page
    assert "| index | 2.0000 | 30.0 | 20.0 |" in page
    content = json.loads((tmp_path / "data_access.json").read_text())
    assert content["plan"]["size"] == {"images": 70, "segments": 11, "files": 72}
    assert len(content["measurements"]["open:index"]["seconds"]) == 5
    assert not re.search(r"/tmp|/work", page)


def test_impossible_numbers_are_refused(files: DataFiles, tmp_path: Path) -> None:
    other = ["--folder", str(files.folder), "--images", "71"]
    for wrong in (["--images", "9", "--files", "8"], ["--reads", "0"], ["--workers", "1"], other):
        with pytest.raises(SystemExit):
            data_access.main([*wrong, "--out", str(tmp_path)])
    assert not list(tmp_path.iterdir())

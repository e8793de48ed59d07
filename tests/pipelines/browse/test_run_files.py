"""Reading the files of the browse stage: the records come back as written, other formats are refused."""

import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from panoptic.error_browser.entries import BrowserEntry
from pipelines.browse.__main__ import main
from pipelines.browse.labels import name_runs
from pipelines.browse.loading import require_same_images
from pipelines.browse.run_files import BrowseError, Run


def test_records_come_back_as_written(browsed: Path, tmp_path: Path) -> None:
    run = Run.open(browsed / "first", tmp_path)
    entries = list(run.entries())
    assert "".join(entry.to_line() + "\n" for entry in entries) == (browsed / "first" / "images.jsonl").read_text()
    assert all(isinstance(entry, BrowserEntry) and run.image_path(entry).is_file() for entry in entries)
    assert all(
        (run.files / segment.mask).is_file() for entry in entries for segment in entry.prediction if segment.mask
    )


@pytest.mark.parametrize("found", ["browse/1", None])
def test_another_format_is_refused_with_the_command_to_run(found: str | None, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"format": found, "images": 0, "categories": []}))
    with pytest.raises(BrowseError, match=r"run\.json: format .*, expected 'browse/2'.* run `dvc repro browse` again"):
        Run.open(tmp_path, tmp_path / "state")


def _replace(old: bytes, new: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(path.read_bytes().replace(old, new, 1))


def _replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _write_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(10**7))


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "no JSON": ("run.json", lambda path: path.write_bytes(path.read_bytes()[:-9])),
    "nested deeply": ("run.json", lambda path: path.write_bytes(b"[" * 100_000)),
    "a list": ("run.json", lambda path: path.write_bytes(b"[]")),
    "no classes": ("run.json", _replace(b'"categories"', b'"classes"')),
    "a class without a name": ("run.json", _replace(b'"name"', b'"title"')),
    "a description that is a pipe": ("run.json", _replace_by_pipe),
    "entries that are a pipe": ("images.jsonl", _replace_by_pipe),
    "no entries": ("images.jsonl", Path.unlink),
    "no archive": ("files.zip", Path.unlink),
    "half an archive": ("files.zip", lambda path: path.write_bytes(path.read_bytes()[:-99])),
    "a damaged archive": ("files.zip", _replace(b"IDAT", b"IDAX")),
    "a bomb": ("files.zip", _write_bomb),
    "half a line": ("images.jsonl", lambda path: path.write_bytes(path.read_bytes()[:-99])),
    "a line less": ("images.jsonl", lambda path: path.write_bytes(path.read_bytes().partition(b"\n")[2])),
    "an entry of another type": ("images.jsonl", _replace(b'"outcome": "matched"', b'"outcome": 5')),
    "a class that is not listed": ("images.jsonl", _replace(b'"category_id": 7', b'"category_id": 8')),
}


@pytest.mark.parametrize("title", DAMAGES)
def test_a_damaged_file_is_named_in_one_line(title: str, browsed: Path, tmp_path: Path) -> None:
    folder, (name, damage) = tmp_path / "browse", DAMAGES[title]
    shutil.copytree(browsed / "first", folder)
    damage(folder / name)
    with pytest.raises(ValueError, match=rf"\A{re.escape(str(folder))}.*\Z"):
        list(Run.open(folder, tmp_path / "state").entries())


@pytest.mark.parametrize(
    ("pattern", "by", "said"),
    [
        (b'"file_name": "', b'"file_name": "other/', r"image .* is other/.* pixels, not .* pixels as in .*first;"),
        (b'"image_id": ', b'"image_id": 9', "no image as in .*first; browse runs on the same dataset"),
    ],
)
def test_runs_side_by_side_are_of_one_dataset(
    pattern: bytes, by: bytes, said: str, browsed: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(browsed / "second", tmp_path / "other"))
    lines = other / "images.jsonl"
    lines.write_bytes(lines.read_bytes().replace(pattern, by))
    first, same, wrong = (Run.open(path, tmp_path) for path in (browsed / "first", browsed / "second", other))
    require_same_images(name_runs({"first": first, "same": same}))
    with pytest.raises(BrowseError, match=said):
        require_same_images(name_runs({"first": first, "same": same, "wrong": wrong}))


def test_the_command_ends_with_one_line_and_status_2(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    for arguments in ([str(tmp_path)], [str(tmp_path / "file" / "browse")]):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--state", str(tmp_path / "state")])
        assert ended.value.code == 2
        assert re.fullmatch(rf"error: {re.escape(arguments[0])}: there is no run\.json.*\n", capfd.readouterr().err)

"""Reading the files of the browse stage: the records come back as written, other formats are refused."""

import json
from pathlib import Path

import pytest

from panoptic.error_browser.entries import BrowserEntry
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

"""What killed programs were writing is listed and deleted."""

import platform
from pathlib import Path

import pytest

from panoptic.tools.unfinished import main


def test_left_overs_are_listed_and_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = [tmp_path / below / f".panoptic.{platform.node()}.1.partial" for below in ("predict", "state/train-1")]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "lock").touch()
    main(["--state", str(tmp_path / "state")])
    shown = capsys.readouterr().out
    assert all(f"{folder}: left by a program that was killed" in shown for folder in left)
    main(["--state", str(tmp_path / "state"), "--delete", "all"])
    assert not any(folder.exists() for folder in left)

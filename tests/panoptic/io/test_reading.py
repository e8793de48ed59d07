"""Everything that reads an input refuses what is no file, at once."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from panoptic.io.errors import DatasetError
from panoptic.io.reading import open_file, read_file, read_text, require_file

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(params=["pipe", "link to a pipe", "socket", "device", "folder"])
def special(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A path that looks like that of a file."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "input"
    with socket.socket(socket.AF_UNIX) as bound:
        if request.param == "pipe":
            os.mkfifo(path)
        elif request.param == "link to a pipe":
            os.mkfifo(tmp_path / "pipe")
            path.symlink_to("pipe")
        elif request.param == "socket":
            bound.bind("input")
        elif request.param == "device":
            path.symlink_to("/dev/zero")
        else:
            path.mkdir()
        yield path


@pytest.mark.parametrize("read", [open_file, read_file, read_text, require_file])
def test_what_is_no_file_is_refused_by_name(special: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(DatasetError, match=r"input: is a (named pipe|socket|device|folder); give a file"):
        read(special)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "a.json", tmp_path / "a.json" / "b.json"):
        for read in (read_file, read_text, require_file):
            with pytest.raises(DatasetError, match=r"\.json: there is no such file; check the path"):
                read(path)


def test_texts_are_utf8_with_or_without_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_bytes("\ufeffé\n".encode())
    assert read_text(path) == "é\n"
    for wrong in ("é".encode("latin-1"), "é".encode("utf-16")):
        path.write_bytes(wrong)
        with pytest.raises(DatasetError, match=r"ids\.txt: not UTF-8 text, .*; save it as UTF-8"):
            read_text(path)


COMMANDS = {
    "stages.annotate": "--params SPECIAL --state state --output out",
    "stages.corrupt": "--params params.yaml --index SPECIAL --state state --out out",
    "stages.predict": "--params params.yaml --index SPECIAL --model SPECIAL --out out",
    "stages.report": "folder --out out.html",
    "stages.evaluate": "--ground-truth-json SPECIAL --ground-truth-folder . --predictions-json SPECIAL"
    " --predictions-folder SPECIAL --metrics out",
    "panoptic.tools.check": "--panoptic-json SPECIAL --masks . --images .",
    "panoptic.tools.convert": ". --classes SPECIAL --out out",
    "panoptic.tools.submission": "validate SPECIAL --images SPECIAL",
    "panoptic.tools.unlabeled": "--images . --categories SPECIAL --out out",
    "model.weights.official": "SPECIAL --out out.safetensors --model r50",
    "pipelines.override": "--params params.yaml SPECIAL",
}


@pytest.mark.parametrize("module", COMMANDS)
def test_no_command_waits_for_a_pipe(tmp_path: Path, module: str) -> None:
    os.mkfifo(tmp_path / "special.json")
    (tmp_path / "folder" / "evaluate").mkdir(parents=True)
    os.mkfifo(tmp_path / "folder" / "evaluate" / "metrics.json")
    (tmp_path / "params.yaml").write_text("corrupt: {}\npredict: {}\n", encoding="utf-8")
    arguments = COMMANDS[module].replace("SPECIAL", "special.json").split()
    command = [sys.executable, "-m", module, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == (1 if module == "panoptic.tools.check" else 2), done.stderr
    assert re.search(r"(special|metrics)\.json[^;]*\bis (a named pipe|no file)", done.stdout + done.stderr), done.stderr

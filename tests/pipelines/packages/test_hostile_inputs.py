"""Damaged databases, files that are none, and outputs that take nothing end in one message."""

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GOOD = {"id": "X-1", "affected": [{"package": {"ecosystem": "PyPI", "name": "none"}, "versions": ["1"]}]}


def run(module: str, *words: str, folder: Path = ROOT, shell: str = '"$@"') -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", shell, "sh", sys.executable, "-m", f"pipelines.{module}", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_pipe_inside(path: Path) -> None:
    path.mkdir()
    os.mkfifo(path / "a.json")


def a_dangling_link_inside(path: Path) -> None:
    path.mkdir()
    (path / "a.json").symlink_to("nowhere")


def deep(path: Path) -> None:
    path.mkdir()
    (path / "a.json").write_text("[" * 100_000)


def deep_yaml(path: Path) -> None:
    path.mkdir()
    (path / "a.yaml").write_text("[" * 5_000 + "]" * 5_000)


def damaged(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", json.dumps(GOOD) * 50)
    change(path, 40, 45, by=255)


def encrypted(path: Path) -> None:
    stored(path)
    change(path, 6, path.read_bytes().index(b"PK\1\2") + 8, by=1)


def of_unknown_method(path: Path) -> None:
    stored(path)
    change(path, 8, path.read_bytes().index(b"PK\1\2") + 10, by=99)


def endless(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.json", "w") as entry:
        for _ in range(65):
            entry.write(bytes(1 << 20))


def stored(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.json", json.dumps(GOOD))


def change(path: Path, *places: int, by: int) -> None:
    content = bytearray(path.read_bytes())
    for place in places:
        content[place] ^= by
    path.write_bytes(content)


@pytest.mark.parametrize(
    "make",
    [
        *(a_pipe, a_pipe_inside, a_dangling_link_inside, deep, deep_yaml),
        *(damaged, encrypted, of_unknown_method, endless),
    ],
)
def test_a_database_that_cannot_be_read_is_said(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "database")
    done = run("packages.audit", "--database", str(tmp_path / "database"))
    assert done.returncode == 2, done.stderr
    assert re.fullmatch(r"error: .*database.*(get|give|restore).*\n", done.stderr)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("packages.audit", ["--database", "."]),
        ("packages.sbom", []),
        ("packages.select", []),
        ("packages.select", ["--torch"]),
    ],
)
def test_another_folder_is_said(module: str, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(GOOD))
    done = run(module, *words, folder=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"error: \S+: there is no such file; check the path\n", done.stderr)


@pytest.mark.parametrize("module", ["packages.sbom", "packages.select"])
def test_a_reader_that_ends_early_is_no_error(module: str) -> None:
    done = run(module, shell='"$@" | head -c 1')
    assert (done.returncode, len(done.stdout), done.stderr) == (0, 1, "")


@pytest.mark.parametrize("module", ["packages.sbom", "packages.select"])
def test_a_full_disk_is_an_error(module: str) -> None:
    done = run(module, shell='"$@" > /dev/full')
    assert done.returncode == 2
    assert re.fullmatch(r"error: could not write standard output: .*\n", done.stderr)


def test_an_unknown_package_is_said() -> None:
    done = run("packages.select", "--only", "nope")
    assert (done.returncode, done.stderr[:24]) == (2, "error: no package 'nope'")


@pytest.mark.parametrize("content", ["[" * 100_000, "\ufeff{}", '{"format": "panoptic-passport/1", "type": "weights"}'])
def test_a_passport_that_is_none_is_said(content: str, tmp_path: Path) -> None:
    (tmp_path / "passport.json").write_text(content)
    done = run("remake", str(tmp_path / "passport.json"), "--into", str(tmp_path / "into"))
    assert done.returncode == 2
    assert re.fullmatch(r"error: .*passport\.json: not a passport .*; give another file\n", done.stderr)


def test_a_passport_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "passport.json")
    done = run("remake", str(tmp_path / "passport.json"), "--into", str(tmp_path / "into"))
    assert (done.returncode, "is a named pipe" in done.stderr) == (2, True)


@pytest.mark.parametrize("content", ["", "[" * 100_000, "[]"])
def test_scores_that_are_damaged_are_said(content: str, tmp_path: Path) -> None:
    scores = tmp_path / "runs/evaluate/metrics.json"
    scores.parent.mkdir(parents=True)
    scores.write_text(content)
    done = run("summary", folder=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"error: \S*metrics\.json: .*; compute it .*\n", done.stderr)

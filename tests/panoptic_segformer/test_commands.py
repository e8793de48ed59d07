"""The command `panoptic`: its help, its errors, and that a command behaves as its module does."""

import os
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from panoptic_segformer.commands import COMMANDS, main

ROOT = Path(__file__).parents[2]
# None of them is needed to explain a command, and each takes a tenth of a second or more to import.
HEAVY = {"cv2", "fastapi", "fiftyone", "matplotlib", "pandas", "prefect", "scipy", "torch", "transformers"}
ALL_IMPORTED = """
import sys
from panoptic_segformer.commands import main
try:
    main(sys.argv[1:])  # ends by itself
except SystemExit as end:
    assert not end.code, end.code
print("imported:", *sys.modules)
"""
every_command = pytest.mark.parametrize("name", COMMANDS)


def run_module(module: str, *arguments: str, folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


@every_command
def test_help_has_examples_and_imports_nothing_heavy(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", ALL_IMPORTED, name, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text, _, imported = done.stdout.rpartition("imported:")
    assert text.startswith(f"usage: panoptic {name} ")
    examples = [line for line in text.partition("\nexamples:\n")[2].splitlines() if line.startswith("  ")]
    assert 2 <= len(examples) <= 6
    assert any(f"panoptic {name}" in line for line in examples)
    assert not HEAVY & set(imported.split())


@every_command
def test_wrong_use_names_the_command(name: str) -> None:
    done = run_module("panoptic_segformer", name, "--no-such-option")
    assert done.returncode == 2
    assert f"panoptic {name}: error: " in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_command_once_in_a_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line[2:].split(" ")[0] in COMMANDS] == list(COMMANDS)
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 35
    groups = [group for group, _ in groupby(command.group for command in COMMANDS.values())]
    assert len(groups) == len(set(groups)), "commands of a group follow each other in the table"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("chek", "did you mean 'check'?"), ("evalute", "did you mean 'evaluate'?"), ("xyz", "choose from")],
)
def test_a_misspelt_command_suggests_the_nearest(name: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name]) == 2
    assert hint in capsys.readouterr().err


def test_the_version_is_the_distributions(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("panoptic_segformer.commands.version", lambda name: {"panoptic-pipeline": "9.8"}[name])
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "panoptic 9.8\n"


def test_a_command_ends_as_its_module_does(tmp_path: Path) -> None:
    for module, arguments in (("panoptic.tools.check", ("check", str(tmp_path))), ("pipelines.summary", ("results",))):
        expected = run_module(module, *arguments[1:], folder=tmp_path)
        found = run_module("panoptic_segformer", *arguments, folder=tmp_path)
        assert (found.returncode, found.stdout, found.stderr) == (expected.returncode, expected.stdout, expected.stderr)
        assert found.returncode == 2
        assert found.stderr.startswith(f"error: {tmp_path}")

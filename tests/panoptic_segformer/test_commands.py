"""The command `panoptic`: its help, its errors, and that a command behaves as its module does."""

from itertools import groupby
from pathlib import Path

import pytest

from panoptic_segformer.commands import COMMANDS, main
from tests.panoptic_segformer.programs import run_python

# None of them is needed to explain a command, and each takes a tenth of a second or more to import.
HEAVY = {
    *("cv2", "fastapi", "fiftyone", "huggingface_hub", "matplotlib", "pandas", "prefect", "scipy", "torch"),
    "transformers",
}
WEIGHTS = [f"weights {name}" for name in ("list", "fetch", "convert", "verify", "card", "push", "pull")]
ALL_IMPORTED = """
import sys
from panoptic_segformer.commands import main
try:
    main(sys.argv[1:])  # ends by itself
except SystemExit as end:
    assert not end.code, end.code
print("imported:", *sys.modules)
"""


@pytest.mark.parametrize("name", [*COMMANDS, *WEIGHTS])
def test_help_has_examples_and_imports_nothing_heavy(name: str) -> None:
    done = run_python("-c", ALL_IMPORTED, *name.split(), "--help")
    assert done.returncode == 0, done.stderr
    text, _, imported = done.stdout.rpartition("imported:")
    assert text.startswith(f"usage: panoptic {name} ")
    examples = text.partition("\nexample")[2]
    assert f"panoptic {name}" in examples
    assert name in WEIGHTS or 2 <= examples.count("\n  ") <= 6
    assert not (HEAVY | ({"numpy"} if name.startswith("weights") else set())) & set(imported.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_wrong_use_names_the_command(name: str) -> None:
    done = run_python("-m", "panoptic_segformer", name, "--no-such-option")
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
        expected = run_python("-m", module, *arguments[1:], folder=tmp_path)
        found = run_python("-m", "panoptic_segformer", *arguments, folder=tmp_path)
        assert (found.returncode, found.stdout, found.stderr) == (expected.returncode, expected.stdout, expected.stderr)
        assert found.returncode == 2
        assert found.stderr.startswith(f"error: {tmp_path}")

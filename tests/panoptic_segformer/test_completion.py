"""Completion, as a real bash does it."""

import subprocess
from pathlib import Path

import pytest

from panoptic_segformer.commands import COMMANDS
from tests.panoptic_segformer.programs import run_python

# What bash does when Tab is pressed at the end of a line.
PRESS_TAB = """
source "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
"$(complete -p panoptic | sed -E 's/.*-F (\\S+).*/\\1/')"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completion(shell: str) -> "subprocess.CompletedProcess[str]":
    return run_python("-m", "panoptic_segformer", "completion", shell)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "panoptic"
    path.write_text(completion("bash").stdout)
    return path


def completed(script: Path, *words: str, folder: Path) -> set[str]:
    command = ["bash", "--norc", "-c", PRESS_TAB, "bash", str(script), "panoptic", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    return set(done.stdout.split())


def test_bash_completes_commands_options_choices_and_files(script: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "data.json").touch()
    assert completed(script, "", folder=tmp_path) == set(COMMANDS)
    assert completed(script, "co", folder=tmp_path) == {"convert", "completion"}
    assert completed(script, "completion", "", folder=tmp_path) == {"bash", "zsh", "fish"}
    assert completed(script, "convert", "--exif-orientation", "", folder=tmp_path) == {"refuse", "apply", "ignore"}
    assert completed(script, "evaluate", "--predictions-", folder=tmp_path) == {
        "--predictions-json",
        "--predictions-folder",
    }
    assert completed(script, "check", "da", folder=tmp_path) == {"dataset", "data.json"}
    assert completed(script, "predict", "da", folder=tmp_path) == {"dataset", "data.json"}
    assert completed(script, "predict", "--model", "da", folder=tmp_path) == {"dataset", "data.json"}
    assert completed(script, "export", "--model", "data", folder=tmp_path) == {"dataset", "data.json"}


def test_bash_completes_names_with_spaces(script: Path, tmp_path: Path) -> None:
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a folder" / "photo.png").touch()
    assert completed(script, "check", "a folder/", folder=tmp_path) == {"a", "folder/photo.png"}  # one, split by spaces
    assert completed(script, "check", "a\\ folder/", folder=tmp_path) == set()  # left to bash, which knows quotes
    command = ["bash", "--norc", "-c", f"source '{script}'; complete -p panoptic"]
    assert " -o default " in subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_every_command_with_its_summary(shell: str) -> None:
    printed = completion(shell).stdout
    assert printed.count("--exif-orientation") >= 1
    assert [name for name, command in COMMANDS.items() if command.summary not in printed] == []


def test_an_unknown_shell_is_refused() -> None:
    done = completion("tcsh")
    assert done.returncode == 2
    assert "choose from 'bash', 'zsh', 'fish'" in done.stderr

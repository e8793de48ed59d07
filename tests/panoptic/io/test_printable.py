"""Whatever names of files contain, what is printed of them is text in as many lines as were meant."""

import os
import pickle
import pty
import subprocess
import sys

import pytest

from panoptic.io.errors import DatasetError, Issues, shown_ids
from panoptic.io.json_fields import FieldError
from panoptic.io.printable import printable, printable_output

HOSTILE = "a\n\x1b[2Jb\r\t\x07\x9b\u202e\udce9.jpg"
SHOWN = r"a\n\x1b[2Jb\r\t\x07\x9b\u202e\udce9.jpg"


@pytest.mark.parametrize("text", ["Münze 图片 \N{NO-BREAK SPACE}👩\N{ZERO WIDTH JOINER}💻.jpg", "", "back\\slash"])
def test_text_is_left_alone(text: str) -> None:
    assert printable(text) == printable_output(text) == text


def test_control_characters_are_shown() -> None:
    assert printable(HOSTILE) == SHOWN
    assert printable(printable(HOSTILE)) == SHOWN
    assert shown_ids([HOSTILE, 1]) == f"{SHOWN}, 1"


def test_output_keeps_its_lines_and_bars_of_progress() -> None:
    for text in ("a\tb\n", "\n", "\r 50%|#   |", "\x1b[A\x1b[A", ""):
        assert printable_output(text) == text
    assert printable_output("\r\x1b[31m\r50%") == "\r\\x1b[31m\\r50%"


def test_lines_of_an_error_are_those_that_were_meant() -> None:
    issues = Issues()
    with issues.collected():
        raise DatasetError(f"{HOSTILE}: is damaged", "    and missing")
    issues.add("two")
    with pytest.raises(DatasetError) as caught:
        issues.raise_if_any(f"data/{HOSTILE}")
    expected = [f"data/{SHOWN}: 2 issues found", f"  - {SHOWN}: is damaged", "    and missing", "  - two"]
    assert str(caught.value).split("\n") == expected
    field = FieldError(HOSTILE, "is wrong", "correct it")
    assert str(pickle.loads(pickle.dumps(field))) == str(field) == f"{SHOWN}: is wrong; correct it"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value), "as workers send it"


PROGRAM = f"""
from panoptic.io.errors import DatasetError
from panoptic.runtime.cli import run_command

def command():
    print("photos/" + {HOSTILE!r}.replace("\\n", ""), flush=True)
    raise DatasetError({HOSTILE!r} + ": is damaged")

run_command(command)
"""
EXPECTED = f"photos/{SHOWN}\nerror: {SHOWN}: is damaged\n".replace(r"\n", "", 1).replace(r"\t", "\t", 1)


def test_commands_print_names_to_pipes() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (2, EXPECTED)


def test_commands_print_names_to_terminals() -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=theirs, stderr=theirs):
        os.close(theirs)
        said = b""
        while len(said.splitlines()) < 2 or not said.endswith(b"\n"):
            said += os.read(ours, 1000)
    os.close(ours)
    assert said.decode().replace("\r\n", "\n") == EXPECTED

"""A command ends with one line for wrong input, and with a traceback for errors of the program."""

import pytest

from panoptic.runtime.cli import run_command


def _fails(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("error", [ValueError("wrong"), OSError(28, "wrong")])
def test_wrong_input_ends_with_one_line_and_status_2(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run_command(lambda: _fails(error))
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"error: {error}\n"


def test_programming_errors_and_requested_tracebacks_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyError):
        run_command(lambda: _fails(KeyError()))
    monkeypatch.setenv("TRACEBACK", "1")
    with pytest.raises(ValueError, match="wrong"):
        run_command(lambda: _fails(ValueError("wrong")))

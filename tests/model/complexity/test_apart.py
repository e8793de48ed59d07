"""What another process prints comes back; if it fails, so does the end of its output, or its exit status."""

from pathlib import Path

import pytest

from model.complexity.apart import ApartError, run_apart


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "doubled.py").write_text("import json, sys\nprint(2 * json.load(sys.stdin)['number'])\n")
    (tmp_path / "failed.py").write_text("import sys\nsys.exit('x' * 600 + ' no such network')\n")
    (tmp_path / "killed.py").write_text("import os, sys\nprint('warning', file=sys.stderr)\nos.kill(os.getpid(), 9)\n")
    (tmp_path / "silent.py").write_text("raise SystemExit(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_the_answer_is_what_the_module_prints() -> None:
    assert run_apart("doubled", {"number": 21}) == "42\n"


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("failed", "^x{484} no such network$"),
        ("killed", "^exit status -9, killed or out of memory$"),
        ("silent", "^exit status 3, killed or out of memory$"),
    ],
)
def test_a_failure_is_told(module: str, message: str) -> None:
    with pytest.raises(ApartError, match=message):
        run_apart(module, {})

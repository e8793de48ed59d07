"""A run with a skipped test that nobody allowed fails, also with several workers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bounded_skips import ALLOWED, excess

ROOT = Path(__file__).parents[1]
TESTS = """
import pytest

def test_passes():
    pass

@pytest.mark.skipif(True, reason="{reason}")
@pytest.mark.parametrize("number", range({count}))
def test_skipped(number):
    pass
"""


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize(
    ("reason", "count", "status"),
    [("needs a GPU", 1, 0), ("needs a GPU", ALLOWED["needs a GPU"] + 1, 1), ("the core is not built", 1, 1)],
)
def test_the_run_fails_for_skips_beyond_the_list(
    tmp_path: Path, reason: str, count: int, status: int, workers: str
) -> None:
    (tmp_path / "test_it.py").write_text(TESTS.format(reason=reason, count=count))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.bounded_skips", "-n", workers, str(tmp_path)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout
    line = f"error: {count} skipped, {ALLOWED.get(reason, 0)} allowed: {reason}; see tests/bounded_skips.py"
    assert (line in done.stdout) == bool(status)


def test_one_reason_with_different_ends_is_counted_together() -> None:
    most = ALLOWED["MongoDB is missing: "]
    assert excess({f"MongoDB is missing: {number}": 1 for number in range(most)}) == []
    assert excess({f"MongoDB is missing: {number}": 1 for number in range(most + 1)}) == [
        f"{most + 1} skipped, {most} allowed: MongoDB is missing: "
    ]

"""The compiled kernels under the address and undefined-behavior sanitizers."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_DRIVER = Path(__file__).with_name("sanitized.cpp")
_FLAGS = ("-std=c++17", "-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-pthread")


@pytest.mark.slow
def test_kernels_stay_within_their_memory(tmp_path: Path) -> None:
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        pytest.skip("there is no C++ compiler (c++, or CXX)")
    built = subprocess.run([compiler, *_FLAGS, _DRIVER, "-o", tmp_path / "sanitized"], capture_output=True, text=True)
    if "cannot find" in built.stderr:
        pytest.skip(f"the compiler's sanitizers are not installed: {built.stderr}")
    assert built.returncode == 0, built.stderr
    done = subprocess.run([tmp_path / "sanitized"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("shapes\n")

"""DVC unpickles its state, so the state lies where only its owner may write."""

from pathlib import Path

import pytest

from pipelines.dvc_project.private_state import STATE, keep_state_private
from tests.pipelines.tiny_sweep import dvc


@pytest.mark.parametrize("name", ["checkout", "größe 'a' \"b\" #;%"])
def test_nobody_else_can_write_what_dvc_unpickles(checkout: Path, tmp_path: Path, name: str) -> None:
    checkout = checkout.rename(tmp_path / f"of {name}")
    before = set(Path("/var/tmp/dvc/repo").glob("*"))
    (checkout / STATE).mkdir(parents=True)
    (checkout / STATE).chmod(0o777)
    keep_state_private(checkout)
    assert dvc(checkout, "status", "data.dvc").strip() == "Data and pipelines are up to date."
    (state,) = (checkout / STATE / "repo").iterdir()
    assert state.is_dir()
    assert (checkout / STATE).stat().st_mode & 0o777 == 0o700
    assert not [path for path in set(Path("/var/tmp/dvc/repo").glob("*")) - before if path.name == state.name]

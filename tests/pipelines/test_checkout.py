"""An environment that was moved along with its folder works where it is now."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.checkout import repair_programs


def environment_at(folder: Path, named: Path) -> Path:
    """Write the files of an environment that was made for the folder `named`."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    (folder / "pyvenv.cfg").write_text(f"home = /usr/bin\ncommand = /usr/bin/python3 -m venv --without-pip {named}\n")
    tool = folder / "bin" / "tool"
    tool.write_text(f"#!{named}/bin/python\nimport sys\nprint('here', *sys.argv[1:])\n")
    tool.chmod(0o755)
    (folder / "bin" / "activate").write_text(f'VIRTUAL_ENV="{named}"\n')
    return folder


@pytest.mark.parametrize("name", ["moved", "with space", 'quote " in it', "größe %20"])
def test_programs_start_where_the_environment_is_now(tmp_path: Path, name: str) -> None:
    environment = environment_at(tmp_path / name / ".venv", tmp_path / "old" / ".venv")
    assert repair_programs(environment) == 3
    said = subprocess.run([environment / "bin" / "tool", "a b"], check=True, capture_output=True, text=True).stdout
    assert said == "here a b\n"
    assert repair_programs(environment) == 0
    environment.parent.rename(tmp_path / "again")
    assert repair_programs(tmp_path / "again" / ".venv") == 3
    subprocess.run([tmp_path / "again" / ".venv" / "bin" / "tool"], check=True)


def test_an_environment_that_others_use_stays_as_it_is(tmp_path: Path) -> None:
    shared = environment_at(tmp_path / "shared", tmp_path / "shared")
    (tmp_path / "link").symlink_to(shared)
    assert repair_programs(tmp_path / "link") == 0


def test_the_project_is_found_where_it_was_moved_to(tmp_path: Path) -> None:
    environment = environment_at(tmp_path / "new" / ".venv", tmp_path / "old" / ".venv")
    packages = environment / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "__editable__.panoptic_pipeline-0.1.0.pth").write_text(str(tmp_path / "old"))
    assert repair_programs(environment) == 4
    assert (packages / "__editable__.panoptic_pipeline-0.1.0.pth").read_text() == str(tmp_path / "new")

"""Every section of docs/extending.md keeps its promise: its diff applies to this checkout, and its command succeeds.

The example of a dataset is one of the project: its section names all files that know of it.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "extending.md"
ADDITIONS = {
    "A corruption",
    "A metric",
    "A dataset",
    "A backbone family",
    "A merging method",
    "A recipe",
}
EXAMPLE = "A dataset"


def sections() -> dict[str, str]:
    """Read the sections of the page by title."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def only(pattern: str, text: str) -> str:
    """Return the only match of a pattern."""
    (match,) = re.findall(pattern, text, flags=re.MULTILINE | re.DOTALL)
    return str(match)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the files that git tracks, as they are in the working tree."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    tracked = b"\0".join(name for name in listed.split(b"\0") if name and (ROOT / os.fsdecode(name)).is_file())
    packing = ["tar", "--create", "--null", "--files-from=-"]
    packed = subprocess.run(packing, cwd=ROOT, input=tracked, capture_output=True, check=True).stdout
    subprocess.run(["tar", "--extract"], cwd=copy, input=packed, check=True)
    return copy


def test_the_page_has_a_section_for_every_addition() -> None:
    assert set(sections()) == ADDITIONS


def test_the_example_of_a_dataset_names_every_file_that_knows_of_it() -> None:
    listing = ["git", "ls-files", "*.py", "*.yaml", "*.md", ":!tests", ":!docs", ":!conformance"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True, text=True).stdout.splitlines()
    known = re.compile(r"datasets[./]cityscapes|\"cityscapes\"|name: cityscapes|`coco cityscapes`")
    knowing = {name for name in listed if known.search(f"{name}\n{(ROOT / name).read_text(encoding='utf-8')}")}
    assert set(re.findall(r"^\| `([^`]+)` \|", sections()[EXAMPLE], flags=re.MULTILINE)) == knowing
    assert len(knowing) == 8, "the section says eight"


@pytest.mark.parametrize("title", sorted(ADDITIONS))
def test_an_addition_applies_and_works(title: str, checkout: Path) -> None:
    section = sections()[title]
    diff = only(r"^```diff\n(.*?)^```$", section) if title != EXAMPLE else ""
    command = only(r"^    python (.*?)$", section)
    changed = [path for path in re.findall(r"^\+\+\+ b/(.+)$", diff, flags=re.MULTILINE) if path.endswith(".py")]
    ruff = [sys.executable, "-m", "ruff"]
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(checkout.parent), "PYTHONPATH": str(checkout)}
    for run, text in (
        (["git", "apply", "--verbose", "--allow-empty", "-"], diff),
        ([*ruff, "check", "--no-cache", *changed, "tests/__init__.py"], None),
        ([*ruff, "format", "--check", "--no-cache", *changed, "tests/__init__.py"], None),
        ([sys.executable, *shlex.split(command)], None),
    ):
        result = subprocess.run(run, cwd=checkout, env=environment, input=text, capture_output=True, text=True)
        assert result.returncode == 0, f"{shlex.join(run)}:\n{result.stdout[-4000:]}\n{result.stderr[-4000:]}"

"""README and the pages in docs/ name files and commands that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "experiments" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@every_page
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


@every_page
def test_commands_are_modules_of_the_project(page: Path) -> None:
    modules = set(re.findall(r"python -m ([a-z_][\w.]*\w)", page.read_text())) - {"pytest"}
    assert [module for module in sorted(modules) if not is_command(module)] == []


@every_page
def test_experiments_and_scripts_exist(page: Path) -> None:
    named = set(re.findall(r"(?<![\w./])(?:experiments|model|panoptic|stages|tests)/[\w/]+\.\w+", without_diffs(page)))
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@every_page
def test_no_placeholder_is_left(page: Path) -> None:
    assert re.findall(r"^[A-Z]+(?:_[A-Z]+)+$", page.read_text(), re.MULTILINE) == []


def test_every_page_is_listed_and_the_first_one_is_short() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"]({page.name})" not in index] == ["README.md"]
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def is_command(module: str) -> bool:
    path = ROOT.joinpath(*module.split("."))
    return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def without_diffs(page: Path) -> str:
    """The text without the examples that add files."""
    return re.sub(r"```diff.*?```\n+    [^\n]*\n", "", page.read_text(), flags=re.DOTALL)

"""Published pages show the committed numbers, and nothing is published by halves."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.harness.results import RESULTS, Summary, publish, read_report
from tests.benchmarks.pages import RENDERED


@dataclass(frozen=True)
class _Report:
    seconds: tuple[float, ...]
    other: object = None


@pytest.mark.parametrize("name", RENDERED)
def test_the_committed_page_is_rendered_from_the_committed_numbers(name: str) -> None:
    assert RENDERED[name]() == (RESULTS / f"{name}.md").read_text()


def test_every_committed_report_is_rendered_here() -> None:
    assert {path.stem for path in RESULTS.glob("*.json")} <= RENDERED.keys()


def test_a_report_is_read_as_it_was_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish("speed", "the page\n", _Report((1.0, 2.5)), tmp_path)
    assert read_report("speed", _Report, tmp_path) == _Report((1.0, 2.5))
    assert (tmp_path / "speed.md").read_text() == "the page\n"
    assert capsys.readouterr().out == "the page\n\n"


def test_numbers_that_cannot_be_written_leave_the_old_page(tmp_path: Path) -> None:
    publish("speed", "old\n", _Report((1.0,)), tmp_path)
    with pytest.raises(TypeError):
        publish("speed", "new\n", _Report((2.0,), other=Path()), tmp_path)
    assert (tmp_path / "speed.md").read_text() == "old\n"
    assert read_report("speed", _Report, tmp_path).seconds == (1.0,)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["speed.json", "speed.md"]


def test_a_summary_has_median_and_range() -> None:
    assert f"{Summary.of([3.0, 1.0, 2.0]):.1f}" == "2.0 (1.0 to 3.0)"
    assert f"{Summary.of([3.0, 1.0, 2.0]) * 1000:.0f}" == "2000 (1000 to 3000)"
    assert Summary.of_ratios([1.0, 4.0], [2.0, 2.0]) == Summary(1.25, 0.5, 2.0)

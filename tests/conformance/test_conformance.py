"""The conformance cases: that they are what the brute force says, and that our evaluation passes all of them."""

import re
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from conformance.brute_force import VARIANTS, distance
from conformance.case import Case, Entry, Scores
from conformance.compare import judge
from conformance.files import write_files
from conformance.generate import all_cases, documents
from conformance.reading import CASES, read_cases
from conformance.report import PAGE, page
from conformance.result_files import OURS, PEERS, Results, cases_digest, outdated, read_results
from conformance.run import make_environment, run_peer
from conformance.runners import hotcoco
from conformance.runners.harness import run_all
from conformance.runners.panoptic_pipeline import score
from panoptic.evaluation.image import boundary_distance
from panoptic.format.id_map import decode_id_map
from panoptic.io.errors import DatasetError

ENTRIES = read_cases()


def score_or_error(case: Case, folder: Path, section: str, panopticapi: bool = False) -> Scores | DatasetError:
    """Score a case from files; input that is wrong must end in our own error."""
    try:
        return score(case, write_files(case, folder), section, panopticapi)
    except DatasetError as error:
        return error


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(("metric", "section"), [("pq", ""), ("boundary_pq", "boundary")])
def test_our_evaluation_passes_all_cases(
    metric: str, section: str, compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the compiled cores, and as it runs where there is no compiler."""
    if not compiled:
        monkeypatch.setattr("panoptic.evaluation.overlaps.COMPILED", False)
        monkeypatch.setattr("panoptic.format.id_map.COMPILED", False)
    verdicts = {
        entry.case.path: judge(entry, metric, score_or_error(entry.case, tmp_path / entry.case.path, section))
        for entry in ENTRIES
    }
    assert {path: verdict for path, verdict in verdicts.items() if verdict.status != "pass"} == {}


def test_panopticapi_mode_follows_its_variant(tmp_path: Path) -> None:
    """But for interiors that boundary-iou-api lets a segment swallow: that, no mode of ours does."""
    wrong = []
    for entry in ENTRIES:
        follows = Entry(entry.case, entry.variants.get("panopticapi", entry.expected))
        for metric, section in (("pq", ""), ("boundary_pq", "boundary")):
            folder = tmp_path / metric / entry.case.path
            verdict = judge(follows, metric, score_or_error(entry.case, folder, section, panopticapi=True))
            wrong += [(entry.case.path, metric, verdict)] if verdict.status != "pass" else []
    assert wrong == []


def test_a_segment_with_the_id_after_the_largest_category_swallows_nothing() -> None:
    swallows = [entry for entry in ENTRIES if "boundary-iou-api" in entry.variants and entry.case.topic == "marker"]
    assert len(swallows) >= 5
    assert all(entry.variants["boundary-iou-api"].pq == entry.expected.pq for entry in swallows)
    assert all(entry.variants["boundary-iou-api"].boundary_pq != entry.expected.boundary_pq for entry in swallows)


def test_cases_are_those_of_the_generator() -> None:
    written = {path.stem: path.read_text() for path in CASES.glob("*.json")}
    assert written == documents(all_cases())


def test_cases_are_read_as_they_were_drawn() -> None:
    drawn = {case.path: case for case in all_cases()}
    assert len(drawn) == len(ENTRIES) >= 200
    assert all(drawn[entry.case.path] == entry.case for entry in ENTRIES)


@pytest.mark.parametrize(
    ("topic", "name", "counts"),
    [
        ("matching", r"tie-.*", (0, 1, 1)),
        ("matching", r"(above|closest-above).*", (1, 0, 0)),
        ("matching", r"(below|closest-below).*", (0, 1, 1)),
        ("void", r"(half|less)-\d", (0, 1, 0)),
        ("crowd", r"(half|less)-\d", (0, 1, 0)),
        ("void", r"more-\d", None),
        ("crowd", r"more-\d", None),
    ],
)
def test_cases_show_what_they_are_named_for(topic: str, name: str, counts: tuple[int, int, int] | None) -> None:
    """Counts of class 1; the name, not the brute force, says what they are."""
    named = [e for e in ENTRIES if e.case.topic == topic and re.fullmatch(name, e.case.name)]
    assert named
    for entry in named:
        assert entry.expected.pq is not None
        found = entry.expected.pq.classes.get(1)
        assert (found and (found.tp, found.fp, found.fn)) == counts, entry.case.path


def test_widths_are_those_that_the_cases_name() -> None:
    sizes = [entry for entry in ENTRIES if entry.case.topic == "widths" and "so " in entry.case.purpose]
    for entry in sizes:
        named = re.findall(r"so (\d+)", entry.case.purpose)[-1]
        assert [bands.distance for bands in entry.expected.bands] == [max(1, int(named))], entry.case.path


@pytest.mark.parametrize("ratio", ["1/50", "1/10", "1/5", "1/3", "1/1000", "1"])
def test_width_of_the_band_is_exact(ratio: str) -> None:
    for height in range(1, 130, 7):
        for width in (height, *range(1, 200, 9)):
            exact = distance((height, width), Fraction(ratio))
            assert boundary_distance(height, width, float(Fraction(ratio))) == exact, (height, width)


def test_pngs_hold_the_ids(tmp_path: Path) -> None:
    case = next(entry.case for entry in ENTRIES if entry.case.path == "ids/largest")
    files = write_files(case, tmp_path)
    side = case.images[0].ground_truth
    assert np.array_equal(decode_id_map((files.gt_folder / "0000.png").read_bytes(), "png"), np.array(side.ids))


def test_results_are_of_these_cases_and_the_page_shows_them() -> None:
    results = read_results()
    assert [found.peer for found in results] == [OURS, *PEERS]
    assert outdated(results) == []
    assert outdated([replace(results[0], cases="0"), *results[1:]]) == [replace(results[0], cases="0")]
    assert page(results) == PAGE.read_text()
    assert all(results[0].verdicts[metric] == {} for metric in ("pq", "boundary_pq"))


def test_results_of_hotcoco_repeat() -> None:
    """The one tool in the table that is installed with the project."""
    published = next(found for found in read_results() if found.peer == "hotcoco")
    found = run_all(hotcoco.RUNNER)
    assert found.versions == published.versions
    assert found.verdicts == published.verdicts


def test_a_runner_is_a_program(tmp_path: Path) -> None:
    written = Results.from_json(run_peer(OURS, tmp_path).read_text())
    assert written.cases == cases_digest()
    assert written.verdicts["pq"] == written.verdicts["boundary_pq"] == {}
    assert len(written.verdicts["bands"]) == len(ENTRIES)


def test_a_tool_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conformance.run.make_environment", lambda peer, folder: Path(sys.executable))
    with pytest.raises(RuntimeError, match="No module named 'vernier'"):
        run_peer("vernier", tmp_path)


def test_readme_counts_and_explains() -> None:
    text = (CASES.parent / "README.md").read_text()
    assert f"{len(ENTRIES)} tiny data sets" in text
    listed = {rule for line in re.findall(r"^\| ([A-Z]\d[^|]*) \|", text, re.M) for rule in line.split(", ")}
    assert {entry.case.rule for entry in ENTRIES} <= listed
    assert {name for entry in ENTRIES for name in entry.variants} == set(VARIANTS)


@pytest.mark.slow
def test_an_environment_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without packages, which need a package index; one whose installation failed is made again."""
    monkeypatch.setattr("conformance.run.REQUIREMENTS", tmp_path)
    requirements = tmp_path / "tool.txt"
    requirements.write_text("./missing\n")
    with pytest.raises(RuntimeError, match="missing"):
        make_environment("tool", tmp_path / "tool")
    requirements.write_text("")
    python = make_environment("tool", tmp_path / "tool")
    made = python.lstat().st_mtime_ns
    assert make_environment("tool", tmp_path / "tool") == python
    assert python.lstat().st_mtime_ns == made

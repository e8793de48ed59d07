"""Chaos: its list of moments, what it does and notices, and real moments of a real stage."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.chaos.attempt import Outcome, attempt
from benchmarks.chaos.board import Board, compile_shim
from benchmarks.chaos.files import Digests, digest_tree, left_behind, wrong_results
from benchmarks.chaos.moments import ROOT, STAGES, TORCHRUN, WHOLE, Kind, Moment, list_moments
from benchmarks.chaos.report import ChaosReport, chaos_page
from benchmarks.chaos.targets import Target
from panoptic.report.explained import Estimate
from panoptic.report.variants import EARLY_EXIT_FILE, EarlyExit, LayerExit
from tests.markdown import unpadded

ATOMIC = """
import os
from pathlib import Path
for name in ("one", "two"):
    part = Path(f"{name}.partial")
    with part.open("w") as file:
        for piece in "abc":
            file.write(piece)
            file.flush()
    part.rename(name)
"""
CARELESS = """
from pathlib import Path
if not Path("one").exists():
    with Path("one").open("w") as file:
        for piece in "abc":
            file.write(piece)
            file.flush()
Path("two").write_text("abc")
"""


def test_what_only_python_can_remove_does_not_count(tmp_path: Path) -> None:
    for name in ("tmp/pymp-1a2b/listener", "tmp/0badejxi", "tmp/.panoptic.partial", "runs/notebook"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(digest_tree(tmp_path)) == ["runs/notebook", "tmp/.panoptic.partial"]


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    library = compile_shim(tmp_path)
    if library is None:
        pytest.skip("there is no C compiler")
    return library


def program(folder: Path, text: str, operations: int) -> Target:
    """A program that leaves `one` and `two`, both with `abc`."""
    before = folder / "before"
    (before / "tmp").mkdir(parents=True)
    (before / "program.py").write_text(text)
    after = folder / "after"
    shutil.copytree(before, after)
    for name in ("one", "two"):
        (after / name).write_text("abc")
    return Target("program", (sys.executable, "program.py"), before, digest_tree(after), operations, 0.1)


def moment(kind: Kind, fraction: float, number: int = 1) -> Moment:
    return Moment(number, kind, "program", by_operation=True, fraction=fraction)


def test_the_list_depends_on_its_seed_only_and_begins_like_a_longer_one() -> None:
    assert list_moments(20, seed=3) == list_moments(200, seed=3)[:20]
    assert list_moments(20, seed=3) != list_moments(20, seed=4)
    assert [one.number for one in list_moments(20, seed=3)] == list(range(1, 21))


@pytest.mark.parametrize("seed", range(3))
def test_the_list_has_every_kind_and_every_program(seed: int) -> None:
    moments = list_moments(200, seed)
    assert {one.kind for one in moments[:10]} == set(Kind)
    for kind in Kind:
        of_kind = Counter(one.target for one in moments if one.kind is kind)
        of_stages = [count for target, count in of_kind.items() if target not in WHOLE]
        assert max(of_stages) - min(of_stages) <= 1, "targets take turns"
        assert all(count == 1 for target, count in of_kind.items() if target in WHOLE)
    assert {one.target for one in moments} == {*STAGES, TORCHRUN, *WHOLE}
    assert not any(one.by_operation for one in list_moments(200, seed, can_count=False))


def test_measured_numbers_are_not_compared_and_all_others_are(tmp_path: Path) -> None:
    timings = tmp_path / "runs" / "predict" / "timings.json"
    timings.parent.mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    timings.write_text('{"images": 6, "seconds": 0.97}')
    first = digest_tree(tmp_path)
    timings.write_text('{"images": 6, "seconds": 1.2e3}')
    assert digest_tree(tmp_path) == first
    timings.write_text('{"images": 5, "seconds": 0.97}')
    (tmp_path / "empty" / "new").touch()
    found = digest_tree(tmp_path)
    assert left_behind(found, first) == ["left behind: empty/new"]
    assert wrong_results(found, first) == ["missing: empty/", "other bytes: runs/predict/timings.json"]


def test_measured_times_of_an_early_exit_are_not_compared_and_its_scores_are(tmp_path: Path) -> None:
    def digests(pq: float, milliseconds: float) -> Digests:
        times = Estimate(milliseconds), Estimate(1 / milliseconds, 0, 1)
        layers = LayerExit("1", {"all": Estimate(pq)}, Estimate(0), *times), LayerExit("all", {}, Estimate(0), *times)
        folder = tmp_path / "runs" / "explain"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / EARLY_EXIT_FILE).write_bytes(EarlyExit(6, 2, "cpu", layers).encode())
        return digest_tree(tmp_path)

    assert digests(0.7, 12.5) == digests(0.7, 3.25)
    assert digests(0.7, 12.5) != digests(0.71, 12.5)


def test_a_program_waits_before_an_operation_that_has_not_happened(tmp_path: Path, shim: Path) -> None:
    target, board = program(tmp_path, ATOMIC, 0), Board(tmp_path / "board")
    # Opened, written three times, renamed.
    board.stop_at(5)
    told = {**os.environ, "LD_PRELOAD": str(shim), "CHAOS_BOARD": str(board.path), "CHAOS_FOLDER": str(target.before)}
    with subprocess.Popen(target.command, cwd=target.before, env=told) as process:
        while not board.waiting:
            assert process.poll() is None
        assert board.what == "rename one"
        assert (target.before / "one.partial").read_text() == "abc"
        assert not (target.before / "one").exists()
        board.release()
        assert process.wait() == 0
    assert board.operations == 10
    assert digest_tree(target.before) == target.after


def test_the_clock_of_a_program_jumps(tmp_path: Path, shim: Path) -> None:
    board = Board(tmp_path / "board")
    board.move_clock(-86400 * 400)
    told = {**os.environ, "LD_PRELOAD": str(shim), "CHAOS_BOARD": str(board.path), "CHAOS_FOLDER": str(tmp_path)}
    code = (
        "import os, time; from pathlib import Path; p = Path('now'); p.touch(); print(p.stat().st_mtime - time.time())"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=told, capture_output=True, check=True).stdout
    assert float(said) == pytest.approx(86400 * 400, abs=60)


@pytest.mark.parametrize("number", range(10))
def test_a_careful_program_passes_wherever_it_is_killed(tmp_path: Path, shim: Path, number: int) -> None:
    target = program(tmp_path, ATOMIC, operations=10)
    outcome = attempt(moment(Kind.KILL, number / 10), target, tmp_path / "work", shim, mounts=False)
    assert outcome.problems == ()
    assert outcome.status == -9
    assert not any((tmp_path / "work").iterdir())


def test_a_file_that_is_written_in_part_is_noticed_and_kept(tmp_path: Path, shim: Path) -> None:
    target = program(tmp_path, CARELESS, operations=6)
    outcome = attempt(moment(Kind.KILL, 0.5), target, tmp_path / "work", shim, mounts=False)
    assert outcome.reached == "before write one"
    assert outcome.problems == ("written in part: one", "other bytes: one")
    assert (tmp_path / "work" / "1.0" / "kept" / "tree" / "one").read_text() == "ab"


def test_a_traceback_is_noticed(tmp_path: Path, shim: Path) -> None:
    target = program(tmp_path, ATOMIC, operations=10)
    outcome = attempt(moment(Kind.INTERRUPT, 0.2), target, tmp_path / "work", shim, mounts=False)
    assert outcome.problems == ("a traceback instead of a message: KeyboardInterrupt",)


@pytest.mark.parametrize(
    "said", ["Could not import runpy module", "Fatal Python error: init_import_site: Failed to import the site module"]
)
def test_ctrl_c_before_python_has_looked_for_a_program_is_pythons_own(tmp_path: Path, shim: Path, said: str) -> None:
    guarded = "\n".join(f"    {line}" for line in ATOMIC.splitlines())
    words = f"{said}\nTraceback (most recent call last):\nKeyboardInterrupt"
    code = f"import sys\ntry:\n{guarded}\nexcept KeyboardInterrupt:\n    sys.exit({words!r})\n"
    outcome = attempt(
        moment(Kind.INTERRUPT, 0.2), program(tmp_path, code, operations=10), tmp_path / "work", shim, mounts=False
    )
    assert outcome.status == 1
    assert outcome.problems == ()


def test_a_program_that_ends_before_the_moment_is_tried_earlier(tmp_path: Path, shim: Path) -> None:
    target = program(tmp_path, ATOMIC, operations=20)
    outcome = attempt(moment(Kind.KILL, 0.7), target, tmp_path / "work", shim, mounts=False)
    assert outcome.reached == "before write two.partial"
    assert outcome.problems == ()


def test_a_real_stage_survives_several_kinds_of_moments(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.chaos", "--moments", "80", "--stage", "download"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *lines, last = [line for line in done.stdout.splitlines() if not line.startswith("left out")]
    assert last.startswith(f"{len(lines)} of {len(lines)} moments passed")
    assert len(lines) >= 5 or "left out" in done.stdout
    assert not any(tmp_path.iterdir())


def test_the_page_counts_by_kind_and_program_and_names_what_failed() -> None:
    outcomes = (
        Outcome(Moment(1, Kind.KILL, "train", True, 0.5), "before rename x", -9, 0.1, 3.0, ()),
        Outcome(Moment(2, Kind.KILL, "plot", False, 0.5), "after 1.00 s", None, 60.0, 63.0, ("hangs",)),
    )
    report = ChaosReport("some machine", 7, 90.0, {"train": 4.0}, {"disk full": 3}, ("timings.json",), outcomes)
    page = unpadded(chaos_page(report))
    assert "**1 of 2 moments passed.**" in page
    assert "python -m benchmarks.chaos --moments 5 --seed 7" in page
    assert "3 of disk full" in page
    assert "| kill -9 | 2 | 1 | 60.0 |" in page
    assert "| train | 1 | 1 | 0.1 |" in page
    assert "- 2: kill -9, plot, after 1.00 s: status None after 60.0 s, hangs (63.0 s)" in page

"""Kept inputs of the fuzzers are handled as they should be, and the fuzzers find what is planted for them."""

import os
import signal
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from tests.fuzz import engine, supervision
from tests.fuzz.command import TARGETS
from tests.fuzz.engine import CORPUS, Finding, Fuzzer, corpus
from tests.fuzz.formats import JSON, PLAIN
from tests.fuzz.supervision import Task, fuzz
from tests.fuzz.target import Target

CORES = {
    "png_filters": "panoptic.io._png",
    "overlaps": "panoptic.evaluation._overlaps",
    "ms_deform_attn": "model.ops._ms_deform_attn",
}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_corpus_is_taken_or_refused_properly(target: Target) -> None:
    if target.name in CORES:
        pytest.importorskip(CORES[target.name], reason="it was not compiled when the project was installed")
    assert _found(target, executions=len(corpus(target))) == []


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_sound_inputs_are_taken(target: Target, tmp_path: Path) -> None:
    if target.name in CORES:
        pytest.importorskip(CORES[target.name], reason="it was not compiled when the project was installed")
    for number, data in enumerate(target.seeds().values()):
        (tmp_path / str(number)).mkdir()
        target.run(data, tmp_path / str(number))


@pytest.mark.parametrize("target", [each for each in TARGETS if each.format is not PLAIN], ids=lambda each: each.name)
def test_a_tree_is_built_to_the_file_that_it_was_parsed_from(target: Target) -> None:
    for data in target.seeds().values():
        tree = target.format.parse(data)
        assert target.format.parse(target.format.build(tree)) == tree


def test_every_folder_of_the_corpus_belongs_to_a_target_and_all_are_small() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} <= {target.name for target in TARGETS}
    assert sum(path.stat().st_size for path in files) < 300_000


def test_equal_seeds_give_equal_inputs(tmp_path: Path) -> None:
    runs = [_inputs(seed, tmp_path) for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


def _inputs(seed: int, folder: Path) -> list[bytes]:
    fuzzer = Fuzzer(_planted(lambda data: None), seed, folder)
    return list(islice(fuzzer.inputs(), 300))


def _planted(run: Callable[[bytes], object]) -> Target:
    def run_in(data: bytes, _folder: Path) -> None:
        run(data)

    return Target("planted", run_in, lambda: {"sound": b'{"id": [1, 2]}'}, (ValueError,), JSON)


def _found(target: Target, executions: int) -> list[str]:
    """The causes of findings, some of which a child process reports."""
    read, write = os.pipe()
    fuzz(Task(target, 0, 60.0, executions, lambda finding: _send(write, finding), lambda pool: None))
    os.close(write)
    with os.fdopen(read) as sent:
        return sent.read().splitlines()


def _send(write: int, finding: Finding) -> None:
    os.write(write, f"{finding.cause}\n".encode())


def _missing_key(data: bytes) -> None:
    if b"NaN" in data:
        raise KeyError(data)


def _nameless(data: bytes) -> None:
    if not data.startswith(b"{"):
        raise ValueError("damaged")


def _crash(data: bytes) -> None:
    if b"null" in data:
        os.kill(os.getpid(), signal.SIGSEGV)


def _hang(data: bytes) -> None:
    if b"null" in data:
        time.sleep(1000)


def _eat(data: bytes) -> int:
    return len(b"x" * 100_000_000) if b"null" in data else 0


def _compute(data: bytes) -> int:
    return sum(range(5_000_000)) if b"null" in data else 0


@pytest.mark.parametrize(
    ("planted", "limit", "cause"),
    [
        (_missing_key, {}, "KeyError in tests/fuzz/test_fuzz.py"),
        (_nameless, {}, "ValueError in tests/fuzz/test_fuzz.py"),
        (_crash, {}, "crash, signal 11"),
        (_hang, {"HANG_SECONDS": 0.5}, "hangs"),
        (_eat, {"MEMORY": 50_000}, "memory"),
        (_compute, {"CPU_SECONDS": 0.02}, "time"),
    ],
)
def test_a_planted_bug_is_found(
    planted: Callable[[bytes], object], limit: dict[str, float], cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"CRASHES": 1, **limit}.items():
        monkeypatch.setattr(engine if hasattr(engine, name) else supervision, name, value)
    found = _found(_planted(planted), executions=300)
    assert found
    assert all(line.startswith(cause) for line in found)


def _refuse(data: bytes) -> None:
    raise ValueError(f"input: {len(data)} bytes are not enough; add some")


def test_proper_refusals_are_no_finding() -> None:
    assert _found(_planted(_refuse), executions=300) == []


def test_inputs_that_reach_new_lines_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CORPUS", tmp_path / "empty")
    fuzzer = Fuzzer(next(target for target in TARGETS if target.name == "panoptic_json"), 0, tmp_path)
    sound, lines = len(fuzzer.pool), []
    for data in islice(fuzzer.inputs(), 100):
        fuzzer.run(data)
        lines.append(fuzzer.lines)
    assert len(fuzzer.pool) > sound
    assert lines[-1] > lines[sound - 1] > 0

"""States of unfinished runs are complete or absent, and never mistaken for those of another run."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from model.training.curves import Curves
from model.training.ema import WeightAverage
from model.training.optimizer import build_optimizers
from model.training.settings import TrainSettings
from model.training.state import RunState
from panoptic.runtime.fingerprint import code_digests, file_signature, fingerprint
from tests.model.training.synthetic import network


def make_state(folder: Path) -> RunState:
    model = network()
    return RunState(model, build_optimizers(model, TrainSettings()), WeightAverage(model, 0.9), Curves(folder))


@contextmanager
def full_disk(free: int) -> Iterator[None]:
    """Make the kernel refuse writes beyond `free` bytes of a file, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_restoring_drops_later_rows_of_the_curves(tmp_path: Path) -> None:
    state = make_state(tmp_path)
    state.step = 7
    state.curves.add("loss", 7, {"total": 1.5})
    state.save(tmp_path / "state.pt")
    state.curves.add("loss", 8, {"total": 9.5})
    restored = make_state(tmp_path)
    with torch.no_grad():
        next(restored.network.parameters()).zero_()
    restored.restore((tmp_path / "state.pt").read_bytes(), tmp_path / "state.pt")
    assert restored.step == 7
    assert (tmp_path / "loss.csv").read_text() == "step,total\n7,1.5\n"
    assert torch.equal(next(restored.network.parameters()), next(state.network.parameters()))


def test_a_full_disk_keeps_the_last_state(tmp_path: Path) -> None:
    state = make_state(tmp_path)
    state.save(tmp_path / "state.pt")
    before = (tmp_path / "state.pt").read_bytes()
    state.step = 1
    with full_disk(free=len(before) // 2), pytest.raises(OSError, match=r"state\.pt"):
        state.save(tmp_path / "state.pt")
    assert (tmp_path / "state.pt").read_bytes() == before
    assert list(tmp_path.iterdir()) == [tmp_path / "state.pt"]


def test_a_damaged_state_is_rejected_by_name(tmp_path: Path) -> None:
    state = make_state(tmp_path)
    state.save(tmp_path / "state.pt")
    (tmp_path / "state.pt").write_bytes((tmp_path / "state.pt").read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"state\.pt is not a training state .*delete it"):
        state.restore((tmp_path / "state.pt").read_bytes(), tmp_path / "state.pt")


def test_fingerprints_tell_settings_apart() -> None:
    first = fingerprint({"rate": 1e-3, "code": {"a.py": "1"}})
    assert first == fingerprint({"code": {"a.py": "1"}, "rate": 1e-3})
    assert first != fingerprint({"rate": 2e-3, "code": {"a.py": "1"}})
    assert first != fingerprint({"rate": 1e-3, "code": {"a.py": "2"}})


def test_code_and_data_are_part_of_an_identity(tmp_path: Path) -> None:
    assert "model/training/state.py" in code_digests()
    assert not any("site-packages" in name for name in code_digests())
    (tmp_path / "1.png").write_bytes(b"1")
    before = file_signature(tmp_path)
    (tmp_path / "1.png").write_bytes(b"12")
    assert file_signature(tmp_path) != before

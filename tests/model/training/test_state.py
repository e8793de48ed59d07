"""States of unfinished runs are complete or absent, and never mistaken for those of another run."""

import io
import math
import random
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from model.training.curves import Curves
from model.training.ema import WeightAverage
from model.training.optimizer import build_optimizers
from model.training.settings import TrainSettings
from model.training.state import RunState
from model.weights.checks import sealed
from model.weights.loading.files import WeightsError, read_weights
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
    restored.restore((tmp_path / "state.pt").read_bytes(), tmp_path / "state.pt", steps=9)
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
        state.restore((tmp_path / "state.pt").read_bytes(), tmp_path / "state.pt", steps=9)


def trained_state(folder: Path) -> RunState:
    """A state after three steps with zero gradients."""
    state = make_state(folder)
    for parameter in state.network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for step in range(3):
        for optimizer in state.optimizers:
            optimizer.step()
        state.curves.add("loss", step + 1, {"total": 1.5})
    state.step, state.recent = 3, [torch.ones(4)]
    return state


def test_any_flipped_bit_is_found_and_a_sound_state_is_restored(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    trained_state(tmp_path).save(path)
    content = path.read_bytes()
    places, restored = random.Random(0).sample(range(len(content)), 30), make_state(tmp_path)
    for position in (*places, *range(len(content) - 160, len(content), 3)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        with pytest.raises(ValueError, match=r"state\.pt is not a training state .*SHA-256.*delete it"):
            restored.restore(bytes(changed), path, steps=9)
        assert restored.step == 0
    restored.restore(content, path, steps=3)
    assert restored.step == 3
    with pytest.raises(ValueError, match="its step is 3; expected 0 to 2"):
        make_state(tmp_path).restore(content, path, steps=2)


def test_a_damaged_state_is_no_initial_weights(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    trained_state(tmp_path).save(path)
    assert read_weights(path).state.keys() == make_state(tmp_path).network.state_dict().keys()
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    with pytest.raises(WeightsError, match=r"state\.pt: is damaged \(its SHA-256 is"):
        read_weights(path)


Saved = dict[str, Any]


def first(tensors: dict[str, Tensor]) -> str:
    return next(name for name, tensor in tensors.items() if tensor.dim() > 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda saved: saved.pop("average"), "it should hold step, network"),
        (lambda saved: saved.update(extra=1), "it should hold step, network"),
        (lambda saved: saved.update(step=10**6), "its step is 1000000; expected 0 to 9"),
        (lambda saved: saved.update(step=-1), "its step is -1"),
        (lambda saved: saved.update(step=2.0), "its step is 2.0"),
        (lambda saved: saved.update(step=True), "its step is True"),
        (lambda saved: saved.update(network=[1]), "network: it is a list, expected names and tensors"),
        (lambda saved: saved.update(network=None), "network: it is missing"),
        (lambda saved: saved.update(average=None), "average: it is missing"),
        (lambda saved: saved["network"].popitem(), "network: 1 entries differ: .* is missing"),
        (lambda saved: saved["network"].update(more=torch.zeros(1)), "more is unknown"),
        (lambda saved: saved["network"].update({first(saved["network"]): "x"}), "is a str, expected a tensor"),
        (lambda saved: saved["network"].update({first(saved["network"]): torch.zeros(1)}), r"has shape \(1,\)"),
        (lambda saved: saved["network"][first(saved["network"])].fill_(math.nan), "NaN or infinite"),
        (lambda saved: saved["average"][first(saved["average"])].fill_(math.inf), "average: .* NaN or infinite"),
        (
            lambda saved: saved["network"].update(
                {first(saved["network"]): saved["network"][first(saved["network"])].half()}
            ),
            "has type float16, expected float32",
        ),
        (lambda saved: saved["optimizers"].clear(), "states of 1 optimizers"),
        (lambda saved: saved.update(optimizers={}), "states of 1 optimizers"),
        (lambda saved: saved["optimizers"][0].pop("state"), "AdamW: it should hold state and param_groups"),
        (lambda saved: saved["optimizers"][0]["param_groups"].pop(), "AdamW: its groups of parameters"),
        (lambda saved: saved["optimizers"][0]["param_groups"][0].update(eps=1.0), "AdamW: its groups of parameters"),
        (lambda saved: saved["optimizers"][0]["param_groups"][0].update(params=3), "AdamW: its groups of parameters"),
        (lambda saved: saved["optimizers"][0]["state"].pop(0), "AdamW: it should hold tensors for each of the"),
        (lambda saved: saved["optimizers"][0]["state"].update({0: 3}), "AdamW: parameter 0 has a int"),
        (lambda saved: saved["optimizers"][0]["state"][0].pop("exp_avg"), "parameter 0: .*exp_avg is missing"),
        (lambda saved: saved["optimizers"][0]["state"][0]["exp_avg"].resize_(1), "parameter 0: .*exp_avg has shape"),
        (lambda saved: saved["optimizers"][0]["state"][1]["step"].fill_(math.nan), "parameter 1: .*step has NaN"),
        (lambda saved: saved.update(recent=3), "recent losses"),
        (lambda saved: saved.update(recent=["x"]), "recent losses"),
        (lambda saved: saved.update(recent=[torch.ones(4), torch.ones(3)]), "recent losses"),
        (lambda saved: saved.update(recent=[torch.ones(2, 2)]), "recent losses"),
        (lambda saved: saved.update(recent=[torch.full((4,), math.nan)]), "recent losses"),
        (lambda saved: saved.update(recent=[torch.ones(4)] * 4), "recent losses"),
        (lambda saved: saved.update(curves=[]), "its curves are not texts"),
        (lambda saved: saved["curves"].update(loss=3), "its curves are not texts"),
        (lambda saved: saved["curves"].update({"../../loss": "step,total\n"}), "its curve '../../loss'"),
        (lambda saved: saved["curves"].update(loss=""), "its curve 'loss'"),
        (lambda saved: saved["curves"].update(loss="step,total\n2,1\n1,1\n"), "its curve 'loss'"),
        (lambda saved: saved["curves"].update(loss="step,total\n4,1\n"), "its curve 'loss'"),
        (lambda saved: saved["curves"].update(loss="step,total\n1,x\n"), "its curve 'loss'"),
    ],
)
def test_a_state_of_another_shape_is_refused_and_changes_nothing(
    tmp_path: Path, change: Callable[[Saved], object], message: str
) -> None:
    path = tmp_path / "state.pt"
    trained_state(tmp_path).save(path)
    saved = torch.load(path, weights_only=True)
    change(saved)
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    restored = make_state(tmp_path)
    for content in (buffer.getvalue(), sealed(buffer.getvalue())):
        with pytest.raises(ValueError, match=rf"state\.pt is not a state of this run: .*{message}.*delete it"):
            restored.restore(content, path, steps=9)
    assert restored.step == 0


def test_what_is_no_state_at_all_is_refused(tmp_path: Path) -> None:
    for document in (3, [1], {}, {"step": 1}, {1: 2, "a": 3}, torch.zeros(2), "x"):
        buffer = io.BytesIO()
        torch.save(document, buffer)
        with pytest.raises(ValueError, match=r"state\.pt is not a state of this run: it should hold step"):
            make_state(tmp_path).restore(buffer.getvalue(), tmp_path / "state.pt", steps=9)
    for content in (b"", b"PK\x03\x04", b"x" * 500, b"\x80\x02."):
        with pytest.raises(ValueError, match=r"state\.pt is not a training state"):
            make_state(tmp_path).restore(content, tmp_path / "state.pt", steps=9)


def test_a_state_of_an_earlier_version_is_restored_with_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "state.pt"
    trained_state(tmp_path).save(path)
    buffer = io.BytesIO()
    torch.save(torch.load(path, weights_only=True), buffer)
    restored = make_state(tmp_path)
    restored.restore(buffer.getvalue(), path, steps=9)
    assert restored.step == 3
    assert "state.pt has no digest, as an earlier version wrote it" in capsys.readouterr().out


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

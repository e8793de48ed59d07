"""The arrays that the parity command accepts, and the errors that make it fail."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.official_parity.__main__ import case_of, main, read_recording
from benchmarks.official_parity.checks import compare, compare_sampled, compare_stats
from benchmarks.official_parity.forward import CheckpointEntry, read_entries, select_recorded
from benchmarks.official_parity.rules import fill
from panoptic.io.errors import DatasetError

OFFICIAL = Path(__file__).parents[1] / "fixtures" / "official"
MODELS = ("r50", "r101", "pvtb5", "swinl")


@pytest.mark.parametrize("model", MODELS)
def test_fill_rule_matches_the_recorded_checksums(model: str) -> None:
    keys = OFFICIAL / f"keys_{model}.json"
    shapes = {entry.name: entry.shape for entry in read_entries(keys)}
    for key, checksum in json.loads(keys.read_text())["fill_checksum"].items():
        assert fill(key, shapes[key]).astype(float).sum() == pytest.approx(checksum, abs=1e-9), key


def test_full_and_subsampled_arrays_are_distinguished() -> None:
    full = torch.rand(20, 850)
    for step in (1, 3, 7):
        assert compare_sampled("masks", full, full[:, ::step].numpy(), ((1,), (1, 3, 7)), 0).passed
    shifted = full[:, 1::7].numpy()
    assert not compare_sampled("masks", full, shifted, ((1,), (1, 3, 7)), 3e-4).passed
    other = compare_sampled("masks", full, full[:, ::5].numpy(), ((1,), (1, 3, 7)), 3e-4)
    assert not other.passed
    assert other.remark == "recorded (20, 170), every 1 or 3 or 7 of (20, 850) expected"


def test_an_error_beyond_the_tolerance_and_a_nan_fail() -> None:
    values = np.zeros(3)
    assert compare("x", values, values + 2e-4, 3e-4).passed
    assert not compare("x", values, values + 4e-4, 3e-4).passed
    assert not compare("x", values, np.array([0, np.nan, 0]), 3e-4).passed
    assert not compare("x", values, np.zeros(4), 3e-4).passed


def test_a_recording_without_values_fails() -> None:
    assert compare("x", np.zeros((0, 5)), np.zeros((0, 5)), 3e-4).remark == "recorded (0, 5), which holds no values"
    assert not compare("x", np.zeros((0, 5)), np.zeros((0, 5)), 3e-4).passed


def test_the_norm_has_the_tolerance_of_one_value() -> None:
    values = torch.randn(10_000, dtype=torch.float64)
    x = values + 1e-4
    recorded = np.array([part.item() for part in (x.mean(), x.std(), x.abs().mean(), x.min(), x.max(), x.norm())])
    assert compare_stats("x", [values], recorded, 1.1e-4).passed
    recorded[-1] += 0.1
    assert not compare_stats("x", [values], recorded, 1.1e-4).passed


def logits(probabilities: list[float]) -> Tensor:
    """One image whose only class has these probabilities, then 200 improbable queries."""
    return torch.tensor([*probabilities, *[0.1] * 200]).logit()[None, :, None]


@pytest.mark.parametrize(("runner_up", "taken"), [(0.499999, True), (0.49, False)])
def test_a_near_tie_at_the_cut_is_decided_by_the_recording(runner_up: float, taken: bool) -> None:
    recorded = (*((query, 0) for query in range(99)), (100, 0))
    selection = select_recorded((recorded,))(logits([0.9] * 99 + [0.5, runner_up]), torch.empty(0))
    assert (100 in selection.indices[0].tolist()) is taken
    assert (99 in selection.indices[0].tolist()) is not taken
    assert selection.scores[0].min().item() == pytest.approx(runner_up if taken else 0.5)


def test_recorded_pairs_without_a_query_or_class_are_ignored() -> None:
    recorded = (*((query, 0) for query in range(99)), (500, 0), (99, 3), (-1, 0))
    selection = select_recorded((recorded,))(logits([0.9] * 99 + [0.5]), torch.empty(0))
    assert sorted(selection.indices[0].tolist()) == list(range(100))


def test_keys_of_another_model_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    keys, recorded = OFFICIAL / "keys_swinl.json", OFFICIAL / "fwd_r50_a.npz"
    with pytest.raises(SystemExit) as stopped:
        main(["--model", "r50", "--keys", str(keys), "--recorded", str(recorded)])
    assert stopped.value.code == 2
    assert f"{keys}: is a checkpoint of swin_l, not of r50; use --model swin_l" in capsys.readouterr().err


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "empty.npz")
    whole = (OFFICIAL / "fwd_pvtb5_b.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "overwritten.npz").write_bytes(whole[:5000] + bytes(100) + whole[5100:])
    (tmp_path / "keys.json").write_text('{"keys": [["a", [2], "float32"], ["b", 3]]}')
    with pytest.raises(DatasetError, match=r"text\.npz: not an \.npz recording"):
        read_recording(tmp_path / "text.npz")
    for name in ("cut", "overwritten"):
        with pytest.raises(DatasetError, match=rf"{name}\.npz: not an \.npz recording, or damaged"):
            read_recording(tmp_path / f"{name}.npz")
    with pytest.raises(DatasetError, match=r"empty\.npz: holds no arrays"):
        read_recording(tmp_path / "empty.npz")
    with pytest.raises(DatasetError, match=r"none\.npz: no such file"):
        read_recording(tmp_path / "none.npz")
    with pytest.raises(DatasetError, match=r"found \['b', 3\]"):
        read_entries(tmp_path / "keys.json")
    with pytest.raises(DatasetError, match="is not a case; give --case a or b"):
        case_of(Path("fwd_r50.npz"), None)
    assert case_of(Path("fwd_r50_b.npz"), None) == "b"


def test_entries_are_read_in_their_order() -> None:
    assert read_entries(OFFICIAL / "keys_r50.json")[5] == CheckpointEntry(
        "backbone.bn1.num_batches_tracked", (), "int64"
    )

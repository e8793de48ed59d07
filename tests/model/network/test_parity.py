"""Every recorded output of the published networks, reproduced from their weight rule."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.official_parity import __main__ as official_parity
from benchmarks.official_parity.__main__ import check_all, check_array, main, read_recording, run_recorded
from benchmarks.official_parity.checks import ATOL
from benchmarks.official_parity.forward import SCORE_THRESHOLDS, Forward, run
from benchmarks.official_parity.images import RecordedImage, equal_pixels, pairs_of, undecided_pixels
from benchmarks.official_parity.rules import CASE_A
from model.inference.merging import MergingSettings
from model.inference.post_processing import predict_panoptic
from model.network.panoptic_segformer import PanopticSegFormer
from model.ops.backends import using
from tests.model.conftest import OFFICIAL

R50 = OFFICIAL / "fwd_r50_a.npz"


@pytest.fixture(scope="module")
def forward(official_network: PanopticSegFormer) -> Forward:
    recorded = read_recording(R50)
    return run(official_network, CASE_A, (pairs_of(recorded, 0), pairs_of(recorded, 1)), SCORE_THRESHOLDS["r50"])


def test_r50_with_a_padded_image(forward: Forward) -> None:
    recorded = read_recording(R50)
    assert not [check for check in check_all(recorded, forward) if not check.passed]
    assert equal_pixels(recorded, forward) == {0: 1.0, 1: 1.0}


def test_r50_with_two_threads_and_the_reference_operator(official_network: PanopticSegFormer) -> None:
    recorded = read_recording(R50)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with using("reference"):
            pairs = (pairs_of(recorded, 0), pairs_of(recorded, 1))
            forward = run(official_network, CASE_A, pairs, SCORE_THRESHOLDS["r50"])
    finally:
        torch.set_num_threads(before)
    assert not [check for check in check_all(recorded, forward) if not check.passed]
    assert equal_pixels(recorded, forward) == {0: 1.0, 1: 1.0}


def test_an_area_may_differ_by_the_pixels_near_the_threshold_and_no_more(forward: Forward) -> None:
    recorded = read_recording(R50)
    near = undecided_pixels(RecordedImage(0, recorded, forward))
    settings = [MergingSettings(mask_threshold=0.5 + shift) for shift in (-ATOL, ATOL)]
    low, high = (predict_panoptic(forward.output, forward.sizes, one, crop_padding=False)[0] for one in settings)
    assert near.sum() == low.instances.masks.sum() - high.instances.masks.sum() > 0
    name = "img0_result_seg_area"
    (area,) = check_array(name, recorded | {name: recorded[name] + near.max() + 2}, forward)
    assert not area.passed
    assert area.error >= 2


@pytest.mark.parametrize(("model", "file"), [("pvtv2_b5", "pvtb5"), ("swin_l", "swinl")])
def test_larger_backbones(model: str, file: str) -> None:
    recorded = read_recording(OFFICIAL / f"fwd_{file}_b.npz")
    forward = run_recorded(model, OFFICIAL / f"keys_{file}.json", recorded, "b")
    assert not [check for check in check_all(recorded, forward) if not check.passed]
    assert equal_pixels(recorded, forward) == {0: 1.0}


def test_every_array_is_compared(forward: Forward) -> None:
    recorded = read_recording(R50)
    changed = {name: array + 3 for name, array in recorded.items()}
    blind = {
        name
        for name in recorded
        if all(check.passed for check in check_array(name, recorded | {name: changed[name]}, forward))
    }
    assert blind == {"img0_top_min_gap", "img1_top_min_gap"}


def test_the_command_fails_for_an_unknown_and_for_a_wrong_array(
    forward: Forward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(official_parity, "run_recorded", lambda *_: forward)
    recorded = read_recording(R50)
    changed = np.array(recorded["cls_scores"])
    changed[5, 1, 299, 79] += 1e-3
    arrays: dict[str, Any] = {**recorded, "cls_scores": changed, "surprise": np.zeros(2)}
    np.savez(tmp_path / "changed_a.npz", **arrays)
    with pytest.raises(SystemExit) as stopped:
        main(["--model", "r50", "--keys", "unused.json", "--recorded", str(tmp_path / "changed_a.npz")])
    assert stopped.value.code == 1
    output = capsys.readouterr().out
    assert "2 of 80 checks failed: cls_scores, surprise" in output
    assert "img1: 100.000% of the panoptic pixels are equal" in output


CHANGES: dict[str, dict[str, Any]] = {
    "img0_result_boxes": {"img0_result_labels": None},
    "img0_top_query_index": {"img0_top_labels": None},
    "img0_result_labels": {"img0_result_labels": np.int64(3)},
    "img1_top_boxes": {"img1_top_boxes": np.zeros((100, 4))},
    "img1_top_min_gap": {"img1_top_min_gap": np.zeros(3)},
    "hs_stats": {"hs_stats": np.float64(3)},
    "img0_things_mask_final": {"img0_things_mask_final": np.zeros((0, 850), np.float32)},
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_array_that_is_misshapen_or_lacks_its_partner_fails(name: str, forward: Forward) -> None:
    recorded = {**read_recording(R50), **CHANGES[name]}
    recorded = {key: np.asarray(array) for key, array in recorded.items() if array is not None}
    checks = check_array(name, recorded, forward)
    assert checks
    assert not any(check.passed for check in checks)
    assert checks[0].remark


def test_results_that_are_not_numbers_fail(forward: Forward) -> None:
    recorded = read_recording(R50)
    changed = {**recorded, "img0_result_boxes": recorded["img0_result_boxes"] * np.nan}
    assert not any(check.passed for check in check_array("img0_result_boxes", changed, forward))

"""Videos: what is written, from whole, cut off and damaged files, and that nothing is left by halves."""

import json
import resource
import struct
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from model.inference.bit_masks import BitMasks
from model.inference.merging import PredictedSegment
from model.inference.post_processing import Instances, PanopticPrediction
from model.inference.predictor import NetworkInput
from model.inference.settings import InferenceSettings
from panoptic.format.categories import Category, CategoryTable
from panoptic.format.id_map import decode_id_map
from panoptic_segformer.model import Model
from panoptic_segformer.video import CODECS, predict_video
from panoptic_segformer.video_source import VideoSource

CATEGORIES = CategoryTable((Category(3, "ball", True, (200, 0, 0)),), (Category(8, "sky", False, (0, 0, 200)),))
RATE = 12.5


class BrightIsBall:
    """A runtime that finds a ball where an image is bright, and sky elsewhere."""

    settings = InferenceSettings(batch_size=2)

    def prepare(self, image: npt.NDArray[np.uint8], name: str) -> NetworkInput:
        return NetworkInput(image, (image.shape[0], image.shape[1]), name)

    def predict(self, inputs: Sequence[NetworkInput]) -> tuple[PanopticPrediction, ...]:
        return tuple(self._predict(one.pixels) for one in inputs)

    def _predict(self, pixels: npt.NDArray[np.uint8]) -> PanopticPrediction:
        ids = np.where(pixels.mean(axis=2) > 128, 2, 1).astype(np.int32)
        labels = [(1, 1)] if ids.max() == 1 else [(1, 1), (2, 0)]
        segments = tuple(
            PredictedSegment(key, label, 0.5, int((ids == key).sum()), label == 0, key - 1) for key, label in labels
        )
        bits = BitMasks(np.zeros((0, 1), np.uint64), (1, 1))
        none = Instances(bits, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))
        return PanopticPrediction(ids, segments, none, torch.eye(2))


@pytest.fixture
def model() -> Model:
    return Model(BrightIsBall(), CATEGORIES, BrightIsBall.settings, "weights")


def write_video(path: Path, frames: int = 10, size: tuple[int, int] = (48, 64), rate: float = RATE) -> Path:
    """A bright square that moves to the right by 4 pixels a frame, on black."""
    height, width = size
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (width, height))
    for number in range(frames):
        image = np.zeros((height, width, 3), np.uint8)
        image[16:32, 4 * number : 4 * number + 16] = (200, 220, 240)
        writer.write(image)
    writer.release()
    return path


def read_video(path: Path) -> tuple[list[npt.NDArray[np.uint8]], float]:
    capture, frames = cv2.VideoCapture(str(path)), list[npt.NDArray[np.uint8]]()
    while True:
        found, image = capture.read()
        if not found:
            return frames, capture.get(cv2.CAP_PROP_FPS)
        frames.append(np.asarray(image, np.uint8))


@pytest.mark.parametrize("suffix", sorted(CODECS))
def test_overlay_json_and_maps_of_every_frame(model: Model, tmp_path: Path, suffix: str) -> None:
    source, out = write_video(tmp_path / "in.avi"), tmp_path / "results" / f"video{suffix}"
    report = predict_video(model, source, out, frames=True, progress=False)
    assert (report.frames, report.tracks, report.issues) == (10, 2, ())
    drawn, rate = read_video(out)
    assert len(drawn) == 10
    assert rate == pytest.approx(RATE)
    assert drawn[0].shape == (48, 64, 3)
    document = json.loads(out.with_suffix(".json").read_text())
    assert (document["width"], document["height"], document["frame_rate"]) == (64, 48, RATE)
    assert [entry["frame"] for entry in document["frames"]] == list(range(10))
    assert [entry["seconds"] for entry in document["frames"]] == pytest.approx([i / RATE for i in range(10)], abs=1e-3)
    for number, entry in enumerate(document["frames"]):
        assert [(one["track_id"], one["category"]) for one in entry["segments"]] == [(1, "sky"), (2, "ball")]
        ids = decode_id_map((out.with_suffix("") / f"{number:06d}.png").read_bytes(), "")
        assert [np.count_nonzero(ids == one["track_id"]) for one in entry["segments"]] == [
            one["area"] for one in entry["segments"]
        ]
        left, top, width, height = entry["segments"][1]["bbox"]
        assert (left, top, width, height) == pytest.approx((4 * number, 16, 16, 16), abs=2)
    assert sorted(path.name for path in out.parent.iterdir()) == sorted(["video", "video.json", f"video{suffix}"])


def test_every_nth_frame_up_to_a_limit_plays_at_the_same_speed(model: Model, tmp_path: Path) -> None:
    source, out = write_video(tmp_path / "in.avi"), tmp_path / "out.mp4"
    report = predict_video(model, source, out, every=3, limit=2, progress=False)
    assert (report.frames, report.issues) == (2, ())
    assert [entry["frame"] for entry in json.loads(out.with_suffix(".json").read_text())["frames"]] == [0, 3]
    assert read_video(out)[1] == pytest.approx(RATE / 3, rel=0.01)
    assert not out.with_suffix("").exists()


@pytest.mark.parametrize("rate", [71.4286, 119.943, 239.763, 999.123])
def test_rates_of_slow_motion_are_written_as_nearly_as_the_codec_can(model: Model, tmp_path: Path, rate: float) -> None:
    predict_video(model, write_video(tmp_path / "in.avi", 3, rate=rate), tmp_path / "out.mp4", progress=False)
    assert read_video(tmp_path / "out.mp4")[1] == pytest.approx(rate, rel=1e-4)
    assert json.loads((tmp_path / "out.json").read_text())["frame_rate"] == pytest.approx(rate, rel=1e-5)
    report = predict_video(model, tmp_path / "in.avi", tmp_path / "slow.mp4", every=2_000_000, progress=False)
    assert report.frames == 1


def test_a_track_has_its_color_in_every_frame(model: Model, tmp_path: Path) -> None:
    source, out = write_video(tmp_path / "in.avi", size=(96, 128)), tmp_path / "out.avi"
    predict_video(model, source, out, progress=False)
    frames, _ = read_video(out)
    colors = [frame[27:30, 4 * number + 5 : 4 * number + 12].mean(axis=(0, 1)) for number, frame in enumerate(frames)]
    assert np.ptp(np.array(colors), axis=0).max() < 60


def test_odd_sizes_and_varying_rates(model: Model, tmp_path: Path) -> None:
    """Codecs want even sides, and no overlay can vary its rate."""
    first, *others = (Image.new("RGB", (63, 47), (number, 0, 0)) for number in range(4))
    first.save(tmp_path / "in.gif", save_all=True, append_images=others, duration=[100, 100, 600, 100])
    report = predict_video(model, tmp_path / "in.gif", tmp_path / "out.mp4", frames=True, progress=False)
    assert report.frames == 4
    assert len(report.issues) == 1
    assert "frame rate varies" in report.issues[0]
    document = json.loads((tmp_path / "out.json").read_text())
    assert [entry["seconds"] for entry in document["frames"]] == [0, 0.1, 0.2, 0.8]
    assert (document["width"], document["height"]) == (63, 47)
    assert decode_id_map((tmp_path / "out" / "000000.png").read_bytes(), "").shape == (47, 63)
    assert read_video(tmp_path / "out.mp4")[0][0].shape == (48, 64, 3)


def test_a_video_of_a_phone_held_upright_is_upright(tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), RATE, (64, 48))
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, :16] = 255
    writer.write(image)
    writer.release()
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40
    content[start : start + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30)
    path.write_bytes(content)
    (frame,) = VideoSource(path).frames()
    assert frame.pixels.shape == (64, 48, 3)
    bright = frame.pixels.mean(axis=(1, 2)) > 128
    np.testing.assert_array_equal(bright, np.arange(64) < 16)


def test_a_video_that_is_cut_off_gives_what_could_be_read_and_says_so(model: Model, tmp_path: Path) -> None:
    content = write_video(tmp_path / "in.avi", 30).read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(content[: len(content) * 6 // 10])
    report = predict_video(model, cut, tmp_path / "out.mp4", progress=False)
    assert 0 < report.frames < 30
    assert report.issues == (f"{report.frames} of 30 frames could be read: it is damaged or cut off after them",)
    document = json.loads((tmp_path / "out.json").read_text())
    assert len(document["frames"]) == len(read_video(tmp_path / "out.mp4")[0]) == report.frames
    assert document["issues"] == list(report.issues)


@pytest.mark.parametrize("content", [b"", b"no video", b"\0\0\0\x20ftypisom" + bytes(100)])
def test_what_is_no_video_is_refused_and_leaves_nothing(model: Model, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in.mp4").write_bytes(content)
    with pytest.raises(ValueError, match=r"in\.mp4: no frame can be decoded.*convert it"):
        predict_video(model, tmp_path / "in.mp4", tmp_path / "out.mp4", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_a_playlist_reaches_no_other_file(model: Model, tmp_path: Path) -> None:
    """FFmpeg would fetch what it lists, from the network or the disk."""
    write_video(tmp_path / "secret.avi")
    playlist = tmp_path / "in.mp4"
    playlist.write_text(f"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXTINF:1,\n{tmp_path / 'secret.avi'}\n")
    with pytest.raises(ValueError, match="no frame can be decoded"):
        predict_video(model, playlist, tmp_path / "out.mp4", progress=False)


def test_results_are_replaced_only_on_request(model: Model, tmp_path: Path) -> None:
    source, out = write_video(tmp_path / "in.avi", 3), tmp_path / "out.mp4"
    (tmp_path / "out.json").write_text("mine")
    with pytest.raises(ValueError, match=r"out\.json: exists already"):
        predict_video(model, source, out, progress=False)
    assert (tmp_path / "out.json").read_text() == "mine"
    predict_video(model, source, out, progress=False, overwrite=True)
    assert len(json.loads((tmp_path / "out.json").read_text())["frames"]) == 3


def test_an_interrupted_run_leaves_nothing(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, seen = write_video(tmp_path / "in.avi"), []
    before = BrightIsBall.predict

    def interrupted(self: BrightIsBall, inputs: Sequence[NetworkInput]) -> tuple[PanopticPrediction, ...]:
        seen.append(len(inputs))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return before(self, inputs)

    monkeypatch.setattr(BrightIsBall, "predict", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict_video(model, source, tmp_path / "new" / "out.mp4", frames=True, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["in.avi"]


def test_a_full_disk_is_told_and_leaves_nothing(model: Model, tmp_path: Path) -> None:
    """OpenCV does not tell; a limit on the size of files stands for the disk."""
    source = tmp_path / "in.avi"
    writer = cv2.VideoWriter(str(source), cv2.VideoWriter.fourcc(*"MJPG"), RATE, (320, 240))
    for _ in range(20):
        writer.write(np.random.default_rng(0).integers(0, 100, (240, 320, 3), np.uint8))
    writer.release()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"out\.avi: .* of 20 frames arrived; free disk space"):
            predict_video(model, source, tmp_path / "out.avi", progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["in.avi"]


@pytest.mark.parametrize(("every", "limit"), [(0, 0), (1, -1)])
def test_wrong_numbers_of_frames_are_refused(tmp_path: Path, every: int, limit: int) -> None:
    with pytest.raises(ValueError, match="from 1, and 0 for no limit"):
        VideoSource(write_video(tmp_path / "in.avi", 1), every, limit)


def test_the_video_itself_is_never_replaced(model: Model, tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.avi", 1)
    with pytest.raises(ValueError, match="is the video itself"):
        predict_video(model, source, source, progress=False, overwrite=True)


def test_unknown_suffixes_are_refused(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"out\.gif: an overlay video ends in one of \.mp4"):
        predict_video(model, write_video(tmp_path / "in.avi", 1), tmp_path / "out.gif", progress=False)

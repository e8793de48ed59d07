"""Reading the frames of a video file, upright and in order, up to where the file ends or is damaged."""

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic.io.reading import require_file

# A file may be a playlist, by which FFmpeg would fetch others from the network.
_FFMPEG = {"OPENCV_FFMPEG_CAPTURE_OPTIONS": "protocol_whitelist;file", "OPENCV_FFMPEG_LOGLEVEL": "-8"}
_USUAL_RATE = 25.0


@dataclass(frozen=True)
class VideoFrame:
    """One frame (H, W, 3) uint8 RGB; `number` counts from 0, `seconds` from the start of the video."""

    number: int
    seconds: float
    pixels: NDArray[np.uint8]


class VideoSource:
    """An open video file; `frames` reads it once, and says in `issues` what is wrong with it.

    Raises:
        DatasetError: there is no such file.
        ValueError: no frame of it can be decoded.
    """

    def __init__(self, path: Path, every: int = 1, limit: int = 0) -> None:
        if every < 1 or limit < 0:
            raise ValueError(f"every {every}, limit {limit}; give every n-th frame, from 1, and 0 for no limit")
        require_file(path)
        self.path, self.every, self.limit = path, every, limit
        self.issues: list[str] = []
        with _environment(_FFMPEG):
            self._capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        found, first = self._capture.read()
        if not found:
            raise ValueError(
                f"{path}: no frame can be decoded: it is no video, damaged from its start on, or of a codec that "
                "OpenCV's FFmpeg lacks; convert it first (ffmpeg -i IN -c:v libx264 OUT.mp4)"
            )
        self._first = np.asarray(first, np.uint8)
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.has_rate = math.isfinite(rate) and 0 < rate <= 1000
        self.rate = rate if self.has_rate else _USUAL_RATE
        announced = float(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.announced = int(announced) if 0 < announced < 1e9 else 0
        """Frames that the file claims to have; 0 where it claims none."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), upright."""
        return self._first.shape[0], self._first.shape[1]

    @property
    def expected(self) -> int | None:
        """Frames that `frames` will yield, if the file says so."""
        chosen = -(-self.announced // self.every)
        return min(chosen, self.limit or chosen) if self.announced else self.limit or None

    def frames(self) -> Iterator[VideoFrame]:
        """Yield every n-th frame, up to the limit; the others are decoded, but not converted."""
        number, before, steps, ended = 0, 0.0, (math.inf, 0.0), False
        while not (ended := self.limit > 0 and number >= self.limit * self.every):
            image, seconds = self._next(number, before)
            if image is None:
                break
            if number:
                steps = min(steps[0], seconds - before), max(steps[1], seconds - before)
            if number % self.every == 0:
                yield VideoFrame(
                    number, round(seconds, 4), np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
                )
            number, before = number + 1, seconds
        self._capture.release()
        self._note_issues(number, ended, steps)

    def _next(self, number: int, before: float) -> tuple[NDArray[np.uint8] | None, float]:
        """Read the next frame, None after the last one, and its time, which never runs backward."""
        image = self._first
        if number:
            found, read = self._capture.read()
            if not found:
                return None, before
            image = np.asarray(read, np.uint8)
            if image.shape != self._first.shape:
                sizes = [f"{shape[1]} x {shape[0]}" for shape in (image.shape, self._first.shape)]
                self.issues.append(f"frame {number} has another size, {sizes[0]} instead of {sizes[1]}")
                return None, before
        shown = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        return image, shown if math.isfinite(shown) and shown > before else before + (1 / self.rate if number else 0)

    def _note_issues(self, read: int, ended: bool, steps: tuple[float, float]) -> None:
        if not ended and self.announced > read:
            self.issues.append(f"{read} of {self.announced} frames could be read: it is damaged or cut off after them")
        if not self.has_rate:
            self.issues.append(f"the file states no frame rate; {_USUAL_RATE:g} frames a second are assumed")
        elif steps[1] > 1.5 * steps[0]:
            self.issues.append(
                f"its frame rate varies; the overlay has the mean, {self.rate:.4g} a second, the JSON the true times"
            )


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment that the user has not set, for the block."""
    own = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            os.environ.pop(name, None)

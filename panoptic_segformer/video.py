"""Predict a video: an overlay video, and a JSON with the segments of every frame, which keep their ids."""

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from model.assembly.tracking import Tracks, follow
from panoptic.format.categories import CategoryTable
from panoptic.format.id_map import encode_id_map
from panoptic.format.results import ResultSegment
from panoptic.io.files import naming_disk_errors, write_together
from panoptic.io.printable import printable
from panoptic.visualization import overlay
from panoptic_segformer.images import NamedImage
from panoptic_segformer.model import Model
from panoptic_segformer.result import Result, Segment
from panoptic_segformer.video_source import VideoFrame, VideoSource

CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".webm": "VP90", ".avi": "MJPG"}
"""Suffixes of overlay videos, and the codec of each that every build of OpenCV writes; browsers show webm."""
_MOST_UNITS = 65_535
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".3gp", ".wmv"})
"""Suffixes of files that commands take for videos."""


@dataclass(frozen=True)
class VideoReport:
    """Summary of a predicted video."""

    frames: int
    tracks: int
    issues: tuple[str, ...]
    """Problems of the file, such as where it is cut off, or a varying frame rate."""


def predict_video(
    model: Model,
    source: Path,
    out: Path,
    *,
    every: int = 1,
    limit: int = 0,
    frames: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> VideoReport:
    """Predict a video file; audio is not kept.

    Written together when all is done: `out`, the overlay video, in which every track has its color; beside it, with the
    suffix .json, the segments of every frame; and with `frames` a folder without suffix of panoptic PNGs named by
    frame, whose ids are the tracks'. An interrupted run leaves nothing behind, and is repeated from the start.

    Args:
        model: to predict with.
        source: the video.
        out: path of the overlay video; its suffix, one of `CODECS`, decides the format.
        every: predict and draw every n-th frame only; the overlay plays at the speed of the video.
        limit: largest number of frames to predict, 0 for all.
        frames: also write panoptic PNGs.
        overwrite: replace earlier results.
        progress: show a bar with the time that is left.

    Raises:
        ValueError: the source is no video, the suffix of `out` is unknown, or there are results and no `overwrite`.
    """
    if out.resolve() == source.resolve():
        raise ValueError(f"{out}: is the video itself; name another file for the overlay")
    json_path, maps = _targets(out, frames, overwrite)
    video = VideoSource(source, every, limit)
    with ExitStack() as stack:
        results = stack.enter_context(write_together())
        json_file = stack.enter_context(results.file(json_path).open("w", encoding="utf-8"))
        folder = results.folder(maps) if frames else None
        overlay_path = results.file(out)
        writer = _OverlayWriter(overlay_path.with_suffix(out.suffix), video.size, video.rate / every, out)
        stack.callback(writer.close)
        document = _Document(json_file, video, model)
        bar = stack.enter_context(
            tqdm(total=video.expected, desc=printable(source.name), unit="frame", disable=not progress)
        )
        tracks = Tracks()
        for frame, result in _predicted(model, video):
            tracks, assigned = follow(tracks, result.ids, result.segments)
            ids = _track_ids(result, assigned)
            writer.add(_drawn(result, ids, assigned))
            document.add(frame, result, assigned)
            if folder:
                with naming_disk_errors(maps):
                    (folder / f"{frame.number:06d}.png").write_bytes(encode_id_map(ids))
            bar.update()
        document.finish(tuple(video.issues))
        json_file.close()
        writer.finish(overlay_path)
    return VideoReport(document.count, tracks.next_id - 1, tuple(video.issues))


def _targets(out: Path, frames: bool, overwrite: bool) -> tuple[Path, Path]:
    """Return the paths of the JSON file and of the folder of maps beside the overlay video."""
    if out.suffix not in CODECS:
        raise ValueError(f"{out}: an overlay video ends in one of {', '.join(CODECS)}; rename it")
    document, folder = out.with_suffix(".json"), out.with_suffix("")
    there = [path for path in (out, document, *([folder] if frames else [])) if path.exists()]
    if there and not overwrite:
        raise ValueError(f"{there[0]}: exists already; name another file, or ask to overwrite it")
    return document, folder


def _predicted(model: Model, video: VideoSource) -> Iterator[tuple[VideoFrame, Result]]:
    """Predict all frames in order, while a thread decodes the next ones."""
    waiting: deque[VideoFrame] = deque()

    def images() -> Iterator[NamedImage]:
        for frame in video.frames():
            waiting.append(frame)
            yield NamedImage(f"{video.path}, frame {frame.number}", frame.pixels)

    with closing(model.stream(images())) as results:
        for result in results:
            yield waiting.popleft(), result


def _track_ids(result: Result, assigned: Mapping[int, int]) -> NDArray[np.int32]:
    """Return the map of a frame with the ids of the tracks."""
    table = np.zeros(len(result.segments) + 1, np.int32)
    for segment_id, track_id in assigned.items():
        table[segment_id] = track_id
    return table[result.ids]


def _drawn(result: Result, ids: NDArray[np.int32], assigned: Mapping[int, int]) -> NDArray[np.uint8]:
    """Draw a frame in which every track is a category of its own, and so has its color."""
    tracks = sorted((assigned[segment.id], segment) for segment in result.segments)
    entries = [{"id": track, **_category(segment, result)} for track, segment in tracks]
    labels = [ResultSegment(track, track, score=segment.score) for track, segment in tracks]
    return overlay(result.image, ids, labels, CategoryTable.from_json(entries) if entries else result.categories)


def _category(segment: Segment, result: Result) -> dict[str, object]:
    """Describe the category of a track; things have a color by their id, stuff that of its category."""
    entry: dict[str, object] = {"name": segment.category, "isthing": int(segment.is_thing)}
    return entry if segment.is_thing else entry | {"color": list(result.categories.by_id(segment.category_id).color)}


def _written_rate(rate: float) -> float:
    """Round a frame rate to as many decimals as MPEG-4 can write, in which a second has at most 65 535 units."""
    digits = next(digits for digits in (3, 2, 1, 0) if round(rate * 10**digits) <= _MOST_UNITS)
    return max(round(rate, digits), 0.002)


class _OverlayWriter:
    """Writes frames to an overlay video. Its sides are even, as its codecs ask for: an odd last row repeats."""

    def __init__(self, path: Path, size: tuple[int, int], rate: float, where: Path) -> None:
        height, width = size
        self._path, self._where, self._odd, self._count = path, where, (height % 2, width % 2), 0
        codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix])
        self._writer = cv2.VideoWriter(str(path), codec, _written_rate(rate), (width + width % 2, height + height % 2))
        if not self._writer.isOpened():
            raise ValueError(
                f"{where}: this OpenCV cannot write {CODECS[path.suffix]} of {width} x {height} pixels; "
                f"choose another suffix of {', '.join(CODECS)}"
            )

    def add(self, image: NDArray[np.uint8]) -> None:
        """Add a frame (H, W, 3) RGB."""
        below, right = self._odd
        even = np.pad(image, ((0, below), (0, right), (0, 0)), mode="edge")
        self._writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))
        self._count += 1

    def close(self) -> Path:
        """End the video and return its path."""
        self._writer.release()
        return self._path

    def finish(self, path: Path) -> None:
        """End the video and move it to a path. Raises `OSError` if it is not whole, which OpenCV does not tell."""
        written = cv2.VideoCapture(str(self.close()))
        found = round(written.get(cv2.CAP_PROP_FRAME_COUNT)) if written.isOpened() else 0
        written.release()
        if found != self._count:
            raise OSError(f"could not write {self._where}: {found} of {self._count} frames arrived; free disk space")
        self._path.rename(path)


class _Document:
    """Writes the JSON of a video frame by frame, as that of an hour is larger than one may want in memory."""

    def __init__(self, file: IO[str], video: VideoSource, model: Model) -> None:
        self.count = 0
        self._file = file
        height, width = video.size
        head: dict[str, object] = {
            "video": video.path.name,
            "model": model.source,
            "width": width,
            "height": height,
            "frame_rate": video.rate,
            "every": video.every,
            "categories": model.categories.to_json(),
        }
        file.write(f'{json.dumps(head)[:-1]}, "frames": [')

    def add(self, frame: VideoFrame, result: Result, assigned: Mapping[int, int]) -> None:
        """Add a frame, its segments by track."""
        segments = [
            {
                "track_id": assigned[segment.id],
                "category_id": segment.category_id,
                "category": segment.category,
                "score": round(segment.score, 5),
                "area": segment.area,
                "bbox": list(segment.box),
            }
            for segment in sorted(result.segments, key=lambda one: assigned[one.id])
        ]
        entry = {"frame": frame.number, "seconds": frame.seconds, "segments": segments}
        self._file.write(f"{',' if self.count else ''}\n{json.dumps(entry)}")
        self.count += 1

    def finish(self, issues: Sequence[str]) -> None:
        """End the document with what was wrong with the video."""
        self._file.write(f'\n], "issues": {json.dumps(list(issues))}}}\n')

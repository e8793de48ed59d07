"""Drawn videos with the true identity of every thing: the camera pans over a landscape of `mini`, things cross.

Things are rendered as those that the network was trained on, move on straight lines that lead them past and behind one
another, and leave and enter the view.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from panoptic.format.categories import Category
from panoptic.tools.mini.camera import Camera
from panoptic.tools.mini.categories import CATEGORIES
from panoptic.tools.mini.landscape import lay_out
from panoptic.tools.mini.light import Light, choose_light
from panoptic.tools.mini.objects import Pose, SceneObject, cast_shadow, draw_object
from panoptic.tools.mini.painting import paint
from panoptic.tools.mini.shapes import Contour, draw_shape
from panoptic.tools.mini.textures import Texture, choose_texture

SIDE = 128
_PAN = 32  # pixels by which the camera moves in a video
_LEAST_VISIBLE = 0.5  # of a thing, as in mini: what is less visible is not labeled


@dataclass(frozen=True)
class Frame:
    """An image (H, W, 3) RGB, and the thing (from 1) at each pixel (H, W), 0 for none."""

    image: npt.NDArray[np.uint8]
    things: npt.NDArray[np.int32]


@dataclass(frozen=True)
class _Mover:
    """A thing that moves: its look, pose in the first frame, and steps in pixels and radians."""

    category: Category
    contours: tuple[Contour, ...]
    texture: Texture
    pose: Pose
    step: tuple[float, float, float]

    def draw(self, frame: int, light: Light) -> SceneObject:
        """Render it in a frame."""
        right, down, turn = (frame * step for step in self.step)
        pose = self.pose
        moved = replace(pose, x=pose.x + right, y=pose.y + down, angle=pose.angle + turn)
        return draw_object(self.contours, moved, self.texture, light)


def draw_video(seed: int, frames: int = 48, things: int = 5) -> Iterator[Frame]:
    """Draw a video of SIDE x SIDE pixels; equal arguments give equal videos."""
    rng = np.random.default_rng([2016, seed])
    camera = Camera(SIDE, SIDE + _PAN, horizon=float(rng.uniform(0.3, 0.45)) * SIDE)
    light, landscape = choose_light(rng), lay_out(camera, rng)
    background = np.zeros((camera.height, camera.width, 3))
    for category in landscape.stuff:
        background += landscape.coverage(category)[..., None] * paint(category, camera, light, rng)
    movers = sorted((_mover(camera, frames, rng) for _ in range(things)), key=lambda one: one.pose.y)
    for number in range(frames):
        left = round(_PAN * number / max(1, frames - 1))
        objects = [mover.draw(number, light) for mover in movers]
        image, labels = _paint(background, objects, light)
        seen = labels[:, left : left + SIDE]
        areas = np.array([1, *(item.inside.sum() for item in objects)])
        visible = np.bincount(seen.ravel(), minlength=things + 1) >= _LEAST_VISIBLE * areas
        pixels = np.rint(np.clip(image[:, left : left + SIDE], 0, 1) * 255).astype(np.uint8)
        yield Frame(pixels, np.where(visible[seen], seen, 0).astype(np.int32))


def _mover(camera: Camera, frames: int, rng: np.random.Generator) -> _Mover:
    """Choose a thing that crosses the ground from one side to the other; few categories, so that ids are at stake."""
    category = CATEGORIES.things[rng.integers(2, 5)]
    diameter, direction = float(rng.uniform(22, 36)), float(rng.choice((-1, 1)))
    y = float(rng.uniform(camera.horizon + 4, camera.height - diameter / 2))
    start = camera.width * (0.5 - direction * float(rng.uniform(0.15, 0.55)))
    speed = direction * camera.width * float(rng.uniform(0.3, 0.9)) / frames
    step = speed, float(rng.uniform(-0.12, 0.12)), float(rng.uniform(-0.03, 0.03))
    pose = Pose(start, y, diameter, float(rng.uniform(0, 2 * np.pi)))
    texture = choose_texture(rng, np.array((0.5, 0.5, 0.4)))
    return _Mover(category, draw_shape(category, rng), texture, pose, step)


def _paint(
    background: npt.NDArray[np.float64], objects: Sequence[SceneObject], light: Light
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Paint objects from the farthest to the nearest; return the image and the number of the object at each pixel."""
    height, width = background.shape[:2]
    image, labels = background.copy(), np.zeros((height, width), np.int32)
    for number, item in enumerate(objects, 1):
        size = len(item.inside)
        top, bottom = (int(np.clip(row, 0, height)) for row in (item.top, item.top + size))
        left, right = (int(np.clip(column, 0, width)) for column in (item.left, item.left + size))
        if top >= bottom or left >= right:
            continue
        image *= 1 - cast_shadow(item, light, (0.5, 0.25), labels.shape)[..., None]
        at = slice(top, bottom), slice(left, right)
        patch = slice(top - item.top, bottom - item.top), slice(left - item.left, right - item.left)
        image[at] += (item.colors[patch] - image[at]) * item.coverage[patch][..., None]
        labels[at][item.inside[patch]] = number
    return image, labels

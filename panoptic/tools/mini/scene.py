"""Compose one image of `mini`: a landscape, the things in it, and the label of every pixel."""

from dataclasses import dataclass, field
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic.format.categories import Category
from panoptic.tools.mini.arrays import Color, Colors, Labels, Mask
from panoptic.tools.mini.camera import Camera
from panoptic.tools.mini.categories import CATEGORIES, MOUNTAIN, SKY
from panoptic.tools.mini.landscape import FINENESS, lay_out
from panoptic.tools.mini.light import Light, apply_vignette, choose_light
from panoptic.tools.mini.objects import Pose, SceneObject, cast_shadow, draw_object
from panoptic.tools.mini.painting import paint
from panoptic.tools.mini.placing import Group, place_groups
from panoptic.tools.mini.shapes import draw_boulder, draw_shape
from panoptic.tools.mini.textures import choose_stone_texture, choose_texture

_VOID: Final = 0
_FIRST_THING: Final = 1000  # labels: 0 void, below this category ids of stuff, from here on things in painting order
_SIZES: Final = ((128, 128), (128, 160), (160, 128))
_SIZE_CHANCES: Final = (0.6, 0.2, 0.2)
_MIN_THING_PIXELS: Final = 40
_MIN_STUFF_PIXELS: Final = 100
_MIN_VISIBLE_FRACTION: Final = 0.5  # of a thing


@dataclass(frozen=True)
class Region:
    """A future segment: its category, whether it is a crowd, and its pixels (H, W)."""

    category: Category
    is_crowd: bool
    mask: Mask


@dataclass(frozen=True)
class Scene:
    """A finished image (H, W, 3) uint8 RGB and its regions, which do not overlap; the remaining pixels are void."""

    image: NDArray[np.uint8]
    regions: tuple[Region, ...]


def make_scene(rng: np.random.Generator, size: tuple[int, int] | None = None) -> Scene:
    """Compose an image of `size`, height and width, or one of mini's; all its randomness comes from `rng`."""
    height, width = size or _SIZES[rng.choice(len(_SIZES), p=_SIZE_CHANCES)]
    camera = Camera(height, width, horizon=float(rng.uniform(0.36, 0.54)) * height)
    light = choose_light(rng)
    canvas = _Canvas.of_landscape(camera, light, rng)
    canvas.leave_border_unlabeled(rng)
    for group in place_groups(camera, rng):
        canvas.add(group, rng)
    finished = apply_vignette(canvas.image, light)
    return Scene(np.rint(np.clip(finished, 0, 1) * 255).astype(np.uint8), canvas.regions())


@dataclass
class _Canvas:
    """An image being painted, back to front, and the label of every pixel."""

    image: Colors
    labels: Labels
    light: Light
    slant: tuple[float, float]
    ground: Mask
    things: list[Group] = field(default_factory=list)
    areas: list[int] = field(default_factory=list)

    @classmethod
    def of_landscape(cls, camera: Camera, light: Light, rng: np.random.Generator) -> Self:
        """Start with a landscape without things."""
        landscape = lay_out(camera, rng)
        image = np.zeros((camera.height, camera.width, 3))
        for category in landscape.stuff:
            image += landscape.coverage(category)[..., None] * paint(category, camera, light, rng)
        center = FINENESS // 2
        labels = landscape.labels[center::FINENESS, center::FINENESS].copy()
        slant = (-float(np.sign(light.direction[0])) * float(rng.uniform(0.3, 0.9)), float(rng.uniform(0.12, 0.4)))
        return cls(image, labels, light, slant, ground=~np.isin(labels, (SKY.id, MOUNTAIN.id)))

    def leave_border_unlabeled(self, rng: np.random.Generator) -> None:
        """Leave the border of one stuff class void in about a third of the images, as undecided annotators do."""
        if rng.random() < 0.35:
            chosen = (self.labels == rng.choice(np.unique(self.labels))).astype(np.uint8)
            brush = np.ones((3, 3), np.uint8)
            self.labels[cv2.dilate(chosen, brush) != cv2.erode(chosen, brush)] = _VOID

    def add(self, group: Group, rng: np.random.Generator) -> None:
        """Paint a thing, a crowd or a stone, unless too little of it or of what it hides would remain visible."""
        objects = self._draw(group, rng)
        inside = np.zeros(self.labels.shape, bool)
        for item in objects:
            in_image, in_patch = _overlap(item, inside.shape)
            inside[in_image] |= item.inside[in_patch]
        if group.is_crowd:
            inside = cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0
        needed = max(_MIN_THING_PIXELS, _MIN_VISIBLE_FRACTION * objects[0].inside.sum())
        if inside.sum() < needed or self._hides_too_much(inside):
            return
        for item in objects:
            self._paint(item, standing=group.standing)
        if group.category is None:
            self.labels[inside] = _VOID
        else:
            self.labels[inside] = _FIRST_THING + len(self.things)
            self.things.append(group)
            self.areas.append(int(inside.sum()))

    def regions(self) -> tuple[Region, ...]:
        """List the visible regions, things first; scraps of stuff are left void."""
        things = (
            Region(group.category, group.is_crowd, self.labels == _FIRST_THING + count)
            for count, group in enumerate(self.things)
            if group.category
        )
        stuff = (Region(category, False, self.labels == category.id) for category in CATEGORIES.stuff)
        return (*things, *(region for region in stuff if region.mask.sum() >= _MIN_STUFF_PIXELS))

    def _draw(self, group: Group, rng: np.random.Generator) -> list[SceneObject]:
        objects = []
        for pose in group.poses:
            if group.category is None:
                contours, texture = draw_boulder(rng), choose_stone_texture(rng)
            else:
                contours, texture = draw_shape(group.category, rng), choose_texture(rng, self._color_at(pose))
            objects.append(draw_object(contours, pose, texture, self.light))
        return objects

    def _color_at(self, pose: Pose) -> Color:
        """Mean color behind the center of a pose."""
        height, width = self.labels.shape
        row, column = int(np.clip(pose.y, 4, height - 4)), int(np.clip(pose.x, 4, width - 4))
        mean: Color = self.image[row - 4 : row + 4, column - 4 : column + 4].mean(axis=(0, 1))
        return mean

    def _hides_too_much(self, inside: Mask) -> bool:
        left = np.bincount(np.clip(self.labels[~inside] - _FIRST_THING + 1, 0, None), minlength=len(self.areas) + 1)[1:]
        needed = np.maximum(np.array(self.areas) * _MIN_VISIBLE_FRACTION, _MIN_THING_PIXELS)
        return bool((left < needed).any())

    def _paint(self, item: SceneObject, standing: bool) -> None:
        if standing:
            shadow = cast_shadow(item, self.light, self.slant, self.labels.shape) * self.ground
            self.image *= 1 - shadow[..., None]
        in_image, in_patch = _overlap(item, self.labels.shape)
        self.image[in_image] += (item.colors[in_patch] - self.image[in_image]) * item.coverage[in_patch][..., None]


def _overlap(item: SceneObject, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices of the image that an object's patch covers, and slices of the patch inside the image."""
    height, width = shape
    size = item.inside.shape[0]
    top, bottom = np.clip((item.top, item.top + size), 0, height).tolist()
    left, right = np.clip((item.left, item.left + size), 0, width).tolist()
    in_patch = slice(top - item.top, bottom - item.top), slice(left - item.left, right - item.left)
    return (slice(top, bottom), slice(left, right)), in_patch

"""One image of `mini`: a landscape, the things in it, and the label of every pixel."""

from dataclasses import dataclass, field
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic.format.categories import Category
from panoptic.tools.mini.arrays import Color, Colors, Labels, Mask
from panoptic.tools.mini.camera import View
from panoptic.tools.mini.categories import CATEGORIES, MOUNTAIN, SKY
from panoptic.tools.mini.landscape import FINENESS, lay_out
from panoptic.tools.mini.light import Light, apply_vignette, choose_light
from panoptic.tools.mini.objects import Pose, Toy, cast_shadow, draw_toy
from panoptic.tools.mini.painting import paint
from panoptic.tools.mini.placing import Group, place_groups
from panoptic.tools.mini.shapes import draw_boulder, draw_shape
from panoptic.tools.mini.textures import choose_coat, choose_stone

_VOID: Final = 0
_FIRST_THING: Final = 1000  # labels: 0 void, then category ids of stuff, from here on things in the order of painting
_SIZES: Final = ((128, 128), (128, 160), (160, 128))
_SIZE_CHANCES: Final = (0.6, 0.2, 0.2)
_SMALLEST_THING: Final = 40
_SMALLEST_STUFF: Final = 100
_SMALLEST_SHARE: Final = 0.5  # of a thing that must stay in sight


@dataclass(frozen=True)
class Region:
    """One segment to be: its category, whether it is a crowd, its pixels (H, W)."""

    category: Category
    is_crowd: bool
    mask: Mask


@dataclass(frozen=True)
class Scene:
    """A finished image (H, W, 3) uint8 RGB and its regions, which do not overlap; pixels of no region are void."""

    image: NDArray[np.uint8]
    regions: tuple[Region, ...]


def make_scene(rng: np.random.Generator) -> Scene:
    """Draw everything that an image consists of from `rng`, and nothing from anywhere else."""
    height, width = _SIZES[rng.choice(len(_SIZES), p=_SIZE_CHANCES)]
    view = View(height, width, horizon=float(rng.uniform(0.36, 0.54)) * height)
    light = choose_light(rng)
    canvas = _Canvas.of_landscape(view, light, rng)
    canvas.leave_border_unlabeled(rng)
    for group in place_groups(view, rng):
        canvas.add(group, rng)
    finished = apply_vignette(canvas.image, light)
    return Scene(np.rint(np.clip(finished, 0, 1) * 255).astype(np.uint8), canvas.regions())


@dataclass
class _Canvas:
    """The image while it is painted, back to front, and the label of every pixel."""

    image: Colors
    labels: Labels
    light: Light
    slant: tuple[float, float]
    ground: Mask
    things: list[Group] = field(default_factory=list)
    areas: list[int] = field(default_factory=list)

    @classmethod
    def of_landscape(cls, view: View, light: Light, rng: np.random.Generator) -> Self:
        """A landscape without any thing."""
        landscape = lay_out(view, rng)
        image = np.zeros((view.height, view.width, 3))
        for category in landscape.stuff:
            image += landscape.coverage(category)[..., None] * paint(category, view, light, rng)
        center = FINENESS // 2
        labels = landscape.labels[center::FINENESS, center::FINENESS].copy()
        slant = (-float(np.sign(light.direction[0])) * float(rng.uniform(0.3, 0.9)), float(rng.uniform(0.12, 0.4)))
        return cls(image, labels, light, slant, ground=~np.isin(labels, (SKY.id, MOUNTAIN.id)))

    def leave_border_unlabeled(self, rng: np.random.Generator) -> None:
        """In every third image nobody could tell where one kind of stuff ends: a thin strip of void."""
        if rng.random() < 0.35:
            chosen = (self.labels == rng.choice(np.unique(self.labels))).astype(np.uint8)
            brush = np.ones((3, 3), np.uint8)
            self.labels[cv2.dilate(chosen, brush) != cv2.erode(chosen, brush)] = _VOID

    def add(self, group: Group, rng: np.random.Generator) -> None:
        """Paint a thing, a crowd or a stone, unless too little of it, or of what it hides, would stay in sight."""
        toys = self._draw(group, rng)
        inside = np.zeros(self.labels.shape, bool)
        for toy in toys:
            here, there = _overlap(toy, inside.shape)
            inside[here] |= toy.inside[there]
        if group.is_crowd:
            inside = cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0
        if inside.sum() < max(_SMALLEST_THING, _SMALLEST_SHARE * toys[0].inside.sum()) or self._hides_too_much(inside):
            return
        for toy in toys:
            self._paint(toy, standing=group.standing)
        if group.category is None:
            self.labels[inside] = _VOID
        else:
            self.labels[inside] = _FIRST_THING + len(self.things)
            self.things.append(group)
            self.areas.append(int(inside.sum()))

    def regions(self) -> tuple[Region, ...]:
        """What is in sight: things, then stuff; scraps of stuff are left void."""
        things = (
            Region(group.category, group.is_crowd, self.labels == _FIRST_THING + count)
            for count, group in enumerate(self.things)
            if group.category
        )
        stuff = (Region(category, False, self.labels == category.id) for category in CATEGORIES.stuff)
        return (*things, *(region for region in stuff if region.mask.sum() >= _SMALLEST_STUFF))

    def _draw(self, group: Group, rng: np.random.Generator) -> list[Toy]:
        toys = []
        for pose in group.poses:
            if group.category is None:
                contours, coat = draw_boulder(rng), choose_stone(rng)
            else:
                contours, coat = draw_shape(group.category, rng), choose_coat(rng, self._color_at(pose))
            toys.append(draw_toy(contours, pose, coat, self.light))
        return toys

    def _color_at(self, pose: Pose) -> Color:
        """The mean color where a thing's middle will be."""
        height, width = self.labels.shape
        row, column = int(np.clip(pose.y, 4, height - 4)), int(np.clip(pose.x, 4, width - 4))
        mean: Color = self.image[row - 4 : row + 4, column - 4 : column + 4].mean(axis=(0, 1))
        return mean

    def _hides_too_much(self, inside: Mask) -> bool:
        left = np.bincount(np.clip(self.labels[~inside] - _FIRST_THING + 1, 0, None), minlength=len(self.areas) + 1)[1:]
        needed = np.maximum(np.array(self.areas) * _SMALLEST_SHARE, _SMALLEST_THING)
        return bool((left < needed).any())

    def _paint(self, toy: Toy, standing: bool) -> None:
        if standing:
            shadow = cast_shadow(toy, self.light, self.slant, self.labels.shape) * self.ground
            self.image *= 1 - shadow[..., None]
        here, there = _overlap(toy, self.labels.shape)
        self.image[here] += (toy.colors[there] - self.image[here]) * toy.coverage[there][..., None]


def _overlap(toy: Toy, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of an image that a toy's patch covers, and the part of the patch that lies in the image."""
    height, width = shape
    size = toy.inside.shape[0]
    top, bottom = np.clip((toy.top, toy.top + size), 0, height).tolist()
    left, right = np.clip((toy.left, toy.left + size), 0, width).tolist()
    there = slice(top - toy.top, bottom - toy.top), slice(left - toy.left, right - toy.left)
    return (slice(top, bottom), slice(left, right)), there

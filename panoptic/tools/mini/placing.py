"""Choose the things of an image and where they stand or float, from the farthest to the nearest."""

from dataclasses import dataclass

import numpy as np

from panoptic.format.categories import Category
from panoptic.tools.mini.camera import Camera
from panoptic.tools.mini.categories import CATEGORIES
from panoptic.tools.mini.objects import Pose

_COUNT_CHANCES = (0.06, 0.15, 0.21, 0.21, 0.16, 0.11, 0.06, 0.04)  # of 0, 1, ... 7 things
_CROWD_CHANCE = 0.09
_STONE_CHANCE = 0.25


@dataclass(frozen=True)
class Group:
    """Objects that form one segment: a thing, a crowd of small ones, or (category None) an unlabeled stone."""

    category: Category | None
    poses: tuple[Pose, ...]
    standing: bool
    is_crowd: bool = False

    @property
    def foot(self) -> float:
        """Row on which it stands; floating objects are behind all standing ones."""
        lowest = max(pose.y + pose.diameter / 2 for pose in self.poses)
        return lowest if self.standing else lowest - 1e6


def place_groups(camera: Camera, rng: np.random.Generator) -> tuple[Group, ...]:
    """Place all groups of an image; returns them in painting order."""
    count = int(rng.choice(len(_COUNT_CHANCES), p=_COUNT_CHANCES))
    groups: list[Group] = []
    if count and rng.random() < _CROWD_CHANCE:
        groups.append(_crowd(camera, rng))
    if rng.random() < _STONE_CHANCE:
        pose = _stand(camera, rng, rng.uniform(14, 34))
        groups.append(Group(None, (Pose(pose.x, pose.y, pose.diameter, rng.uniform(-0.3, 0.3)),), standing=True))
    for _ in range(count):
        groups.append(_thing(camera, rng, groups))
    return tuple(sorted(groups, key=lambda group: group.foot))


def _thing(camera: Camera, rng: np.random.Generator, others: list[Group]) -> Group:
    """Place one thing; try up to six positions for one that covers no more than the rim of another."""
    category = _any_category(rng)
    floating = rng.random() < 0.3
    diameter = rng.triangular(15, 26, 56)
    taken = [pose for other in others for pose in other.poses]
    for _ in range(6):
        pose = _float(camera, rng, diameter) if floating else _stand(camera, rng, diameter)
        if not any(_overlap_deeply(pose, other) for other in taken):
            break
    return Group(category, (pose,), standing=not floating)


def _overlap_deeply(one: Pose, other: Pose) -> bool:
    """Tell whether two things overlap by more than their rims."""
    return bool(np.hypot(one.x - other.x, one.y - other.y) < 0.36 * (one.diameter + other.diameter))


def _crowd(camera: Camera, rng: np.random.Generator) -> Group:
    """Place a dozen small things of one category close together on the ground."""
    category = _any_category(rng)
    middle = _stand(camera, rng, 24)
    poses = []
    for _ in range(rng.integers(10, 19)):
        angle, away = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 1))
        x, y = middle.x + 21 * away * np.cos(angle), middle.y + 10 * away * np.sin(angle)
        poses.append(Pose(x, y, rng.uniform(9, 13), rng.uniform(0, 2 * np.pi)))
    return Group(category, tuple(sorted(poses, key=lambda pose: pose.y)), standing=True, is_crowd=True)


def _any_category(rng: np.random.Generator) -> Category:
    return CATEGORIES.things[rng.integers(len(CATEGORIES.things))]


def _stand(camera: Camera, rng: np.random.Generator, diameter: float) -> Pose:
    """Choose a pose on the ground; distant objects look smaller."""
    foot = rng.uniform(camera.horizon + 6, camera.height)
    nearness = (foot - camera.horizon) / (camera.height - camera.horizon)
    apparent = float(np.clip(diameter * (0.7 + 0.55 * nearness), 13, 60))
    return Pose(_column(camera, rng, apparent), foot - 0.45 * apparent, apparent, rng.uniform(0, 2 * np.pi))


def _float(camera: Camera, rng: np.random.Generator, diameter: float) -> Pose:
    """Choose a pose in the air."""
    row = rng.uniform(0.3 * diameter, max(camera.horizon - 0.2 * diameter, 0.4 * diameter))
    return Pose(_column(camera, rng, diameter), row, diameter, rng.uniform(0, 2 * np.pi))


def _column(camera: Camera, rng: np.random.Generator, diameter: float) -> float:
    return float(rng.uniform(0.3 * diameter, camera.width - 0.3 * diameter))

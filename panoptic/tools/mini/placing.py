"""Which things an image holds and where they stand or float, from the farthest to the nearest."""

from dataclasses import dataclass

import numpy as np

from panoptic.format.categories import Category
from panoptic.tools.mini.camera import View
from panoptic.tools.mini.categories import CATEGORIES
from panoptic.tools.mini.objects import Pose

_HOW_MANY = (0.06, 0.15, 0.21, 0.21, 0.16, 0.11, 0.06, 0.04)  # chance of 0, 1, ... 7 things
_CROWD_CHANCE = 0.09
_STONE_CHANCE = 0.25


@dataclass(frozen=True)
class Group:
    """What will be one segment: a thing, a crowd of small ones, or (category None) a stone, which nobody labeled."""

    category: Category | None
    poses: tuple[Pose, ...]
    standing: bool
    is_crowd: bool = False

    @property
    def foot(self) -> float:
        """Row on which it stands; what floats is behind all that stands."""
        lowest = max(pose.y + pose.diameter / 2 for pose in self.poses)
        return lowest if self.standing else lowest - 1e6


def place_groups(view: View, rng: np.random.Generator) -> tuple[Group, ...]:
    """All groups of an image, in the order in which to paint them."""
    count = int(rng.choice(len(_HOW_MANY), p=_HOW_MANY))
    groups: list[Group] = []
    if count and rng.random() < _CROWD_CHANCE:
        groups.append(_crowd(view, rng))
    if rng.random() < _STONE_CHANCE:
        pose = _stand(view, rng, rng.uniform(14, 34))
        groups.append(Group(None, (Pose(pose.x, pose.y, pose.diameter, rng.uniform(-0.3, 0.3)),), standing=True))
    for _ in range(count):
        groups.append(_thing(view, rng, groups))
    return tuple(sorted(groups, key=lambda group: group.foot))


def _thing(view: View, rng: np.random.Generator, others: list[Group]) -> Group:
    """One thing, moved up to five times if it would cover more than the rim of another."""
    category = _any_category(rng)
    floating = rng.random() < 0.3
    diameter = rng.triangular(15, 26, 56)
    taken = [pose for other in others for pose in other.poses]
    for _ in range(6):
        pose = _float(view, rng, diameter) if floating else _stand(view, rng, diameter)
        if not any(_deep_inside(pose, other) for other in taken):
            break
    return Group(category, (pose,), standing=not floating)


def _deep_inside(one: Pose, other: Pose) -> bool:
    """Whether two things would overlap by more than their rims."""
    return bool(np.hypot(one.x - other.x, one.y - other.y) < 0.36 * (one.diameter + other.diameter))


def _crowd(view: View, rng: np.random.Generator) -> Group:
    """A dozen small things of one category, close together on the ground."""
    category = _any_category(rng)
    middle = _stand(view, rng, 24)
    poses = []
    for _ in range(rng.integers(10, 19)):
        angle, away = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 1))
        x, y = middle.x + 21 * away * np.cos(angle), middle.y + 10 * away * np.sin(angle)
        poses.append(Pose(x, y, rng.uniform(9, 13), rng.uniform(0, 2 * np.pi)))
    return Group(category, tuple(sorted(poses, key=lambda pose: pose.y)), standing=True, is_crowd=True)


def _any_category(rng: np.random.Generator) -> Category:
    return CATEGORIES.things[rng.integers(len(CATEGORIES.things))]


def _stand(view: View, rng: np.random.Generator, diameter: float) -> Pose:
    """Somewhere on the ground; what is farther away looks smaller."""
    foot = rng.uniform(view.horizon + 6, view.height)
    nearness = (foot - view.horizon) / (view.height - view.horizon)
    seen = float(np.clip(diameter * (0.7 + 0.55 * nearness), 13, 60))
    return Pose(_column(view, rng, seen), foot - 0.45 * seen, seen, rng.uniform(0, 2 * np.pi))


def _float(view: View, rng: np.random.Generator, diameter: float) -> Pose:
    """Somewhere in the air."""
    row = rng.uniform(0.3 * diameter, max(view.horizon - 0.2 * diameter, 0.4 * diameter))
    return Pose(_column(view, rng, diameter), row, diameter, rng.uniform(0, 2 * np.pi))


def _column(view: View, rng: np.random.Generator, diameter: float) -> float:
    return float(rng.uniform(0.3 * diameter, view.width - 0.3 * diameter))

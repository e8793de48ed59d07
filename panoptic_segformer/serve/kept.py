"""Images whose masks are kept for a while, to be merged with other settings."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from panoptic_segformer.unmerged import Unmerged


class _Entry(NamedTuple):
    used: float
    nbytes: int
    image: Unmerged


@dataclass
class Kept:
    """A bounded memory of images under names that nobody can guess; the one longest unused goes first."""

    max_bytes: int
    seconds: float
    clock: Callable[[], float] = time.monotonic
    nbytes: int = 0
    """Of all that is kept."""
    _entries: OrderedDict[str, _Entry] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, image: Unmerged) -> str | None:
        """Keep an image; returns its name, or None if it alone is more than may be kept."""
        entry = _Entry(self.clock(), image.nbytes, image)
        if entry.nbytes > self.max_bytes:
            return None
        name = secrets.token_urlsafe(24)
        self._entries[name] = entry
        self.nbytes += entry.nbytes
        self.sweep()
        return name

    def get(self, name: str) -> Unmerged | None:
        """Return an image, which counts as used, or None if it is not kept (any more)."""
        self.sweep()
        if name not in self._entries:
            return None
        self._entries[name] = entry = self._entries.pop(name)._replace(used=self.clock())
        return entry.image

    def sweep(self) -> None:
        """Drop what is unused for too long, and what no longer fits."""
        oldest = self.clock() - self.seconds
        while self._entries and (self.nbytes > self.max_bytes or next(iter(self._entries.values())).used < oldest):
            self.nbytes -= self._entries.popitem(last=False)[1].nbytes

"""Images whose masks are kept for a while, to be merged with other settings."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from panoptic_segformer.unmerged import Unmerged


@dataclass
class Kept:
    """A bounded memory of images under names that nobody can guess; the one longest unused goes first."""

    max_bytes: int
    seconds: float
    clock: Callable[[], float] = time.monotonic
    _images: OrderedDict[str, tuple[float, Unmerged]] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._images)

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept."""
        return sum(image.nbytes for _, image in self._images.values())

    def add(self, image: Unmerged) -> str | None:
        """Keep an image; returns its name, or None if it alone is more than may be kept."""
        if image.nbytes > self.max_bytes:
            return None
        name = secrets.token_urlsafe(24)
        self._images[name] = self.clock(), image
        self.sweep()
        return name

    def get(self, name: str) -> Unmerged | None:
        """Return an image, which counts as used, or None if it is not kept (any more)."""
        self.sweep()
        if name not in self._images:
            return None
        self._images[name] = self.clock(), self._images.pop(name)[1]
        return self._images[name][1]

    def sweep(self) -> None:
        """Drop what is unused for too long, and what no longer fits."""
        oldest = self.clock() - self.seconds
        while self._images and (self.nbytes > self.max_bytes or next(iter(self._images.values()))[0] < oldest):
            self._images.popitem(last=False)

"""Limits of what a server accepts and keeps, and the refusal of everything beyond them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

MEGA = 1_000_000


@dataclass(frozen=True)
class Limits:
    """Limits of a server's memory and time, whatever its clients do."""

    megabytes: int = 32
    """Largest upload."""
    megapixels: int = 25
    """Largest image; merging needs about 100 bytes a pixel."""
    queue: int = 32
    """Requests that are predicted or waiting at the same time; further ones are to come again later."""
    seconds: float = 120.0
    """Longest time from a complete upload to its answer."""
    kept_megabytes: int = 1024
    """Memory for images whose masks are kept to be merged again; the one longest unused goes first."""
    upload_seconds: float = 30
    """Longest time that an upload may take."""
    kept_seconds: float = 900
    """How long they are kept unused."""

    def __post_init__(self) -> None:
        """Reject limits that no request could keep."""
        for name, value in vars(self).items():
            if value <= 0:
                raise ValueError(f"--{name.replace('_', '-')} is {value}; give a number above 0")


@dataclass
class RefusalError(Exception):
    """A request is answered with an error; `message` is for the client."""

    status: int
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)

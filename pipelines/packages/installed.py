"""The packages of the environment that runs this program."""

import hashlib
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from typing import Protocol

from packaging.requirements import Requirement

from pipelines.packages.lock import normalized


@dataclass(frozen=True)
class Package:
    """One installed package.

    `record` is the digest of its list of files, which has the digest of every file; `requires` are the names of the
    packages that it requires here, without extras.
    """

    name: str
    version: str
    license: str
    record: str
    requires: tuple[str, ...]


class _Headers(Protocol):
    """Metadata of a distribution; of a header that is missing it has None."""

    def __getitem__(self, name: str) -> str | None: ...


def installed_packages() -> Mapping[str, Package]:
    """Return the packages by normalized name.

    Only those of the environment's own folders: setuptools adds another with its vendored packages to the path.
    """
    folders = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    packages = sorted((_package(found) for found in distributions(path=folders)), key=lambda package: package.name)
    return {package.name: package for package in packages}


def _package(found: Distribution) -> Package:
    headers: _Headers = found.metadata
    requirements = [Requirement(text) for text in found.requires or ()]
    needed = {normalized(one.name) for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})}
    return Package(
        name=normalized(found.name),
        version=found.version,
        license=headers["License-Expression"] or (headers["License"] or "").partition("\n")[0],
        record=hashlib.sha256((found.read_text("RECORD") or "").encode()).hexdigest(),
        requires=tuple(sorted(needed)),
    )

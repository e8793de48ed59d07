"""Corruptions of images: the 16 of the paper's table 11 (COCO-C) at severities 1 to 5, and functions of one's own.

The 16 are those of the `imagecorruptions` module (Michaelis et al., 2019). It draws from global random generators, so
here each image gets a seed of its own that follows from image id, corruption and severity alone: any image can be made
again without the others. Other versions of the libraries, or another processor, may differ by a gray level here and
there.

A corruption is one entry of `TABLE`. One that should stay outside this project is given in the settings as
`module:function`, a function like `Function` in a module that Python can import from the working directory. The
manifest has the digest of its file, so a changed file is noticed; for DVC to notice, list it in the deps of `corrupt`.
"""

import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from panoptic.format.image_id import ImageId
from panoptic.runtime.fingerprint import file_digest

Function = Callable[[NDArray[np.uint8], int, np.random.Generator], NDArray[np.uint8]]
"""From an image (H,W,3) uint8 RGB, a severity from 1 to 5 and a seeded generator, a corrupted image of that shape."""


@dataclass(frozen=True)
class Corruption:
    """A corruption: `group` and `title` head its column; without `function` it is that of `imagecorruptions`."""

    name: str
    group: str
    title: str
    function: Function | None = None


TABLE = (
    Corruption("motion_blur", "blur", "Motion"),
    Corruption("defocus_blur", "blur", "Defoc"),
    Corruption("glass_blur", "blur", "Glass"),
    Corruption("gaussian_blur", "blur", "Gauss"),
    Corruption("gaussian_noise", "noise", "Gauss"),
    Corruption("impulse_noise", "noise", "Impul"),
    Corruption("shot_noise", "noise", "Shot"),
    Corruption("speckle_noise", "noise", "Speck"),
    Corruption("brightness", "digital", "Bright"),
    Corruption("contrast", "digital", "Contr"),
    Corruption("saturate", "digital", "Satur"),
    Corruption("jpeg_compression", "digital", "JPEG"),
    Corruption("snow", "weather", "Snow"),
    Corruption("spatter", "weather", "Spatt"),
    Corruption("fog", "weather", "Fog"),
    Corruption("frost", "weather", "Frost"),
)
"""All corruptions, in the order and with the titles of the paper's table."""

CORRUPTIONS = tuple(corruption.name for corruption in TABLE)
SEVERITIES = (1, 2, 3, 4, 5)

# These have random generators of their own and take a seed; all others draw from numpy's global one.
_SEEDED = {"glass_blur", "impulse_noise"}
_MIN_SIDE = 32  # pixels, the least that the module accepts
_LIBRARIES = ("imagecorruptions-imaug", "numba", "numpy", "opencv-python-headless", "pillow", "scikit-image", "scipy")


# A function of one's own may raise anything, and must not end the program as if all were well.
_OWN_ERRORS = (Exception, SystemExit)


@dataclass(frozen=True, slots=True, order=True)
class Variant:
    """One corruption at one severity."""

    corruption: str
    severity: int

    def __post_init__(self) -> None:
        """Refuse unknown names and severities."""
        find_corruption(self.corruption)
        if self.severity not in SEVERITIES:
            raise ValueError(
                f"there is no corruption '{self.corruption}' of severity {self.severity}; give a severity from 1 to 5"
            )

    def __str__(self) -> str:
        """The name of its files and folders."""
        return f"{self.corruption.replace(':', '.')}_{self.severity}"


def find_corruption(name: str) -> Corruption:
    """The entry of `TABLE`, or one of group `own` for `module:function`, which is not imported yet.

    Raises `ValueError` for a name that is neither.
    """
    for corruption in TABLE:
        if corruption.name == name:
            return corruption
    module, _, function = name.partition(":")
    if all(part.isidentifier() for part in (*module.split("."), function)):
        return Corruption(name, "own", name, lambda *arguments: load_function(name)(*arguments))
    raise ValueError(
        f"there is no corruption '{name}'; give one of {', '.join(CORRUPTIONS)}, or a function of your own as "
        "module:function"
    )


@cache
def load_function(name: str) -> Function:
    """Import `module:function`. Raises `ValueError` where that fails."""
    module, _, function = name.partition(":")
    try:
        found = getattr(import_module(module), function)
    except _OWN_ERRORS as error:
        raise ValueError(
            f"corruption '{name}' cannot be imported ({_described(error)}); give module:function, importable from "
            f"{Path.cwd()}"
        ) from error
    if not callable(found):
        raise ValueError(f"corruption '{name}' is a {type(found).__name__}; give a function (image, severity, rng)")
    return cast(Function, found)


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def own_sources(names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the file that defines the function, for every `module:function` among the names."""
    digests = {}
    for name in sorted(names):
        if find_corruption(name).group == "own":
            try:
                file = inspect.getsourcefile(inspect.unwrap(load_function(name)))
            except TypeError:  # a callable object
                file = inspect.getsourcefile(type(load_function(name)))
            if file is None or not Path(file).is_file():
                raise ValueError(f"corruption '{name}' has no source file; give a function of a module of your own")
            digests[name] = file_digest(Path(file))
    return digests


def corrupt_image(image: NDArray[np.uint8], corruption: str, severity: int, image_id: ImageId) -> NDArray[np.uint8]:
    """A corrupted copy of `image`, both (H,W,3) uint8 RGB; the same for the same arguments, whatever came before.

    Leaves the caller's random state as it was, except that of numba's compiled code. Not for several threads at once,
    which share numpy's global generator. Meanwhile sides below 32 pixels are extended by reflection.

    Raises:
        ValueError: an image of another type, an unknown corruption or severity, a function of one's own that returns
            something else than such an image.
    """
    variant = Variant(corruption, severity)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"an image of {image.shape} {image.dtype}; give one of (height, width, 3) uint8")
    seed, function = image_seed(variant, image_id), find_corruption(corruption).function
    if function is None:
        return _by_library(image, variant, seed)
    try:
        with _numpy_seeded(seed):
            corrupted: object = function(image.copy(), severity, np.random.default_rng(seed))
    except _OWN_ERRORS as error:
        raise ValueError(
            f"corruption '{corruption}' failed for image id {image_id} at severity {severity} ({_described(error)}); "
            "correct the function"
        ) from error
    if not isinstance(corrupted, np.ndarray) or (corrupted.shape, corrupted.dtype) != (image.shape, image.dtype):
        found = type(corrupted).__name__
        if isinstance(corrupted, np.ndarray):
            found = f"an array {corrupted.shape} {corrupted.dtype}"
        raise ValueError(
            f"corruption '{corruption}' returned {found} for image id {image_id} at severity {severity}; "
            f"return an array like the image given, {image.shape} uint8"
        )
    return np.ascontiguousarray(corrupted)


def _by_library(image: NDArray[np.uint8], variant: Variant, seed: int) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    missing = max(0, _MIN_SIDE - height), max(0, _MIN_SIDE - width)
    padded = np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="reflect")
    # Imported only here: it brings a compiler along, which takes long for those who only name corruptions.
    corrupt = import_module("imagecorruptions").corruption_dict[variant.corruption]
    own_seed = {"seed": seed} if variant.corruption in _SEEDED else {}
    # Spatter divides zero by zero where no drop falls on a small image.
    with _numpy_seeded(seed), np.errstate(invalid="ignore"):
        corrupted = np.asarray(corrupt(Image.fromarray(padded), variant.severity, **own_seed))
    result = np.where(np.isnan(corrupted), padded, corrupted).astype(np.uint8)  # truncated as the module does it
    return np.ascontiguousarray(result[:height, :width])


def image_seed(variant: Variant, image_id: ImageId) -> int:
    """A seed below 2^32 for one corrupted image, the same in every process and on every machine."""
    digest = hashlib.sha256(f"{image_id}/{variant.corruption}/{variant.severity}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def library_versions() -> dict[str, str]:
    """Versions of all libraries that compute a corrupted image; others may round differently."""
    return {name: version(name) for name in _LIBRARIES}


@contextmanager
def _numpy_seeded(seed: int) -> Iterator[None]:
    """Seed numpy's global generator for the block, and restore it afterwards."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)

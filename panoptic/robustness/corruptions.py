"""Natural corruptions of images: the 16 of the paper's table 11 (COCO-C), at severities 1 to 5.

They are those of the `imagecorruptions` module (Michaelis et al., 2019). It draws from generators that all code
shares, so here each image gets numbers of its own: they follow from image id, corruption and severity alone, and
any image can be made again without the others. Other versions of the libraries, or another processor, may differ by
a gray level here and there.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GROUPS = {
    "blur": ("motion_blur", "defocus_blur", "glass_blur", "gaussian_blur"),
    "noise": ("gaussian_noise", "impulse_noise", "shot_noise", "speckle_noise"),
    "digital": ("brightness", "contrast", "saturate", "jpeg_compression"),
    "weather": ("snow", "spatter", "fog", "frost"),
}
"""The corruptions by kind, in the order of the table's columns."""

CORRUPTIONS = tuple(corruption for group in GROUPS.values() for corruption in group)
SEVERITIES = (1, 2, 3, 4, 5)

# These draw from generators of their own and take a seed; all others draw from numpy's global one.
_SEEDED = {"glass_blur", "impulse_noise"}
_MIN_SIDE = 32  # pixels: what the module takes
_LIBRARIES = (
    "imagecorruptions-imaug",
    "numba",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "scikit-image",
    "scipy",
)


@dataclass(frozen=True, slots=True, order=True)
class Variant:
    """One corruption at one severity."""

    corruption: str
    severity: int

    def __post_init__(self) -> None:
        """Refuse what does not exist."""
        if self.corruption not in CORRUPTIONS or self.severity not in SEVERITIES:
            raise ValueError(
                f"there is no corruption '{self.corruption}' of severity {self.severity}; "
                f"give one of {', '.join(CORRUPTIONS)} and a severity from 1 to 5"
            )

    def __str__(self) -> str:
        return f"{self.corruption}_{self.severity}"


def corrupt_image(image: NDArray[np.uint8], corruption: str, severity: int, image_id: int) -> NDArray[np.uint8]:
    """A corrupted copy of `image`, both (H,W,3) uint8 RGB; the same for the same arguments, whatever came before.

    The caller's random state is left as it was, that of numba's compiled code excepted. Not for several threads at
    once: numpy's global generator is one for all. Sides below 32 pixels are extended by reflection meanwhile.

    Raises:
        ValueError: an image of another kind, an unknown corruption or severity.
    """
    variant = Variant(corruption, severity)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"an image of {image.shape} {image.dtype}; give one of (height, width, 3) uint8")
    height, width = image.shape[:2]
    missing = max(0, _MIN_SIDE - height), max(0, _MIN_SIDE - width)
    padded = np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="reflect")
    seed = image_seed(variant, image_id)
    # Imported only here: it brings a compiler along, and whoever merely names corruptions need not wait for it.
    corrupt = import_module("imagecorruptions").corruption_dict[variant.corruption]
    own_seed = {"seed": seed} if variant.corruption in _SEEDED else {}
    # Where no drop falls on a small image, spatter divides nothing by nothing.
    with _numpy_seeded(seed), np.errstate(invalid="ignore"):
        corrupted = np.asarray(corrupt(Image.fromarray(padded), variant.severity, **own_seed))
    result = np.where(np.isnan(corrupted), padded, corrupted).astype(np.uint8)  # cut off as the module does it
    return np.ascontiguousarray(result[:height, :width])


def image_seed(variant: Variant, image_id: int) -> int:
    """A number below 2^32 for one corrupted image, the same in every process and on every machine."""
    digest = hashlib.sha256(f"{image_id}/{variant.corruption}/{variant.severity}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def library_versions() -> dict[str, str]:
    """Versions of all that computes a corrupted image; others may round differently."""
    return {name: version(name) for name in _LIBRARIES}


@contextmanager
def _numpy_seeded(seed: int) -> Iterator[None]:
    """Seed numpy's global generator for the block, and give it back as it was."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)

"""The synthetic ground truth behind the recorded losses of the published code."""

import numpy as np
import numpy.typing as npt

from benchmarks.official_parity.rules import CASE_A, Float32

ELLIPSES = (  # per image: center y, x, radius y, x as fractions of the image, label
    ((0.30, 0.30, 0.20, 0.15, 0), (0.65, 0.60, 0.22, 0.18, 17), (0.25, 0.75, 0.15, 0.12, 56)),
    ((0.50, 0.25, 0.25, 0.16, 2), (0.40, 0.70, 0.20, 0.20, 2), (0.80, 0.50, 0.12, 0.30, 79)),
)
STUFF_LABELS = ((80, 132), (100, 117))  # per image: above and below 0.55 of the height


def make_ground_truth(image: int) -> tuple[npt.NDArray[np.bool_], Float32, npt.NDArray[np.int64]]:
    """Make masks (5, h, w), boxes (5, 4) xyxy in pixels, and labels (5,) of image 0 or 1 of case a, without padding.

    Three things, then two stuff regions that divide the rest of the image.
    """
    height, width = CASE_A.valid[image]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    taken = np.zeros((height, width), bool)
    masks = []
    for center_y, center_x, radius_y, radius_x, _ in ELLIPSES[image]:
        distance = (((y + 0.5) / height - center_y) / radius_y) ** 2 + (((x + 0.5) / width - center_x) / radius_x) ** 2
        mask = (distance <= 1) & ~taken
        taken |= mask
        masks.append(mask)
    above = (y < 0.55 * height) & ~taken
    masks += [above, ~above & ~taken]
    labels = [ellipse[-1] for ellipse in ELLIPSES[image]] + list(STUFF_LABELS[image])
    pixels = [np.nonzero(mask) for mask in masks]
    boxes = [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] for rows, columns in pixels]
    return np.array(masks), np.array(boxes, np.float32), np.array(labels, np.int64)

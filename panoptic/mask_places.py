"""Where the set pixels of masks lie. By OpenCV: tens of times faster than sums along the axes of a stack of masks."""

import cv2
import numpy as np
from numpy.typing import NDArray


def mask_boxes(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The smallest xyxy boxes (N, 4) in pixels around the set pixels of masks (N, H, W); 0 where none is."""
    boxes = np.array([cv2.boundingRect(mask) for mask in masks.view(np.uint8)], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def mass_centres(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Centres of mass (N, 2) xy in pixels of masks (N, H, W); 0 where no pixel is set."""
    centres = np.zeros((len(masks), 2), np.float32)
    for centre, mask in zip(centres, masks.view(np.uint8), strict=True):
        left, top, width, height = cv2.boundingRect(mask)
        moments = cv2.moments(mask[top : top + height, left : left + width], binaryImage=True)
        if area := moments["m00"]:
            centre[:] = left + 0.5 + moments["m10"] / area, top + 0.5 + moments["m01"] / area
    return centres

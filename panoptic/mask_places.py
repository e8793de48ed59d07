"""Where the set pixels of masks lie. By OpenCV: tens of times faster than sums along the axes of a stack of masks."""

import cv2
import numpy as np
from numpy.typing import NDArray


def mask_boxes(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The smallest xyxy boxes (N, 4) in pixels around the set pixels of masks (N, H, W); 0 where none is."""
    boxes = np.array([cv2.boundingRect(mask) for mask in masks.view(np.uint8)], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def mass_centres(segments: NDArray[np.int16], boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Centres of mass (N, 2) xy in pixels of the segments 1..N of a map (H, W), which lie in so many boxes (N, 4).

    A segment without a pixel has its centre at 0.
    """
    centres = np.zeros((len(boxes_xyxy), 2), np.float32)
    for number, (left, top, right, bottom) in enumerate(boxes_xyxy.astype(int).tolist(), start=1):
        mask = segments[top:bottom, left:right] == number
        moments = cv2.moments(mask.view(np.uint8), binaryImage=True)
        if area := moments["m00"]:
            centres[number - 1] = left + 0.5 + moments["m10"] / area, top + 0.5 + moments["m01"] / area
    return centres

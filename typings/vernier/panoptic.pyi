from pathlib import Path

import numpy as np
from numpy.typing import NDArray

class ClassPanopticStats:
    pq: float
    sq: float
    rq: float
    n_tp: int
    n_fp: int
    n_fn: int
    iou_sum: float

class Summary:
    pq: float
    sq: float
    rq: float
    pq_things: float | None
    sq_things: float | None
    rq_things: float | None
    pq_stuff: float | None
    sq_stuff: float | None
    rq_stuff: float | None
    n: int
    def per_class(self) -> dict[int, ClassPanopticStats]: ...

class Dataset:
    @staticmethod
    def from_arrays(label_maps: dict[int, NDArray[np.uint32]], segments_info: bytes, categories: bytes) -> Dataset: ...

class Predictions:
    @staticmethod
    def from_arrays(label_maps: dict[int, NDArray[np.uint32]], segments_info: bytes) -> Predictions: ...

class Evaluator:
    def __init__(self, *, boundary: bool = False, dilation_ratio: float = 0.02) -> None: ...
    def evaluate(self, gt: Dataset, dt: Predictions) -> Summary: ...

def decode_label_map_png(path: Path) -> NDArray[np.uint32]: ...

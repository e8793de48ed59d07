"""Inputs and outputs of an ONNX file that merges, apart from the image, as its description lists them."""

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import torch

from model.assembly.tiles import instances_of
from model.export.inference_network import Output
from model.inference.bit_masks import Size
from model.inference.merging import MergingSettings, PredictedSegment
from model.inference.post_processing import PanopticPrediction
from panoptic.format.categories import CategoryTable

Outputs = Mapping[str, npt.NDArray[np.generic]]
"""Outputs of an ONNX file by name."""
ORIGINAL_SIZE = "original_size"
"""Input of the size of the map."""
PANOPTIC_INPUTS = (
    Output(ORIGINAL_SIZE, "(2,) int64", "height and width of the map; by default those of the input"),
    Output("score_threshold", "() float64", "least score of a segment"),
    Output("mask_threshold", "() float64", "value of a mask above which a pixel is inside"),
    Output("alpha", "() float64", "exponent of the class probability in the score"),
    Output("beta", "() float64", "exponent of the mask quality in the score"),
    Output("overlap_things", "() float64", "largest fraction of its area that a thing may lose to others"),
    Output("overlap_stuff", "() float64", "the same for stuff"),
)
"""All may be left out; the defaults of merging are those under `merging`."""
PANOPTIC_OUTPUTS = (
    Output("ids", "(H, W) int32", "segment of each pixel: 0 = void, i = row i - 1 of the other outputs"),
    Output("category_ids", "(S,) int64", "category of each segment, best score first, as in the dataset"),
    Output("is_thing", "(S,) bool", "whether it is a single object"),
    Output("scores", "(S,) float32", "class probability^alpha x mask quality^beta"),
    Output("areas", "(S,) int64", "pixels"),
    Output("boxes_xywh", "(S, 4) int64", "tightest box: left, top, width, height in pixels"),
    Output("embeddings", "(S, C) float32", "vector of each segment, similar for similar segments"),
    Output("finite", "() bool", "false if the network computed NaN or infinities, which makes the rest meaningless"),
)
"""The map and the table of its S segments."""


def panoptic_inputs(settings: MergingSettings, original: Size) -> dict[str, npt.NDArray[np.generic]]:
    """Return all inputs but the image, in their types: a threshold may be the integer 0 or 1."""
    values = asdict(settings) | {ORIGINAL_SIZE: original}
    return {option.name: np.array(values[option.name], option.shape.rpartition(" ")[2]) for option in PANOPTIC_INPUTS}


def as_prediction(found: Outputs, categories: CategoryTable) -> PanopticPrediction:
    """Read a map and its table as a prediction, whose instances are the things of the map."""
    columns = (found[name].tolist() for name in ("category_ids", "scores", "areas", "is_thing"))
    segments = tuple(
        PredictedSegment(row + 1, categories.label_of(category_id), score, area, is_thing, row)
        for row, (category_id, score, area, is_thing) in enumerate(zip(*columns, strict=True))
    )
    ids = found["ids"].astype(np.int32, copy=False)
    return PanopticPrediction(ids, segments, instances_of(ids, segments), torch.from_numpy(found["embeddings"]))

"""The merging part of an exported file alone, to be run on masks made by hand."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from onnxscript import ir

from model.export.files import OPSET, shrink
from model.export.inference_network import INPUT
from model.export.onnx_inference import open_onnx, run_onnx
from model.export.onnx_panoptic import end_in_panoptic_map
from model.inference.merging import MergingSettings
from model.inference.post_processing import FoundMasks, ImageSizes, PanopticPrediction
from panoptic.format.categories import Category, CategoryTable

THINGS, STUFF = 3, 2
CATEGORIES = CategoryTable(
    tuple(Category(10 + index, f"thing {index}", True, (index, 0, 0)) for index in range(THINGS)),
    tuple(Category(90 + index, f"stuff {index}", False, (index, 9, 0)) for index in range(STUFF)),
)


class MergingGraph:
    """Runs merging by ONNX Runtime, for any number of masks of any size."""

    def __init__(self, settings: MergingSettings) -> None:
        network: dict[str, tuple[str, list[int | str]]] = {
            "masks": ("float32", [1, "N", "h", "w"]),
            "labels": ("int64", [1, "N"]),
            "probabilities": ("float32", [1, "N"]),
            "queries": ("float32", [1, "N", "C"]),
        }
        inputs = [_value(INPUT, "float32", [1, 3, "height", "width"])]
        graph = ir.Graph(inputs, [], nodes=[], name="merging", opset_imports={"": OPSET})
        given = [_value(f"given_{name}", dtype, shape) for name, (dtype, shape) in network.items()]
        for name, value in zip(network, given, strict=True):
            node = ir.Node("", "Identity", [value], outputs=[ir.Value(name=name)])
            graph.append(node)
            graph.outputs.append(node.outputs[0])
        model = ir.Model(graph, ir_version=10)
        end_in_panoptic_map(model, CATEGORIES, settings)
        graph.inputs.extend(given)
        shrink(model)
        content = ir.to_proto(model).SerializeToString()
        self._session = open_onnx(content)

    def __call__(
        self,
        masks: torch.Tensor,
        labels: torch.Tensor,
        probabilities: torch.Tensor,
        options: Mapping[str, object] = MappingProxyType({}),
    ) -> dict[str, np.ndarray]:
        """Merge masks (N, h, w); the map has their size unless `original_size` is among the options."""
        height, width = masks.shape[1:]
        given = {"masks": masks, "labels": labels, "probabilities": probabilities, "queries": queries(len(masks))}
        inputs = {f"given_{name}": tensor[None].numpy() for name, tensor in given.items()}
        inputs[INPUT] = np.zeros((1, 3, height, width), np.float32)
        inputs |= {name: np.asarray(value) for name, value in options.items()}
        return run_onnx(self._session, inputs)


def ours(
    masks: torch.Tensor,
    labels: torch.Tensor,
    probabilities: torch.Tensor,
    settings: MergingSettings,
    size: tuple[int, int] | None = None,
) -> PanopticPrediction:
    """Merge by the project."""
    original = size or (masks.shape[1], masks.shape[2])
    sizes = ImageSizes(original, original, original)
    boxes = torch.zeros(len(masks), 4)
    found = FoundMasks(masks, labels, probabilities, boxes, queries(len(masks)), len(masks), THINGS, sizes)
    return found.merge(settings)


def require_equal(found: Mapping[str, np.ndarray], expected: PanopticPrediction) -> None:
    """Check that maps and tables are equal, scores up to the order of their sums."""
    np.testing.assert_array_equal(found["ids"], expected.ids)
    segments = expected.segments
    assert found["category_ids"].tolist() == [CATEGORIES.category_of(one.label).id for one in segments]
    assert found["is_thing"].tolist() == [one.is_thing for one in segments]
    assert found["areas"].tolist() == [one.area for one in segments]
    np.testing.assert_allclose(found["scores"], [one.score for one in segments], rtol=1e-5)
    assert [int(row[0]) for row in found["embeddings"]] == [one.candidate for one in segments]
    assert found["boxes_xywh"].tolist() == [_box(expected.ids == one.id) for one in segments]


def queries(number: int) -> torch.Tensor:
    """Return vectors (N, 2) of which each begins with its index."""
    return torch.arange(number, dtype=torch.float32)[:, None].expand(-1, 2).contiguous()


def _box(pixels: np.ndarray) -> list[int]:
    rows, columns = (np.flatnonzero(pixels.any(axis)) for axis in (1, 0))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]


def _value(name: str, dtype: str, shape: list[int | str]) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(ir.DataType.from_numpy(np.dtype(dtype))), shape=ir.Shape(shape))

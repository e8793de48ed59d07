"""The end of an ONNX file that merges: from the network's outputs to a panoptic map and a table of its segments."""

import re
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
from onnxscript import ir

from model.export.inference_network import STUFF_OUTPUTS, Output
from model.export.onnx_merging import Found, merge_masks
from model.export.onnx_ops import Ops
from model.export.panoptic_outputs import ORIGINAL_SIZE, PANOPTIC_INPUTS, PANOPTIC_OUTPUTS
from model.inference.merging import MergingSettings
from panoptic.format.categories import CategoryTable


def end_in_panoptic_map(model: ir.Model, categories: CategoryTable, settings: MergingSettings) -> None:
    """Add merging to a network for single images, in place of its outputs.

    The size of the map and the settings become inputs with defaults: that of the input, and `settings`.
    """
    graph, ops = model.graph, Ops()
    (images,) = graph.inputs
    assert images.shape is not None
    images.shape = ir.Shape([1, *images.shape[1:]])
    tensors = {str(value.name): value for value in graph.outputs}
    size = _option(graph, ORIGINAL_SIZE, np.zeros(2, np.int64))
    values = asdict(settings)
    names = [option.name for option in PANOPTIC_INPUTS if option.name != ORIGINAL_SIZE]
    given = {name: _option(graph, name, np.float64(values[name])) for name in names}
    network_size = ops("Slice", ops("Shape", images), np.array([2]), np.array([4]))
    chosen = ops("Where", ops("Greater", size, np.int64(0)), size, network_size)
    outputs = panoptic_outputs(ops, tensors, chosen, given, categories)
    graph.outputs.clear()
    graph.outputs.extend(_described(outputs[output.name], output) for output in PANOPTIC_OUTPUTS)
    graph.extend(ops.nodes)


def panoptic_outputs(
    ops: Ops,
    tensors: Mapping[str, ir.Value],
    size: ir.Value,
    settings: Mapping[str, ir.Value],
    categories: CategoryTable,
) -> dict[str, ir.Value]:
    """Add the nodes from the outputs of `InferenceNetwork` for one image to `PANOPTIC_OUTPUTS`, by name."""
    num_things, num_classes = len(categories.things), len(categories)
    parts = {name: ops("Squeeze", value, np.array([0])) for name, value in tensors.items()}
    found = Found(parts["masks"], parts["labels"], parts["probabilities"])
    queries = parts["queries"]
    if STUFF_OUTPUTS[0].name in parts:
        found = Found(
            ops("Concat", found.masks, parts["stuff_masks"], axis=0),
            ops("Concat", found.labels, np.arange(num_things, num_classes), axis=0),
            ops("Concat", found.probabilities, parts["stuff_probabilities"], axis=0),
        )
        queries = ops("Concat", queries, parts["stuff_queries"], axis=0)
    segments = merge_masks(ops, found, size, settings, num_things, num_classes)
    labels = ops("Gather", found.labels, segments.candidates)
    return {
        "ids": segments.ids,
        "category_ids": ops("Gather", np.array([category.id for category in categories]), labels),
        "is_thing": ops("Less", labels, np.int64(num_things)),
        "scores": segments.scores,
        "areas": segments.areas,
        "boxes_xywh": segments.boxes,
        "embeddings": ops("Gather", queries, segments.candidates),
        "finite": _finite(ops, found),
    }


def _finite(ops: Ops, found: Found) -> ir.Value:
    """Tell whether all numbers are finite, by the sums of masks, which are not negative, and of probabilities."""
    sums = (ops("ReduceSum", part, keepdims=0) for part in (found.masks, found.probabilities))
    total = ops("Add", *sums)
    return ops("Not", ops("Or", ops("IsNaN", total), ops("IsInf", total)))


def _option(graph: ir.Graph, name: str, default: npt.NDArray[np.generic] | np.generic) -> ir.Value:
    """Add an input with a default."""
    tensor = ir.tensor(np.asarray(default), name=name)
    value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(default.shape), const_value=tensor)
    graph.inputs.append(value)
    graph.register_initializer(value)
    return value


def _described(value: ir.Value, output: Output) -> ir.Value:
    """Name an output, and declare its type and its shape."""
    shape, _, dtype = output.shape.rpartition(" ")
    value.name = output.name
    value.type = ir.TensorType(ir.DataType.from_numpy(np.dtype(dtype)))
    value.shape = ir.Shape([int(side) if side.isdigit() else side for side in re.findall(r"\w+", shape)])
    return value

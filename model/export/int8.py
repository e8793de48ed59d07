"""Weights of an ONNX file as int8, with one scale for each output channel; all computation stays in float32."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnxscript import ir

from panoptic.io.files import naming_disk_errors

LEAST = 256
"""Number of values from which on a weight is worth its scales."""
LARGEST = 127
_FLOAT = npt.NDArray[np.float32]


def quantize_weights(source: Path, target: Path) -> int:
    """Write a file with the weights of another as int8.

    Returns:
        The number of weights that were changed.
    """
    model = ir.load(source)
    weights = [value for value in model.graph.initializers.values() if _is_weight(value)]
    for weight in weights:
        _replace(model.graph, weight)
    with naming_disk_errors(target):
        ir.save(model, target)
    return len(weights)


def _is_weight(value: ir.Value) -> bool:
    tensor = value.const_value
    assert tensor is not None
    return tensor.dtype == ir.DataType.FLOAT and len(tensor.shape) >= 2 and tensor.size >= LEAST


def _replace(graph: ir.Graph, weight: ir.Value) -> None:
    """Let a node make the weight from its int8 values whenever the file runs."""
    assert weight.const_value is not None
    assert weight.name is not None
    values, scales = quantized(weight.const_value.numpy())
    parts = []
    for name, part in (("int8", values), ("scales", scales)):
        tensor = ir.tensor(part, name=f"{weight.name}_{name}")
        value = ir.Value(
            name=tensor.name,
            type=ir.TensorType(tensor.dtype),
            shape=weight.shape if name == "int8" else ir.Shape(scales.shape),
            const_value=tensor,
        )
        graph.register_initializer(value)
        parts.append(value)
    restored = ir.Value(name=f"{weight.name}_restored", type=weight.type, shape=weight.shape)
    node = ir.Node("", "DequantizeLinear", parts, [ir.AttrInt64("axis", 0)], outputs=[restored])
    weight.replace_all_uses_with(restored)
    graph.initializers.pop(weight.name)
    graph.insert_before(graph[0], node)


def quantized(weight: _FLOAT) -> tuple[npt.NDArray[np.int8], _FLOAT]:
    """Round a weight (O, ...) to multiples of its channels' scales (O,): its int8 values, and the scales."""
    largest = np.abs(weight.reshape(len(weight), -1)).max(1)
    scales = np.where(largest > 0, largest / LARGEST, 1).astype(np.float32)
    steps = np.round(weight / scales.reshape(-1, *[1] * (weight.ndim - 1)))
    return steps.clip(-LARGEST, LARGEST).astype(np.int8), scales

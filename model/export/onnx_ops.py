"""Building ONNX graphs node by node, for the parts of an exported file that are not a network."""

from collections.abc import Callable, Sequence
from itertools import count
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from onnxscript import ir

Operand: TypeAlias = ir.Value | npt.NDArray[np.generic] | np.generic
"""A value of the graph, or a constant."""
Attribute: TypeAlias = int | str | ir.Graph | ir.TensorProtocol | Sequence[int]
Carried: TypeAlias = tuple[ir.Value, ir.DataType, int]
"""A value before the first turn of a loop, its type and its number of axes."""
Step: TypeAlias = Callable[["Ops", ir.Value, Sequence[ir.Value]], Sequence[ir.Value]]
"""Body of a loop, from its operations, the number of the turn and the carried values to the next ones and more values,
which the loop stacks."""

PREFIX = "merging"


class Ops:
    """Operations of one graph or loop body: `ops("Add", a, b)` adds a node and returns its output."""

    def __init__(self, numbers: "count[int] | None" = None) -> None:
        self._tape = ir.tape.Tape()
        # Shared with the bodies of loops: no name may hide one outside.
        self._numbers = count() if numbers is None else numbers

    @property
    def nodes(self) -> Sequence[ir.Node]:
        """All nodes, in the order in which they have to run."""
        return self._tape.nodes

    def __call__(self, op: str, *operands: Operand, **attributes: Attribute) -> ir.Value:
        """Add a node with one output."""
        inputs = [self._value(operand) for operand in operands]
        return self._tape.op(op, inputs, attributes, output=self._new(op))

    def several(self, op: str, outputs: int, *operands: Operand, **attributes: Attribute) -> Sequence[ir.Value]:
        """Add a node with several outputs."""
        inputs = [self._value(operand) for operand in operands]
        return self._tape.op_multi_out(op, inputs, attributes, outputs=[self._new(op) for _ in range(outputs)])

    def cast(self, operand: Operand, dtype: ir.DataType) -> ir.Value:
        """Convert to another type."""
        return self("Cast", operand, to=int(dtype))

    def loop(self, turns: ir.Value, initial: Sequence[Carried], stacked: int, step: Step) -> Sequence[ir.Value]:
        """Repeat a step and return the carried values after the last turn, then the stacked ones.

        Args:
            turns: their number.
            initial: carried values before the first turn.
            stacked: number of values that the step returns after the carried ones.
            step: body of the loop; may use values outside of it.
        """
        body = Ops(self._numbers)
        index, going = self._new("turn", ir.DataType.INT64), self._new("going", ir.DataType.BOOL)
        carried = [self._new("carried", dtype, axes) for _, dtype, axes in initial]
        outputs = [body("Identity", going), *step(body, index, carried)]
        graph = ir.Graph([index, going, *carried], outputs, nodes=body.nodes, name=self._new("body").name)
        given = (value for value, _, _ in initial)
        return self.several("Loop", len(initial) + stacked, turns, np.bool_(True), *given, body=graph)

    def _value(self, operand: Operand) -> ir.Value:
        if isinstance(operand, ir.Value):
            return operand
        tensor = ir.tensor(np.asarray(operand))
        return self._tape.op("Constant", [], {"value": tensor}, output=self._new("constant"))

    def _new(self, name: str, dtype: ir.DataType | None = None, axes: int = 0) -> ir.Value:
        name = f"{PREFIX}_{next(self._numbers)}_{name}"
        if dtype is None:
            return ir.Value(name=name)
        return ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape([None] * axes))

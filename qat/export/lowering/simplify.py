"""Removes operators that are not needed, or that are fused into the one before; what the file computes stays the same.

TensorFlow's converter does the same, so that no file has more operators than its.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qat.export.lowering.planned_ops import FUSED, OPERATOR, Constant, PlannedOp, Value
from qat.export.lowering.scales import Grid

INTEGER_DTYPES = ("int8", "uint8", "int16", "int32", "int64")
ACTIVATIONS = {OPERATOR.RELU: FUSED.RELU, OPERATOR.RELU6: FUSED.RELU6}


class Uses:
    """Planned operators in order, the consumers of each value, and the graph's inputs and outputs."""

    def __init__(self, ops: Sequence[PlannedOp], inputs: Sequence[Value], outputs: Sequence[Value]) -> None:
        self.ops, self.inputs, self.outputs = list(ops), list(inputs), list(outputs)
        self.requantized: dict[tuple[Value, Grid], Value] = {}
        self.consumers: dict[Value, list[PlannedOp]] = {}
        for op in ops:
            for value in op.values_read:
                self.consumers.setdefault(value, []).append(op)

    def is_read_once(self, value: Value) -> bool:
        """Whether one operator reads the value and it is no output."""
        return len(self.consumers.get(value, [])) == 1 and value not in self.outputs

    def redirect(self, op: PlannedOp, old: Value, new: Value) -> None:
        """Let one operator read another value.

        Args:
            op: the operator whose inputs are changed, in place.
            old: the value that it reads now.
            new: the value that it reads then, of the same shape and dtype.
        """
        op.inputs = [new if each is old else each for each in op.inputs]
        self.consumers[old] = [each for each in self.consumers[old] if each is not op]
        self.consumers.setdefault(new, []).append(op)

    def replace(self, old: Value, new: Value) -> None:
        """Let all consumers of a value, and the outputs, read another one.

        Args:
            old: the value that they read now.
            new: the value that they read then, of the same shape and dtype.
        """
        for op in list(dict.fromkeys(self.consumers.get(old, []))):
            self.redirect(op, old, new)
        self.outputs = [new if each is old else each for each in self.outputs]

    def insert_after(self, op: PlannedOp, new: PlannedOp) -> None:
        """Compute an operator next, behind another one.

        Args:
            op: an operator of `ops`.
            new: the operator to insert.
        """
        self.ops.insert(self.ops.index(op) + 1, new)
        for value in new.values_read:
            self.consumers.setdefault(value, []).append(new)

    def drop_unused(self) -> None:
        """Remove operators whose outputs are not read."""
        needed = []
        for op in reversed(self.ops):
            if any(self.consumers.get(value) or value in self.outputs for value in op.outputs):
                needed.append(op)
                continue
            for value in op.values_read:
                self.consumers[value] = [each for each in self.consumers[value] if each is not op]
        self.ops = needed[::-1]


def simplify(uses: Uses) -> None:
    """Apply all rules, in the order of the operators; `uses` is changed."""
    for value in uses.inputs:
        _quantize_input(uses, value)
    for op in list(uses.ops):
        rule = _RULES.get(op.operator)
        if rule is not None:
            rule(uses, op)
    uses.drop_unused()


def _quantize_input(uses: Uses, value: Value) -> None:
    """A float input that is read on one grid only becomes codes on that grid."""
    consumers = uses.consumers.get(value, [])
    if not consumers or not value.represents_reals or value.grid is not None or value in uses.outputs:
        return
    grids = {op.outputs[0].grid for op in consumers}
    if len(grids) == 1 and all(op.operator == OPERATOR.QUANTIZE for op in consumers):
        value.representation.grid, value.representation.is_real = grids.pop(), False


def _drop_requantize(uses: Uses, op: PlannedOp) -> None:
    """A QUANTIZE of codes that are on its grid already, or that another QUANTIZE has put on it."""
    source, output = op.inputs[0], op.outputs[0]
    if not isinstance(source, Value) or output.grid is None:
        return
    if source.grid == output.grid:
        uses.replace(output, source)
    elif uses.requantized.setdefault((source, output.grid), output) is not output:
        uses.replace(output, uses.requantized[source, output.grid])


def _cast(uses: Uses, op: PlannedOp) -> None:
    """int -> float32 -> codes becomes int -> int32 of scale 1 -> codes: QUANTIZE takes int32 as well."""
    source, output = op.inputs[0], op.outputs[0]
    if not isinstance(source, Value) or source.dtype not in INTEGER_DTYPES or output.dtype != "float32":
        return
    consumers = uses.consumers.get(output, [])
    if output.grid is not None:
        integers = Value([f"{output.names[0]}/whole"], output.shape, output.sizes, "int32")
        op.outputs, integers.producer = [integers], op
        uses.insert_after(op, PlannedOp(OPERATOR.QUANTIZE, [integers], [output]))
    elif consumers and all(consumer.operator == OPERATOR.QUANTIZE for consumer in consumers):
        output.dtype = "int32"
    else:
        return
    options: schema.CastOptionsT = op.options
    options.outDataType = schema.TensorType.INT32


def _perm(op: PlannedOp | None) -> list[int] | None:
    """The permutation of a TRANSPOSE; None of other operators."""
    if op is None or op.operator != OPERATOR.TRANSPOSE or not isinstance(op.inputs[1], Constant):
        return None
    return [int(axis) for axis in op.inputs[1].values]


def _swaps_matrices(op: PlannedOp | None) -> bool:
    """Whether a TRANSPOSE exchanges the last two axes and no other."""
    perm = _perm(op)
    return perm is not None and len(perm) > 1 and perm == [*range(len(perm) - 2), len(perm) - 1, len(perm) - 2]


def _transpose(uses: Uses, op: PlannedOp) -> None:
    """Two in a row become one or none; the transpose of a product becomes a product in the other order."""
    source, constant, perm = op.inputs[0], op.inputs[1], _perm(op)
    if not isinstance(source, Value) or not isinstance(constant, Constant) or perm is None:
        return
    before, inner = source.producer, _perm(source.producer)
    if before is not None and inner is not None and isinstance(before.inputs[0], Value):
        both = [inner[axis] for axis in perm]
        uses.redirect(op, source, before.inputs[0])
        op.inputs[1] = Constant(constant.name, np.array(both, np.int32))
        if both == sorted(both):
            uses.replace(op.outputs[0], before.inputs[0])
    elif before is not None and _swaps_matrices(op) and uses.is_read_once(source):
        _swap_operands(uses, before, op)


def _swap_operands(uses: Uses, product: PlannedOp, op: PlannedOp) -> None:
    """(A B)^T as B^T A^T, where A or B is transposed already."""
    options: schema.BatchMatMulOptionsT = product.options
    if product.operator != OPERATOR.BATCH_MATMUL or not (options.adjX or options.adjY):
        return
    product.inputs = product.inputs[::-1]
    options.adjX, options.adjY = not options.adjY, not options.adjX
    intermediate, output = product.outputs[0], op.outputs[0]
    output.names = [*output.names, *intermediate.names]
    product.outputs, output.producer = [output], product
    uses.consumers[intermediate] = []
    uses.ops.remove(op)


def _product(uses: Uses, op: PlannedOp) -> None:
    """A transposed operand is read before its transpose, and the product transposes it."""
    for index, flag in enumerate(("adjX", "adjY")):
        operand = op.inputs[index]
        if isinstance(operand, Value) and _swaps_matrices(operand.producer) and op.inputs.count(operand) == 1:
            source = operand.producer.inputs[0] if operand.producer is not None else None
            if isinstance(source, Value):
                uses.redirect(op, operand, source)
                setattr(op.options, flag, not getattr(op.options, flag))


def _relu(uses: Uses, op: PlannedOp) -> None:
    """An activation on the grid of its input is fused into the operator before it, through reshapes."""
    value, output = op.inputs[0], op.outputs[0]
    if not isinstance(value, Value) or value.grid is None or value.grid != output.grid:
        return
    source: Value | None = value
    while source is not None and uses.is_read_once(source) and source.producer is not None:
        before = source.producer
        if before.fused_activation == FUSED.NONE:
            before.fuse(ACTIVATIONS[op.operator])
            source.names = [*output.names, *source.names]
            uses.replace(output, value)
            return
        first = before.inputs[0]
        source = first if before.operator == OPERATOR.RESHAPE and isinstance(first, Value) else None


_RULES: dict[int, Callable[[Uses, PlannedOp], None]] = {
    OPERATOR.BATCH_MATMUL: _product,
    OPERATOR.CAST: _cast,
    OPERATOR.QUANTIZE: _drop_requantize,
    OPERATOR.RELU: _relu,
    OPERATOR.RELU6: _relu,
    OPERATOR.TRANSPOSE: _transpose,
}

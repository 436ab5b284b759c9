"""Steps that are not needed, or that the step before them does in passing; what the file computes stays the same.

TensorFlow's converter does the same, so that no file has more operators than its.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qat.export.lowering.planned_ops import FUSED, FUSES_RELU, OPERATOR, Constant, Step, Value
from qat.export.lowering.scales import Grid

WHOLE = ("int8", "uint8", "int16", "int32", "int64")
ACTIVATIONS = {OPERATOR.RELU: FUSED.RELU, OPERATOR.RELU6: FUSED.RELU6}


class Uses:
    """Steps in order, who reads each value, and the values that come out of the graph."""

    def __init__(self, steps: Sequence[Step], inputs: Sequence[Value], outputs: Sequence[Value]) -> None:
        self.steps, self.inputs, self.outputs = list(steps), list(inputs), list(outputs)
        self.requantized: dict[tuple[Value, Grid], Value] = {}
        self.readers: dict[Value, list[Step]] = {}
        for step in steps:
            for value in step.values_read:
                self.readers.setdefault(value, []).append(step)

    def is_read_once(self, value: Value) -> bool:
        return len(self.readers.get(value, [])) == 1 and value not in self.outputs

    def read_instead(self, step: Step, old: Value, new: Value) -> None:
        """One step reads another value."""
        step.inputs = [new if each is old else each for each in step.inputs]
        self.readers[old] = [each for each in self.readers[old] if each is not step]
        self.readers.setdefault(new, []).append(step)

    def replace(self, old: Value, new: Value) -> None:
        """All that read one value read another."""
        for step in list(dict.fromkeys(self.readers.get(old, []))):
            self.read_instead(step, old, new)
        self.outputs = [new if each is old else each for each in self.outputs]

    def drop_unread(self) -> None:
        """Take out steps whose results nobody reads."""
        kept = []
        for step in reversed(self.steps):
            if any(self.readers.get(value) or value in self.outputs for value in step.outputs):
                kept.append(step)
                continue
            for value in step.values_read:
                self.readers[value] = [each for each in self.readers[value] if each is not step]
        self.steps = kept[::-1]


def simplify(uses: Uses) -> None:
    """Apply all rules, in the order of the steps; `uses` is changed."""
    for value in uses.inputs:
        _quantize_at_once(uses, value)
    for step in list(uses.steps):
        rule = _RULES.get(step.operator)
        if rule is not None:
            rule(uses, step)
    uses.drop_unread()


def _quantize_at_once(uses: Uses, value: Value) -> None:
    """A real input that is read on one grid alone is codes on that."""
    readers = uses.readers.get(value, [])
    if not readers or not value.stands_for_reals or value.grid is not None or value in uses.outputs:
        return
    grids = {step.outputs[0].grid for step in readers}
    if len(grids) == 1 and all(step.operator == OPERATOR.QUANTIZE for step in readers):
        value.held.grid, value.held.real = grids.pop(), False


def _requantized(uses: Uses, step: Step) -> None:
    """Codes that are on that grid already, or that another step has put on it."""
    source, made = step.inputs[0], step.outputs[0]
    if not isinstance(source, Value) or made.grid is None:
        return
    if source.grid == made.grid:
        uses.replace(made, source)
    elif uses.requantized.setdefault((source, made.grid), made) is not made:
        uses.replace(made, uses.requantized[source, made.grid])


def _cast(uses: Uses, step: Step) -> None:
    """int to real to codes as int to int32 in steps of 1 to codes: QUANTIZE takes int32 as well."""
    source, made = step.inputs[0], step.outputs[0]
    if not isinstance(source, Value) or source.dtype not in WHOLE or made.dtype != "float32":
        return
    behind = uses.readers.get(made, [])
    if made.grid is not None:
        whole = Value([f"{made.names[0]}/whole"], made.shape, made.sizes, "int32")
        step.outputs, whole.producer = [whole], step
        quantize = Step(OPERATOR.QUANTIZE, [whole], [made])
        uses.steps.insert(uses.steps.index(step) + 1, quantize)
        uses.readers[whole] = [quantize]
    elif behind and all(reader.operator == OPERATOR.QUANTIZE for reader in behind):
        made.dtype = "int32"
    else:
        return
    step.options.outDataType = schema.TensorType.INT32


def _perm(step: Step | None) -> list[int] | None:
    """Of a TRANSPOSE."""
    if step is None or step.operator != OPERATOR.TRANSPOSE or not isinstance(step.inputs[1], Constant):
        return None
    return [int(axis) for axis in step.inputs[1].values]


def _swaps_matrices(step: Step | None) -> bool:
    """Whether a TRANSPOSE exchanges the last two axes and no other."""
    perm = _perm(step)
    return perm is not None and len(perm) > 1 and perm == [*range(len(perm) - 2), len(perm) - 1, len(perm) - 2]


def _transpose(uses: Uses, step: Step) -> None:
    """Two in a row are one or none; one of a product is a product the other way round."""
    source, told, perm = step.inputs[0], step.inputs[1], _perm(step)
    if not isinstance(source, Value) or not isinstance(told, Constant) or perm is None:
        return
    before, inner = source.producer, _perm(source.producer)
    if before is not None and inner is not None and isinstance(before.inputs[0], Value):
        both = [inner[axis] for axis in perm]
        uses.read_instead(step, source, before.inputs[0])
        step.inputs[1] = Constant(told.name, np.array(both, np.int32))
        if both == sorted(both):
            uses.replace(step.outputs[0], before.inputs[0])
    elif before is not None and _swaps_matrices(step) and uses.is_read_once(source):
        _turn_product(uses, before, step)


def _turn_product(uses: Uses, product: Step, step: Step) -> None:
    """(A B)^T as B^T A^T, where A or B is transposed already."""
    if product.operator != OPERATOR.BATCH_MATMUL or not (product.options.adjX or product.options.adjY):
        return
    options = product.options
    product.inputs = product.inputs[::-1]
    options.adjX, options.adjY = not options.adjY, not options.adjX
    turned, made = product.outputs[0], step.outputs[0]
    made.names = [*made.names, *turned.names]
    product.outputs, made.producer = [made], product
    uses.readers[turned] = []
    uses.steps.remove(step)


def _product(uses: Uses, step: Step) -> None:
    """A transposed operand is read as it was before."""
    for at, flag in enumerate(("adjX", "adjY")):
        operand = step.inputs[at]
        if isinstance(operand, Value) and _swaps_matrices(operand.producer) and step.inputs.count(operand) == 1:
            source = operand.producer.inputs[0] if operand.producer is not None else None
            if isinstance(source, Value):
                uses.read_instead(step, operand, source)
                setattr(step.options, flag, not getattr(step.options, flag))


def _relu(uses: Uses, step: Step) -> None:
    """On the grid of what it reads, an activation is one of the op before it, through reshapes."""
    value, made = step.inputs[0], step.outputs[0]
    if not isinstance(value, Value) or value.grid is None or value.grid != made.grid:
        return
    source: Value | None = value
    while source is not None and uses.is_read_once(source) and source.producer is not None:
        before = source.producer
        if before.operator in FUSES_RELU and before.options.fusedActivationFunction == FUSED.NONE:
            before.options.fusedActivationFunction = ACTIVATIONS[step.operator]
            source.names = [*made.names, *source.names]
            uses.replace(made, value)
            return
        first = before.inputs[0]
        source = first if before.operator == OPERATOR.RESHAPE and isinstance(first, Value) else None


_RULES: dict[int, Callable[[Uses, Step], None]] = {
    OPERATOR.BATCH_MATMUL: _product,
    OPERATOR.CAST: _cast,
    OPERATOR.QUANTIZE: _requantized,
    OPERATOR.RELU: _relu,
    OPERATOR.RELU6: _relu,
    OPERATOR.TRANSPOSE: _transpose,
}

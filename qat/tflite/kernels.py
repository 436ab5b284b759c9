"""Large kernels put where their stand-ins are (see `qat.stand_in`), with their own scales and biases."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from qat.errors import ModelError
from qat.stand_in import FIRST_MARK, KernelStandIn, KernelWeights
from qat.tflite.barriers import drop_unused_tensors
from qat.tflite.borders import operator_of

_ABSENT = -1  # an optional input that is not given
_PRODUCTS = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.FULLY_CONNECTED)
_WIDEST = 127  # the code of a weight as large as its range
_LARGEST_BIAS = 2**31 - 1


def place_kernels(content: Any, stand_ins: Sequence[KernelStandIn]) -> None:
    """Replace each stand-in by the kernel that it stands for. `content`: a `ModelT`, in place.

    Raises:
        ModelError: a stand-in is not in the file, which means that the converter has changed its form.
    """
    if not stand_ins:
        return
    ops: dict[int, list[Any]] = {}
    for op in content.subgraphs[0].operators:
        ops.setdefault(mark_of(content, op), []).append(op)
    for stand_in in stand_ins:
        found = ops.get(round(stand_in.mark), [])
        if not found:
            raise ModelError(
                f"layer {stand_in.layer!r}: its kernel of {stand_in.shape} has no place in the converted file"
            )
        _place(content, found, stand_in.weights())
    drop_unused_tensors(content.subgraphs[0])


def mark_of(content: Any, op: Any) -> int:
    """The size of a product's weights, if it is one for all of them and no trained layer's; else 0."""
    if operator_of(content, op) not in _PRODUCTS:
        return 0
    tensor = content.subgraphs[0].tensors[op.inputs[1]]
    scales, data = getattr(tensor.quantization, "scale", None), content.buffers[tensor.buffer].data
    if tensor.type != schema.TensorType.INT8 or data is None or scales is None or not len(scales):
        return 0
    size = float(scales[0]) * _WIDEST
    if size < FIRST_MARK - 0.5 or np.any(scales != scales[0]):
        return 0
    return round(size) if np.all(np.abs(np.asarray(data, np.uint8).view(np.int8)) == _WIDEST) else 0


def _place(content: Any, ops: list[Any], weights: KernelWeights) -> None:
    tensors = content.subgraphs[0].tensors
    kernel = copy(tensors[ops[0].inputs[1]])
    kernel.buffer = _buffer(content, np.moveaxis(weights.codes, -1, 0))
    kernel.quantization = _grid(weights.scales)
    place = _added(tensors, kernel)
    for op in ops:
        source, _, old = (int(index) for index in op.inputs)
        step = weights.scales * np.float32(tensors[source].quantization.scale[0])
        bias = old if old == _ABSENT else _added(tensors, _bias(content, tensors[old], weights, step))
        op.inputs = [source, place, bias]


def _bias(content: Any, old: Any, weights: KernelWeights, step: NDArray[np.float32]) -> Any:
    """int32, at the scale of the input times that of the kernel; zeros where the converter alone wanted one."""
    real = weights.bias if weights.bias is not None else np.zeros(old.shape, np.float32)
    bias = copy(old)
    bias.buffer, bias.quantization = _buffer(content, bias_codes(real, step)), _grid(step)
    return bias


def bias_codes(bias: NDArray[np.float32], step: Any) -> NDArray[np.int32]:
    """Real biases on the grid of the accumulators, int32."""
    codes = np.round(bias / step).astype(np.float64)  # in float32 the largest of all codes would wrap around
    return np.clip(codes, -_LARGEST_BIAS, _LARGEST_BIAS).astype(np.int32)


def _added(tensors: list[Any], tensor: Any) -> int:
    tensors.append(tensor)
    return len(tensors) - 1


def _buffer(content: Any, data: NDArray) -> int:
    buffer = schema.BufferT()
    buffer.data = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    content.buffers.append(buffer)
    return len(content.buffers) - 1


def _grid(scales: NDArray[np.float32]) -> Any:
    """Scales along the first axis, zero points 0."""
    made = schema.QuantizationParametersT()
    made.scale, made.zeroPoint, made.quantizedDimension = scales, np.zeros(len(scales), np.int64), 0
    return made

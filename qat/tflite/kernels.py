"""Kernels and biases put where their stand-ins are (see `qat.stand_in`), with their own scales."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from qat.stand_in import FIRST_MARK, KernelStandIn, StandInLost
from qat.tflite.barriers import drop_unused_tensors
from qat.tflite.borders import operator_of

_ABSENT = -1  # an optional input that is not given
_DEPTHWISE = schema.BuiltinOperator.DEPTHWISE_CONV_2D
_PRODUCTS = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.FULLY_CONNECTED, _DEPTHWISE)
_WIDEST = 127  # the code of a weight as large as its range
_LARGEST_BIAS = 2**31 - 1


def place_kernels(content: Any, stand_ins: Sequence[KernelStandIn]) -> None:
    """Replace each stand-in by the kernel that it stands for. `content`: a `ModelT`, in place.

    Raises:
        StandInLost: one is not in the file, in one place and the kernel's shape.
    """
    if not stand_ins:
        return
    ops: dict[int, list[Any]] = {}
    for op in content.subgraphs[0].operators:
        ops.setdefault(mark_of(content, op), []).append(op)
    for stand_in in stand_ins:
        found = ops.get(round(stand_in.mark), [])
        if len(found) != 1:
            raise StandInLost(f"layer {stand_in.layer!r}: its kernel has {len(found)} places in the converted file")
        _place(content, found[0], stand_in)
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


def _place(content: Any, op: Any, stand_in: KernelStandIn) -> None:
    tensors, weights = content.subgraphs[0].tensors, stand_in.weights()
    source, old, bias = [*map(int, op.inputs), _ABSENT][:3]
    depthwise = operator_of(content, op) == _DEPTHWISE
    codes = weights.codes.transpose(2, 0, 1, 3) if depthwise else np.moveaxis(weights.codes, -1, 0)
    kernel = copy(tensors[old])
    if codes.shape != tuple(kernel.shape):
        raise StandInLost(f"layer {stand_in.layer!r}: its kernel is {codes.shape}, its place {tuple(kernel.shape)}")
    kernel.buffer, kernel.quantization = _buffer(content, codes), _grid(weights.scales, axis=3 if depthwise else 0)
    if weights.bias is not None or bias != _ABSENT:
        step = weights.scales * _step(tensors[source], stand_in)
        channels = codes.shape[3 if depthwise else 0]
        bias = _added(tensors, _bias(content, stand_in.bias or f"{stand_in.kernel}_bias", weights.bias, step, channels))
    op.inputs = [source, _added(tensors, kernel), bias]


def _step(tensor: Any, stand_in: KernelStandIn) -> np.float32:
    scales = getattr(tensor.quantization, "scale", None)
    if scales is None or not len(scales):
        raise StandInLost(f"layer {stand_in.layer!r}: what it reads is on no grid")
    return np.float32(scales[0])


def _bias(content: Any, name: str, real: NDArray | None, step: NDArray[np.float32], channels: int) -> Any:
    """int32, at the scale of the input times that of the kernel; zeros where the converter alone wanted one."""
    bias = schema.TensorT()
    bias.name, bias.type, bias.shape, bias.hasRank = name, schema.TensorType.INT32, [channels], True
    codes = bias_codes(np.zeros(channels, np.float32) if real is None else real, step)
    bias.buffer, bias.quantization = _buffer(content, codes), _grid(step)
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


def _grid(scales: NDArray[np.float32], axis: int = 0) -> Any:
    """Scales along an axis, zero points 0."""
    made = schema.QuantizationParametersT()
    made.scale, made.zeroPoint, made.quantizedDimension = scales, np.zeros(len(scales), np.int64), axis
    return made

"""The weights of a layer as its file holds them: folded, on their grids, as codes."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.export.lowering.grids import Grid, KernelCodes
from qat.quantization.layers import Linear, Op
from qat.quantization.lstm import QUANTIZED, Lstm
from qat.quantization.scheme import CanonicalWrapper


def kernel_codes(wrapper: CanonicalWrapper) -> KernelCodes:
    """Of a `Linear` with a kernel, its output channels last."""
    layer: Linear = wrapper.layer
    quantizer = wrapper._weight_vars[0][1]
    layer.file_quantizer = wrapper._file_quantizer()
    kernel = layer.folded_kernel()
    grid = {"least": layer.least_kernel_step(quantizer), "limit": layer.shared_limit(quantizer)}
    scales = np.atleast_1d(quantizer.scale(kernel, **grid).numpy())
    on_grid = channels_last(layer.kind, quantizer(kernel, False, weights={}, **grid).numpy())
    return KernelCodes(np.rint(on_grid / scales).astype(np.int8), scales, quantizer.bits)


def real_kernel(layer: Linear) -> NDArray[np.float32]:
    """The folded kernel of a layer that is left in float, its output channels last."""
    return channels_last(layer.kind, layer.folded_kernel().numpy())


def real_bias(layer: Linear) -> NDArray[np.float32] | None:
    """The bias with what folding adds to it."""
    bias = layer.folded_bias()
    return None if bias is None else bias.numpy()


def channels_last(kind: str, kernel: NDArray) -> NDArray:
    """A kernel with the axis of its output channels at the end; of a depthwise one [height, width, 1, channels]."""
    if kind == "depthwise_conv2d":
        return kernel.reshape(*kernel.shape[:2], 1, -1)
    return kernel.transpose(0, 1, 3, 2) if kind == "conv2d_transpose" else kernel


def table_codes(wrapper: CanonicalWrapper) -> tuple[NDArray[np.int8], Grid]:
    """The rows of an embedding, and their grid."""
    weight, quantizer, _ = wrapper._weight_vars[0]
    table = weight.value()
    scale = quantizer.scale(table).numpy()
    codes = np.rint(quantizer(table, False, weights={}).numpy() / scale).astype(np.int8)
    return codes, Grid.symmetric(float(scale))


def operand_codes(wrapper: CanonicalWrapper, name: str) -> tuple[NDArray[np.int8], Grid]:
    """A constant or trained operand of an op, on the grid of its own values."""
    layer: Op = wrapper.layer
    weight, quantizer, _ = wrapper._weight_vars[wrapper.quantize_config.names(layer).index(name)]
    values = weight.value()
    scale = quantizer.scale(values).numpy()
    grid = Grid.symmetric(float(scale))
    if layer.op != "prelu":
        low, high = (float(end) for end in quantizer._ends(values))
        zero_point = int(np.clip(np.rint(-128 - np.float32(low) / scale), -128, 127))
        grid = Grid(float(scale), zero_point, low, high)
    on_grid = quantizer(values, False, weights={}).numpy()
    codes = np.rint(on_grid / scale) + grid.zero_point
    return np.clip(codes, -128, 127).astype(np.int8), grid


def tell_gates(wrapper: CanonicalWrapper) -> Lstm:
    """The LSTM in a wrapper, told its quantizers."""
    layer: Lstm = wrapper.layer
    named = zip(QUANTIZED, wrapper._weight_vars, strict=True)
    layer.quantized_by({name: quantizer for name, (_, quantizer, _) in named})
    return layer


def constant_of(layer: Op, name: str) -> NDArray:
    """The value of an operand that is a weight."""
    return tf.convert_to_tensor(layer.real_weight(name)).numpy()

"""The weights of all layers as the file holds them: folded, on their grids, as codes.

Computed eagerly: to trace a graph that runs once takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.export.lowering.network import Call, Network
from qat.export.lowering.scales import Grid, KernelCodes
from qat.quantization.keras.grids import scale_of, zero_point_of
from qat.quantization.keras.linear import Linear
from qat.quantization.keras.op import Op
from qat.quantization.keras.range_layer import RangeLayer
from qat.quantization.keras.wrapper import CanonicalWrapper

Tensors = dict[str, tf.Tensor]


class Weights:
    """All weights and ranges of a network, by layer."""

    def __init__(self, computed: dict[tuple[Any, str], dict[str, NDArray]], ranges: dict[Any, Grid]) -> None:
        self._computed, self.ranges = computed, ranges

    def kernel(self, layer: CanonicalWrapper | Linear | Op) -> KernelCodes | NDArray[np.float32]:
        """The kernel of a linear layer, its output channels last: codes, or real numbers of a layer in float."""
        parts = self._computed[layer, "kernel"]
        if "scale" not in parts:
            return parts["values"]
        return KernelCodes(parts["values"], np.atleast_1d(parts["scale"]), layer._weight_vars[0][1].bits)

    def bias(self, layer: CanonicalWrapper | Linear | Op) -> NDArray[np.float32] | None:
        """The bias of a linear layer, BatchNormalization folded, [channels]; None where there is none."""
        return self._computed[layer, "kernel"].get("bias")

    def table(self, layer: CanonicalWrapper | Linear | Op) -> tuple[NDArray, Grid | None]:
        """The rows of an embedding, and their grid; None where they are real numbers."""
        parts = self._computed[layer, "table"]
        return parts["values"], Grid.symmetric(float(parts["scale"])) if "scale" in parts else None

    def operand(
        self, layer: CanonicalWrapper | Linear | Op, name: str
    ) -> tuple[NDArray, NDArray[np.int8] | None, Grid | None]:
        """A constant or trained operand of an op.

        Args:
            layer: Keras layer of the op.
            name: name of the operand, as "kernel" or "y".

        Returns:
            Its real values, float32 of the operand's shape; where it has a grid of its own, int8 codes of that shape
            and the grid, else None for both.
        """
        parts = self._computed[layer, name]
        if "scale" not in parts:
            return parts["values"], None, None
        scale, low, high = (float(parts[part]) for part in ("scale", "low", "high"))
        grid = Grid(scale, int(parts["zero_point"]), low, high)
        codes = np.rint(parts["on_grid"] / np.float32(scale)) + grid.zero_point
        return parts["values"], np.clip(codes, -128, 127).astype(np.int8), grid


def read_weights(network: Network) -> Weights:
    """All weights and ranges of a network, as they are now."""
    computations: dict[tuple[Any, str], Callable[[], Tensors]] = {}
    for call in network.calls:
        computations.update(_computations(call))
    ranges = [layer for layer in dict.fromkeys(call.layer for call in network.calls) if isinstance(layer, RangeLayer)]
    with network.one_pass():
        grid_values = _compute_grids(ranges)
        for layer, scale, low, high in zip(ranges, *(tf.unstack(grid_values[at]) for at in (0, 2, 3)), strict=True):
            layer.note_grid(scale, (low, high))
        computed = {key: {name: t.numpy() for name, t in compute().items()} for key, compute in computations.items()}
    parameters = zip(*(each.numpy().tolist() for each in grid_values), strict=True)
    grids = [Grid(scale, int(zero_point), low, high) for scale, zero_point, low, high in parameters]
    return Weights(computed, dict(zip(ranges, grids, strict=True)))


def _compute_grids(ranges: list[RangeLayer]) -> tuple[tf.Tensor, ...]:
    """Scales, zero points, lower and upper limits, [ranges] each."""
    min_max = [layer.min_max() for layer in ranges]
    low, high = (tf.stack(each) for each in zip(*min_max, strict=True))
    scale = scale_of(low, high, 255)
    return scale, zero_point_of(low, scale, 8), low, high


def _computations(call: Call) -> Iterator[tuple[tuple[Any, str], Callable[[], Tensors]]]:
    """How to compute the weights that a call needs, by layer and name."""
    layer, inner = call.layer, call.inner
    if isinstance(inner, Linear) and inner.kind == "embedding":
        yield (layer, "table"), partial(_table, layer)
    elif isinstance(inner, Linear):
        yield (layer, "kernel"), partial(_kernel, layer)
    elif isinstance(inner, Op):
        for name in inner.operands:
            if name != "x":
                yield (layer, name), partial(_operand, layer, name)


def _kernel(layer: CanonicalWrapper | Linear | Op) -> Tensors:
    inner = layer.layer if isinstance(layer, CanonicalWrapper) else layer
    bias = inner.folded_bias()
    tensors = {} if bias is None else {"bias": bias}
    if inner is layer:
        return tensors | {"values": channels_last(inner.kind, inner.folded_kernel())}
    on_grid, scale = layer.kernel_on_grid()
    codes = tf.cast(tf.round(channels_last(inner.kind, on_grid) / scale), tf.int8)
    return tensors | {"values": codes, "scale": scale}


def channels_last(kind: str, kernel: tf.Tensor) -> tf.Tensor:
    """A kernel with the axis of its output channels at the end.

    Args:
        kind: kind of the linear layer, as "conv2d".
        kernel: float32 in Keras' layout, [height, width, in, out] of a convolution, [in, out] of a dense layer.

    Returns:
        [..., output channels]; of a depthwise kernel [height, width, 1, channels].
    """
    if kind == "depthwise_conv2d":
        return tf.reshape(kernel, [*kernel.shape[:2], 1, kernel.shape[2] * kernel.shape[3]])
    return tf.transpose(kernel, [0, 1, 3, 2]) if kind == "conv2d_transpose" else kernel


def _table(layer: CanonicalWrapper | Linear | Op) -> Tensors:
    if not isinstance(layer, CanonicalWrapper):
        return {"values": tf.convert_to_tensor(layer.real_weight("table"))}
    on_grid, scale = layer.kernel_on_grid()
    codes = tf.cast(tf.round(on_grid / scale), tf.int8)
    return {"values": codes, "scale": scale}


def _operand(layer: CanonicalWrapper | Linear | Op, name: str) -> Tensors:
    inner = layer.layer if isinstance(layer, CanonicalWrapper) else layer
    if inner is layer or name not in layer.quantize_config.names(inner):
        return {"values": tf.convert_to_tensor(inner.real_weight(name))}
    operand = layer.operand_on_grid(name)
    return operand._asdict() | ({"zero_point": tf.zeros([])} if inner.op == "prelu" else {})

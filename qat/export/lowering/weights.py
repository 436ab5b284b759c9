"""The weights of all layers as the file holds them: folded, on their grids, as codes.

Op by op: a graph that serves once takes ten times as long to make.
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
from qat.quantization.keras.layers import Linear, Op, RangeLayer
from qat.quantization.keras.quantizers import step_of, zero_point_of
from qat.quantization.keras.wrapper import CanonicalWrapper

Tensors = dict[str, tf.Tensor]


class Weights:
    """What `read_weights` found, by layer."""

    def __init__(self, computed: dict[tuple[Any, str], dict[str, NDArray]], ranges: dict[Any, Grid]) -> None:
        self._computed, self.ranges = computed, ranges

    def kernel(self, layer: Any) -> KernelCodes | NDArray[np.float32]:
        """Of a linear layer, its output channels last: codes, or real numbers of one that is left in float."""
        found = self._computed[layer, "kernel"]
        if "scale" not in found:
            return found["values"]
        return KernelCodes(found["values"], np.atleast_1d(found["scale"]), layer._weight_vars[0][1].bits)

    def bias(self, layer: Any) -> NDArray[np.float32] | None:
        """With what folding adds to it."""
        return self._computed[layer, "kernel"].get("bias")

    def table(self, layer: Any) -> tuple[NDArray, Grid | None]:
        """The rows of an embedding, and their grid; None where they are real numbers."""
        found = self._computed[layer, "table"]
        return found["values"], Grid.symmetric(float(found["scale"])) if "scale" in found else None

    def operand(self, layer: Any, name: str) -> tuple[NDArray, NDArray[np.int8] | None, Grid | None]:
        """A constant or trained operand of an op: its value and, where it has a grid of its own, codes on that."""
        found = self._computed[layer, name]
        if "scale" not in found:
            return found["values"], None, None
        scale, low, high = (float(found[part]) for part in ("scale", "low", "high"))
        grid = Grid(scale, int(found["zero_point"]), low, high)
        codes = np.rint(found["on_grid"] / np.float32(scale)) + grid.zero_point
        return found["values"], np.clip(codes, -128, 127).astype(np.int8), grid


def read_weights(network: Network) -> Weights:
    """All weights and ranges of a network, as they are now."""
    asked: dict[tuple[Any, str], Callable[[], Tensors]] = {}
    for call in network.calls:
        asked.update(_asked(call))
    ranges = [layer for layer in dict.fromkeys(call.layer for call in network.calls) if isinstance(layer, RangeLayer)]
    with network.one_pass():
        found = _grids(ranges)
        for layer, scale in zip(ranges, tf.unstack(found[0]), strict=True):
            layer.note_scale(scale)
        computed = {key: {name: t.numpy() for name, t in compute().items()} for key, compute in asked.items()}
    told = zip(*(each.numpy().tolist() for each in found), strict=True)
    grids = [Grid(scale, int(zero_point), low, high) for scale, zero_point, low, high in told]
    return Weights(computed, dict(zip(ranges, grids, strict=True)))


def _grids(ranges: list[RangeLayer]) -> tuple[tf.Tensor, ...]:
    """Scales, zero points and both ends, one number a range."""
    ends = [layer._ends() for layer in ranges]
    low, high = (tf.stack(each) for each in zip(*ends, strict=True))
    scale = step_of(low, high, 255)
    return scale, zero_point_of(low, scale, 8), low, high


def _asked(call: Call) -> Iterator[tuple[tuple[Any, str], Callable[[], Tensors]]]:
    """What a call needs, by layer and name."""
    layer, inner = call.layer, call.inner
    if isinstance(inner, Linear) and inner.kind == "embedding":
        yield (layer, "table"), partial(_table, layer)
    elif isinstance(inner, Linear):
        yield (layer, "kernel"), partial(_kernel, layer)
    elif isinstance(inner, Op):
        for name in inner.operands:
            if name != "x":
                yield (layer, name), partial(_operand, layer, name)


def _kernel(layer: Any) -> Tensors:
    inner = layer.layer if isinstance(layer, CanonicalWrapper) else layer
    bias = inner.folded_bias()
    told = {} if bias is None else {"bias": bias}
    if inner is layer:
        return told | {"values": channels_last(inner.kind, inner.folded_kernel())}
    on_grid, scale = layer.kernel_on_grid()
    codes = tf.cast(tf.round(channels_last(inner.kind, on_grid) / scale), tf.int8)
    return told | {"values": codes, "scale": scale}


def channels_last(kind: str, kernel: tf.Tensor) -> tf.Tensor:
    """A kernel with the axis of its output channels at the end; of a depthwise one [height, width, 1, channels]."""
    if kind == "depthwise_conv2d":
        return tf.reshape(kernel, [*kernel.shape[:2], 1, kernel.shape[2] * kernel.shape[3]])
    return tf.transpose(kernel, [0, 1, 3, 2]) if kind == "conv2d_transpose" else kernel


def _table(layer: Any) -> Tensors:
    if not isinstance(layer, CanonicalWrapper):
        return {"values": tf.convert_to_tensor(layer.real_weight("table"))}
    weight, quantizer, _ = layer._weight_vars[0]
    table = weight.value()
    scale = quantizer.scale(table)
    codes = tf.cast(tf.round(quantizer(table, False, weights={}) / scale), tf.int8)
    return {"values": codes, "scale": scale}


def _operand(layer: Any, name: str) -> Tensors:
    inner = layer.layer if isinstance(layer, CanonicalWrapper) else layer
    if inner is layer or name not in layer.quantize_config.names(inner):
        return {"values": tf.convert_to_tensor(inner.real_weight(name))}
    weight, quantizer, _ = layer._weight_vars[layer.quantize_config.names(inner).index(name)]
    values = weight.value()
    scale, (low, high) = quantizer.scale(values), quantizer.ends(values)
    told = {"values": values, "on_grid": quantizer(values, False, weights={}), "scale": scale}
    zero_point = tf.zeros([]) if inner.op == "prelu" else zero_point_of(low, scale, 8)
    return told | {"zero_point": zero_point, "low": low, "high": high}

"""A linear node of a canonical graph with its kernel on the grid of the integer file."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.config import QuantConfig
from qat.quantization.ir.graph import Node, Weight
from qat.quantization.ir.operations import LINEAR
from qat.quantization.keras.weight_quantizers import GateQuantizer
from qat.quantization.keras.wrapper import kernel_quantizer
from qat.quantization.settings import weight_scheme

QUANTIZED_OPS = (*LINEAR, "lstm")


def quantize_kernel(node: Node, config: QuantConfig) -> Node:
    """A copy of a node whose kernel is rounded to the grid of the integer file.

    BatchNormalization is folded into the kernel, the kernel is rounded, and the fold is undone.

    Args:
        node: a node whose op is in `QUANTIZED_OPS`; it stays as it is.
        config: settings that say the bits and the granularity of the layer's weights.

    Returns:
        The copy, with the inputs and outputs of the node; its kernel is float32 of the same shape.
    """
    scheme = weight_scheme(config, node.layer or node.name)
    if node.op == "lstm":
        return _quantize_lstm(node, scheme["bits"])
    quantizer = kernel_quantizer(node.op, "norm" in node.attrs, scheme["bits"], scheme["per_channel"], node.one_range)
    kernel, scale = node.weights["kernel"].value, norm_scale(node)
    limit = tf.constant(np.abs(kernel).max() * np.abs(scale).reshape(-1)) if quantizer.one_range else None
    grid = quantizer(tf.constant(kernel * scale), False, {}, limit=limit).numpy() / np.where(scale == 0, 1, scale)
    weights = {**node.weights, "kernel": Weight(grid.astype(np.float32))}
    return Node(node.op, node.name, node.inputs, node.attrs, weights, node.outputs, node.layer)


def _quantize_lstm(node: Node, bits: int) -> Node:
    weights = dict(node.weights)
    for name in ("kernel", "recurrent"):
        grid = GateQuantizer(bits)(tf.constant(weights[name].value), False, {}).numpy()
        weights[name] = Weight(grid)
    return Node(node.op, node.name, node.inputs, node.attrs, weights, node.outputs, node.layer)


def norm_scale(node: Node) -> NDArray:
    """BatchNormalization's factor for the kernel, gamma / sqrt(variance + epsilon), in a shape that broadcasts with it.

    [1] of ones where there is no BatchNormalization.
    """
    if "norm" not in node.attrs:
        return np.ones(1, np.float32)
    scale = 1 / np.sqrt(node.weights["variance"].value + node.attrs["norm"]["epsilon"])
    scale = scale * node.weights["gamma"].value if "gamma" in node.weights else scale
    if node.op == "depthwise_conv2d":
        return scale.reshape(node.weights["kernel"].value.shape[2:])
    return scale[:, None] if node.op == "conv2d_transpose" else scale

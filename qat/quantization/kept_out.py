"""Kernels and biases, which the converter is spared: what it would compute of them is known here to the last bit.

It works on every weight as one of its graph's constants, of which it frees none before it is done: the kernel, folded,
its size, what it is divided by, rounded, turned round. That is most of its time, and some thirteen copies of each.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from qat.stand_in import KernelStandIn, KernelWeights, stand_ins

_KINDS = ("conv2d", "depthwise_conv2d", "dense")


def kept_out(layer: Any, weights: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The same tensors; while a `Linear` is traced for a file, by names under which the converter's side finds them."""
    made = stand_ins()
    if made is None or not can_be_kept_out(layer):
        return weights
    named = {name: tf.identity(tensor, name) for name, tensor in weights.items()}
    ops = {name: tensor.op.name for name, tensor in named.items()}
    given = partial(file_weights, layer, layer.file_quantizer)
    made.kernels.append(KernelStandIn(made.mark(), layer.name, ops["kernel"], ops.get("bias"), given))
    return named


def can_be_kept_out(layer: Any) -> bool:
    """Whether a `Linear`'s weights are put into the file behind the converter's back, on any scale."""
    if layer.file_quantizer is None or layer.kind not in _KINDS:
        return False
    ends = layer.ends_of_calls  # of several, the converter may join the kernels; with none, take more into the product
    return ends[0].source is not None and ends[0].target is not None and len(set(ends)) == 1


def file_weights(layer: Any, quantizer: Any) -> KernelWeights:
    """The kernel and bias of a layer as its file holds them."""
    kernel, bias = layer.folded_kernel(), layer.folded_bias()
    grid = {"least": layer.least_kernel_step(quantizer), "limit": layer.shared_limit(quantizer)}
    scale = quantizer.scale(kernel, **grid)
    on_grid = quantizer(kernel, False, weights={}, **grid)
    if layer.kind == "depthwise_conv2d":
        on_grid = tf.reshape(on_grid, [*on_grid.shape[:2], 1, -1])
    codes = tf.cast(tf.round(on_grid / scale), tf.int8).numpy()
    return KernelWeights(codes, np.atleast_1d(scale.numpy()), None if bias is None else bias.numpy())

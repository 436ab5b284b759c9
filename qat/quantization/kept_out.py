"""Large kernels, which the converter is spared: while a model is traced for it, something else stands in their place.

The converter works on every weight as one of its graph's constants, of which it frees none before it is done: the
kernel, its size, what it is divided by, rounded, turned round. Those of 350 million weights did not fit into 24 GB.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from qat import stand_in
from qat.quantization.layers import Linear
from qat.stand_in import KernelStandIn, KernelWeights, StandIns, stand_ins

_KINDS = ("conv2d", "dense")  # what the file has with output channels first, and TensorFlow with output channels last


def stand_in_for(inner: Linear, quantizer: Any) -> tf.Tensor | None:
    """A constant in place of a large kernel, in its shape; None where the kernel itself goes into the graph."""
    made, kernel = stand_ins(), getattr(inner, f"weight_{inner.kernel_name}")
    if made is None or inner.kind not in _KINDS or kernel.shape.num_elements() < stand_in.LARGE_KERNEL:
        return None
    between_ranges = inner.ends.source is not None and inner.ends.target is not None
    if not between_ranges or not quantizer.enabled or quantizer.bits != 8:
        return None
    mark = _mark(made, inner, quantizer)
    same = tf.constant(mark, tf.float32, kernel.shape)  # one number in the graph, whatever the shape
    return tf.quantization.fake_quant_with_min_max_args(same, -mark, mark, num_bits=8, narrow_range=True)


def _mark(made: StandIns, inner: Linear, quantizer: Any) -> float:
    """The size of the weights; the same at each call of a layer that the model calls several times."""
    for known in made.kernels:
        if known.layer == inner.name:
            return known.mark
    mark, shape = made.mark(), tuple(getattr(inner, f"weight_{inner.kernel_name}").shape)
    made.kernels.append(
        KernelStandIn(mark, inner.name, shape, partial(file_weights, inner, quantizer), tuple(inner.weights))
    )
    return mark


def file_weights(inner: Linear, quantizer: Any) -> KernelWeights:
    """The kernel and bias of a layer as its file holds them."""
    kernel, bias = inner.folded_kernel(), inner.folded_bias()
    scale = quantizer.scale(kernel)
    codes = tf.cast(tf.round(quantizer(kernel, False, weights={}) / scale), tf.int8).numpy()
    return KernelWeights(codes, np.atleast_1d(scale.numpy()), None if bias is None else bias.numpy())

"""A 2-D convolution with gradients that a CPU has, whatever its dilations and groups.

TensorFlow computes both forward on a CPU, and refuses the gradient. Keras trains such layers by other ops, which a file
has no use for: they give the gradient here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


def convolve(
    x: tf.Tensor,
    kernel: tf.Tensor,
    strides: int | Sequence[int],
    padding: str | Sequence[Sequence[int]],
    dilations: int | Sequence[int],
) -> tf.Tensor:
    """`tf.nn.conv2d`.

    Args:
        x: real numbers, [N, H, W, C].
        kernel: weights of the dtype of `x`, [h, w, C / groups, outputs].
        strides, padding, dilations: rows and columns in pixels, one number for both or one each, as `tf.nn.conv2d`
            takes them.

    Returns:
        [N, H', W', outputs], of the dtype of `x`.
    """
    groups = x.shape[-1] // kernel.shape[2]
    if groups == 1 and tuple(tf.nest.flatten(dilations)) in ((1,), (1, 1)):
        return tf.nn.conv2d(x, kernel, strides, padding, dilations=dilations)
    return _with_gradient(x, kernel, strides, padding, dilations, groups)


def _with_gradient(x: tf.Tensor, kernel: tf.Tensor, *settings: Any) -> tf.Tensor:
    *form, groups = settings

    @tf.custom_gradient
    def run(x: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        def gradient(upstream: tf.Tensor) -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch([x, kernel])
                made = _by_other_ops(x, kernel, form, groups)
            return tape.gradient(made, [x, kernel], upstream)

        strides, padding, dilations = form
        return tf.nn.conv2d(x, kernel, strides, padding, dilations=dilations), gradient

    return run(x, kernel)


def _by_other_ops(x: tf.Tensor, kernel: tf.Tensor, form: list[Any], groups: int) -> tf.Tensor:
    """Each group by itself, dilated by the batch."""
    strides, padding, dilations = form
    if not isinstance(padding, str):
        x, padding = tf.pad(x, padding), "VALID"
    pairs = zip(tf.split(x, groups, axis=-1), tf.split(kernel, groups, axis=-1), strict=True)
    made = [tf.nn.convolution(part, its, strides, padding, "NHWC", dilations) for part, its in pairs]
    return tf.concat(made, axis=-1)

"""Normalizations in ops that have an int8 kernel."""

import pytest
import tensorflow as tf
from tf_keras import layers

from qat.quantization.rewrites import normalizations

from .acting import Case, check, flat, image, raw


def relu_norm(x):
    return layers.BatchNormalization()(layers.ReLU()(x))


CASES = [
    Case(normalizations.layer_norm, raw(layers.LayerNormalization(), (4, 6)), gone=("layer_norm",), there=("rsqrt",)),
    Case(normalizations.layer_norm, raw(layers.LayerNormalization(axis=[1, 2, 3])), gone=("layer_norm",)),
    Case(normalizations.group_norm, image(layers.GroupNormalization(2)), gone=("group_norm",), there=("rsqrt",)),
    Case(normalizations.group_norm, image(layers.GroupNormalization(-1)), gone=("group_norm",)),
    Case(normalizations.group_norm, image(layers.GroupNormalization(3, axis=1)), gone=("group_norm",)),
    Case(
        normalizations.l2_normalize,
        flat(lambda x: x * tf.minimum(tf.math.rsqrt(tf.reduce_sum(tf.square(x), -1, keepdims=True)), 1e7)),
        gone=("rsqrt",),
        there=("l2_normalize",),
    ),
    Case(
        normalizations.l2_normalize,
        flat(lambda x: tf.math.l2_normalize(x, axis=-1)),
        gone=("sum", "maximum"),
        there=("l2_normalize",),
    ),
    Case(normalizations.attach_batch_norm, image(layers.BatchNormalization()), gone=("batch_norm",)),
    Case(normalizations.attach_batch_norm, flat(layers.BatchNormalization(scale=False)), gone=("batch_norm",)),
    Case(
        normalizations.stand_alone_batch_norm,
        image(relu_norm),
        gone=("batch_norm",),
        there=("depthwise_conv2d",),
    ),
    Case(normalizations.stand_alone_batch_norm, flat(relu_norm), gone=("batch_norm",), there=("reshape",)),
    Case(normalizations.stand_alone_batch_norm, image(layers.BatchNormalization(axis=1)), gone=("batch_norm",)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_rewrite_acts_and_the_float_function_stays(case):
    check(case)

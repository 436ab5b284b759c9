"""Normalizations in ops that have an int8 kernel."""

import pytest
import tensorflow as tf
from tf_keras import layers

from qat.quantization.rewrites import normalizations

from .acting import Case, check, flat, image, raw


def relu_norm(x):
    return layers.BatchNormalization()(layers.ReLU()(x))


def by_hand(offset, scale):
    def normalize(x):
        mean, spread = tf.nn.moments(x, [-1], keepdims=True)
        return tf.nn.batch_normalization(x, mean, spread, offset, scale, 1e-3)

    return normalize


def variance(x, keepdims=True):
    squares = tf.reduce_mean(x * x, axis=-1, keepdims=keepdims)
    return squares - tf.square(tf.reduce_mean(x, axis=-1, keepdims=keepdims))


def between(x, keepdims=True, least=0.0):
    y = layers.Dense(8)(x)
    sizes = (tf.norm(each, axis=-1, keepdims=keepdims) for each in (x, y))
    return tf.reduce_sum(x * y, axis=-1, keepdims=keepdims) / tf.maximum(tf.multiply(*sizes), least)


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
    *(
        Case(normalizations.difference_before_product, raw(by_hand(*how), (4, 6)), there=("sub",))
        for how in ((None, None), (0.3, None), (0.3, 1.5), (None, 1.5))
    ),
    Case(normalizations.variance_of_squares, raw(variance, (4, 6)), there=("sub",)),
    Case(normalizations.variance_of_squares, raw(lambda x: variance(x, keepdims=False), (4, 6)), there=("sub",)),
    Case(normalizations.root_of_square, flat(lambda x: tf.sqrt(x * x)), gone=("sqrt",), there=("abs",)),
    Case(normalizations.root_of_square, flat(lambda x: tf.sqrt(tf.square(x))), gone=("sqrt",), there=("abs",)),
    Case(normalizations.cosine, flat(between), gone=("div",), there=("l2_normalize",)),
    Case(normalizations.cosine, flat(lambda x: between(x, least=1e-8)), gone=("div",), there=("l2_normalize",)),
    Case(normalizations.cosine, flat(lambda x: between(x, keepdims=False)[:, None]), there=("l2_normalize",)),
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

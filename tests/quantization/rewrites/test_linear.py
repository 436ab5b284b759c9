"""Linear ops in one form: kernel, bias and BatchNormalization in one node, on four axes or two."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.quantization.rewrites import contractions, dilation, linear, pooling

from .acting import Case, check, image, raw

SLOPES = [0.5, -2.0, 0.1, 3.0]


def recurrent_cell(x):
    return layers.RNN(layers.LSTMCell(5, recurrent_activation="hard_sigmoid"))(x)


def heads_as_samples(x):
    """As DeBERTa compares queries with places: one matrix of each head, repeated as often as there are samples."""
    places = tf.constant(np.linspace(-1.0, 1.0, 24, dtype=np.float32).reshape(2, 4, 3))
    heads = tf.reshape(tf.transpose(tf.reshape(x, [-1, 4, 2, 3]), [0, 2, 1, 3]), [-1, 4, 3])
    repeated = tf.tile(places, [tf.shape(heads)[0] // 2, 1, 1])
    return tf.matmul(heads, tf.transpose(repeated, [0, 2, 1])) + tf.matmul(repeated, heads, transpose_b=True)


CASES = [
    Case(linear.dense_on_two_axes, raw(layers.Dense(5), (4, 6)), there=("reshape", "dense")),
    Case(
        linear.elementwise_before_reshapes,
        raw(lambda x: layers.Dense(5)(x) * layers.Dense(5)(tf.tanh(x)), (4, 6)),
        there=("mul",),
    ),
    Case(linear.merge_reshapes, image(lambda x: layers.Reshape((9, 16))(layers.Flatten()(x))), there=("reshape",)),
    Case(linear.channelwise_before_reshape, raw(lambda x: tf.nn.relu(layers.Conv1D(5, 3)(x)), (8, 4)), there=("relu",)),
    Case(linear.bias_of_sum, raw(recurrent_cell, (3, 4)), there=("add",)),
    Case(linear.bias, image(lambda x: tf.nn.bias_add(x, [0.1, 0.2, 0.3, 0.4])), gone=("add",)),
    Case(linear.factor, image(lambda x: 0.3 * x), gone=("mul",)),
    Case(linear.factor, image(lambda x: tf.tanh(SLOPES * layers.Conv2D(4, 1)(x) - 0.5)), gone=("mul",)),
    Case(linear.factor, raw(lambda x: SLOPES * layers.Dense(4)(x), (4, 6)), gone=("mul",)),
    Case(linear.input_affine, raw(lambda x: layers.Conv2D(4, 3)(x / 255.0)), gone=("mul", "depthwise_conv2d")),
    Case(
        linear.input_affine,
        raw(lambda x: layers.Conv2D(4, 3, padding="same")(layers.Rescaling(1 / 127.5, -1.0)(x))),
        gone=("mul", "add"),
        there=("depthwise_conv2d",),
    ),
    Case(contractions.einsum_dense, raw(layers.EinsumDense("abc,cde->abde", (None, 2, 3)), (4, 6)), there=("dense",)),
    Case(contractions.product_with_repeated, raw(heads_as_samples, (4, 6)), there=("batch_matmul",)),
    Case(
        contractions.product_of_many_axes,
        raw(lambda x: tf.matmul(x, x[:, :, :1], transpose_b=True), (2, 3, 2, 4, 5)),
        there=("batch_matmul", "reshape"),
    ),
    Case(contractions.einsum, raw(layers.EinsumDense("abc,bd->adc", (5, 6)), (4, 6)), there=("transpose", "dense")),
    Case(contractions.einsum, raw(lambda x: tf.einsum("bij,bkj->bik", x, x), (4, 6)), there=("batch_matmul",)),
    Case(contractions.einsum, raw(lambda x: tf.einsum("bijc,bijd->bcd", x, x)), there=("batch_matmul",)),
    Case(contractions.einsum, raw(lambda x: tf.einsum("bhd,hde->bhe", x, tf.ones((4, 6, 5)) / 3.0), (4, 6))),
    *(
        Case(dilation.padding_before_convolution, raw(build, sizes), gone=("pad",))
        for sizes, build in (
            ((9, 8, 3), lambda x: layers.Conv2D(4, 3)(layers.ZeroPadding2D(1)(x))),
            ((8, 8, 3), lambda x: layers.Conv2D(4, 3, strides=2)(layers.ZeroPadding2D(((0, 1), (0, 1)))(x))),
            ((9, 9, 3), lambda x: layers.DepthwiseConv2D(3, strides=2)(layers.ZeroPadding2D(1)(x))),
            ((9, 8, 3), lambda x: layers.Conv2D(4, 3, dilation_rate=2)(layers.ZeroPadding2D(2)(x))),
        )
    ),
    *(
        Case(dilation.depthwise_of_groups, raw(build, sizes), gone=("conv2d",), there=("depthwise_conv2d",))
        for sizes, build in (
            ((8, 8, 4), layers.Conv2D(4, 3, groups=4, padding="same")),
            ((9, 8, 4), layers.Conv2D(12, 3, groups=4, strides=2)),
            ((8, 8, 4), layers.Conv2D(8, 3, groups=4, dilation_rate=2)),
            ((8, 4), layers.Conv1D(4, 3, groups=4)),
        )
    ),
    Case(
        dilation.dilated_convolution,
        raw(lambda x: layers.Conv1D(4, 3, dilation_rate=2, padding="causal")(x), (12, 3)),
        gone=("space_to_batch", "batch_to_space"),
    ),
    Case(
        dilation.dilated_convolution,
        raw(lambda x: tf.nn.atrous_conv2d(x, tf.ones((3, 3, 3, 2)) / 9.0, 2, "SAME")),
        gone=("space_to_batch", "batch_to_space"),
    ),
    Case(pooling.average_of_everything, image(layers.AveragePooling2D(6)), gone=("avg_pool",), there=("mean",)),
    Case(
        pooling.average_by_depthwise,
        image(layers.AveragePooling2D(2)),
        gone=("avg_pool",),
        there=("depthwise_conv2d",),
    ),
    Case(
        pooling.activation_before_max_pool,
        image(lambda x: layers.ReLU()(layers.MaxPooling2D(3, 2, padding="same")(x))),
        there=("relu", "max_pool"),
    ),
    Case(
        pooling.activation_before_max_pool,
        raw(lambda x: layers.ReLU(6.0)(layers.MaxPooling1D(2)(layers.Conv1D(5, 3)(x) * 9.0)), (12, 3)),
        there=("relu6", "max_pool"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_rewrite_acts_and_the_float_function_stays(case):
    check(case)


def test_padding_around_an_offset_input_is_padded_with_zeros_of_the_model_not_of_the_codes():
    entry = tf_keras.Input((6, 6, 3), name="pixels")
    x = layers.ZeroPadding2D(1)(layers.Rescaling(1 / 127.5, -1.0)(entry))
    check(Case(linear.input_affine, lambda: tf_keras.Model(entry, layers.Conv2D(4, 3)(x))))


def test_groups_of_several_channels_stay():
    build = raw(layers.Conv2D(4, 3, groups=2), (8, 8, 4))
    with pytest.raises(AssertionError, match="left the graph as it was"):
        check(Case(dilation.depthwise_of_groups, build))


def test_another_padding_than_that_of_same_stays():
    """Seven rows of zeros around 32 pixels with a stride of 2 begin elsewhere."""
    build = raw(lambda x: layers.Conv2D(4, 7, strides=2)(layers.ZeroPadding2D(3)(x)), (32, 32, 3))
    with pytest.raises(AssertionError, match="left the graph as it was"):
        check(Case(dilation.padding_before_convolution, build))

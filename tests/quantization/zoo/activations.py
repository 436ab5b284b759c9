"""Every activation, after a convolution and before a dense layer."""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import layers


def _with(activation):
    def build():
        image = tf_keras.Input((6, 6, 3), name="image")
        x = activation(layers.Conv2D(4, 3, kernel_initializer=tf_keras.initializers.RandomNormal(0, 0.5))(image))
        return tf_keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))

    return build


def _after_batch_norm(activation):
    return _with(lambda x: activation(layers.BatchNormalization()(x)))


def mish(x):
    return x * tf.tanh(tf.math.softplus(x))


def hard_swish(x):
    return x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0)


def hard_swish_layers(x):
    gate = layers.ReLU(6.0)(x + 3.0)
    return layers.Multiply()([x, gate * (1.0 / 6.0)])


ACTIVATIONS = {
    "relu_layer": _after_batch_norm(lambda x: layers.ReLU()(x)),
    "relu6_layer": _after_batch_norm(lambda x: layers.ReLU(6.0)(x)),
    "relu6_string": _after_batch_norm(lambda x: layers.Activation("relu6")(x)),
    "relu_max_4": _after_batch_norm(lambda x: layers.ReLU(max_value=4.0)(x)),
    "relu_max_1": _after_batch_norm(lambda x: layers.ReLU(max_value=1.0)(x)),
    "relu_threshold": _after_batch_norm(lambda x: layers.ReLU(threshold=0.5)(x)),
    "relu_threshold_max": _after_batch_norm(lambda x: layers.ReLU(max_value=2.0, threshold=0.25)(x)),
    "relu_negative_slope": _after_batch_norm(lambda x: layers.ReLU(negative_slope=0.1)(x)),
    "relu_slope_max": _after_batch_norm(lambda x: layers.ReLU(max_value=3.0, negative_slope=0.1)(x)),
    "thresholded_relu": _with(lambda x: layers.ThresholdedReLU(0.5)(x)),
    "leaky_relu_layer": _after_batch_norm(lambda x: layers.LeakyReLU(0.2)(x)),
    "leaky_relu_function": _with(lambda x: tf.nn.leaky_relu(x, 0.1)),
    "leaky_relu_maximum": _with(lambda x: tf.maximum(x, 0.3 * x)),
    "prelu_per_position": _with(lambda x: layers.PReLU()(x)),
    "prelu_per_channel": _after_batch_norm(lambda x: layers.PReLU(shared_axes=[1, 2])(x)),
    "swish": _after_batch_norm(lambda x: layers.Activation("swish")(x)),
    "silu_function": _with(lambda x: tf.nn.silu(x)),
    "x_times_sigmoid": _with(lambda x: x * tf.sigmoid(1.702 * x)),
    "hard_swish": _after_batch_norm(hard_swish),
    "hard_swish_layers": _with(hard_swish_layers),
    "hard_sigmoid": _with(lambda x: layers.Activation("hard_sigmoid")(x)),
    "hard_sigmoid_relu6": _with(lambda x: tf.nn.relu6(x + 3.0) / 6.0),
    "gelu": _with(lambda x: layers.Activation("gelu")(x)),
    "gelu_tanh": _with(lambda x: tf.nn.gelu(x, approximate=True)),
    "elu": _after_batch_norm(lambda x: layers.ELU()(x)),
    "elu_alpha": _with(lambda x: layers.ELU(0.3)(x)),
    "selu": _with(lambda x: layers.Activation("selu")(x)),
    "softplus": _with(lambda x: layers.Activation("softplus")(x)),
    "mish": _with(mish),
    "softsign": _with(lambda x: layers.Activation("softsign")(x)),
    "exponential": _with(lambda x: layers.Activation("exponential")(x)),
    "sigmoid": _with(lambda x: layers.Activation("sigmoid")(x)),
    "tanh": _with(lambda x: layers.Activation("tanh")(x)),
    "softmax": _with(lambda x: layers.Softmax()(x)),
    "softmax_axis_1": _with(lambda x: layers.Softmax(axis=1)(x)),
    "log_softmax": _with(lambda x: tf.nn.log_softmax(x)),
    "crelu": _with(lambda x: tf.nn.crelu(x)),
    "linear": _with(lambda x: layers.Activation("linear")(x)),
}

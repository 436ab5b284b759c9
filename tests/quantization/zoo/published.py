"""Blocks and networks from papers and their published code, small."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from .drawing import VOCABULARY
from .vision import _unit


def _image(*shape):
    return tf_keras.Input(shape, name="image")


def _series(*shape):
    return tf_keras.Input(shape, name="series")


def _features(size):
    return tf_keras.Input((size,), name="features")


def _normed(layer, x):
    return layers.BatchNormalization()(layer(x))


def swin_block():
    """Attention within shifted windows, then patches merged."""
    image = _image(8, 8, 12)
    x = tf.roll(layers.LayerNormalization(epsilon=1e-5)(image), shift=[-2, -2], axis=[1, 2])
    windows = tf.transpose(tf.reshape(x, (-1, 2, 4, 2, 4, 12)), (0, 1, 3, 2, 4, 5))
    windows = tf.reshape(windows, (-1, 16, 12))
    windows = layers.MultiHeadAttention(3, 4)(windows, windows)
    x = tf.transpose(tf.reshape(windows, (-1, 2, 2, 4, 4, 12)), (0, 1, 3, 2, 4, 5))
    x = image + tf.roll(tf.reshape(x, (-1, 8, 8, 12)), shift=[2, 2], axis=[1, 2])
    y = layers.Dense(24, activation="gelu")(layers.LayerNormalization(epsilon=1e-5)(x))
    x = x + layers.Dense(12)(y)
    x = tf.concat([x[:, row::2, column::2, :] for column in (0, 1) for row in (0, 1)], -1)
    x = layers.Dense(16, use_bias=False)(layers.LayerNormalization()(x))
    return tf_keras.Model(image, layers.Dense(5)(layers.GlobalAveragePooling2D()(x)))


def mobilevit_block():
    image = _image(8, 8, 8)
    x = layers.Conv2D(12, 1, activation="swish")(_unit(image, 8, activation="swish"))
    x = layers.Reshape((4, 16, 12))(x)
    for _ in range(2):
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        x = layers.Add()([layers.MultiHeadAttention(2, 12, dropout=0.1)(y, y), x])
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        y = layers.Dropout(0.1)(layers.Dense(24, activation=tf.nn.swish)(y))
        x = layers.Add()([x, layers.Dense(12, activation=tf.nn.swish)(y)])
    x = layers.Conv2D(8, 1, activation="swish", padding="same")(layers.Reshape((8, 8, 12))(x))
    x = _unit(layers.Concatenate()([image, x]), 8, activation="swish")
    return tf_keras.Model(image, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def compact_transformer():
    """Tokens of convolutions, pooled by weights of their own."""
    x = image = _image(16, 16, 3)
    for channels in (8, 16):
        conv = layers.Conv2D(channels, 3, use_bias=False, activation="relu", kernel_initializer="he_normal")
        x = conv(layers.ZeroPadding2D(1)(x))
        x = layers.MaxPooling2D(3, 2, padding="same")(layers.ZeroPadding2D(1)(x))
    count = x.shape[1] * x.shape[2]
    x = tf.reshape(x, (-1, count, 16)) + layers.Embedding(count, 16)(tf.range(count))
    y = layers.LayerNormalization(epsilon=1e-5)(x)
    x = layers.Add()([layers.MultiHeadAttention(2, 8)(y, y), x])
    x = layers.LayerNormalization(epsilon=1e-5)(x)
    weights = tf.nn.softmax(layers.Dense(1)(x), axis=1)
    return tf_keras.Model(image, layers.Dense(10)(tf.squeeze(tf.matmul(weights, x, transpose_a=True), -2)))


def gated_mlp():
    series = _series(8, 12)
    x = layers.Dense(24, activation="gelu")(layers.LayerNormalization(epsilon=1e-6)(series))
    x, gate = tf.split(x, 2, axis=2)
    gate = tf.linalg.matrix_transpose(layers.LayerNormalization(epsilon=1e-6)(gate))
    gate = tf.linalg.matrix_transpose(layers.Dense(8, bias_initializer="ones")(gate))
    x = layers.Dense(12)(x * gate) + series
    return tf_keras.Model(series, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def repvgg_branches():
    """As it is trained: a 3x3, a 1x1 and an identity, each normalized."""
    x = image = _image(12, 12, 4)
    for _ in range(2):
        wide = _normed(layers.Conv2D(4, 3, padding="same", use_bias=False), x)
        narrow = _normed(layers.Conv2D(4, 1, use_bias=False), x)
        x = layers.ReLU()(wide + narrow + layers.BatchNormalization()(x))
    return tf_keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def convmixer():
    """Normalized behind the activation; fed with values of a few times 1/255."""
    image = _image(16, 16, 3)

    def unit(layer, x):
        return layers.BatchNormalization()(layers.Activation("gelu")(layer(x)))

    x = unit(layers.Conv2D(12, 2, 2), layers.Rescaling(1 / 255.0)(image))
    for _ in range(2):
        x = layers.Add()([unit(layers.DepthwiseConv2D(5, padding="same"), x), x])
        x = unit(layers.Conv2D(12, 1), x)
    return tf_keras.Model(image, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def involution():
    """A kernel of its own at every place, in two groups of channels."""
    image = _image(8, 8, 6)
    kernel = layers.ReLU()(_normed(layers.Conv2D(4, 1), image))
    kernel = tf.reshape(layers.Conv2D(9 * 2, 1)(kernel), (-1, 8, 8, 9, 1, 2))
    patches = tf.image.extract_patches(image, [1, 3, 3, 1], [1, 1, 1, 1], [1, 1, 1, 1], "SAME")
    x = tf.reduce_sum(kernel * tf.reshape(patches, (-1, 8, 8, 9, 3, 2)), axis=3)
    return tf_keras.Model(image, layers.Dense(3)(layers.Flatten()(tf.reshape(x, (-1, 8, 8, 6)))))


def pointnet():
    """Points turned by a matrix that the network finds."""
    points = tf_keras.Input((16, 3), name="points")

    def unit(x, channels):
        return layers.Activation("relu")(_normed(layers.Conv1D(channels, 1), x))

    x = layers.GlobalMaxPooling1D()(unit(unit(points, 8), 12))
    turn = layers.Reshape((3, 3))(layers.Dense(9)(layers.Dense(8, activation="relu")(x)))
    x = layers.Dot(axes=(2, 1))([points, turn])
    x = layers.GlobalMaxPooling1D()(unit(unit(x, 8), 12))
    return tf_keras.Model(points, layers.Dense(4, activation="softmax")(x))


def capsule_squash():
    image = _image(12, 12, 1)
    x = layers.Conv2D(8, 4, 2)(layers.Conv2D(8, 5, activation="relu")(image))
    x = layers.Reshape((-1, 4))(x)
    length = tf.reduce_sum(tf.square(x), -1, keepdims=True)
    x = length / (1.0 + length) / tf.sqrt(length + 1e-7) * x
    return tf_keras.Model(image, layers.Dense(4)(layers.Flatten()(x)))


def sagan_attention():
    image = _image(6, 6, 8)
    keys = layers.Reshape((36, 2))(layers.Conv2D(2, 1)(image))
    queries = layers.Reshape((36, 2))(layers.Conv2D(2, 1)(image))
    values = layers.Reshape((36, 8))(layers.Conv2D(8, 1)(image))
    weights = tf.nn.softmax(tf.matmul(queries, keys, transpose_b=True))
    x = layers.Reshape((6, 6, 8))(tf.matmul(weights, values))
    return tf_keras.Model(image, layers.Conv2D(3, 1)(0.3 * x + image))


class CausalConv2D(layers.Layer):
    """A 3x3 convolution that sees what is above and to the left."""

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(channels, 3, padding="same")

    def build(self, shape):
        self.conv.build(shape)
        self.seen = np.zeros(self.conv.kernel.shape, np.float32)
        self.seen[0] = self.seen[1, 0] = 1

    def call(self, inputs):
        return tf.nn.conv2d(inputs, self.conv.kernel * self.seen, 1, "SAME") + self.conv.bias


def pixelcnn():
    image = _image(10, 10, 1)
    x = layers.ReLU()(CausalConv2D(6)(image))
    x = layers.add([x, CausalConv2D(6)(x)])
    return tf_keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid")(x))


def dlrm_interactions():
    """Products of all pairs of embeddings."""
    numbers = tf_keras.Input((6,), name="numbers")
    ids = [tf_keras.Input((1,), dtype="int32", name=name) for name in ("user", "item", "place")]
    dense = layers.Dense(4, activation="relu")(layers.Dense(8, activation="relu")(numbers))
    stacked = tf.stack([dense, *[layers.Flatten()(layers.Embedding(VOCABULARY, 4)(each)) for each in ids]], 1)
    products = layers.Flatten()(tf.matmul(stacked, stacked, transpose_b=True))
    x = layers.Dense(8, activation="relu")(layers.Concatenate()([dense, products]))
    return tf_keras.Model([numbers, *ids], layers.Dense(1, activation="sigmoid")(x))


def _gated_residual(x, width):
    y = layers.Dropout(0.1)(layers.Dense(width)(layers.Dense(width, activation="elu")(x)))
    if x.shape[-1] != width:
        x = layers.Dense(width)(x)
    return layers.LayerNormalization()(x + layers.Dense(width)(y) * layers.Dense(width, activation="sigmoid")(y))


def gated_residual_network():
    """Variables selected by weights, then a recurrent layer, as temporal fusion transformers have it."""
    series = _series(6, 8)
    x = _gated_residual(series, 12)
    x = layers.LSTM(8)(x * layers.Softmax()(_gated_residual(x, 12)))
    return tf_keras.Model(series, layers.Dense(3)(x))


def _graph():
    return tf_keras.Input((8, 5), name="nodes"), tf_keras.Input((8, 8), name="edges")


def graph_attention():
    nodes, edges = _graph()
    x = layers.Dense(6, use_bias=False)(nodes)
    scores = tf.nn.leaky_relu(layers.Dense(1)(x) + tf.transpose(layers.Dense(1)(x), (0, 2, 1)))
    weights = tf.nn.softmax(scores + (1.0 - tf.sigmoid(edges)) * -9.0, -1)
    x = tf.nn.elu(tf.matmul(weights, x))
    return tf_keras.Model([nodes, edges], layers.Dense(3)(tf.reduce_mean(x, 1)))


def graph_convolution():
    nodes, edges = _graph()
    x = layers.Dense(6, activation="relu")(tf.matmul(edges, nodes))
    x = layers.Dense(4)(tf.matmul(edges, x))
    return tf_keras.Model([nodes, edges], layers.GlobalAveragePooling1D()(x))


class Latents(layers.Layer):
    """Learned rows, the same for every sample."""

    def build(self, shape):
        self.rows = self.add_weight("rows", (4, 8), initializer="random_normal")

    def call(self, inputs):
        return tf.tile(tf.expand_dims(self.rows, 0), [tf.shape(inputs)[0], 1, 1])


def perceiver():
    series = _series(20, 6)
    x = layers.Dense(8)(series)
    latents = Latents()(x)
    y = layers.Attention(use_scale=True)([layers.Dense(8)(latents), layers.Dense(8)(x)])
    x = layers.Dense(8, activation="gelu")(layers.LayerNormalization()(y + latents))
    return tf_keras.Model(series, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def retina_heads():
    """One head, of an open size, for three sizes."""
    image = _image(16, 16, 3)
    fine = _unit(image, 8, strides=2)
    middle = _unit(fine, 12, strides=2)
    coarse = _unit(middle, 16, strides=2)
    fine, middle, coarse = (layers.Conv2D(8, 1)(x) for x in (fine, middle, coarse))
    middle = middle + layers.UpSampling2D()(coarse)
    fine = fine + layers.UpSampling2D()(middle)
    head = tf_keras.Sequential(
        [
            tf_keras.Input((None, None, 8)),
            layers.Conv2D(8, 3, padding="same"),
            layers.ReLU(),
            layers.Conv2D(6, 3, padding="same", bias_initializer=tf.constant_initializer(-4.0)),
        ]
    )
    x = layers.Concatenate(axis=1)([layers.Reshape((-1, 3))(head(x)) for x in (fine, middle, coarse)])
    return tf_keras.Model(image, {"classes": tf.sigmoid(x[..., :1]), "boxes": x[..., 1:]})


def _dilated(x, kernel, rate=1):
    x = layers.Conv2D(4, kernel, dilation_rate=rate, padding="same", use_bias=False)(x)
    return tf.nn.relu(layers.BatchNormalization()(x))


def _enlarged(x, factor=2):
    return layers.UpSampling2D(factor, interpolation="bilinear")(x)


def deeplab_decoder():
    image = _image(16, 16, 3)
    low = _unit(image, 8, strides=2)
    x = _unit(low, 8, strides=2)
    pooled = _enlarged(_unit(layers.AveragePooling2D(4)(x), 4, 1), 4)
    x = layers.Concatenate()([pooled, _dilated(x, 1), _dilated(x, 3, 2), _dilated(x, 3, 3)])
    x = layers.Concatenate()([_enlarged(_dilated(x, 1)), _dilated(low, 1)])
    return tf_keras.Model(image, layers.Conv2D(3, 1)(_enlarged(_dilated(x, 3))))


def squeeze_excite_lambdas():
    image = _image(8, 8, 6)
    x = layers.Lambda(lambda t: t * tf.nn.sigmoid(t))(layers.Conv2D(8, 1)(image))
    gate = layers.Lambda(lambda t: tf.reduce_mean(t, [1, 2], keepdims=True))(x)
    gate = layers.Conv2D(8, 1, activation="sigmoid")(layers.Conv2D(2, 1, activation=tf.nn.swish)(gate))
    return tf_keras.Model(image, layers.Conv2D(3, 1)(x * gate))


def softplus_exponential_softsign():
    entry = _features(10)
    x = [
        layers.Dense(8, activation="softplus")(entry),
        layers.Dense(8, activation="exponential")(entry * 0.1),
        layers.Dense(8, activation="softsign")(entry),
    ]
    return tf_keras.Model(entry, layers.Dense(2)(layers.Concatenate()(x)))


def self_normalizing_dense():
    x = entry = _features(10)
    for _ in range(3):
        x = layers.Dense(12, activation="selu", kernel_initializer="lecun_normal")(x)
        x = layers.AlphaDropout(0.1)(x)
    return tf_keras.Model(entry, layers.Dense(2)(x))


def wavenet_one_projection():
    """What is added to the stream is what is skipped to the end."""
    series = _series(32, 1)
    x, skips = layers.Conv1D(6, 2, padding="causal")(series), []
    for rate in (1, 2, 4, 8):
        gate = [layers.Conv1D(6, 2, padding="causal", dilation_rate=rate, activation=a)(x) for a in ("tanh", "sigmoid")]
        skips.append(layers.Conv1D(6, 1)(layers.Multiply()(gate)))
        x = layers.Add()([x, skips[-1]])
    x = layers.Activation("relu")(layers.Add()(skips))
    return tf_keras.Model(series, layers.Conv1D(4, 1, activation="softmax")(x))


def decomposed_linear():
    """A forecast of the moving average, and one of what is left."""
    series = _series(24, 2)
    trend = layers.AveragePooling1D(5, 1, padding="same")(series)
    forecasts = [layers.Dense(6)(layers.Permute((2, 1))(x)) for x in (trend, series - trend)]
    return tf_keras.Model(series, layers.Permute((2, 1))(forecasts[0] + forecasts[1]))


def reversible_normalization():
    """Each series normalized, forecast, and put back to where it was."""
    series = _series(24, 3)
    mean = tf.reduce_mean(series, 1, keepdims=True)
    variance = tf.math.reduce_variance(series, 1, keepdims=True)
    x = (series - mean) / tf.sqrt(variance + 1e-5)
    x = tf.transpose(layers.Dense(8)(tf.transpose(x, (0, 2, 1))), (0, 2, 1))
    return tf_keras.Model(series, x * tf.sqrt(variance + 1e-5) + mean)


def inverted_transformer():
    """Attention between the variables of a series."""
    series = _series(24, 4)
    x = layers.Dense(8)(layers.Permute((2, 1))(series))
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x))
    x = layers.LayerNormalization()(x + layers.Dense(8)(layers.Dense(16, activation="gelu")(x)))
    return tf_keras.Model(series, layers.Permute((2, 1))(layers.Dense(6)(x)))


def inverted_residuals():
    """Kernels of 3, 5 and 7."""
    image = _image(20, 20, 3)
    x = layers.ReLU(6.0)(_normed(layers.Conv2D(8, 3, 2, "same", use_bias=False), image))
    for kernel, strides in ((3, 1), (5, 2), (7, 1)):
        y = layers.ReLU(6.0)(_normed(layers.Conv2D(16, 1, use_bias=False), x))
        y = layers.ReLU(6.0)(_normed(layers.DepthwiseConv2D(kernel, strides, "same", use_bias=False), y))
        y = _normed(layers.Conv2D(8, 1, use_bias=False), y)
        x = layers.Add()([x, y]) if strides == 1 else y
    return tf_keras.Model(image, layers.Dense(4)(layers.Flatten()(layers.AveragePooling2D(5)(x))))


def blur_pool():
    image = _image(12, 12, 3)
    blur = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16
    blur = np.repeat(blur[:, :, None, None], 6, axis=2)
    x = layers.MaxPooling2D(2, 1, padding="same")(layers.Conv2D(6, 3, padding="same", activation="relu")(image))
    x = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
    x = tf.nn.depthwise_conv2d(x, blur, [1, 2, 2, 1], "VALID")
    return tf_keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def maxout_and_minout():
    entry = _features(12)
    high = tf.reduce_max(tf.reshape(layers.Dense(12)(entry), (-1, 6, 2)), -1)
    low = tf.reduce_min(tf.reshape(layers.Dense(12)(entry), (-1, 6, 2)), -1)
    return tf_keras.Model(entry, layers.Dense(2)(tf.concat([high, low], 1)))


def softmax_and_log_softmax():
    entry = _features(12)
    x = layers.Dense(4)(entry) / 2.5
    return tf_keras.Model(entry, [tf.nn.softmax(x), tf.nn.log_softmax(x)])


def gathers_and_reverse():
    series = _series(6, 12)
    x = layers.Conv1D(4, 1)(tf.reverse(tf.gather(series, [3, 1, 5], axis=1), [1]))
    x = tf.gather(x, [0, 0, 2], axis=2)
    return tf_keras.Model(series, layers.Dense(2)(layers.Flatten()(x)))


def einsum_attention():
    series = _series(6, 8)
    scores = tf.einsum("bid,bjd->bij", layers.Dense(8)(series), series) / np.sqrt(8.0)
    x = tf.einsum("bij,bjd->bid", tf.nn.softmax(scores), series)
    return tf_keras.Model(series, layers.EinsumDense("abc,cd->abd", output_shape=(None, 5), bias_axes="d")(x))


def clips_of_three_kinds():
    entry = _features(12)
    x = tf.clip_by_value(layers.Dense(8)(entry), -1.0, 1.0)
    x = layers.Dense(8)(tf.nn.relu6(x + 3.0) / 6.0)
    return tf_keras.Model(entry, layers.Dense(2)(tf_keras.activations.relu(x, max_value=1.0)))


def relus_of_three_kinds():
    image = _image(8, 8, 3)
    x = layers.ReLU(threshold=0.3)(layers.Conv2D(4, 3)(image))
    x = layers.ReLU(negative_slope=0.1)(layers.Conv2D(4, 3)(x))
    x = layers.ThresholdedReLU(0.2)(layers.Conv2D(4, 1)(x))
    return tf_keras.Model(image, layers.GlobalMaxPooling2D()(x))


def resized_inputs():
    image = _image(16, 16, 3)
    sizes = [image, tf.image.resize(image, (8, 8)), tf.image.resize(image, (8, 8), method="nearest")]
    large, *small = [_unit(x, 4) for x in sizes]
    x = layers.Average()([layers.AveragePooling2D()(large), *small])
    return tf_keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def gru_attention_tagger():
    ids = tf_keras.Input((10,), dtype="int32", name="ids")
    x = layers.Embedding(VOCABULARY, 8, mask_zero=True)(ids)
    x = layers.Bidirectional(layers.GRU(6, return_sequences=True))(x)
    x = layers.MultiHeadAttention(2, 4)(x, x)
    return tf_keras.Model(ids, layers.TimeDistributed(layers.Dense(5, activation="softmax"))(x))


def stacked_lstm_dropout():
    series = _series(12, 6)
    x = layers.LSTM(8, return_sequences=True, dropout=0.2, recurrent_dropout=0.2)(series)
    return tf_keras.Model(series, layers.Dense(1)(layers.LSTM(8, go_backwards=True)(x)))


def lstm_relu():
    series = _series(12, 6)
    return tf_keras.Model(series, layers.Dense(1)(layers.LSTM(8, activation="relu")(series)))


def stride_larger_than_kernel():
    image = _image(17, 17, 3)
    x = layers.Conv2D(6, 1, strides=3, activation="relu")(image)
    x = layers.SeparableConv2D(8, 3, strides=2, depth_multiplier=2, activation="relu")(x)
    return tf_keras.Model(image, layers.Flatten()(x))


def locally_connected_relu():
    image = _image(8, 8, 2)
    x = layers.LocallyConnected2D(3, 3, activation="relu")(image)
    return tf_keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))


def deviation_norm_and_peak():
    series = _series(10, 4)
    x = [tf.math.reduce_std(series, 1), tf.norm(series, axis=1), tf.reduce_max(tf.abs(series), 1)]
    return tf_keras.Model(series, layers.Dense(3)(tf.concat(x, -1)))


def times_its_positive_mask():
    series = _series(10, 4)
    x = layers.Dense(6)(series * tf.cast(series > 0.0, tf.float32))
    x = tf.where(x > 0.0, x, 0.1 * x)
    return tf_keras.Model(series, layers.Dense(3)(layers.Flatten()(x)))


def crossed_kernels():
    """A row, then a column, without bias or scale."""
    image = _image(8, 8, 3)
    x = layers.Conv2D(6, (1, 7), padding="same", use_bias=False)(image)
    x = layers.Conv2D(6, (7, 1), padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(scale=False)(x)
    return tf_keras.Model(image, layers.GlobalAveragePooling2D(keepdims=True)(x))


def recurrence_by_unstack():
    """A state carried by hand, with weights of its own at every step."""
    series = _series(5, 4)
    first, *rest = tf.unstack(series, axis=1)
    encode = layers.Dense(3, activation="tanh")
    x = encode(first)
    for step in rest:
        x = layers.Dense(3, activation="tanh")(tf.concat([x, encode(step)], -1))
    return tf_keras.Model(series, x)


def softmax_cumulated():
    entry = _features(10)
    return tf_keras.Model(entry, tf.cumsum(tf.nn.softmax(layers.Dense(5)(entry)), axis=-1))


PUBLISHED = {
    name: build
    for name, build in list(globals().items())
    if getattr(build, "__module__", None) == __name__ and not name.startswith("_") and not isinstance(build, type)
}

"""Networks of the kinds that Keras' own pages build with Keras 3, small: each becomes a verified file.

`python -m tests.quantization.keras3_examples [regex ...]` prints the table.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from .keras3_layers import ROWS, of, tell
from .keras3_more_examples import MORE_EXAMPLES

L = layers
IMAGE = (16, 16, 3)


def chain(*members: Callable) -> Callable:
    def build(x):
        for member in members:
            x = member(x)
        return x

    return build


def normed(filters, size=3, strides=1, activation="relu", of=L.Conv2D):
    return chain(
        of(filters, size, strides=strides, padding="same", use_bias=False),
        L.BatchNormalization(),
        L.Activation(activation),
    )


def residual(filters):
    inner = chain(normed(filters), normed(filters, activation="linear"))
    return lambda x: ops.relu(inner(x) + x)


def squeezed(ratio=2):
    def build(x):
        pooled = L.GlobalAveragePooling2D(keepdims=True)(x)
        gate = L.Dense(x.shape[-1], "sigmoid")(L.Dense(x.shape[-1] // ratio, "relu")(pooled))
        return x * gate

    return build


def u_net(x):
    skips = []
    for filters in (4, 8):
        x = normed(filters)(x)
        skips.append(x)
        x = L.MaxPooling2D()(x)
    x = normed(8)(x)
    for filters in (8, 4):
        x = L.Conv2DTranspose(filters, 3, strides=2, padding="same")(x)
        x = normed(filters)(L.Concatenate()([x, skips.pop()]))
    return L.Conv2D(3, 1, activation="softmax")(x)


def separable_u_net(x):
    x = previous = normed(4, strides=2)(x)
    for filters in (6, 8):
        x = L.SeparableConv2D(filters, 3, padding="same")(L.Activation("relu")(x))
        x = L.MaxPooling2D(3, strides=2, padding="same")(L.BatchNormalization()(x))
        previous = x = x + L.Conv2D(filters, 1, strides=2, padding="same")(previous)
    for _ in range(3):
        x = L.UpSampling2D(2)(L.Conv2DTranspose(4, 3, padding="same", activation="relu")(x))
    return L.Conv2D(2, 3, activation="softmax", padding="same")(x)


class DepthToSpace(L.Layer):
    def call(self, x):
        return tf.nn.depth_to_space(x, 2)


def super_resolution(x):
    x = L.Conv2D(8, 5, padding="same", activation="relu")(x)
    x = L.Conv2D(8, 3, padding="same", activation="relu")(x)
    return DepthToSpace()(L.Conv2D(12, 3, padding="same")(x))


def enhancement(x):
    """Curves that a network draws for each pixel, applied one after another."""
    deep = chain(*(L.Conv2D(6, 3, padding="same", activation="relu") for _ in range(2)))(x)
    curves = L.Conv2D(6, 3, padding="same", activation="tanh")(deep)
    for curve in ops.split(curves, 2, axis=-1):
        x = x + curve * (ops.square(x) - x)
    return x


def keypoints(x):
    x = L.Dropout(0.2)(chain(normed(6, strides=2), normed(8, strides=2))(x))
    return L.Reshape((1, 1, 8))(L.SeparableConv2D(8, 4, activation="sigmoid")(x))


def mixer(x):
    x = L.Reshape((16, 48))(L.Conv2D(48, 4, strides=4)(x))
    tokens = L.Permute((2, 1))(L.LayerNormalization(epsilon=1e-6)(x))
    x = x + L.Permute((2, 1))(L.Dense(16)(L.Dense(8, "gelu")(tokens)))
    return L.Dense(3)(L.GlobalAveragePooling1D()(x + L.Dense(48)(L.LayerNormalization()(x))))


def conv_mixer(x):
    x = L.BatchNormalization()(L.Activation("gelu")(L.Conv2D(8, 4, strides=4)(x)))
    inner = L.BatchNormalization()(L.Activation("gelu")(L.DepthwiseConv2D(3, padding="same")(x)))
    return L.Dense(3, "softmax")(L.GlobalAveragePooling2D()(L.Conv2D(8, 1)(inner + x)))


class Positions(L.Layer):
    """Adds a learned vector for each place."""

    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], initializer="random_normal", name="table")

    def call(self, x):
        return x + self.table


def encoder_block(heads=2, width=8):
    def build(x):
        attended = L.MultiHeadAttention(heads, width // heads, dropout=0.1)(x, x)
        x = L.LayerNormalization(epsilon=1e-6)(x + attended)
        inner = L.Dense(width)(L.Dropout(0.1)(L.Dense(2 * width, "gelu")(x)))
        return L.LayerNormalization(epsilon=1e-6)(x + inner)

    return build


def vision_transformer(x):
    patches = L.Reshape((16, 8))(L.Conv2D(8, 4, strides=4)(x))
    return L.Dense(3)(L.Flatten()(encoder_block()(Positions()(patches))))


def ocr(x):
    x = L.MaxPooling2D()(normed(4)(x))
    x = L.Reshape((8, 8 * 4))(L.Permute((2, 1, 3))(x))
    x = L.Bidirectional(L.LSTM(4, return_sequences=True, dropout=0.25))(L.Dense(6, "relu")(x))
    return L.Dense(5, "softmax")(x)


def anomalies(x):
    x = L.Conv1D(6, 5, padding="same", strides=2, activation="relu")(x)
    x = L.Conv1D(4, 5, padding="same", strides=2, activation="relu")(L.Dropout(0.2)(x))
    x = L.Conv1DTranspose(6, 5, padding="same", strides=2, activation="relu")(x)
    return L.Conv1DTranspose(1, 5, padding="same", strides=2)(x)


def temporal(x):
    for dilation in (1, 2, 4):
        x = x + L.Conv1D(4, 3, padding="causal", dilation_rate=dilation, activation="relu")(x)
    return L.Dense(2)(L.GlobalMaxPooling1D()(x))


def attention_pooling(x):
    """Multiple instances: a gate for each, which all of them share."""
    embedded = L.Dense(6, "relu")(x)
    gate = L.Dense(4, "tanh")(embedded) * L.Dense(4, "sigmoid")(embedded)
    weights = L.Softmax(axis=1)(L.Dense(1)(gate))
    return L.Dense(2, "softmax")(ops.sum(weights * embedded, axis=1))


def point_net(x):
    transform = L.GlobalMaxPooling1D()(L.Conv1D(8, 1, activation="relu")(x))
    matrix = L.Reshape((3, 3))(L.Dense(9)(transform))
    x = normed(8, 1, of=L.Conv1D)(L.Dot(axes=(2, 1))([x, matrix]))
    return L.Dense(4, "softmax")(L.Dropout(0.3)(L.GlobalMaxPooling1D()(x)))


def siamese(left, right):
    tower = keras.Sequential(
        [keras.Input(IMAGE), L.Conv2D(4, 3, strides=2, activation="tanh"), L.Flatten(), L.Dense(5)]
    )
    distance = ops.sqrt(ops.sum(ops.square(tower(left) - tower(right)), axis=1, keepdims=True) + 1e-3)
    return L.Dense(1, "sigmoid")(distance)


def recommender(user, item):
    dot = L.Dot(axes=1)([L.Flatten()(L.Embedding(20, 4)(each)) for each in (user, item)])
    biases = [L.Flatten()(L.Embedding(20, 1)(each)) for each in (user, item)]
    return ops.sigmoid(dot + biases[0] + biases[1])


def text_encoder(ids):
    x = Positions()(L.Embedding(20, 8)(ids))
    return L.Dense(2, "softmax")(L.GlobalAveragePooling1D()(encoder_block()(x)))


def text_convolution(ids):
    x = L.Dropout(0.5)(L.Embedding(20, 6)(ids))
    x = L.Conv1D(6, 3, padding="valid", activation="relu", strides=2)(x)
    return L.Dense(1, "sigmoid")(L.Dropout(0.5)(L.Dense(6, "relu")(L.GlobalMaxPooling1D()(x))))


def tabular():
    rng = np.random.default_rng(0)
    numbers, kind = keras.Input((4,), name="numbers"), keras.Input((1,), dtype="int32", name="kind")
    x = L.Concatenate()([L.Normalization(mean=[1.0] * 4, variance=[4.0] * 4)(numbers), L.CategoryEncoding(5)(kind)])
    model = keras.Model([numbers, kind], L.Dense(1, "sigmoid")(L.Dropout(0.5)(L.Dense(8, "relu")(x))))
    return model, [rng.normal(1, 2, (ROWS, 4)).astype(np.float32), rng.integers(0, 5, (ROWS, 1)).astype(np.int32)]


EXAMPLES: dict[str, Callable] = {
    "convolutional classifier": of(
        IMAGE,
        chain(
            *(L.RandomFlip("horizontal"), L.RandomRotation(0.1), L.Rescaling(1.0 / 255), normed(4, strides=2)),
            *(L.MaxPooling2D(), residual(4), squeezed(), L.GlobalAveragePooling2D(), L.Dropout(0.4), L.Dense(3)),
        ),
    ),
    "denoising autoencoder": of(
        IMAGE,
        chain(
            *(L.Conv2D(4, 3, padding="same", activation="relu"), L.MaxPooling2D(2, padding="same")),
            *(L.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu"), L.Conv2D(3, 3, padding="same")),
        ),
    ),
    "segmentation, U-Net": of(IMAGE, u_net),
    "segmentation, separable": of(IMAGE, separable_u_net),
    "super-resolution": of(IMAGE, super_resolution),
    "low-light enhancement": of(IMAGE, enhancement),
    "keypoints": of(IMAGE, keypoints),
    "MLP mixer": of(IMAGE, mixer),
    "ConvMixer": of(IMAGE, conv_mixer),
    "vision transformer": of(IMAGE, vision_transformer),
    "siamese": of(IMAGE, siamese, count=2),
    "OCR encoder": of(IMAGE, ocr),
    "anomalies in series": of((16, 1), anomalies),
    "series by dilated convolutions": of((16, 4), temporal),
    "series by convolutions": of(
        (16, 2), chain(*(normed(6, of=L.Conv1D) for _ in range(3)), L.GlobalAveragePooling1D())
    ),
    "series by a transformer": of((8, 8), chain(encoder_block(), L.GlobalAveragePooling1D(), L.Dense(2, "softmax"))),
    "series by an LSTM": of((8, 3), chain(L.LSTM(6, return_sequences=True), L.LSTM(4), L.Dense(1))),
    "multiple instances": of((6, 5), attention_pooling),
    "points": of((12, 3), point_net),
    "tabular": tabular,
    "recommender": of((1,), recommender, count=2, ids=20),
    "text by a transformer": of((8,), text_encoder, ids=20),
    "text by convolutions": of((12,), text_convolution, ids=20),
    "text by an LSTM": of((6,), chain(L.Embedding(20, 5), L.Bidirectional(L.LSTM(4)), L.Dense(1)), ids=20),
}


if __name__ == "__main__":
    tell(EXAMPLES | MORE_EXAMPLES)

"""Further networks of the kinds that Keras' own pages build: attention of other kinds, tables, pairs, video.

`tests.quantization.keras3_examples` runs them.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

from .keras3_layers import ROWS, of

L = layers
IMAGE = (16, 16, 3)


def compact_convolutional_transformer(x):
    """Tokens by convolutions, and a learned weighting of them in place of a class token."""
    for filters in (4, 8):
        x = L.MaxPooling2D(3, 2, padding="same")(L.Conv2D(filters, 3, padding="same", activation="relu")(x))
    x = L.Reshape((16, 8))(x)
    normed = L.LayerNormalization(epsilon=1e-5)(x)
    x = x + L.MultiHeadAttention(2, 4, dropout=0.1)(normed, normed)
    x = x + L.Dense(8)(L.Dense(16, "gelu")(L.LayerNormalization(epsilon=1e-5)(x)))
    weights = ops.softmax(L.Dense(1)(x), axis=1)
    pooled = ops.squeeze(ops.matmul(ops.transpose(weights, (0, 2, 1)), x), axis=1)
    return L.Dense(3)(pooled)


def external_attention(x):
    """Two small learned memories in place of keys and values; softmax over places, then a sum of 1 over memories."""
    x = L.Reshape((16, 8))(L.Conv2D(8, 4, strides=4)(x))
    attention = L.Softmax(axis=1)(L.Dense(6)(L.Dense(8)(x)))
    attention = attention / (1e-3 + ops.sum(attention, axis=-1, keepdims=True))
    return L.Dense(3)(L.GlobalAveragePooling1D()(x + L.Dense(8)(attention)))


def gated_mlp(x):
    """gMLP: one half of the channels, mixed over the places, gates the other."""
    x = L.Reshape((16, 8))(L.Conv2D(8, 4, strides=4)(x))
    left, right = ops.split(L.Dense(16, "gelu")(L.LayerNormalization()(x)), 2, axis=-1)
    right = L.Permute((2, 1))(L.Dense(16, bias_initializer="ones")(L.Permute((2, 1))(L.LayerNormalization()(right))))
    return L.Dense(3)(L.GlobalAveragePooling1D()(x + L.Dense(8)(left * right)))


def mobile_vit(x):
    """Convolutions, a transformer between the patches, and the two joined."""
    x = local = L.Conv2D(8, 3, strides=2, padding="same", activation="swish")(x)
    patches = L.Reshape((4, 16, 8))(L.Conv2D(8, 1)(x))
    patches = patches + L.MultiHeadAttention(2, 4)(patches, patches)
    x = L.Conv2D(8, 1, activation="swish")(L.Reshape((8, 8, 8))(patches))
    x = L.Conv2D(8, 3, padding="same", activation="swish")(L.Concatenate()([local, x]))
    return L.Dense(3, "softmax")(L.GlobalAveragePooling2D()(x))


def metric_learning(x):
    """An embedding on the unit sphere."""
    for filters, strides in ((4, 2), (8, 2)):
        x = L.Conv2D(filters, 3, strides=strides, activation="relu")(x)
    return L.UnitNormalization()(L.Dense(6)(L.GlobalAveragePooling2D()(x)))


def depth(x):
    """Depth of each pixel: a U-Net with leaky ReLUs and bilinear upsampling."""
    skips = []
    for filters in (4, 8):
        x = L.BatchNormalization()(L.LeakyReLU(negative_slope=0.2)(L.Conv2D(filters, 3, padding="same")(x)))
        skips.append(x)
        x = L.MaxPooling2D(2)(x)
    for filters in (8, 4):
        x = L.Concatenate()([L.UpSampling2D(2, interpolation="bilinear")(x), skips.pop()])
        x = L.LeakyReLU(negative_slope=0.2)(L.Conv2D(filters, 3, padding="same")(x))
    return L.Conv2D(1, 1, activation="tanh")(x)


def generator(x):
    """Of images from noise, as a DCGAN's."""
    x = L.LeakyReLU(negative_slope=0.2)(L.Reshape((4, 4, 4))(L.Dense(64, use_bias=False)(x)))
    x = L.LeakyReLU(negative_slope=0.2)(L.Conv2DTranspose(6, 4, strides=2, padding="same")(x))
    return L.Conv2DTranspose(3, 4, strides=2, padding="same", activation="sigmoid")(x)


def video(x):
    """Frames by one small network, their series by a GRU."""
    frame = [L.Conv2D(4, 3, strides=2, activation="relu"), L.GlobalAveragePooling2D()]
    return L.Dense(2, "softmax")(L.Dropout(0.4)(L.GRU(4)(L.TimeDistributed(keras.Sequential(frame))(x))))


def speaker(x):
    """Residual blocks of 1-D convolutions on a spectrum."""
    for filters in (4, 8):
        skip = L.Conv1D(filters, 1, padding="same")(x)
        x = L.Conv1D(filters, 3, padding="same")(L.Activation("relu")(L.Conv1D(filters, 3, padding="same")(x)))
        x = L.MaxPooling1D(2, strides=2)(L.Activation("relu")(L.Add()([x, skip])))
    return L.Dense(3, "softmax")(L.Dense(8, "relu")(L.Flatten()(L.AveragePooling1D(3, strides=3)(x))))


def gated_residual(x):
    """A gated residual network for tables."""
    inner = L.Dense(6)(L.Dropout(0.1)(L.Dense(6, "elu")(x)))
    return L.Dense(1, "sigmoid")(L.LayerNormalization()(x + L.Dense(6)(inner) * L.Dense(6, "sigmoid")(inner)))


def wide_and_deep(left, right):
    wide = L.BatchNormalization()(L.Concatenate()([left, right]))
    deep = wide
    for units in (8, 8):
        deep = L.Dropout(0.2)(L.ReLU()(L.BatchNormalization()(L.Dense(units)(deep))))
    return L.Dense(3, "softmax")(L.Concatenate()([wide, deep]))


def _table(build: Callable) -> Callable:
    """A model of four numbers and two columns of small integers, and rows for it."""

    def make():
        keras.utils.set_random_seed(0)
        entries = [keras.Input((4,), name="numbers")]
        entries += [keras.Input((1,), dtype="int32", name=name) for name in ("kind", "place")]
        rng = np.random.default_rng(0)
        rows = [rng.normal(1, 2, (ROWS, 4)).astype(np.float32)]
        return keras.Model(entries, build(*entries)), rows + [rng.integers(0, 6, (ROWS, 1), np.int32) for _ in range(2)]

    return make


def table_by_a_transformer(numbers, kind, place):
    tokens = L.Concatenate(axis=1)([L.Embedding(6, 4)(each) for each in (kind, place)])
    tokens = L.LayerNormalization()(tokens + L.MultiHeadAttention(2, 2)(tokens, tokens))
    x = L.Concatenate()([L.Flatten()(tokens), L.LayerNormalization()(numbers)])
    return L.Dense(1, "sigmoid")(L.Dense(8, "selu")(L.BatchNormalization()(x)))


def crossed_features(numbers, kind, place):
    """What FeatureSpace does: scaled numbers, one-hot codes, and a cross of two columns."""
    scaled = L.Normalization(mean=[1.0] * 4, variance=[4.0] * 4)(numbers)
    crossed = L.Flatten()(L.Embedding(16, 4)((kind * 6 + place) % 16))
    codes = [L.CategoryEncoding(6, output_mode="one_hot")(each) for each in (kind, place)]
    return L.Dense(1, "sigmoid")(L.Dropout(0.5)(L.Dense(8, "relu")(L.Concatenate()([scaled, *codes, crossed]))))


def two_towers(user, item):
    """Retrieval: the score is the product of two towers' vectors."""
    left, right = (L.Dense(4)(L.Dense(8, "relu")(L.Flatten()(L.Embedding(20, 6)(each)))) for each in (user, item))
    return ops.sum(left * right, axis=-1, keepdims=True)


MORE_EXAMPLES: dict[str, Callable] = {
    "compact convolutional transformer": of(IMAGE, compact_convolutional_transformer),
    "external attention": of(IMAGE, external_attention),
    "gated MLP": of(IMAGE, gated_mlp),
    "MobileViT": of(IMAGE, mobile_vit),
    "metric learning": of(IMAGE, metric_learning),
    "depth": of(IMAGE, depth),
    "images from noise": of((8,), generator),
    "video": of((4, 8, 8, 3), video),
    "speaker": of((24, 4), speaker),
    "tabular, gated residual": of((6,), gated_residual),
    "wide and deep": of((5,), wide_and_deep, count=2),
    "tabular by a transformer": _table(table_by_a_transformer),
    "tabular, crossed features": _table(crossed_features),
    "recommender of two towers": of((1,), two_towers, count=2, ids=20),
}

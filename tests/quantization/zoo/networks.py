"""Whole networks as people write them, small."""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import layers


def _unit(x, channels):
    for _ in range(2):
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
        x = layers.Activation("relu")(layers.BatchNormalization()(x))
    return x


def unet():
    image = tf_keras.Input((16, 16, 3), name="image")
    first = _unit(image, 4)
    second = _unit(layers.MaxPooling2D()(first), 8)
    x = _unit(layers.MaxPooling2D()(second), 12)
    x = _unit(layers.Concatenate()([layers.Conv2DTranspose(8, 2, strides=2, padding="same")(x), second]), 8)
    x = _unit(layers.Concatenate()([layers.UpSampling2D()(x), first]), 4)
    return tf_keras.Model(image, layers.Conv2D(2, 1, activation="softmax")(x))


def unet_bilinear():
    image = tf_keras.Input((16, 16, 3), name="image")
    first = _unit(image, 4)
    x = _unit(layers.AveragePooling2D()(first), 8)
    x = layers.Concatenate()([layers.UpSampling2D(interpolation="bilinear")(x), first])
    return tf_keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid")(_unit(x, 4)))


def keyword_ds_cnn():
    x = audio = tf_keras.Input((25, 10, 1), name="audio")
    x = layers.Conv2D(8, (10, 4), strides=(2, 2), padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    for _ in range(2):
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Conv2D(8, 1, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Flatten()(layers.AveragePooling2D(pool_size=(13, 5))(layers.Dropout(0.4)(x)))
    return tf_keras.Model(audio, layers.Dense(12, activation="softmax")(x))


def dense_autoencoder():
    x = spectrum = tf_keras.Input((40,), name="spectrum")
    for units in (16, 16, 4, 16, 16):
        x = layers.Activation("relu")(layers.BatchNormalization()(layers.Dense(units)(x)))
    return tf_keras.Model(spectrum, layers.Dense(40)(x))


def residual_v2():
    image = tf_keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(6, 3, padding="same")(image)
    for _ in range(2):
        y = layers.ReLU()(layers.BatchNormalization()(x))
        y = layers.Conv2D(6, 3, padding="same")(y)
        y = layers.Conv2D(6, 3, padding="same")(layers.ReLU()(layers.BatchNormalization()(y)))
        x = layers.Add()([x, y])
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.BatchNormalization()(x)))
    return tf_keras.Model(image, layers.Dense(4, activation="softmax")(x))


def dense_block():
    x = image = tf_keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(6, 3, padding="same")(x)
    for _ in range(3):
        y = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Concatenate()([x, layers.Conv2D(4, 3, padding="same", use_bias=False)(y)])
    x = layers.AveragePooling2D()(layers.Conv2D(6, 1)(layers.ReLU()(layers.BatchNormalization()(x))))
    return tf_keras.Model(image, layers.Dense(4)(layers.Flatten()(x)))


def mobile_block_v3():
    x = image = tf_keras.Input((12, 12, 3), name="pixels")
    x = layers.Conv2D(6, 3, strides=2, padding="same")(layers.Rescaling(1 / 127.5, offset=-1.0)(x))
    y = layers.Conv2D(12, 1, use_bias=False)(x)
    y = layers.BatchNormalization()(y)
    y = y * layers.ReLU(6.0)(y + 3.0) * (1.0 / 6.0)
    y = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y))
    gate = layers.Conv2D(12, 1)(layers.Conv2D(4, 1, activation="relu")(layers.GlobalAveragePooling2D(keepdims=True)(y)))
    y = layers.Multiply()([y, layers.ReLU(6.0)(gate + 3.0) * (1.0 / 6.0)])
    x = layers.Add()([x, layers.BatchNormalization()(layers.Conv2D(6, 1, use_bias=False)(y))])
    return tf_keras.Model(image, layers.Dense(4, activation="softmax")(layers.Flatten()(x)))


def convnext_block():
    image = tf_keras.Input((8, 8, 3), name="image")
    x = layers.LayerNormalization(epsilon=1e-6)(layers.Conv2D(6, 2, strides=2)(image))
    y = layers.LayerNormalization(epsilon=1e-6)(layers.DepthwiseConv2D(7, padding="same")(x))
    x = x + layers.Dense(6)(layers.Dense(24, activation="gelu")(y))
    return tf_keras.Model(
        image, layers.Dense(4)(layers.LayerNormalization(epsilon=1e-6)(layers.GlobalAveragePooling2D()(x)))
    )


def inception_block():
    image = tf_keras.Input((8, 8, 4), name="image")
    branches = [
        layers.Conv2D(3, 1, activation="relu")(image),
        layers.Conv2D(3, 3, padding="same", activation="relu")(layers.Conv2D(2, 1, activation="relu")(image)),
        layers.Conv2D(3, 1, activation="relu")(layers.MaxPooling2D(3, 1, padding="same")(image)),
        layers.Conv2D(3, 1, activation="relu")(layers.AveragePooling2D(3, 1, padding="same")(image)),
    ]
    return tf_keras.Model(image, layers.Dense(4)(layers.Flatten()(layers.Concatenate()(branches))))


def detector_head():
    image = tf_keras.Input((12, 12, 3), name="image")
    deep = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    deeper = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(deep)
    boxes = [layers.Reshape((-1, 4))(layers.Conv2D(8, 3, padding="same")(x)) for x in (deep, deeper)]
    scores = [layers.Reshape((-1, 3))(layers.Conv2D(6, 3, padding="same")(x)) for x in (deep, deeper)]
    return tf_keras.Model(
        image,
        {
            "boxes": layers.Concatenate(axis=1, name="boxes")(boxes),
            "scores": layers.Activation("sigmoid", name="scores")(layers.Concatenate(axis=1)(scores)),
        },
    )


def temporal_convolution():
    x = series = tf_keras.Input((16, 3), name="series")
    for rate in (1, 2, 4):
        y = layers.Conv1D(6, 3, padding="causal", dilation_rate=rate, activation="relu")(x)
        y = layers.Dropout(0.1)(layers.Conv1D(6, 3, padding="causal", dilation_rate=rate, activation="relu")(y))
        x = layers.Add()([layers.Conv1D(6, 1)(x) if x.shape[-1] != 6 else x, y])
    return tf_keras.Model(series, layers.Dense(2)(x[:, -1]))


def variational_encoder():
    image = tf_keras.Input((8, 8, 1), name="image")
    x = layers.Flatten()(layers.Conv2D(4, 3, strides=2, activation="relu")(image))
    mean, spread = layers.Dense(3, name="mean")(x), layers.Dense(3, name="log_variance")(x)
    return tf_keras.Model(image, [mean, tf.exp(0.5 * spread)])


def super_resolution():
    image = tf_keras.Input((6, 6, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    x = tf.nn.depth_to_space(layers.Conv2D(12, 3, padding="same")(x), 2)
    return tf_keras.Model(image, x + layers.UpSampling2D(interpolation="bilinear")(image))


def mlp_mixer():
    image = tf_keras.Input((8, 8, 3), name="image")
    x = layers.Reshape((16, 8))(layers.Conv2D(8, 2, strides=2)(image))
    y = layers.Permute((2, 1))(layers.LayerNormalization()(x))
    x = x + layers.Permute((2, 1))(layers.Dense(16)(layers.Dense(12, activation="gelu")(y)))
    x = x + layers.Dense(8)(layers.Dense(12, activation="gelu")(layers.LayerNormalization()(x)))
    return tf_keras.Model(image, layers.Dense(4)(layers.GlobalAveragePooling1D()(x)))


NETWORKS = {
    name: build
    for name, build in list(globals().items())
    if getattr(build, "__module__", None) == __name__ and not name.startswith("_")
}

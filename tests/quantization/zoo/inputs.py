"""Models that scale or normalize their own input."""

from __future__ import annotations

import numpy as np
import tf_keras
from tf_keras import layers

SIZE = 8


def _pixels(channels=3):
    return tf_keras.Input((SIZE, SIZE, channels), name="pixels")


def _head(x):
    x = layers.Conv2D(4, 3, strides=2, activation="relu")(x)
    return layers.Dense(5)(layers.Flatten()(x))


def _classifier(image, x):
    return tf_keras.Model(image, _head(x))


def rescaling_factor_conv():
    image = _pixels()
    return _classifier(image, layers.Rescaling(1 / 255)(image))


def rescaling_offset_conv_same():
    image = _pixels()
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    return _classifier(image, layers.Conv2D(4, 3, padding="same", activation="relu")(x))


def rescaling_offset_zero_padding():
    image = _pixels()
    x = layers.ZeroPadding2D(1)(layers.Rescaling(1 / 127.5, offset=-1.0)(image))
    return _classifier(image, x)


def rescaling_dense():
    features = tf_keras.Input((12,), name="pixels")
    return tf_keras.Model(
        features, layers.Dense(4)(layers.Dense(8, activation="relu")(layers.Rescaling(1 / 255)(features)))
    )


def rescaling_offset_dense():
    features = tf_keras.Input((12,), name="pixels")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(features)
    return tf_keras.Model(features, layers.Dense(4)(layers.Dense(8, activation="relu")(x)))


def rescaling_depthwise():
    image = _pixels()
    x = layers.DepthwiseConv2D(3, activation="relu")(layers.Rescaling(1 / 255)(image))
    return _classifier(image, x)


def rescaling_conv1d():
    steps = tf_keras.Input((16, 3), name="pixels")
    x = layers.Conv1D(4, 3, padding="same")(layers.Rescaling(1 / 127.5, offset=-1.0)(steps))
    return tf_keras.Model(steps, layers.Dense(3)(layers.Flatten()(x)))


def rescaling_factor_flatten_dense():
    image = _pixels(1)
    x = layers.Flatten()(layers.Rescaling(1 / 255)(image))
    return tf_keras.Model(image, layers.Dense(5)(layers.Dense(8, activation="relu")(x)))


def rescaling_two_branches():
    image = _pixels()
    x = layers.Rescaling(1 / 255)(image)
    a = layers.Conv2D(4, 3, padding="same")(x)
    b = layers.MaxPooling2D(3, strides=1, padding="same")(x)
    return _classifier(image, layers.Concatenate()([a, b]))


def normalization_per_channel():
    image = _pixels()
    x = layers.Normalization(mean=[120.0, 110.0, 100.0], variance=[3000.0, 3500.0, 4000.0])(image)
    return _classifier(image, layers.Conv2D(4, 3, padding="same")(x))


def normalization_dense():
    features = tf_keras.Input((6,), name="features")
    x = layers.Normalization(mean=[1.0, 2, 3, 0, -1, 0.5], variance=[1.0, 4, 2, 9, 1, 0.5])(features)
    return tf_keras.Model(features, layers.Dense(4)(layers.Dense(8, activation="relu")(x)))


def normalization_adapted_series():
    steps = tf_keras.Input((16, 3), name="pixels")
    normalize = layers.Normalization(axis=-1)
    normalize.adapt(np.random.default_rng(0).uniform(0, 255, (32, 16, 3)).astype(np.float32))
    return tf_keras.Model(steps, layers.Dense(3)(layers.Flatten()(layers.Conv1D(4, 3)(normalize(steps)))))


def rescaling_then_normalization():
    image = _pixels()
    x = layers.Normalization(mean=[0.485, 0.456, 0.406], variance=[0.0524, 0.0502, 0.0506])(
        layers.Rescaling(1 / 255)(image)
    )
    return _classifier(image, layers.ZeroPadding2D(1)(x))


def augmentation_and_noise_gone():
    image = _pixels()
    x = layers.RandomContrast(0.1)(layers.RandomFlip()(image))
    x = layers.RandomZoom(0.2)(layers.RandomRotation(0.1)(x))
    x = layers.RandomTranslation(0.1, 0.1)(layers.GaussianNoise(0.3)(layers.Rescaling(1 / 255)(x)))
    x = layers.SpatialDropout2D(0.3)(layers.Conv2D(4, 3, activation="relu")(x))
    x = layers.GaussianDropout(0.2)(layers.AlphaDropout(0.2)(layers.Dropout(0.4)(layers.Flatten()(x))))
    return tf_keras.Model(image, layers.ActivityRegularization(0.1)(layers.Dense(5)(x)))


def random_crop_and_center_crop():
    image = tf_keras.Input((10, 10, 3), name="pixels")
    x = layers.CenterCrop(8, 8)(layers.RandomBrightness(0.1)(image))
    return _classifier(image, layers.Rescaling(1 / 255)(x))


def resizing_in_front():
    image = tf_keras.Input((10, 10, 3), name="pixels")
    return _classifier(image, layers.Rescaling(1 / 255)(layers.Resizing(8, 8)(image)))


INPUTS = {
    name: build
    for name, build in list(globals().items())
    if getattr(build, "__module__", None) == __name__ and not name.startswith("_")
}

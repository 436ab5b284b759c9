"""Random ops that act in training alone: the same masks under one seed, and none at a rate of 0."""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import layers

from .listing import image, semantics, series, vector


class StochasticDepth(layers.Layer):
    """Drops a whole branch of a sample (Huang et al. 2016), as tf_keras' own ConvNeXt does."""

    def __init__(self, drop_path_rate=0.3, **options):
        super().__init__(**options)
        self.drop_path_rate = drop_path_rate

    def call(self, x, training=None):
        if not training:
            return x
        keep = 1 - self.drop_path_rate
        shape = (tf.shape(x)[0],) + (1,) * (len(x.shape) - 1)
        return x / keep * tf.floor(keep + tf.random.uniform(shape, 0, 1, dtype=x.dtype))


class SeededDepth(StochasticDepth):
    """The same by Keras' backend, with a seed: without one, Keras draws a seed at each call, or at each trace."""

    def call(self, x, training=None):
        if not training:
            return x
        keep = 1 - self.drop_path_rate
        shape = (tf.shape(x)[0],) + (1,) * (len(x.shape) - 1)
        return x / keep * tf_keras.backend.random_bernoulli(shape, p=keep, dtype=x.dtype, seed=5)


class DropBlock(layers.Layer):
    """Drops squares of a map (Ghiasi et al. 2018)."""

    def __init__(self, rate=0.1, **options):
        super().__init__(**options)
        self.rate = rate

    def call(self, x, training=None):
        if not training:
            return x
        seeds = tf.cast(tf.random.uniform(tf.shape(x), dtype=x.dtype) < self.rate, x.dtype)
        mask = 1 - tf.nn.max_pool2d(seeds, 2, 1, "SAME")
        return x * mask * tf.cast(tf.size(mask), x.dtype) / (tf.reduce_sum(mask) + 1)


class Sampling(layers.Layer):
    """The variational autoencoder's own: a random draw in training, the mean at inference."""

    def call(self, inputs, training=None):
        mean, spread = inputs
        if not training:
            return mean
        return mean + tf.exp(0.5 * spread) * tf.random.normal(tf.shape(mean), dtype=mean.dtype)


def _between(layer):
    entry = vector()
    return tf_keras.Model(entry, layers.Dense(2)(layer(layers.Dense(8, activation="relu")(entry))))


def _in_image(layer):
    entry = image()
    x = layer(layers.Conv2D(4, 3, activation="relu")(entry))
    return tf_keras.Model(entry, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


def _augmented(layer, **options):
    entry = image(name="pixels", **options)
    x = layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(1 / 255)(layer(entry)))
    return tf_keras.Model(entry, layers.Dense(2)(layers.Flatten()(x)))


@semantics()
def dropout():
    """Dropout between two Dense layers."""
    return _between(layers.Dropout(0.5))


@semantics()
def dropout_with_seeds():
    """Two Dropouts with seeds of their own."""
    entry = vector()
    x = layers.Dropout(0.3, seed=5)(layers.Dense(8, activation="relu")(entry))
    return tf_keras.Model(entry, layers.Dropout(0.2, seed=6)(layers.Dense(3)(x)))


@semantics()
def dropout_of_the_input_and_in_branches():
    """Dropout on the input, and one in each of two branches."""
    entry = vector()
    x = layers.Dropout(0.2)(entry)
    branches = [layers.Dropout(0.4)(layers.Dense(5, activation="relu")(x)) for _ in range(2)]
    return tf_keras.Model(entry, layers.Dense(2)(layers.Add()(branches)))


@semantics()
def dropout_called_twice():
    """One Dropout layer in two places."""
    entry = vector()
    layer = layers.Dropout(0.4)
    x = layer(layers.Dense(8, activation="relu")(entry))
    return tf_keras.Model(entry, layers.Dense(2)(layer(layers.Dense(8, activation="relu")(x))))


@semantics()
def dropout_with_noise_shape():
    """Dropout with one mask for all steps."""
    entry = series()
    x = layers.Dropout(0.5, noise_shape=(None, 1, 4))(layers.Dense(4, activation="relu")(entry))
    return tf_keras.Model(entry, layers.Dense(2)(layers.Flatten()(x)))


@semantics()
def spatial_dropout_1d():
    """SpatialDropout1D behind a Conv1D."""
    entry = series()
    x = layers.SpatialDropout1D(0.4)(layers.Conv1D(6, 3, padding="same")(entry))
    return tf_keras.Model(entry, layers.Dense(2)(layers.Flatten()(x)))


@semantics()
def spatial_dropout_2d():
    """SpatialDropout2D behind a Conv2D."""
    return _in_image(layers.SpatialDropout2D(0.4))


@semantics()
def gaussian_noise():
    """GaussianNoise in training alone."""
    return _between(layers.GaussianNoise(0.3))


@semantics()
def gaussian_dropout():
    """GaussianDropout between two Dense layers."""
    return _between(layers.GaussianDropout(0.3))


@semantics()
def alpha_dropout():
    """AlphaDropout behind selu."""
    entry = vector()
    x = layers.AlphaDropout(0.2)(layers.Dense(8, activation="selu")(entry))
    return tf_keras.Model(entry, layers.Dense(2)(x))


@semantics(silenceable=False)
def random_flip():
    """RandomFlip in front of Rescaling: pictures are mirrored in training."""
    return _augmented(layers.RandomFlip("horizontal"))


@semantics(silenceable=False)
def augmentation_by_a_sequential():
    """A Sequential of flips, rotations and zooms in front (the image-classification guide)."""
    steps = [layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.1)]
    return _augmented(tf_keras.Sequential(steps, name="augmentation"))


@semantics(silenceable=False)
def augmentation_of_colours():
    """RandomContrast and RandomBrightness."""
    return _augmented(lambda x: layers.RandomBrightness(0.1)(layers.RandomContrast(0.2)(x)))


@semantics(silenceable=False)
def augmentation_by_translation():
    """RandomTranslation in front of a convolution."""
    return _augmented(layers.RandomTranslation(0.2, 0.2))


@semantics()
def stochastic_depth():
    """A layer of the user's that drops a residual branch for each sample."""
    entry = image()
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(entry)
    x = layers.Add()([x, StochasticDepth()(layers.Conv2D(4, 3, padding="same")(x))])
    return tf_keras.Model(entry, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


@semantics()
def stochastic_depth_by_bernoulli():
    """A residual branch that is dropped by a seeded mask of Keras' backend."""
    entry = vector()
    x = layers.Dense(6, activation="relu")(entry)
    return tf_keras.Model(entry, layers.Dense(2)(layers.Add()([x, SeededDepth()(layers.Dense(6)(x))])))


@semantics()
def drop_block():
    """A layer of the user's that drops squares."""
    return _in_image(DropBlock())


@semantics()
def attention_dropout():
    """dropout of MultiHeadAttention's scores."""
    entry = series()
    x = layers.MultiHeadAttention(2, 3, dropout=0.3)(entry, entry)
    return tf_keras.Model(entry, layers.Dense(2)(layers.LayerNormalization()(entry + x)))


@semantics()
def dropout_between_norms():
    """Dropout in front of a BatchNormalization: its statistics are those of what was dropped."""
    entry = image()
    x = layers.BatchNormalization()(layers.Dropout(0.3)(layers.Conv2D(4, 3)(entry)))
    return tf_keras.Model(entry, layers.Dense(2)(layers.GlobalAveragePooling2D()(layers.ReLU()(x))))


@semantics(silenceable=False)
def variational_sampling():
    """Reparameterised sampling in training, the mean at inference."""
    entry = vector()
    x = layers.Dense(5, activation="relu")(entry)
    z = Sampling()([layers.Dense(3)(x), layers.Dense(3)(x)])
    return tf_keras.Model(entry, layers.Dense(6)(z))


@semantics()
def dropout_and_penalty():
    """Dropout and L2, what most people regularize with."""
    entry = vector()
    x = layers.Dropout(0.5)(layers.Dense(8, activation="relu", kernel_regularizer="l2")(entry))
    return tf_keras.Model(entry, layers.Dense(2, kernel_regularizer="l2")(x))

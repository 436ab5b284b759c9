"""Regularizers, constraints, losses and metrics that layers and models add."""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import constraints, layers, regularizers

from ..zoo.drawing import VOCABULARY
from .listing import image, semantics, series, tokens, vector


class Orthogonal(regularizers.Regularizer):
    """Rows of a kernel that stand upright on each other."""

    def __call__(self, kernel):
        flat = tf.reshape(kernel, [-1, kernel.shape[-1]])
        product = tf.matmul(flat, flat, transpose_a=True)
        return 0.01 * tf.reduce_sum(tf.square(product - tf.eye(kernel.shape[-1], dtype=product.dtype)))

    def get_config(self):
        return {}


class Zeroed(constraints.Constraint):
    """The diagonal stays 0."""

    def __call__(self, kernel):
        return kernel * (1 - tf.eye(*kernel.shape, dtype=kernel.dtype))

    def get_config(self):
        return {}


class Sparse(layers.Layer):
    """Gives its input on, adds a loss and a metric."""

    def call(self, x):
        self.add_loss(0.1 * tf.reduce_mean(tf.abs(x)))
        self.add_metric(tf.reduce_mean(x), name="mean_activation")
        return x


@semantics()
def penalties_l1_l2():
    """L1, L2 and both, on kernels, biases and activities: as many losses, of the same size, with gradients."""
    entry = vector()
    x = layers.Dense(5, activation="relu", kernel_regularizer="l2", bias_regularizer=regularizers.L1(0.02))(entry)
    x = layers.Dense(4, kernel_regularizer=regularizers.L1L2(0.01, 0.02), activity_regularizer="l1")(x)
    return tf_keras.Model(entry, layers.Dense(2, activity_regularizer=regularizers.L2(0.05))(x))


@semantics()
def penalties_of_convolutions():
    """Penalties of convolution, depthwise and pointwise kernels and of gamma and beta, which folding must not touch."""
    entry = image()
    x = layers.Conv2D(4, 3, use_bias=False, kernel_regularizer="l2")(entry)
    x = layers.ReLU()(layers.BatchNormalization(gamma_regularizer="l2", beta_regularizer="l1")(x))
    x = layers.DepthwiseConv2D(3, depthwise_regularizer="l2", bias_regularizer="l2")(x)
    x = layers.SeparableConv2D(5, 2, depthwise_regularizer="l1", pointwise_regularizer="l2")(x)
    return tf_keras.Model(entry, layers.Dense(2)(layers.Flatten()(x)))


@semantics()
def penalty_behind_rescaling():
    """A penalty on the kernel behind Rescaling(1/255): of the kernel itself, not of one 255 times smaller."""
    entry = image(name="pixels")
    x = layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2")(layers.Rescaling(1 / 255)(entry))
    return tf_keras.Model(entry, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


@semantics()
def penalties_of_embedding_and_lstm():
    """Penalties of an embedding and of an LSTM's three variables and activity."""
    ids = tokens()
    x = layers.Embedding(VOCABULARY, 4, embeddings_regularizer="l2")(ids)
    x = layers.LSTM(3, kernel_regularizer="l2", recurrent_regularizer="l1", bias_regularizer="l2", activity_regularizer="l2")(x)  # fmt: skip # noqa: E501
    return tf_keras.Model(ids, layers.Dense(2)(x))


@semantics()
def penalty_of_ones_own():
    """A regularizer class of the user's, once on a Dense and once on a Conv2D kernel."""
    entry = image()
    x = layers.Conv2D(4, 3, kernel_regularizer=Orthogonal())(entry)
    return tf_keras.Model(entry, layers.Dense(2, kernel_regularizer=Orthogonal())(layers.Flatten()(x)))


@semantics()
def penalty_of_a_layer_called_twice():
    """One Dense called twice: its kernel's penalty counts once, its activity's twice."""
    entry = vector()
    layer = layers.Dense(6, kernel_regularizer="l2", activity_regularizer="l2")
    return tf_keras.Model(entry, layers.Dense(2)(layer(layers.ReLU()(layer(entry)))))


@semantics()
def penalty_of_a_frozen_layer():
    """A penalty on a layer that is not trained."""
    entry = vector()
    x = layers.Dense(5, kernel_regularizer="l2", trainable=False)(entry)
    return tf_keras.Model(entry, layers.Dense(2, kernel_regularizer="l2")(x))


@semantics()
def activity_regularization_layer():
    """The ActivityRegularization layer between two others."""
    entry = vector()
    x = layers.ActivityRegularization(l1=0.1, l2=0.05)(layers.Dense(5)(entry))
    return tf_keras.Model(entry, layers.Dense(2)(layers.ReLU()(x)))


@semantics()
def constraints_of_dense():
    """NonNeg, MaxNorm, UnitNorm and MinMaxNorm hold behind each step, on kernels and biases."""
    entry = vector()
    x = layers.Dense(5, activation="relu", kernel_constraint="non_neg")(entry)
    x = layers.Dense(5, kernel_constraint=constraints.MaxNorm(0.5), bias_constraint="non_neg")(x)
    x = layers.Dense(5, kernel_constraint="unit_norm")(layers.ReLU()(x))
    return tf_keras.Model(entry, layers.Dense(2, kernel_constraint=constraints.MinMaxNorm(0.2, 0.4, 0.5))(x))


@semantics()
def constraints_of_convolutions():
    """MaxNorm over a convolution kernel's axes, NonNeg on gamma, UnitNorm on a depthwise kernel."""
    entry = image()
    x = layers.Conv2D(4, 3, use_bias=False, kernel_constraint=constraints.MaxNorm(0.3, axis=[0, 1, 2]))(entry)
    x = layers.ReLU()(layers.BatchNormalization(gamma_constraint="non_neg")(x))
    x = layers.DepthwiseConv2D(3, depthwise_constraint=constraints.UnitNorm(axis=[0, 1]))(x)
    return tf_keras.Model(entry, layers.Dense(2)(layers.Flatten()(x)))


@semantics()
def constraints_of_embedding_and_gru():
    """UnitNorm on an embedding, MaxNorm on a GRU's kernels."""
    ids = tokens()
    x = layers.Embedding(VOCABULARY, 4, embeddings_constraint=constraints.UnitNorm(axis=1))(ids)
    x = layers.GRU(3, kernel_constraint=constraints.MaxNorm(0.4), recurrent_constraint=constraints.MaxNorm(0.4))(x)
    return tf_keras.Model(ids, layers.Dense(2)(x))


@semantics()
def constraint_of_ones_own():
    """A constraint class of the user's: the diagonal stays 0."""
    entry = vector()
    return tf_keras.Model(entry, layers.Dense(2)(layers.Dense(6, kernel_constraint=Zeroed())(entry)))


@semantics()
def add_loss_layer():
    """add_loss and add_metric in a layer's call: in the losses, in the history, with gradients."""
    entry = vector()
    return tf_keras.Model(entry, layers.Dense(2)(Sparse()(layers.Dense(5, activation="relu")(entry))))


@semantics()
def add_loss_of_model():
    """model.add_loss and model.add_metric of tensors inside."""
    entry = vector()
    x = layers.Dense(5, activation="relu")(entry)
    y = layers.Dense(2)(x)
    model = tf_keras.Model(entry, y)
    model.add_loss(0.3 * tf.reduce_mean(tf.square(x)))
    model.add_metric(tf.reduce_mean(tf.abs(y)), name="size")
    return model


@semantics()
def add_loss_of_a_variable():
    """model.add_loss of a function of a variable."""
    entry = vector()
    layer = layers.Dense(5, activation="relu")
    model = tf_keras.Model(entry, layers.Dense(2)(layer(entry)))
    model.add_loss(lambda: 0.1 * tf.reduce_sum(tf.abs(layer.kernel)))
    return model


@semantics()
def add_loss_of_variational_encoder():
    """The Kullback-Leibler term that a layer adds from two of its inputs; no sampling."""

    class Divergence(layers.Layer):
        def call(self, inputs):
            mean, spread = inputs
            self.add_loss(-0.05 * tf.reduce_mean(1 + spread - tf.square(mean) - tf.exp(spread)))
            return mean

    entry = vector()
    x = layers.Dense(5, activation="relu")(entry)
    return tf_keras.Model(entry, layers.Dense(6)(Divergence()([layers.Dense(3)(x), layers.Dense(3)(x)])))


@semantics()
def add_loss_of_a_loop():
    """CTC from a layer that takes no labels of its own, and a scan over time: loops in losses."""

    class Aligned(layers.Layer):
        def build(self, shape):
            self.decay = self.add_weight("decay", (shape[-1],), initializer="ones")

        def call(self, inputs):
            rows = tf.shape(inputs)[0]
            labels, lengths = tf.ones((rows, 2)), tf.ones((rows, 1), tf.int32)
            steps, answers = inputs.shape[1] * lengths, tf.nn.softmax(inputs)
            self.add_loss(tf.reduce_mean(tf_keras.backend.ctc_batch_cost(labels, answers, steps, 2 * lengths)))
            states = tf.scan(lambda held, row: 0.5 * held * self.decay + row, tf.transpose(inputs, (1, 0, 2)))
            self.add_loss(0.1 * tf.reduce_mean(tf.square(states)))
            return inputs

    entry = series()
    return tf_keras.Model(entry, Aligned()(layers.Dense(4)(entry)))


@semantics()
def penalty_of_series():
    """Penalties of Conv1D and of a Dense on three axes."""
    entry = series()
    x = layers.Conv1D(4, 3, padding="same", kernel_regularizer="l2", activation="relu")(entry)
    return tf_keras.Model(entry, layers.Dense(2, kernel_regularizer="l1", activity_regularizer="l2")(x))


@semantics()
def add_loss_of_a_layers_own_variable():
    """A layer that adds a loss of its variable alone, whatever its input is."""

    class Rate(layers.Layer):
        def build(self, shape):
            self.logit = self.add_weight("logit", shape=(), initializer=tf_keras.initializers.Constant(-3.0))

        def call(self, x):
            self.add_loss(0.1 * tf.sigmoid(self.logit))
            return x * (1 - tf.sigmoid(self.logit))

    entry = vector()
    return tf_keras.Model(entry, layers.Dense(2)(Rate()(layers.Dense(4, activation="relu")(entry))))


@semantics()
def balanced_experts():
    """Experts mixed by Lambda layers, and a loss that keeps their gate even."""
    entry = vector()
    gate = layers.Dense(3, activation="softmax")(entry)
    experts = layers.Lambda(lambda each: tf.stack(each, 1))([layers.Dense(4, activation="relu")(entry) for _ in "abc"])
    mixed = layers.Lambda(lambda both: tf.reduce_sum(both[0][..., None] * both[1], 1))([gate, experts])
    model = tf_keras.Model(entry, layers.Dense(2)(mixed))
    model.add_loss(0.1 * tf.reduce_sum(tf.square(tf.reduce_mean(gate, 0))))
    return model

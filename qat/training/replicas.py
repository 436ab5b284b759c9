"""Statistics of the whole batch where each replica sees its part of it, so that several train what one would.

Parts are of equal size (`distributed_batches` sees to it), so a mean of means is the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras

from qat.errors import ModelError


def replica_count() -> int:
    """Of the strategy in whose replica this is traced; 1 without one."""
    return 1 if tf.distribute.in_cross_replica_context() else tf.distribute.get_strategy().num_replicas_in_sync


def mean_over_replicas(values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Of one tensor a place; gradients flow through."""
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, list(values))


def least_over_replicas(value: tf.Tensor) -> tf.Tensor:
    """The smallest of a scalar that each replica has; no gradient."""
    if replica_count() == 1:
        return value
    gathered = tf.distribute.get_replica_context().all_gather(tf.stop_gradient(value)[None], axis=0)
    return tf.reduce_min(gathered)


def whole_batch_moments(x: tf.Tensor, axes: Sequence[int]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Mean, variance (biased) and number of values a channel, of the batch of all replicas.

    The variance is taken around the common mean: of two large sums of squares little would be left in float32.
    """
    (mean,) = mean_over_replicas([tf.reduce_mean(x, axes)])
    shape = [1 if axis in axes else x.shape[axis] for axis in range(len(x.shape))]
    (variance,) = mean_over_replicas([tf.reduce_mean(tf.square(x - tf.reshape(mean, shape)), axes)])
    return mean, variance, tf.cast(tf.size(x) // tf.size(mean) * replica_count(), x.dtype)


class WholeBatchNormalization(tf_keras.layers.BatchNormalization):
    """BatchNormalization that trains on the batch of all replicas, with the numbers of one that sees all of it.

    Keras' own synchronized layer leaves out Bessel's correction, which its fused layer makes for images.
    """

    def call(self, inputs: tf.Tensor, training: Any = None, mask: Any = None) -> tf.Tensor:
        training = self._get_training_value(training)
        if replica_count() == 1 or not training:
            return super().call(inputs, training=training, mask=mask)
        axes = [axis for axis in range(len(inputs.shape)) if axis not in self.axis]
        mean, variance, values = whole_batch_moments(inputs, axes)
        shape = [1 if axis in axes else inputs.shape[axis] for axis in range(len(inputs.shape))]

        def along(value: Any) -> Any:
            return None if value is None else tf.reshape(value, shape)

        self._follow(self.moving_mean, mean)
        self._follow(self.moving_variance, variance * values / (values - 1) if self.fused else variance)
        return tf.nn.batch_normalization(
            inputs, along(mean), along(variance), along(self.beta), along(self.gamma), self.epsilon
        )

    def _follow(self, moving: tf.Variable, seen: tf.Tensor) -> None:
        moving.assign_sub((1.0 - self.momentum) * (moving - tf.stop_gradient(seen)))


def for_replicas(model: tf_keras.Model) -> tf_keras.Model:
    """A copy of a functional or sequential model with whole-batch normalization and the same weights in order.

    To be called under the scope of the strategy; its weights are not those of `model` yet.

    Raises:
        ModelError: a model of a class of its own, which only its author can build anew.
    """

    def copied(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        if isinstance(layer, tf_keras.Model):
            return tf_keras.models.clone_model(layer, clone_function=copied)
        if type(layer) is tf_keras.layers.BatchNormalization:
            return WholeBatchNormalization.from_config(layer.get_config())
        return layer.__class__.from_config(layer.get_config())

    try:
        return tf_keras.models.clone_model(model, clone_function=copied)
    except ValueError as error:
        raise ModelError(
            f"train.strategy: model {model.name!r} cannot be built anew for several replicas ({error}). Functional and "
            "sequential models can; train this one with train.strategy=none."
        ) from error

"""Statistics of the whole batch although each replica sees one part of it: several replicas train as one would.

`distributed_batches` makes parts of equal size, so the mean of the parts' means is the mean of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras

from qat.errors import ModelError
from qat.models.keras_types import Training


def replica_count() -> int:
    """Number of replicas of the strategy under which this is traced; 1 without one."""
    return 1 if tf.distribute.in_cross_replica_context() else tf.distribute.get_strategy().num_replicas_in_sync


def mean_over_replicas(values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Mean over replicas of each tensor; every replica passes as many, of the same shapes. Gradients flow through."""
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, list(values))


def least_over_replicas(value: tf.Tensor) -> tf.Tensor:
    """Minimum over replicas of a scalar; no gradient."""
    if replica_count() == 1:
        return value
    gathered = tf.distribute.get_replica_context().all_gather(tf.stop_gradient(value)[None], axis=0)
    return tf.reduce_min(gathered)


def largest_over_replicas(value: tf.Tensor) -> tf.Tensor:
    """Maximum over replicas of a scalar; no gradient."""
    return value if replica_count() == 1 else -least_over_replicas(-value)


def whole_batch_moments(x: tf.Tensor, axes: Sequence[int]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Mean, biased variance and number of values per channel, over the batch of all replicas.

    The variance is the mean square around the common mean: a difference of two large sums of squares would lose most
    digits in float32.

    Args:
        x: float32 [n, ...], this replica's part of the batch.
        axes: axes to reduce over, the batch axis among them.

    Returns:
        Mean and variance, each of the shape of the remaining axes, and the number of values behind each, a scalar of
        x's dtype.
    """
    (mean,) = mean_over_replicas([tf.reduce_mean(x, axes)])
    shape = [1 if axis in axes else x.shape[axis] for axis in range(len(x.shape))]
    (variance,) = mean_over_replicas([tf.reduce_mean(tf.square(x - tf.reshape(mean, shape)), axes)])
    return mean, variance, tf.cast(tf.size(x) // tf.size(mean) * replica_count(), x.dtype)


class WholeBatchNormalization(tf_keras.layers.BatchNormalization):
    """BatchNormalization over the batch of all replicas; it computes what one replica with the whole batch would.

    Keras' own synchronized layer omits Bessel's correction, which Keras' fused layer for images applies.
    """

    def call(self, inputs: tf.Tensor, training: Training = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        training = self._get_training_value(training)
        if replica_count() == 1 or not training:
            return super().call(inputs, training=training, mask=mask)
        axes = [axis for axis in range(len(inputs.shape)) if axis not in self.axis]
        mean, variance, values = whole_batch_moments(inputs, axes)
        shape = [1 if axis in axes else inputs.shape[axis] for axis in range(len(inputs.shape))]

        def along(value: tf.Tensor | None) -> Any:
            return None if value is None else tf.reshape(value, shape)

        self._update_moving(self.moving_mean, mean)
        self._update_moving(self.moving_variance, variance * values / (values - 1) if self.fused else variance)
        return tf.nn.batch_normalization(
            inputs, along(mean), along(variance), along(self.beta), along(self.gamma), self.epsilon
        )

    def _update_moving(self, moving: tf.Variable, value: tf.Tensor) -> None:
        moving.assign_sub((1.0 - self.momentum) * (moving - tf.stop_gradient(value)))


def clone_for_replicas(model: tf_keras.Model) -> tf_keras.Model:
    """Clone a functional or sequential model, with whole-batch normalization and the same order of weights.

    Call it under the scope of the strategy, and set the clone's weights afterwards: they are newly initialized.

    Raises:
        ModelError: a model of a class of its own, which Keras cannot clone.
    """

    def clone_layer(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        if isinstance(layer, tf_keras.Model):
            return tf_keras.models.clone_model(layer, clone_function=clone_layer)
        if type(layer) is tf_keras.layers.BatchNormalization:
            return WholeBatchNormalization.from_config(layer.get_config())
        return layer.__class__.from_config(layer.get_config())

    try:
        return tf_keras.models.clone_model(model, clone_function=clone_layer)
    except ValueError as error:
        raise ModelError(
            f"train.strategy: model {model.name!r} cannot be cloned for several replicas ({error}). Functional and "
            "sequential models can; train this one with train.strategy=none."
        ) from error

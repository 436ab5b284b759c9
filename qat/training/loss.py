"""Choose loss and metric by the model's outputs: probabilities, logits, one column, or its own input."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from qat.errors import ConfigError, ModelError
from qat.tasks import CLASSIFICATION, RECONSTRUCTION, TASKS

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def are_probabilities(outputs: NDArray) -> bool:
    """Whether rows `[N, classes]` are probabilities, allowing for the rounding of a fake-quantized softmax.

    >>> are_probabilities(np.array([[0.25, 0.75]])), are_probabilities(np.array([[-1.2, 3.0]]))
    (True, False)
    """
    within = bool(np.all((outputs >= 0) & (outputs <= 1)))
    if outputs.shape[-1] == 1:
        return within
    tolerance = 0.02 + outputs.shape[-1] / 512  # half a code of 1/256 for each class
    return within and bool(np.all(np.abs(outputs.sum(axis=-1) - 1) <= tolerance))


def _smoothed_cross_entropy(classes: int, label_smoothing: float, from_logits: bool, keras: ModuleType) -> Loss:
    def cross_entropy(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        targets = tf.one_hot(tf.cast(tf.reshape(labels, (-1,)), tf.int32), classes)
        return keras.losses.categorical_crossentropy(targets, outputs, from_logits, label_smoothing)

    return cross_entropy


def choose_loss(
    task: str, outputs: NDArray, label_smoothing: float = 0.0, keras: ModuleType = tf_keras
) -> tuple[Loss, list[Any]]:
    """Choose loss and metrics from a model's outputs for one batch.

    Reconstruction: mean squared error. Two classes in one column: binary cross-entropy. Else sparse cross-entropy.

    Args:
        task: a key of `qat.tasks.TASKS`.
        outputs: outputs of the model for one batch before training, float [N, classes], probabilities or logits; of an
            autoencoder [N, ...].
        label_smoothing: share of a label that goes to all classes, from 0 to below 1, as Keras' CategoricalCrossentropy
            takes it.
        keras: the package of the model that is trained, `tf_keras` or `keras`.

    Returns:
        Loss of (labels or targets, outputs), and the metrics: accuracy, or none for reconstruction.

    Raises:
        ModelError: an output is not finite.
        ConfigError: label smoothing for one column or for reconstruction.
    """
    if not np.isfinite(outputs).all():
        raise ModelError(
            "the model gives NaN or infinite outputs for the first batch, before any training step: "
            "its weights are broken, or its input is far outside the range it was made for"
        )
    if label_smoothing and (outputs.shape[-1] == 1 or not TASKS[task].has_classes):
        raise ConfigError(f"train.label_smoothing={label_smoothing}: only for models with one output per class")
    return LOSSES[task](outputs, label_smoothing, keras)


def _squared_error(outputs: NDArray, label_smoothing: float, keras: Any) -> tuple[Loss, list[Any]]:
    return keras.losses.MeanSquaredError(), []


def _cross_entropy(outputs: NDArray, label_smoothing: float, keras: Any) -> tuple[Loss, list[Any]]:
    binary = outputs.shape[-1] == 1
    from_logits = not are_probabilities(outputs)
    if binary:
        threshold = 0.0 if from_logits else 0.5
        accuracy = keras.metrics.BinaryAccuracy(name="accuracy", threshold=threshold)
        return keras.losses.BinaryCrossentropy(from_logits), [accuracy]
    accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    if label_smoothing:
        return _smoothed_cross_entropy(outputs.shape[-1], label_smoothing, from_logits, keras), [accuracy]
    return keras.losses.SparseCategoricalCrossentropy(from_logits), [accuracy]


LOSSES: dict[str, Callable[[NDArray, float, Any], tuple[Loss, list[Any]]]] = {
    CLASSIFICATION: _cross_entropy,
    RECONSTRUCTION: _squared_error,
}

"""Types of what either Keras has, for annotations: importing this imports neither."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import keras
    import tensorflow as tf
    import tf_keras
    from tf_keras.src.engine.keras_tensor import KerasTensor as Keras2Tensor

KerasModel: TypeAlias = "tf_keras.Model | keras.Model"
KerasLayer: TypeAlias = "tf_keras.layers.Layer | keras.layers.Layer"
KerasVariable: TypeAlias = "tf.Variable | keras.Variable"
KerasTensor: TypeAlias = "Keras2Tensor | keras.KerasTensor | tf.TensorSpec"  # described by shape, dtype and name
TensorNest: TypeAlias = "tf.Tensor | Sequence[TensorNest] | Mapping[str, TensorNest]"
Shape: TypeAlias = "tf.TensorShape | Sequence[int | None] | Mapping[str, Shape]"  # sizes of one tensor or of several
Training: TypeAlias = "bool | int | tf.Tensor | None"  # whether a call is in training mode; None leaves it to Keras

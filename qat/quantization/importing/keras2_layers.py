"""How layers are read that Keras 3 has by the same names, and with another meaning: those of Keras 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras

from qat.models.keras_types import KerasLayer
from qat.quantization.importing.kept_for_training import AUGMENTING, UNCHANGED, in_training, kept_for_training
from qat.quantization.importing.tracer import Reader, Tracer, argument


def readers() -> dict[Any, Reader]:
    """The table `call function -> reader`."""
    layers = tf_keras.layers
    table: dict[Any, Reader] = {layers.CenterCrop.call: _center_crop, layers.RandomCrop.call: _random_crop}
    return table | {getattr(layers, name).call: in_training for name in (*UNCHANGED, *AUGMENTING)}


def _center_crop(tracer: Tracer, layer: KerasLayer, original: Callable, args: tuple, kwargs: dict) -> Any:
    x = tf.cast(argument(args, kwargs), layer.compute_dtype)
    height, width = x.shape[-3] - layer.height, x.shape[-2] - layer.width
    if height < 0 or width < 0:
        return _fitted(x, layer.height, layer.width)
    top, left = height // 2, width // 2
    return x[..., top : top + layer.height, left : left + layer.width, :]


def _random_crop(tracer: Tracer, layer: KerasLayer, original: Callable, args: tuple, kwargs: dict) -> Any:
    x = tf.cast(argument(args, kwargs), layer.compute_dtype)
    fitted = _fitted(x, layer.height, layer.width)
    return kept_for_training(tracer, layer, fitted, x) if tracer.in_training_mode else fitted


def _fitted(x: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """The largest central window of the wanted aspect, resized: what these layers do at inference."""
    rows, columns = x.shape[-3], x.shape[-2]
    if (rows, columns) == (height, width):
        return x
    cut_rows, cut_columns = min(rows, int(columns * height / width)), min(columns, int(rows * width / height))
    top, left = int((rows - cut_rows) / 2), int((columns - cut_columns) / 2)
    return tf.image.resize(x[..., top : top + cut_rows, left : left + cut_columns, :], (height, width))

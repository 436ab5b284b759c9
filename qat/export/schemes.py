"""The converter options of each scheme: one function per scheme."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

IO_DTYPES = {"int8": tf.int8, "uint8": tf.uint8, "float32": tf.float32, "int16": tf.int16}
_INT16X8 = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8


class CountedBatches:
    """Calibration batches as the converter wants them, counting what it takes."""

    def __init__(self, batches: list[list[NDArray]]) -> None:
        self._batches = batches
        self.total = len(batches)
        self.seen_batches: set[int] = set()

    def __call__(self) -> Iterator[list[NDArray]]:
        for index, batch in enumerate(self._batches):
            self.seen_batches.add(index)
            yield [np.ascontiguousarray(values) for values in batch]

    @property
    def all_taken(self) -> bool:
        return len(self.seen_batches) == self.total


def _set_io(converter: tf.lite.TFLiteConverter, io: str) -> None:
    converter.inference_input_type = converter.inference_output_type = IO_DTYPES[io]


def float32(converter: tf.lite.TFLiteConverter) -> None:
    converter.optimizations = []


def float16(converter: tf.lite.TFLiteConverter) -> None:
    """Weights stored as float16; inputs, outputs and arithmetic stay float32."""
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def dynamic_range(converter: tf.lite.TFLiteConverter) -> None:
    """Weights in int8, activations quantized at run time, float32 in and out."""
    converter.optimizations = [tf.lite.Optimize.DEFAULT]


def int8(converter: tf.lite.TFLiteConverter, batches: CountedBatches, io: str, allow_float: bool) -> None:
    """Weights and activations in int8, with ranges from calibration.

    Args:
        converter: TensorFlow's, changed in place.
        batches: the representative data set: arrays [n, ...] per input, batch by batch.
        io: dtype of inputs and outputs, a key of `IO_DTYPES`: "int8", "uint8" or "float32".
        allow_float: whether ops without an integer kernel may stay in float.
    """
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = batches
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if allow_float:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    _set_io(converter, io)


def int16x8(converter: tf.lite.TFLiteConverter, batches: CountedBatches, io: str, allow_float: bool) -> None:
    """Weights in int8, activations in int16, biases in int64.

    Args:
        converter: TensorFlow's, changed in place.
        batches: the representative data set: arrays [n, ...] per input, batch by batch.
        io: dtype of inputs and outputs, "float32"; any other means int16.
        allow_float: whether ops without an integer kernel may stay in float.
    """
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = batches
    converter.target_spec.supported_ops = [_INT16X8, *([tf.lite.OpsSet.TFLITE_BUILTINS] if allow_float else [])]
    _set_io(converter, "float32" if io == "float32" else "int16")


def trained(converter: tf.lite.TFLiteConverter, io: str, low_bit: bool) -> None:
    """A model with ranges in FakeQuant ops, which the converter reads with optimization DEFAULT.

    The op set stays the plain one: with TFLITE_BUILTINS_INT8 the converter demands a representative dataset, which it
    would then ignore. The file is verified to be integer-only afterwards.

    Args:
        converter: TensorFlow's, changed in place.
        io: dtype of inputs and outputs, a key of `IO_DTYPES`: "int8", "uint8" or "float32".
        low_bit: whether weights of 4 bits are stored as int4.
    """
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter._experimental_low_bit_qat = low_bit
    _set_io(converter, io)


CALIBRATED: dict[str, Callable[[tf.lite.TFLiteConverter, CountedBatches, str, bool], None]] = {
    "int8": int8,
    "int16x8": int16x8,
}
UNCALIBRATED: dict[str, Callable[[tf.lite.TFLiteConverter], None]] = {
    "float32": float32,
    "float16": float16,
    "dynamic_range": dynamic_range,
}
